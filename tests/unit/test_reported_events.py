"""Events that other devices report: they cannot fill the disk for ever, and end if their device is silent."""

from dataclasses import replace
from pathlib import Path

import pytest

from listener.events.clip_files import write_files
from listener.events.event import Event, Review, new_event_id
from listener.events.retention import UNREVIEWED, Retention
from listener.events.store import EventStore
from listener.options import ListenerOptions
from tests import sounds

CLIP = sounds.flac(sounds.fan(1.0))


def saved(store: EventStore, home: Path, *, updated: str = "2026-11-29T10:00:00.000+00:00", **values: object) -> Event:
    """An active event with a clip."""
    event = Event(new_event_id(), "fan-3", "hall", updated, updated, 0.9, 0.5, "unknown", "fan-1")
    event = replace(event, clip=write_files(home, event.id, updated, 1.0, CLIP, None), missing_clip=None, **values)
    store.save(event, "began")
    return event


def test_clips_of_reported_events_make_room_although_they_are_active(tmp_path: Path) -> None:
    """Those of this device stay: it ends its events in every case."""
    with EventStore(tmp_path, create=True) as store:
        own, reported = saved(store, tmp_path), saved(store, tmp_path, origin="press-room")
        retention = Retention(ListenerOptions(tmp_path, clips_max_bytes=len(CLIP), clips_min_free_bytes=0), store)
        assert retention.make_room(0)
        assert store.get(own.id).clip is not None
        assert store.get(reported.id).missing_clip == "deleted"


def test_a_report_deletes_no_clip_that_a_person_has_labelled(tmp_path: Path) -> None:
    """So a device that reports without end costs only clips that nobody has reviewed."""
    review = Review("faulty", "bearing", "", "Ana", "2026-11-29T11:00:00.000+00:00")
    with EventStore(tmp_path, create=True) as store:
        labelled = saved(store, tmp_path, state="ended", ended="2026-11-29T10:01:00.000+00:00", review=review)
        retention = Retention(ListenerOptions(tmp_path, clips_max_bytes=len(CLIP), clips_min_free_bytes=0), store)
        assert not retention.make_room(len(CLIP), UNREVIEWED)
        assert store.get(labelled.id).clip is not None


@pytest.mark.parametrize(("origin", "state"), [("press-room", "interrupted"), ("", "active")])
def test_a_reported_event_without_a_report_for_a_day_is_interrupted(tmp_path: Path, origin: str, state: str) -> None:
    """It states why; an event of this device is not concerned."""
    with EventStore(tmp_path, create=True) as store:
        event = saved(store, tmp_path, updated="2026-01-01T10:00:00.000+00:00", origin=origin)
        Retention(ListenerOptions(tmp_path, events_days=10_000), store).run()
        found = store.get(event.id)
    assert found.state == state
    assert bool(found.cause) == (state == "interrupted")
