"""From an event to a training: reviews, and clips as recordings of a dataset."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import soundfile

from listener.events.clip_files import delete_clip, encode_flac, write_clip
from listener.events.event import Event, new_event_id
from listener.events.recordings import make_recording, review_event
from listener.events.store import EventStore
from ml.audio.info import read_info
from ml.dataset.collection.store import Collection
from ml.dataset.indexing.times import time_in_name
from ml.errors import ClipNotFound, EventNotFound, InvalidRecordingLabels
from ml.machines.recording_time import find_recording_time
from tests.unit.judged_clips import T0, tone

DATASET = "hall-3"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EventStore]:
    """An empty file of events."""
    with EventStore(tmp_path, create=True) as opened:
        yield opened


@pytest.fixture
def event(tmp_path: Path, store: EventStore) -> Event:
    """An ended event with a clip of two channels."""
    sound = tone(T0, T0 + 2, channels=2)
    clip = write_clip(tmp_path, "event", sound, encode_flac(sound), None)
    made = Event(
        id=new_event_id(), machine_id="fan/id_00", source="hall", began="2026-09-21T14:13:30.000+00:00",
        updated="2026-09-21T14:14:30.000+00:00", score=0.9, threshold=0.5, label="worn", version="v-1", state="ended",
        ended="2026-09-21T14:14:30.000+00:00", missing_clip=None, clip=clip,
    )  # fmt: skip
    store.save(made, "ended")
    return made


def test_a_review_is_kept_with_its_time(store: EventStore, event: Event) -> None:
    """Who, what and when; the facts of the alarm stay."""
    found = review_event(store, event.id, "faulty", " worn ", "loud", "Ada")
    assert found.review is not None
    assert (found.review.verdict, found.review.label, found.review.note) == ("faulty", "worn", "loud")
    assert found.updated == found.review.at > event.updated
    assert found == event.changed(review=found.review, updated=found.updated) == store.get(event.id)
    assert [change for change, _ in store.changes_of(event.id)] == ["ended", "reviewed"]


@pytest.mark.parametrize(("verdict", "label"), [("healthy", "worn"), (None, "worn"), ("faulty", "w" * 65)])
def test_a_label_is_the_name_of_a_fault(store: EventStore, event: Event, verdict: None, label: str) -> None:
    """A healthy machine has none, and a dataset must be able to take it."""
    with pytest.raises(InvalidRecordingLabels):
        review_event(store, event.id, verdict, label, "", "Ada")
    with pytest.raises(EventNotFound):
        review_event(store, "0" * 28, "healthy", None, "", "Ada")


def test_a_clip_becomes_a_recording_once(tmp_path: Path, store: EventStore, event: Event) -> None:
    """With the label of the review, the machine and all its samples; another label changes the same recording."""
    review_event(store, event.id, "faulty", "worn", "", "Ada")
    first = make_recording(tmp_path, store, event.id, DATASET)
    assert first.added
    again = make_recording(tmp_path, store, event.id, DATASET, label="normal")
    assert (again.added, again.relabelled, again.recording.id) == (False, True, first.recording.id)
    collection = Collection(tmp_path, DATASET)
    (recording,) = collection.recordings()
    assert recording.annotation.machine_name == "fan/id_00"
    assert [(each.annotation.label, each.annotation.fault) for each in recording.history] == [
        ("abnormal", "worn"),
        ("normal", None),
    ]
    assert store.get(event.id).recording == f"{DATASET}/{recording.id}"
    content = collection.file(recording.id).read_bytes()
    assert soundfile.info(collection.file(recording.id)).channels == 2
    assert read_info(content).audio_hash == recording.id
    assert collection.dataset().entries[0].annotation.label == "normal"


def test_the_recording_has_its_time(tmp_path: Path, store: EventStore, event: Event) -> None:
    """In its name, as datasets read it, and in the file, as uploads do."""
    recording = make_recording(tmp_path, store, event.id, DATASET, "abnormal", "worn").recording
    assert recording.file_name == "fan-id_00_20260921T141320.flac"
    assert time_in_name(recording.file_name) == T0
    content = Collection(tmp_path, DATASET).file(recording.id).read_bytes()
    time = find_recording_time(content, "", datetime(2026, 11, 1, tzinfo=UTC))
    assert time == ("2026-09-21T14:13:20.000+00:00", "file")


@pytest.mark.parametrize(
    ("verdict", "label"), [("healthy", "normal"), ("not_the_machine", "normal"), ("faulty", "abnormal")]
)
def test_a_verdict_is_a_label(tmp_path: Path, store: EventStore, event: Event, verdict: str, label: str) -> None:
    """A forklift is no fault of the machine."""
    review_event(store, event.id, verdict, None, "", "Ada")  # type: ignore[arg-type]
    assert make_recording(tmp_path, store, event.id, DATASET).recording.annotation.label == label


def test_without_a_label_or_a_clip_nothing_is_made(tmp_path: Path, store: EventStore, event: Event) -> None:
    """And no empty dataset stays."""
    with pytest.raises(InvalidRecordingLabels, match="normal or abnormal"):
        make_recording(tmp_path, store, event.id, DATASET)
    delete_clip(tmp_path, event.clip)
    with pytest.raises(ClipNotFound):
        make_recording(tmp_path, store, event.id, DATASET, "normal")
    assert not (tmp_path / "datasets" / DATASET).exists()
