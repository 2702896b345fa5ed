"""Clips of events, written by a thread of their own.

The clip of a source with a ring buffer is written twice: soon after its event has begun, so that a listener that is
killed leaves a clip, and again with its final length. It has the sound from some seconds before the event until its
end, or until the longest length, without any gap. The clip of a source of recordings is the most anomalous recording.

A clip that cannot be written is dropped and counted. Judging and events never wait for it.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial

from listener.events.clip_files import CLIP_FIELDS, encode_flac, write_clip
from listener.events.clip_plan import ClipPlan
from listener.events.event import Event, EventClip, MissingClip
from listener.events.event_time import to_seconds
from listener.events.retention import Retention
from listener.events.spectrogram import draw
from listener.events.store import EventStore, Route
from listener.judging.judged_clip import JudgedClip
from listener.options import ListenerOptions
from ml.errors import EventsUnavailable, SignalMLError, StorageFull

logger = logging.getLogger("signalml.events")
WAKE_S = 1.0
CLEAN_EVERY_S = 60.0
STOP_S = 10.0
MOST_UNSAVED = 1000
MOST_DUE = 50  # clips that wait to be written; in a storm of alarms, further events have none
STUCK = (
    "SELECT id FROM events WHERE clip_bytes = 0 AND state != 'active' AND origin = '' "
    "AND json_extract(content, '$.missing_clip') = 'pending'"
)


class ClipWriter:
    """Writes the clips of events, and deletes old ones.

    Args:
        options: options of the listener.
        store: its events.
        route: alerts of all sinks about a change of an event.

    Attributes:
        dropped: number of clips that could not be written.
    """

    def __init__(self, options: ListenerOptions, store: EventStore, route: Route) -> None:
        self.dropped = 0
        self._options, self._store, self._route = options, store, route
        self._retention = Retention(options, store)
        self._plans: dict[str, ClipPlan] = {}
        self._unsaved: dict[str, tuple[EventClip | None, MissingClip | None]] = {}
        self._clean_at = 0.0
        self._changed = threading.Condition()
        self._is_stopping = False
        self._thread = threading.Thread(target=self._run, name="clips", daemon=True)
        self._thread.start()

    @property
    def clip_bytes(self) -> int:
        """Size of all clips, in bytes."""
        return self._retention.clip_bytes

    def judged(self, event: Event, clip: JudgedClip) -> None:
        """Take note of a clip of an active event that is saved."""
        with self._changed:
            plan = self._plans.get(event.id)
            if plan is not None:
                plan.add(clip)
            elif sum(1 for _ in self._due()) < MOST_DUE:
                self._plans[event.id] = self._plan(event, clip)
            self._changed.notify()

    def ended(self, event: Event) -> None:
        """Take note of the end of an event."""
        with self._changed:
            plan = self._plans.get(event.id)
            if plan is not None:
                plan.close(to_seconds(event.ended or event.updated))
            elif event.clip is None and event.missing_clip is not None:
                # The event itself had to wait, too many clips waited, or an earlier listener was killed.
                self._note(event.id, None, "no_sound" if event.missing_clip == "pending" else event.missing_clip)
                self.dropped += 1
            self._changed.notify()

    def stop(self) -> None:
        """Write what is due, and end the thread."""
        with self._changed:
            self._is_stopping = True
            self._changed.notify()
        self._thread.join(STOP_S)

    def _plan(self, event: Event, clip: JudgedClip) -> ClipPlan:
        start = to_seconds(event.began) - self._options.before_s
        return ClipPlan(event, clip, start, start + self._options.longest_clip_s)

    # The thread

    def _run(self) -> None:
        self._try(self._name_lost_clips)
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._is_stopping or any(self._due()), WAKE_S)
                plan, is_last = next(self._due(), None), self._is_stopping
                if plan is not None:
                    plan.is_due = False
            if plan is not None:
                self._try(partial(self._write, plan))
            self._forget_closed()
            self._try(self._save_all)
            if is_last and plan is None:
                return
            if time.monotonic() >= self._clean_at:
                self._clean_at = time.monotonic() + CLEAN_EVERY_S
                self._try(lambda: self._retention.run(self._unsaved_files()))

    def _due(self) -> Iterator[ClipPlan]:
        return (plan for plan in self._plans.values() if plan.is_due)

    def _try(self, work: Callable[[], None]) -> None:
        """Do one work; an error of one clip does not end the thread."""
        try:
            work()
        except (StorageFull, EventsUnavailable, OSError) as error:
            logger.warning("clips of events: %s", error)
        except Exception:  # a bug loses a clip, but must not end the thread
            logger.exception("clips of events")

    def _forget_closed(self) -> None:
        with self._changed:
            for event_id, plan in list(self._plans.items()):
                if plan.is_closed and not plan.is_due:
                    del self._plans[event_id]
                    self.dropped += plan.written is None and plan.missing == "disk_full"

    def _write(self, plan: ClipPlan) -> None:
        clip = plan.clip
        plan.missing = self._write_version(plan, clip)
        with self._changed:
            plan.forget(clip)
        self._note(plan.event.id, plan.written, None if plan.written else plan.missing)

    def _write_version(self, plan: ClipPlan, clip: JudgedClip) -> MissingClip:
        """Write a version of a clip; return why there is none, if there is none."""
        if min(self._options.clips_max_bytes, self._options.longest_clip_s) <= 0:
            return "off"
        sound = plan.sound(clip, self._options)
        if sound is None or not plan.is_better(sound):
            return "no_sound"
        flac = encode_flac(sound)
        png = _spectrogram(clip, flac)
        try:
            if self._retention.make_room(len(flac) + len(png or b"")):
                plan.written = write_clip(self._options.home, plan.event.id, sound, flac, png)
        except (StorageFull, EventsUnavailable, OSError) as error:
            logger.warning("the clip of an event is dropped: %s", error, extra={"facts": {"event": plan.event.id}})
        return "disk_full"

    # The events

    def _note(self, event_id: str, clip: EventClip | None, missing: MissingClip | None) -> None:
        """Remember the clip of an event, or why there is none, until it is saved."""
        with self._changed:
            self._unsaved.pop(event_id, None)
            self._unsaved[event_id] = (clip, missing)
            while len(self._unsaved) > MOST_UNSAVED:
                del self._unsaved[next(iter(self._unsaved))]

    def _unsaved_files(self) -> list[str]:
        """Return the names of the files whose events wait to be saved."""
        clips = [clip for clip, _ in list(self._unsaved.values()) if clip is not None]
        return [name for clip in clips for name in (clip.file, clip.spectrogram) if name is not None]

    def _save_all(self) -> None:
        for event_id, (clip, missing) in list(self._unsaved.items()):
            event = self._store.find(event_id)
            if event is None:  # the event itself waits for room
                continue
            if (event.clip, event.missing_clip) != (clip, missing):
                event = event.changed(clip=clip, missing_clip=missing)
                self._store.save(event, "clip", self._route(event, "clip"), only=CLIP_FIELDS)
            if self._unsaved.get(event_id) == (clip, missing):
                del self._unsaved[event_id]

    def _name_lost_clips(self) -> None:
        """Note the events of an earlier listener that was killed before it wrote their clips."""
        for row in self._store.query(STUCK):
            self._note(row["id"], None, "no_sound")


def _spectrogram(clip: JudgedClip, flac: bytes) -> bytes | None:
    try:
        return draw(clip.predictor, clip.predictor.decode(flac))
    except SignalMLError as error:  # a clip without a picture is better than none
        logger.warning("the clip of an event has no spectrogram: %s", error)
        return None
