"""``signalml events``: what happened, when, how long and why."""

import json
import select
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from pathlib import Path

import pytest

from listener.events.event import Event, EventClip, new_event_id
from listener.events.store import EventStore
from ml.dataset.collection.store import Collection
from ml.system.audit import read_entries
from testing.servers import wait_until
from tests import sounds
from tests.commands import assert_one_sentence, signalml, start, succeeds

BAND = {"low_hz": 413.2, "high_hz": 851.0, "db": 6.24, "sigma": 2.1, "share": 0.4, "hall_db": None}
SOUND = b"fLaC and samples"


def ago(hours: float) -> str:
    """A time before now, ISO 8601, UTC."""
    return (datetime.now(UTC) - timedelta(hours=hours)).isoformat(timespec="milliseconds")


@pytest.fixture
def events(tmp_path: Path) -> list[Event]:
    """Two events of a home: an old one that has ended, with a clip, and an active one."""
    home = tmp_path / "home"
    clips = home / "listener" / "clips"
    clips.mkdir(parents=True)
    (clips / "a.flac").write_bytes(SOUND)
    clip = EventClip("a.flac", None, ago(50), 25.0, len(SOUND))
    model = {"threshold": 0.5, "version": "fan-0123456789", "reasons": (BAND,)}
    old = Event(
        new_event_id(), "fan-3", "hall", ago(50), ago(49), 0.91, label="imbalance", state="ended", ended=ago(48.975),
        clips=9, anomalous=7, clip=clip, missing_clip=None, **model,
    )  # fmt: skip
    new = Event(new_event_id(), "pump-1", "yard", ago(0.025), ago(0), 0.8, label="unknown_fault", **model)
    with EventStore(home, create=True) as store:
        for event in (old, new):
            store.save(event, "began")
    return [old, new]


@pytest.fixture
def home(events: list[Event], tmp_path: Path) -> Path:
    """The home of these events."""
    return tmp_path / "home"


def test_events_are_listed_the_newest_first(home: Path, events: list[Event], tmp_path: Path) -> None:
    """What, when, how long and why; filters choose."""
    assert succeeds(tmp_path / "other", "events") == "No events yet."
    _, first, second = succeeds(home, "events").splitlines()
    assert [each for each in ("pump-1", "active", "1 min 30 s", "pending", events[1].id) if each not in first] == []
    expected = ("fan-3", "ended", "1 h 1 min", "0.910", "6.2 dB louder at 413 to 851 Hz", "25 s", events[0].id)
    assert [each for each in expected if each not in second] == []

    def chosen(*words: object) -> list[str]:
        return [json.loads(line)["machine_id"] for line in succeeds(home, "events", "--json", *words).splitlines()]

    assert chosen() == ["pump-1", "fan-3"]
    assert chosen("--last", 1) == ["pump-1"]
    assert chosen("--machine", "fan-3") == chosen("--state", "ended") == chosen("--until", "2h") == ["fan-3"]
    assert chosen("--source", "yard") == chosen("--since", "2h") == ["pump-1"]
    assert chosen("--reviewed") == []


def test_one_event_is_shown_with_everything_known(home: Path, events: list[Event]) -> None:
    """Also as JSON."""
    shown = succeeds(home, "events", "show", events[0].id)
    expected = ("7 of 9", "0.910, threshold 0.500", "fan-0123456789", "6.2 dB louder", "25.0 s from", "began")
    assert [each for each in expected if each not in shown] == []
    assert json.loads(succeeds(home, "events", "show", events[0].id, "--json"))["id"] == events[0].id


def test_the_sound_of_an_event_is_written_to_a_file(home: Path, events: list[Event], tmp_path: Path) -> None:
    """Without one, the sentence has the reason."""
    target = tmp_path / "fault.flac"
    succeeds(home, "events", "clip", events[0].id, "--output", target)
    assert target.read_bytes() == SOUND
    assert succeeds(home, "events", "clip", events[0].id) == f"{events[0].id}.flac"
    assert (tmp_path / f"{events[0].id}.flac").read_bytes() == SOUND
    assert_one_sentence(signalml(home, "events", "clip", events[0].id, "--spectrogram"), "spectrogram")
    assert_one_sentence(signalml(home, "events", "clip", events[1].id), "is not written yet")
    (home / "listener" / "clips" / "a.flac").unlink()
    assert_one_sentence(signalml(home, "events", "clip", events[0].id), "no clip")


def test_a_person_gives_a_verdict(home: Path, events: list[Event]) -> None:
    """It is kept with the event, and in the audit log; the rest of the event stays."""
    words = ("--verdict", "faulty", "--label", "imbalance", "--note", "Screw was loose", "--by", "Lee")
    succeeds(home, "events", "review", events[0].id, *words)
    with EventStore(home) as store:
        found = store.get(events[0].id)
    assert found.review is not None
    assert (found.review.verdict, found.review.label, found.review.by) == ("faulty", "imbalance", "Lee")
    assert found.changed(review=None, updated=events[0].updated) == events[0]
    shown = succeeds(home, "events", "show", events[0].id)
    assert [each for each in ("faulty, imbalance", "Screw was loose", "Lee", "reviewed") if each not in shown] == []
    assert [entry["action"] for entry in read_entries(home)] == ["event.review"]
    assert_one_sentence(signalml(home, "events", "review", events[0].id, "--verdict", "healthy", "--label", "x"), "x")
    assert_one_sentence(signalml(home, "events", "review", "nosuch", "--verdict", "healthy"), "nosuch")
    assert_one_sentence(signalml(home, "events", "--since", "yesterday"), "yesterday", "2h")


def test_the_sound_of_an_event_becomes_a_recording_of_a_dataset(home: Path, events: list[Event]) -> None:
    """With the label of the review; without one, the sentence asks for it."""
    clip = home / "listener" / "clips" / "a.flac"
    clip.write_bytes(sounds.flac(sounds.fan(1.0)))
    words = ("events", "recording", events[0].id, "--dataset", "hall-3")
    assert_one_sentence(signalml(home, *words), "normal or abnormal")
    succeeds(home, "events", "review", events[0].id, "--verdict", "faulty", "--label", "imbalance")
    assert "hall-3" in succeeds(home, *words)
    (recording,) = Collection(home, "hall-3").recordings()
    assert (recording.annotation.label, recording.annotation.fault) == ("abnormal", "imbalance")
    assert f"hall-3/{recording.id}" in succeeds(home, "events", "show", events[0].id)
    assert [entry["action"] for entry in read_entries(home)][-1] == "event.recording"


def test_changes_are_followed_when_they_happen(tmp_path: Path, events: list[Event]) -> None:
    """In a home without events, too; a filter chooses the machines."""
    home = tmp_path / "other"
    following = start(home, "events", "--follow", "--machine", "fan-3", folder=tmp_path)
    assert following.stdout is not None
    try:
        with EventStore(home, create=True) as store:

            def is_followed() -> bool:
                store.save(events[1], "began")
                store.save(events[0], "worsened")
                return bool(select.select([following.stdout], [], [], 0.2)[0])

            wait_until(is_followed)
            store.save(events[0], "ended")
        lines = list(takewhile(lambda line: " ended " not in line, iter(following.stdout.readline, "")))
    finally:
        following.terminate()
        following.communicate()
    assert lines
    assert {tuple(line.split()[2:4]) for line in lines} == {("worsened", "fan-3")}
    assert "6.2 dB louder" in lines[0]
