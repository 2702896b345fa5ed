"""``signalml sinks``: the kind comes from the address; secrets are read from files, and shown once."""

import base64
import json
import time
from pathlib import Path

import pytest

from listener.alerts.outbox import Outbox
from listener.config.files import sink_file
from listener.events.event import Event, new_event_id
from listener.events.store import EventStore, NewAlert
from ml.system.audit import read_entries
from tests.commands import assert_one_sentence, signalml, succeeds


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home without anything."""
    return tmp_path / "home"


def test_a_sink_of_each_kind_is_made_of_its_address(home: Path, tmp_path: Path) -> None:
    """Its name is made of the host; a second one of the same host gets a number."""
    (tmp_path / "key").write_text("sml_abc\n")
    succeeds(home, "sinks", "add", "mqtt://Broker.local:1883", "--home-assistant", "--topic", "hall")
    succeeds(home, "sinks", "add", "mqtts://broker.local", "--quiet", "22:00-06:00", "--cooldown", 600)
    succeeds(home, "sinks", "add", "https://example.org/alerts", "--machine", "hall-3/*", "--change", "began")
    succeeds(home, "sinks", "add", "https://central", "--service", "--secret-file", tmp_path / "key", "--name", "up")
    mail = ("--to", "lee@example.org", "--to", "kim@example.org", "--from", "fan@example.org")
    succeeds(home, "sinks", "add", "smtp://lee@mail.example.org:587", *mail, "--secret-file", tmp_path / "key")
    found = sink_file(home).read().entries
    kinds = [(name, entry.kind) for name, entry in found.items()]
    assert kinds == [
        ("broker.local", "mqtt"),
        ("broker.local-2", "mqtt"),
        ("example.org", "webhook"),
        ("up", "service"),
        ("mail.example.org", "email"),
    ]
    assert (found["broker.local"].home_assistant, found["broker.local"].topic) == (True, "hall")
    assert found["broker.local-2"].rules.quiet_hours == ("22:00-06:00",)
    assert found["broker.local-2"].rules.cooldown_s == 600
    assert found["example.org"].rules.machines == ("hall-3/*",)
    assert found["example.org"].rules.changes == ("began",)
    assert found["up"].api_key.get_secret_value() == "sml_abc"
    assert found["mail.example.org"].server == "smtp://lee:sml_abc@mail.example.org:587"
    assert found["mail.example.org"].to == ("lee@example.org", "kim@example.org")
    outputs = [succeeds(home, "sinks"), succeeds(home, "sinks", "--json"), succeeds(home, "audit", "--json")]
    outputs += [succeeds(home, "sinks", "show", name) for name in found]
    assert not [text for text in outputs if "sml_abc" in text or "whsec_" in text]


def test_the_secret_of_a_webhook_is_made_and_shown_once(home: Path, tmp_path: Path) -> None:
    """Unless a file has it; another one can replace it."""
    shown = succeeds(home, "sinks", "add", "https://example.org/alerts").split()[-1]
    assert len(base64.b64decode(shown.removeprefix("whsec_"), validate=True)) == 32
    entry = sink_file(home).get("example.org")
    assert entry.secret.get_secret_value() == shown
    (tmp_path / "key").write_text("whsec_" + base64.b64encode(bytes(24)).decode())
    assert "whsec_" not in succeeds(home, "sinks", "change", "example.org", "--secret-file", tmp_path / "key")
    assert sink_file(home).get("example.org").secret.get_secret_value() == (tmp_path / "key").read_text()


def test_a_sink_is_muted_for_some_time(home: Path) -> None:
    """Until a time, or for a time; other values stay."""
    succeeds(home, "sinks", "add", "mqtt://broker", "--home-assistant")
    assert "gets no alerts until" in succeeds(home, "sinks", "mute", "broker", "--for", "2h")
    assert "muted until" in succeeds(home, "sinks")
    succeeds(home, "sinks", "mute", "broker", "--until", "2031-01-02T03:04:05+00:00")
    entry = sink_file(home).get("broker")
    assert (entry.muted_until, entry.home_assistant) == ("2031-01-02T03:04:05.000+00:00", True)
    succeeds(home, "sinks", "unmute", "broker")
    assert sink_file(home).get("broker").muted_until is None
    assert "muted" not in succeeds(home, "sinks")


def test_alerts_that_were_given_up_are_listed_and_sent_again(home: Path) -> None:
    """One or all; or they are deleted."""
    succeeds(home, "sinks", "add", "mqtt://broker")
    with EventStore(home, create=True) as store:
        for machine in ("fan-1", "fan-2", "fan-3"):
            now = "2026-11-28T14:30:00.000+00:00"
            event = Event(new_event_id(), machine, "hall", now, now, 0.9, 0.5, "unknown_fault", "fan-0123456789")
            store.save(event, "began", [NewAlert("broker", time.time())])
        outbox = Outbox(store)
        ids = [alert.id for alert in outbox.due("broker")]
        for alert in outbox.due("broker"):
            outbox.give_up(alert, "the broker refuses the password")
    listed = succeeds(home, "sinks", "dead")
    assert [each for each in (*ids, "fan-1", "refuses the password") if each not in listed] == []
    assert succeeds(home, "sinks", "resend", "broker", "--alert", ids[0]).startswith("1 alerts wait")
    assert ids[0] not in succeeds(home, "sinks", "dead", "broker")
    assert succeeds(home, "sinks", "resend", "broker").startswith("2 alerts wait")
    assert succeeds(home, "sinks", "resend", "broker", "--delete").startswith("0 alerts are deleted")
    assert "No alerts were given up" in succeeds(home, "sinks", "dead")
    assert [json.loads(succeeds(home, "sinks", "--json"))[0]["now"]] == [None]
    assert "sink.resend" in [entry["action"] for entry in read_entries(home)]


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        (("add", "ftp://user:word@example.org"), ["ftp://***@example.org", "mqtt://", "smtps://"]),
        (("add", "mqtt://broker", "--service"), ["--service", "http://"]),
        (("add", "smtp://mail"), ["sender", "to"]),
        (("add", "mqtt://broker", "--topic", "a/#"), ["topic"]),
        (("add", "mqtt://broker", "--quiet", "late"), ["22:00-06:00"]),
        (("add", "mqtt://broker", "--change", "louder"), ["began"]),
        (("add", "https://example.org", "--secret-file", "nosuch"), ["cannot be read from nosuch"]),
        (("mute", "nobody", "--for", "2h"), ["nobody"]),
        (("mute", "nobody", "--for", "soon"), ["soon", "2h"]),
        (("mute", "nobody"), ["--for and --until"]),
        (("test", "nobody"), ["nobody"]),
        (("remove", "nobody"), ["nobody"]),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, tuple) else "",
)
def test_a_sink_that_cannot_be_used_is_refused_in_one_sentence(
    home: Path, arguments: tuple[str, ...], fragments: list[str]
) -> None:
    """No password is in the sentence, and nothing is written."""
    done = signalml(home, "sinks", *arguments)
    assert_one_sentence(done, *fragments)
    assert "word" not in done.stderr
    assert not sink_file(home).path.exists()


def test_a_test_needs_a_listener(home: Path) -> None:
    """The sentence names what to start."""
    succeeds(home, "sinks", "add", "mqtt://broker")
    assert_one_sentence(signalml(home, "sinks", "test", "broker"), "listen")
