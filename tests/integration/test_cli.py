"""The command line as a whole: help, reference pages, settings, and error messages of one sentence."""

import json
import shutil
import signal
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

from cli import train
from ml.models.registry import Registry
from testing.servers import ROOT
from tests import sounds
from tests.commands import assert_one_sentence, signalml, succeeds


@pytest.mark.parametrize(
    "command",
    [
        *("", "serve", "models import", "models promote", "models export", "models label", "keys create"),
        *("listen", "sources add", "sources change", "sinks add", "sinks mute", "events clip", "events review"),
    ],
)
def test_help_shows_an_example(tmp_path: Path, command: str) -> None:
    """--help of these commands has an example; --help of ``signalml`` names the settings."""
    text = " ".join(succeeds(tmp_path / "home", *command.split(), "--help").split())
    assert f"signalml {command}" in text.partition("Example")[2] if command else "SIGNALML_HOME" in text


@pytest.mark.parametrize("group", [(), ("models",), ("keys",)])
def test_a_command_without_a_verb_lists_the_verbs(tmp_path: Path, group: tuple[str, ...]) -> None:
    """A group without a command prints its help, not a traceback."""
    done = signalml(tmp_path / "home", *group)
    assert "Usage" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("page", ["settings", "errors", "training-options"])
def test_the_reference_pages_are_what_the_commands_print(tmp_path: Path, page: str) -> None:
    """The pages in docs/ equal the output of their commands."""
    assert succeeds(tmp_path / "home", page) == (ROOT / "docs" / f"{page}.md").read_text().strip()


def test_the_openapi_command_prints_the_frozen_schema(tmp_path: Path) -> None:
    """docs/openapi.json equals the output of ``signalml openapi``."""
    assert json.loads(succeeds(tmp_path / "home", "openapi")) == json.loads(
        (ROOT / "docs" / "openapi.json").read_text()
    )


def test_the_version_is_printed(tmp_path: Path) -> None:
    """--version prints the version of the installed package."""
    assert succeeds(tmp_path / "home", "--version") == f"signalml {version('signalml')}"


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        (("models", "show", "nobody-0123456789"), ["nobody-0123456789"]),
        (("models", "show", "[/red]"), ["[/red]"]),
        (("models", "promote", "challenger"), ["challenger"]),
        (("models", "rollback"), ["previous"]),
        (("models", "label", "champion", "one=One"), ["1", "4"]),
        (("models", "label", "champion", "no equals sign"), ["NAME=MESSAGE"]),
        (("keys", "revoke", "nobody"), ["nobody"]),
    ],
    ids=" ".join,
)
def test_an_impossible_command_is_refused_in_one_sentence(
    home: Path, arguments: tuple[str, ...], fragments: list[str]
) -> None:
    """The message is one sentence on stderr, with exit status 1, for any characters in the arguments."""
    assert_one_sentence(signalml(home, *arguments), *fragments)


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        (("thresholds", "champion", "--false-alarm-rate", "5%"), "'--false-alarm-rate': '5%': "),
        (("thresholds", "champion", "--sensitivity", "hgih"), "'--sensitivity': 'hgih' is not one of"),
        (("simulate", "fans", "--duration", "0"), "--duration is 0.0; 1 to 60 was expected."),
        (("score", "fans", "--machine", "id 00"), "--machine id 00: 1 to 64 letters"),
        (("compare", "fans", "--out-of-domain", "nosuch"), "--out-of-domain nosuch does not exist"),
        (
            ("jobs", "submit", "scoring", "data/fans"),
            "'data/fans' is not the name of a dataset; the name of a folder below datasets/",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_an_invalid_value_is_shown_with_its_option(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], fragment: str
) -> None:
    """The message has the option, the value and the expected values."""
    monkeypatch.setenv("COLUMNS", "200")
    done = signalml(tmp_path / "home", *arguments)
    assert done.returncode != 0
    assert fragment in done.stderr
    assert "Value error" not in done.stderr


@pytest.mark.parametrize(("name", "given"), [("port", "abc"), ("processes", "0"), ("max_body_bytes", "-1")])
def test_an_invalid_setting_is_shown_with_its_variable(tmp_path: Path, name: str, given: str) -> None:
    """The message is one sentence with the variable and its value, not a traceback."""
    done = signalml(tmp_path / "home", "serve", **{name: given})
    assert_one_sentence(done, f"SIGNALML_{name.upper()}", given)


def test_settings_are_read_from_an_env_file(home: Path, tmp_path: Path) -> None:
    """The file .env in the working folder is read; the environment has priority over it."""
    (tmp_path / ".env").write_text(f"SIGNALML_HOME={home}\n")
    assert Registry(home).resolve("champion") in signalml(None, "models", "list", folder=tmp_path).stdout
    other = tmp_path / "other"
    assert f"No models in {other}" in signalml(other, "models", "list", folder=tmp_path).stdout


def test_the_default_home_is_var_in_this_folder(home: Path, tmp_path: Path) -> None:
    """Without SIGNALML_HOME, the home is ./var."""
    shutil.move(home, tmp_path / "var")
    assert "champion" in signalml(None, "models", "list", folder=tmp_path).stdout
    assert [path.name for path in tmp_path.iterdir()] == ["var"]


@pytest.fixture
def interruptible() -> Iterator[None]:
    """SIGINT interrupts, as on a terminal; background processes of a shell ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupted_training_prints_how_to_continue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that cannot be read are listed before the training starts; the exit status is 130."""
    monkeypatch.setattr(train, "train_model", lambda *_, **__: signal.raise_signal(signal.SIGINT))
    (tmp_path / "fan" / "normal").mkdir(parents=True)
    (tmp_path / "fan" / "normal" / "0.wav").write_bytes(sounds.recording(sounds.fan(1.0)))
    (tmp_path / "fan" / "normal" / "broken.wav").write_bytes(b"RIFF")
    done = signalml(tmp_path / "home", "train", tmp_path / "fan", "--processes", 1)
    assert (done.returncode, done.stdout) == (130, "")
    assert "\nleft out: normal/broken.wav: " in done.stderr
    assert done.stderr.endswith("\nStopped. The same command continues the training.\n")
