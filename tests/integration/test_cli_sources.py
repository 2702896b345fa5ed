"""``signalml sources``: added, shown, changed and removed, in a file that a person can edit, too."""

import json
from pathlib import Path
from typing import Any

import pytest

from listener.config.files import source_file
from ml.system.audit import read_entries
from tests.commands import assert_one_sentence, signalml, succeeds

STREAM = ("--url", "rtsp://user:secret-word@camera-7/audio", "--machine", "pump-1")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home without anything."""
    return tmp_path / "home"


def listed(home: Path) -> list[dict[str, Any]]:
    """All sources as JSON."""
    found: list[dict[str, Any]] = json.loads(succeeds(home, "sources", "--json"))
    return found


def test_sources_are_added_changed_and_removed(home: Path) -> None:
    """The kind comes from the option; unnamed values stay; the audit log has every change."""
    assert "signalml sources add" in succeeds(home, "sources")
    succeeds(home, "sources", "add", "hall-3", *STREAM, "--hours", "06:00-22:00", "--set", "timeout_s=8")
    succeeds(home, "sources", "add", "desk", "--device", "default", "--machine", "fan-3", "--hop", 5)
    assert [(each["name"], each["kind"]) for each in listed(home)] == [("hall-3", "stream"), ("desk", "device")]
    assert "not running" in succeeds(home, "sources")
    succeeds(home, "sources", "change", "hall-3", "--note", "On the bracket", "--set", "schedule.min_level_dbfs=-50")
    changed = source_file(home).get("hall-3")
    assert (changed.note, changed.timeout_s, changed.url) == ("On the bracket", 8.0, STREAM[1])
    assert (changed.schedule.hours, changed.schedule.min_level_dbfs) == (("06:00-22:00",), -50)
    succeeds(home, "sources", "change", "hall-3", "--disable", "--set", "timeout_s=")
    changed = source_file(home).get("hall-3")
    assert (changed.enabled, changed.timeout_s) == (False, 5.0)
    assert "disabled" in succeeds(home, "sources", "list")
    succeeds(home, "sources", "remove", "desk", "--confirm", "desk")
    assert [each["name"] for each in listed(home)] == ["hall-3"]
    actions = [(entry["action"], entry["object"]) for entry in read_entries(home)]
    assert actions == [
        ("source.add", "hall-3"),
        ("source.add", "desk"),
        ("source.change", "hall-3"),
        ("source.change", "hall-3"),
        ("source.remove", "desk"),
    ]


def test_after_the_last_source_is_removed_another_can_be_added(home: Path) -> None:
    """The file is one of tables again."""
    for name in ("a", "b"):
        succeeds(home, "sources", "add", name, "--device", "default", "--machine", "fan-3")
        succeeds(home, "sources", "remove", name, "--confirm", name)
    succeeds(home, "sources", "add", "c", "--device", "default", "--machine", "fan-3")
    assert source_file(home).path.read_text().startswith("[[source]]\n")


def test_another_place_makes_another_kind(home: Path) -> None:
    """What belongs to every kind stays; a folder is stored with its full path."""
    succeeds(home, "sources", "add", "hall-3", *STREAM, "--hop", 5, "--set", "timeout_s=8")
    succeeds(home, "sources", "change", "hall-3", "--folder", "incoming", "--set", "after=delete")
    changed = source_file(home).get("hall-3")
    assert (changed.kind, changed.hop_s, changed.after) == ("folder", 5.0, "delete")
    assert changed.path == str(home.parent / "incoming")


def test_a_password_is_in_no_output(home: Path, tmp_path: Path) -> None:
    """It is read from a file or from the address, and is only in the file of sources, which only the owner reads."""
    (tmp_path / "word").write_text("p@ss:word/1\n")
    place = ("--mqtt", "mqtt://node@broker:1883", "--topic", "nodes/7/audio")
    succeeds(home, "sources", "add", "node", *place, "--machine", "fan-7", "--password-file", tmp_path / "word")
    succeeds(home, "sources", "add", "hall-3", *STREAM)
    file = source_file(home)
    assert file.get("node").url == "mqtt://node:p%40ss%3Aword%2F1@broker:1883"
    assert file.path.stat().st_mode & 0o777 == 0o600
    outputs = [succeeds(home, "sources", *words) for words in ((), ("--json",), ("show", "node"), ("show", "hall-3"))]
    outputs.append(succeeds(home, "audit", "--json"))
    assert not [text for text in outputs if "word" in text]
    assert "rtsp://***@camera-7/audio" in outputs[-2]


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        (("add", "a", "--machine", "fan-3"), ["--url, --device, --folder, --pipe, --mqtt"]),
        (("add", "a", "--machine", "fan-3", "--pipe", "-", "--device", "default"), ["--device and --pipe were given"]),
        (("add", "a", "--machine", "fan-3", "--url", "file:///etc/passwd"), ["rtsp://", "file:///etc/passwd"]),
        (("add", "a", "--machine", "fan-3", "--device", "alsa:hw:0,0"), ["number", "arecord -L"]),
        (("add", "A b", "--machine", "fan-3", "--device", "default"), ["name"]),
        (("add", "a", "--machine", "fan-3", "--device", "default", "--clip", "0"), ["clip_s"]),
        (("add", "a", "--machine", "fan-3", "--device", "default", "--set", "nosuch=1"), ["nosuch"]),
        (("add", "a", "--machine", "fan-3", "--device", "default", "--set", "nosuch"), ["NAME=VALUE"]),
        (("add", "a", "--machine", "fan-3", "--mqtt", "mqtt://broker"), ["topic"]),
        (("add", "a", "--machine", "f", "--url", "rtsp://u@c", "--password-file", "nosuch"), ["cannot be read"]),
        (("show", "nobody"), ["nobody"]),
        (("change", "nobody", "--note", "x"), ["nobody"]),
        (("remove", "nobody"), ["nobody"]),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, tuple) else "",
)
def test_a_source_that_cannot_be_used_is_refused_in_one_sentence(
    home: Path, arguments: tuple[str, ...], fragments: list[str]
) -> None:
    """Nothing is written."""
    assert_one_sentence(signalml(home, "sources", *arguments), *fragments)
    assert not source_file(home).path.exists()


def test_two_sources_of_one_name_are_refused(home: Path) -> None:
    """By the command line, and in a file that was edited by hand: there the first one counts."""
    succeeds(home, "sources", "add", "hall-3", *STREAM)
    assert_one_sentence(signalml(home, "sources", "add", "hall-3", *STREAM), "hall-3", "already")
    path = source_file(home).path
    path.write_text(path.read_text() * 2 + '[[source]]\nname = "bad"\nkind = "stream"\nurl = "file:/x"\n')
    done = signalml(home, "sources", "--json")
    assert [each["name"] for each in json.loads(done.stdout)] == ["hall-3"]
    assert "second source 'hall-3'" in done.stderr
    assert "'bad' is not used" in done.stderr


def test_a_file_that_cannot_be_read_is_named_and_kept(home: Path) -> None:
    """No command writes over it."""
    path = source_file(home).path
    path.parent.mkdir(parents=True)
    path.write_text("[[source]\n")
    assert "sources.toml cannot be read" in signalml(home, "sources").stderr
    add = signalml(home, "sources", "add", "a", "--device", "default", "--machine", "fan-3")
    assert_one_sentence(add, "sources.toml cannot be read", "Mend it by hand")
    assert path.read_text() == "[[source]\n"
