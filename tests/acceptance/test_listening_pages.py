"""Pages of live listening: every field of sources and sinks, the signature of a webhook, the commands that add."""

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from listener.alerts.sinks.webhook import sign
from listener.config.files import sink_file, source_file
from listener.config.sink_types import EmailSink, MqttSink, Rules, ServiceSink, WebhookSink
from listener.config.source_types import DeviceSource, FolderSource, MqttSource, PipeSource, Schedule, StreamSource
from listener.sound import SourceState
from tests.commands import signalml

DOCS = Path(__file__).parents[2] / "docs"
SOURCES = (DeviceSource, StreamSource, FolderSource, PipeSource, MqttSource)
SINKS = (WebhookSink, MqttSink, EmailSink, ServiceSink)


@pytest.mark.parametrize(
    ("page", "model", "prefix"),
    [
        *(("listening.md", each, "") for each in SOURCES),
        ("listening.md", Schedule, "schedule."),
        *(("alerts.md", each, "") for each in (*SINKS, Rules)),
    ],
)
def test_every_field_is_on_its_page(page: str, model: type[BaseModel], prefix: str) -> None:
    """With its name in code type."""
    text = (DOCS / page).read_text()
    fields = set(model.model_fields) - {"kind", "rules", "schedule", "name", "enabled", "muted_until"}
    assert not [field for field in fields if f"`{prefix}{field}`" not in text]


def test_every_state_of_a_source_is_on_the_page() -> None:
    """In the table of states."""
    text = (DOCS / "listening.md").read_text()
    assert not [state for state in SourceState.__args__ if f"| `{state}` |" not in text]  # type: ignore[attr-defined]


def test_the_example_of_the_page_accepts_what_the_listener_signs() -> None:
    """And neither another body, nor another secret, nor an old request."""
    (code,) = re.findall(r"```python\n(.*?)```", (DOCS / "alerts.md").read_text(), re.S)
    found: dict[str, object] = {}
    exec(code, found)
    verify = found["verify"]
    assert callable(verify)
    secret, body = "whsec_" + "A" * 32, b'{"type":"event.began"}'
    headers = {
        "webhook-id": "id-1",
        "webhook-timestamp": "1764340000",
        "webhook-signature": sign(secret, "id-1", "1764340000", body),
    }
    assert verify(secret, headers, body, now=1764340010)
    assert not verify(secret, headers, body + b" ", now=1764340010)
    assert not verify("whsec_" + "B" * 32, headers, body, now=1764340010)
    assert not verify(secret, headers, body, now=1764350000)
    assert not verify(secret, headers, body)


@pytest.mark.parametrize("page", ["listening.md", "alerts.md", "home-assistant.md", "raspberry-pi.md", "../README.md"])
def test_the_sources_and_sinks_of_a_page_can_be_added(page: str, tmp_path: Path) -> None:
    """Each command of the page that adds one is accepted as it stands."""
    (tmp_path / "line-3.key").write_text("sml_key\n")
    text = (DOCS / page).read_text()
    commands = re.findall(r"signalml (s(?:ources|inks) add [^\n#]+)", text)
    assert commands
    for command in commands:
        words = [word.strip("'") for word in command.strip("` ").split()]
        done = signalml(tmp_path / "home", *words, folder=tmp_path)
        assert done.returncode == 0, f"{page}: {command}: {done.stderr}"
    added = len(source_file(tmp_path / "home").read().entries) + len(sink_file(tmp_path / "home").read().entries)
    assert added == len(commands)


def test_the_file_of_sources_on_the_page_can_be_read(tmp_path: Path) -> None:
    """As it stands."""
    (text,) = re.findall(r"```toml\n(.*?)```", (DOCS / "listening.md").read_text(), re.S)
    file = source_file(tmp_path)
    file.path.parent.mkdir()
    file.path.write_text(text)
    found = file.read()
    assert list(found.entries) == ["hall-3"]
    assert not found.problems
