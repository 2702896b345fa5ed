"""Events that other devices report: their sound is checked and written, then the event is stored."""

import asyncio
import logging
import time
from functools import partial
from typing import Literal

from starlette.types import Receive

from api.event_reports import Report, is_older, merge, require_same_origin
from api.executor import InferenceExecutor
from api.schemas.events import ReportResult
from api.settings import Settings
from api.sound_length import estimate_duration_s
from listener.alerts.routes import route_by_file
from listener.events.clip_files import delete_clip, write_files
from listener.events.event import Change, Event, EventClip
from listener.events.retention import UNREVIEWED, Retention
from listener.events.store import EventStore
from ml.audio.info import AudioInfo, read_info
from ml.audio.limits import AudioLimits
from ml.errors import EventsUnavailable, StorageFull

logger = logging.getLogger("signalml.events")
CLEAN_EVERY_S = 3600.0


class EventIntake:
    """Intake of one application.

    Args:
        settings: home, and limits of clips and events.
        executor: threads in which sound is decoded.
        limits: bounds of sound.
    """

    def __init__(self, settings: Settings, executor: InferenceExecutor, limits: AudioLimits) -> None:
        self._options = settings.listener_options
        self._executor = executor
        self._limits = limits
        self._clean_at = time.monotonic() + CLEAN_EVERY_S

    async def take(self, report: Report, receive: Receive) -> ReportResult:
        """Store a report, unless the event is known here as new or newer.

        The sound is decoded to its end in an inference thread. If there is no room for it, the event is stored without.

        Args:
            report: the report.
            receive: ASGI callable of the request after its body.

        Raises:
            AudioError: the sound cannot be read.
            EventConflict: the event of this id is of this service, another device or machine.
            Busy, StorageFull, EventsUnavailable
        """
        info = None
        if report.flac is not None:
            read = partial(read_info, report.flac, self._limits)
            info = await self._executor.run(read, estimate_duration_s(report.flac, self._limits), receive)
        return await asyncio.to_thread(self._store, report, info)

    def _store(self, report: Report, info: AudioInfo | None) -> ReportResult:
        facts = report.facts
        with EventStore(self._options.home, create=True, route=route_by_file(self._options.home)) as store:
            self._clean(store)
            known = store.find(facts.id)
            require_same_origin(facts, known)
            duration_s = 0.0 if info is None else round(info.duration_s, 3)
            wanted = info is not None and _is_wanted(report, duration_s, known)
            clip = self._write(report, duration_s, store) if wanted else None
            before: list[Event | None] = []

            def modify(present: Event | None) -> tuple[Event, Change] | None:
                before.append(present)
                return merge(present, facts, clip, dropped=wanted and clip is None)

            stored: Event | None = None
            try:
                stored = store.update(facts.id, modify)
            finally:
                self._delete_unused(stored, clip, *before)
        has_clip = stored is not None and stored.clip is not None
        return ReportResult(id=facts.id, result=_result(before[0], stored), has_clip=has_clip)

    def _write(self, report: Report, duration_s: float, store: EventStore) -> EventClip | None:
        """Write sound and picture; None if there is no room for them, or if clips are switched off."""
        facts = report.facts
        if report.flac is None or facts.clip is None:
            return None
        try:
            if not Retention(self._options, store).make_room(report.clip_bytes, UNREVIEWED):
                return None
            return write_files(self._options.home, facts.id, facts.clip.began, duration_s, report.flac, report.png)
        except (StorageFull, EventsUnavailable, OSError) as error:
            logger.warning("the clip of an event is dropped: %s", error, extra={"facts": {"event": facts.id}})
            return None

    def _delete_unused(self, stored: Event | None, written: EventClip | None, *before: Event | None) -> None:
        """Delete the files that no event names: of an earlier clip, or of this one if the event was not stored."""
        kept = None if stored is None else stored.clip
        earlier = [event.clip for event in before if event is not None and stored is not None]
        for clip in (written, *earlier):
            if clip is not None and clip != kept:
                delete_clip(self._options.home, clip)

    def _clean(self, store: EventStore) -> None:
        """Delete old clips and events now and then: a service that only takes reports has no listener that does."""
        if time.monotonic() < self._clean_at:
            return
        self._clean_at = time.monotonic() + CLEAN_EVERY_S
        try:
            Retention(self._options, store).run()
        except (StorageFull, EventsUnavailable, OSError) as error:
            logger.warning("old events are not deleted: %s", error)


def _is_wanted(report: Report, duration_s: float, known: Event | None) -> bool:
    """Return whether the sound of a report is new here: of a new event, or another version that is no older."""
    if known is None or known.clip is None or report.facts.clip is None:
        return True
    present = (known.clip.began, known.clip.duration_s, known.clip.size_bytes)
    return present != (report.facts.clip.began, duration_s, report.clip_bytes) and not is_older(report.facts, known)


def _result(before: Event | None, stored: Event | None) -> Literal["created", "updated", "unchanged"]:
    if before is None:
        return "created"
    return "unchanged" if stored == before else "updated"
