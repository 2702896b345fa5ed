"""Retention: which clips and events are deleted, so that the disk never fills up.

A clip is deleted if it is too old, if all clips together are too large, or if the disk has too little free space. The
order, the oldest first in each group:

1. clips that a person has reviewed as no fault, and those that a dataset has as a recording;
2. clips that nobody has reviewed;
3. clips with a fault or a label of a person. No age deletes them, and a disk that other files fill only if events could
   not be written any more.

The event stays; it notes that its clip was deleted. Clips of active events stay, but not of those that another device
reports: it may never report their end. Such an event without a report for a day is interrupted.
"""

import logging
import shutil
import time
from collections.abc import Callable, Collection

from listener.events.clip_files import CLIP_FIELDS, delete_clip, delete_orphans
from listener.events.event import Event
from listener.events.event_time import to_time
from listener.events.store import EventStore, parse_event
from listener.options import ListenerOptions
from ml.errors import StorageFull

logger = logging.getLogger("signalml.events")
DAY_S = 86_400.0
EVENTS_EVERY_S = 3600.0  # between two looks for old events, which read the whole file
EVENTS_NEED_BYTES = 32 * 2**20  # chosen here: about 10 000 changes of events
SILENT_S = DAY_S  # a reported event is interrupted after this time without a report
SILENT = "Its device has not reported it for a day."
UPDATES_KEPT_S = DAY_S  # progress of events, for readers of the stream of changes
REVIEWED, UNREVIEWED, LABELLED = 0, 1, 2
GROUP = f"""CASE
    WHEN json_extract(content, '$.recording') IS NOT NULL THEN {REVIEWED}
    WHEN verdict = 'faulty' OR json_extract(content, '$.review.label') IS NOT NULL THEN {LABELLED}
    WHEN reviewed THEN {REVIEWED} ELSE {UNREVIEWED} END"""
OVER = "(state != 'active' OR origin != '')"
DELETABLE = f"SELECT content FROM events WHERE clip_bytes > 0 AND {OVER} AND {GROUP} <= ?"  # noqa: S608 - constants
NAMED = (
    "SELECT json_extract(content, '$.clip.file') AS file, json_extract(content, '$.clip.spectrogram') AS spectrogram "
    "FROM events WHERE clip_bytes > 0"
)


class Retention:
    """Deletes clips and events by the options of a listener.

    Args:
        options: options of the listener.
        store: its events.
    """

    def __init__(self, options: ListenerOptions, store: EventStore) -> None:
        self._options, self._store = options, store
        self._events_at = 0.0

    @property
    def clip_bytes(self) -> int:
        """Size of the clips of all events, in bytes."""
        rows = self._store.query("SELECT sum(clip_bytes) AS total FROM events WHERE clip_bytes > 0")
        return rows[0]["total"] or 0

    def run(self, kept: Collection[str] = ()) -> None:
        """Delete what is too old or too much, and files that no event names.

        Args:
            kept: names of files whose events wait to be saved.

        Raises:
            StorageFull, EventsUnavailable, OSError: call it again later.
        """
        self.make_room(0)
        self._delete_old_clips()
        if time.monotonic() >= self._events_at:
            self._events_at = time.monotonic() + EVENTS_EVERY_S
            self._delete_old_events()
        named = {name for row in self._store.query(NAMED) for name in tuple(row)}
        delete_orphans(self._options.home, named | set(kept))

    def make_room(self, needed_bytes: int, group: int = LABELLED) -> bool:
        """Delete clips until a new one of so many bytes has room.

        Args:
            needed_bytes: size of the new clip.
            group: last group whose clips may be deleted for it.

        Returns:
            Whether it has room.

        Raises:
            StorageFull, EventsUnavailable
        """
        most, least_free = self._options.clips_max_bytes, self._options.clips_min_free_bytes
        if needed_bytes > most:
            return False
        self._delete_until(group, lambda: self.clip_bytes + needed_bytes <= most)
        self._delete_until(UNREVIEWED, lambda: self._free() - needed_bytes >= least_free)
        self._delete_until(LABELLED, lambda: self._free() >= min(EVENTS_NEED_BYTES, least_free))
        return self.clip_bytes + needed_bytes <= most and self._free() - needed_bytes >= least_free

    def _free(self) -> int:
        return shutil.disk_usage(self._options.home).free

    def _delete_until(self, group: int, is_enough: Callable[[], bool]) -> None:
        """Delete clips of this group and those before it until it is enough, or none is left."""
        while not is_enough():
            rows = self._store.query(f"{DELETABLE} ORDER BY {GROUP}, began LIMIT 1", (group,))
            if not rows:
                return
            self._delete(parse_event(rows[0]["content"]))

    def _delete_old_clips(self) -> None:
        oldest = to_time(time.time() - self._options.clips_days * DAY_S)
        for row in self._store.query(f"{DELETABLE} AND began < ?", (UNREVIEWED, oldest)):
            self._delete(parse_event(row["content"]))

    def _delete(self, event: Event) -> None:
        """Delete the clip of an event: the event first, or on a full disk the files first."""
        changed = event.changed(clip=None, missing_clip="deleted")
        try:
            self._store.save(changed, "clip", only=CLIP_FIELDS)
        except StorageFull:
            delete_clip(self._options.home, event.clip)
            self._store.save(changed, "clip", only=CLIP_FIELDS)
        delete_clip(self._options.home, event.clip)
        logger.info("the clip of an event was deleted", extra={"facts": {"event": event.id}})

    def _interrupt_silent(self) -> None:
        """End the events that other devices have not reported for a day."""
        oldest = to_time(time.time() - SILENT_S)
        query = (
            "SELECT content FROM events "
            "WHERE state = 'active' AND origin != '' AND json_extract(content, '$.updated') < ?"
        )
        for row in self._store.query(query, (oldest,)):
            event = parse_event(row["content"])
            self._store.save(event.changed(state="interrupted", ended=event.updated, cause=SILENT), "interrupted")

    def _delete_old_events(self) -> None:
        """Delete old events, whose files then have no event, and the progress of others."""
        oldest = to_time(time.time() - self._options.events_days * DAY_S)
        self._interrupt_silent()
        rows = self._store.query("SELECT id FROM events WHERE state != 'active' AND began < ?", (oldest,))
        if rows:
            self._store.remove(row["id"] for row in rows)
        oldest = to_time(time.time() - UPDATES_KEPT_S)
        with self._store.transaction() as db:
            db.execute("DELETE FROM changes WHERE change = 'updated' AND at < ?", (oldest,))
