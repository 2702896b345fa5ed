"""Retention: which clips and events are deleted, in which order, and what stays."""

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from listener.clip_files import clip_file, encode_flac, write_clip
from listener.event_time import to_time
from listener.events import Event, Review, ReviewVerdict, new_event_id
from listener.options import ListenerOptions
from listener.retention import DAY_S, EVENTS_NEED_BYTES, Retention
from listener.store import EventStore
from ml.errors import ClipNotFound
from tests.disks import fill, small_disk
from tests.unit.judged_clips import T0, tone

CLIP_BYTES = 60_000
FLAC = encode_flac(tone(T0, T0 + 1)).ljust(CLIP_BYTES, b"\0")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EventStore]:
    """An empty file of events."""
    with EventStore(tmp_path, create=True) as opened:
        yield opened


class Archive:
    """Events with clips, each an hour before the one before it."""

    def __init__(self, home: Path, store: EventStore) -> None:
        self.home, self.store = home, store
        self.made: dict[str, str] = {}

    def add(
        self,
        name: str,
        verdict: ReviewVerdict | None = None,
        label: str | None = None,
        days: float = 0.0,
        **given: object,
    ) -> None:
        """Add an ended event with a clip, so many days old, reviewed if there is a verdict."""
        began = time.time() - days * DAY_S - 3600 * (len(self.made) + 1)
        review = None if verdict is None else Review(verdict, label, "", "Ada", to_time(began + 60))
        event = Event(
            id=new_event_id(), machine_id="fan-3", source="hall", began=to_time(began), updated=to_time(began + 60),
            score=0.9, threshold=0.5, label="worn", version="v-1", state="ended", ended=to_time(began + 60),
            review=review, missing_clip=None, clip=write_clip(self.home, name, tone(T0, T0 + 1), FLAC, b"picture"),
        ).changed(**given)  # fmt: skip
        self.store.save(event, "began")
        self.made[event.id] = name

    def left(self) -> set[str]:
        """Names of the events that still have a clip; their files exist, and those of the others do not."""
        found = set()
        for event in self.store.page(most=1000).events:
            if event.clip is None:
                assert event.missing_clip == "deleted"
                with pytest.raises(ClipNotFound, match="deleted to make room"):
                    clip_file(self.home, event)
            else:
                assert clip_file(self.home, event).stat().st_size == CLIP_BYTES
                found.add(self.made[event.id])
        return found


@pytest.fixture
def archive(tmp_path: Path, store: EventStore) -> Archive:
    """Events with clips of all kinds, the oldest last."""
    made = Archive(tmp_path, store)
    made.add("faulty", "faulty")
    made.add("labelled", "faulty", "worn")
    made.add("in a dataset", "faulty", "worn", recording="hall/0123")
    made.add("healthy", "healthy")
    made.add("new")
    made.add("older")
    made.add("active", state="active", ended=None)
    return made


def retention(archive: Archive, **given: float) -> Retention:
    """The retention without any limit but the given ones."""
    limits = {"clips_max_bytes": 10**9, "clips_min_free_bytes": 0, "clips_days": 1000.0, "events_days": 1000.0}
    return Retention(ListenerOptions(archive.home, **(limits | given)), archive.store)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kept", "left"),
    [
        (7, {"faulty", "labelled", "in a dataset", "healthy", "new", "older", "active"}),
        (6, {"faulty", "labelled", "in a dataset", "new", "older", "active"}),
        (5, {"faulty", "labelled", "new", "older", "active"}),
        (4, {"faulty", "labelled", "new", "active"}),
        (3, {"faulty", "labelled", "active"}),
        (2, {"faulty", "active"}),
        (1, {"active"}),
        (0, {"active"}),
    ],
)
def test_the_unreviewed_and_the_labelled_go_last(archive: Archive, kept: int, left: set[str]) -> None:
    """By the size of all clips: first what a person has found healthy or put into a dataset, the oldest first."""
    bytes_each = archive.store.page().events[0].clip
    assert bytes_each is not None
    found = retention(archive, clips_max_bytes=kept * bytes_each.size_bytes)
    found.run()
    assert archive.left() == left
    assert found.clip_bytes == len(left) * bytes_each.size_bytes


def test_a_new_clip_needs_room(archive: Archive) -> None:
    """Older clips are deleted for it; one that is larger than all of them may be deletes none."""
    found = retention(archive, clips_max_bytes=8 * CLIP_BYTES)
    assert found.make_room(2 * CLIP_BYTES)
    assert len(archive.left()) == 5
    assert not found.make_room(9 * CLIP_BYTES)
    assert len(archive.left()) == 5


def test_old_clips_are_deleted_but_those_with_a_fault(tmp_path: Path, store: EventStore) -> None:
    """A person has found it, and nothing has it yet but this clip."""
    archive = Archive(tmp_path, store)
    archive.add("young", days=89)
    archive.add("old", days=91)
    archive.add("old and healthy", "healthy", days=91)
    archive.add("old and faulty", "faulty", "worn", days=91)
    retention(archive, clips_days=90).run()
    assert archive.left() == {"young", "old and faulty"}


def test_old_events_are_deleted_with_their_files(tmp_path: Path, store: EventStore) -> None:
    """Active ones stay, whatever their age."""
    archive = Archive(tmp_path, store)
    archive.add("young")
    archive.add("old", "faulty", days=401)
    archive.add("active", days=401, state="active", ended=None)
    files = list((tmp_path / "listener" / "clips").iterdir())
    for file in files:
        os.utime(file, (T0, T0))
    retention(archive, events_days=400).run()
    assert archive.left() == {"young", "active"}
    assert (len(files), sum(file.exists() for file in files)) == (6, 4)


def test_the_progress_of_events_is_kept_for_a_day(tmp_path: Path, store: EventStore) -> None:
    """A machine in alarm for months would fill the disk with it; the begin and the end stay."""
    archive = Archive(tmp_path, store)
    archive.add("long")
    event = store.page().events[0]
    for change in ("updated", "worsened", "updated", "ended"):
        store.save(event, change)
    with store.transaction() as db:
        db.execute("UPDATE changes SET at = ? WHERE number < 4", (to_time(time.time() - 2 * DAY_S),))
    retention(archive).run()
    assert [change for change, _ in store.changes_of(event.id)] == ["began", "worsened", "updated", "ended"]


def test_on_a_full_disk_clips_are_deleted_until_there_is_room(tmp_path: Path) -> None:
    """Even if nothing at all can be written: the files go first then. Labelled ones go for events alone."""
    with small_disk(tmp_path / "home", "3m") as home, EventStore(home, create=True) as store:
        archive = Archive(home, store)
        for number in range(8):
            archive.add(f"unreviewed {number}")
        archive.add("labelled", "faulty", "worn")
        fill(home)
        assert retention(archive, clips_min_free_bytes=200_000).make_room(0)
        assert "labelled" in archive.left()
        assert 3 <= len(archive.left()) <= 6
        assert not retention(archive, clips_min_free_bytes=40 * 2**20).make_room(0)
        assert archive.left() == set()


def test_labelled_clips_stay_while_events_have_room(archive: Archive) -> None:
    """Other files leave too little space for clips, and enough for events."""
    free = shutil.disk_usage(archive.home).free
    assert free > EVENTS_NEED_BYTES
    assert not retention(archive, clips_min_free_bytes=100 * free).make_room(0)
    assert archive.left() == {"faulty", "labelled", "active"}
