"""Events of other devices: checks of a report and its files, and the merge with what is known here by the same id."""

import asyncio
import json
import logging
import struct
from dataclasses import dataclass
from functools import partial
from typing import Literal

from pydantic import ValidationError
from starlette.types import Receive

from api.errors import InvalidRequest
from api.forms import CLIP_PART, EVENT_PART, SPECTROGRAM_PART
from api.json_bodies import parse_strict
from api.schemas.events import EventReport, ReportResult
from api.services import Services
from api.sound_length import estimate_duration_s
from api.uploads import UploadForm
from api.validation import explain_errors
from listener.clip_files import write_files
from listener.events import Change, Event, EventClip
from listener.options import ListenerOptions
from listener.retention import Retention
from listener.routes import route_by_file
from listener.store import EventStore
from ml.audio.formats import FLAC, HEAD_BYTES, recognise
from ml.audio.info import AudioInfo, read_info
from ml.errors import EventConflict, EventsUnavailable, NotAudio, StorageFull

logger = logging.getLogger("signalml.events")
PNG_HEAD = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
MAX_PNG_BYTES = 4 * 2**20
MAX_PNG_SIDE = 8192  # pixels
DURATION_DIGITS = 3
ENDED_STATES = ("ended", "interrupted")


@dataclass(frozen=True, slots=True)
class Report:
    """Report of another device: the event, what changed, and its files.

    Attributes:
        facts: the event as it was sent.
        flac: content of its sound; None without.
        png: picture of its spectrum; None without.
    """

    facts: EventReport
    flac: bytearray | None
    png: bytearray | None

    @classmethod
    def of(cls, form: UploadForm) -> "Report":
        """Read the parts of a form.

        Raises:
            InvalidRequest: a part is not what was expected.
            NotAudio: the sound is not FLAC.
        """
        files = {upload.part: upload.content for upload in form.files}
        facts = _parse(form.fields[EVENT_PART])
        flac, png = files.get(CLIP_PART), files.get(SPECTROGRAM_PART)
        if flac is not None and recognise(memoryview(flac)[:HEAD_BYTES]) is not FLAC:
            raise NotAudio(f"The part {CLIP_PART!r} is not a FLAC file; one was expected.")
        if flac is not None and facts.clip is None:
            raise InvalidRequest(f"{EVENT_PART}.clip is missing; the form has the part {CLIP_PART!r}.")
        if png is not None:
            _check_png(png)
        return cls(facts, flac, png if flac is not None else None)


async def take_report(report: Report, services: Services, receive: Receive) -> ReportResult:
    """Store a report, unless the event is known here as new or newer.

    The sound is decoded to its end in an inference thread. If there is no room for it, the event is stored without.

    Raises:
        AudioError: the sound cannot be read.
        EventConflict: the event of this id is of another device or machine.
        Busy, StorageFull, EventsUnavailable
    """
    info = None
    if report.flac is not None:
        read = partial(read_info, report.flac, services.limits)
        info = await services.executor.run(read, estimate_duration_s(report.flac, services.limits), receive)
    return await asyncio.to_thread(_store, report, info, services.settings.listener_options)


def _store(report: Report, info: AudioInfo | None, options: ListenerOptions) -> ReportResult:
    facts = report.facts
    with EventStore(options.home, create=True, route=route_by_file(options.home)) as store:
        known = store.find(facts.id)
        _require_same_origin(known, facts)
        wanted = info is not None and (known is None or is_newer(facts, known) or is_longer(info.duration_s, known))
        clip = _write_clip(report, info, options, store) if info is not None and wanted else None
        before: list[Event | None] = []

        def modify(present: Event | None) -> tuple[Event, Change] | None:
            before.append(present)
            return merge(present, facts, clip, dropped=wanted and clip is None)

        stored = store.update(facts.id, modify)
    if before[0] is None:
        return ReportResult(id=facts.id, result="created", has_clip=stored is not None and stored.clip is not None)
    result: Literal["updated", "unchanged"] = "unchanged" if stored == before[0] else "updated"
    return ReportResult(id=facts.id, result=result, has_clip=stored is not None and stored.clip is not None)


def merge(
    known: Event | None, facts: EventReport, clip: EventClip | None, *, dropped: bool = False
) -> tuple[Event, Change] | None:
    """Return the event after a report, with what changed; None if nothing does.

    The newer state wins. What a person did here stays: the review with the later time, and the recording.

    Args:
        known: the event as it is here; None without.
        facts: the report.
        clip: its sound, if it was written.
        dropped: whether there was no room for its sound.

    Raises:
        EventConflict
    """
    event = facts.to_event().changed(clip=clip)
    if clip is not None or dropped:
        event = event.changed(missing_clip="disk_full" if dropped else None)
    if known is None:
        return event, facts.change or _change(None, event)
    _require_same_origin(known, facts)
    if is_newer(facts, known):
        kept = clip or known.clip
        reviews = [each for each in (known.review, event.review) if each is not None]
        return event.changed(
            clip=kept,
            missing_clip=None if kept else event.missing_clip,
            review=max(reviews, key=lambda review: review.at, default=None),
            recording=known.recording,
        ), _change(known, event)
    if clip is not None and is_longer(clip.duration_s, known):
        return known.changed(clip=clip, missing_clip=None), "clip"
    return None


def is_newer(facts: EventReport, known: Event) -> bool:
    """Return whether a report is newer than the event that is known here. An end is never taken back."""
    return (facts.state in ENDED_STATES, facts.updated) > (known.state in ENDED_STATES, known.updated)


def is_longer(duration_s: float, known: Event) -> bool:
    """Return whether a sound is longer than the one that is known here: a device writes a first and a final version."""
    return known.clip is None or round(duration_s, DURATION_DIGITS) > known.clip.duration_s


def _change(known: Event | None, event: Event) -> Change:
    if event.state != "active" and (known is None or known.state == "active"):
        return "ended" if event.state == "ended" else "interrupted"
    if known is None:
        return "began"
    if event.review is not None and (known.review is None or event.review.at > known.review.at):
        return "reviewed"
    return "worsened" if event.score > known.score else "updated"


def _require_same_origin(known: Event | None, facts: EventReport) -> None:
    if known is not None and (known.origin, known.machine_id) != (facts.origin, facts.machine_id):
        raise EventConflict(f"The event {facts.id} is known here from another device, or about another machine.")


def _write_clip(report: Report, info: AudioInfo, options: ListenerOptions, store: EventStore) -> EventClip | None:
    """Write sound and picture; None if there is no room for them, or if clips are switched off."""
    facts = report.facts
    if report.flac is None or facts.clip is None:
        return None
    try:
        if not Retention(options, store).make_room(len(report.flac) + len(report.png or b"")):
            return None
        duration_s = round(info.duration_s, DURATION_DIGITS)
        return write_files(options.home, facts.id, facts.clip.began, duration_s, report.flac, report.png)
    except (StorageFull, EventsUnavailable, OSError) as error:
        logger.warning("the clip of an event is dropped: %s", error, extra={"facts": {"event": facts.id}})
        return None


def _parse(text: str) -> EventReport:
    try:
        values = parse_strict(text)
        json.dumps(values, ensure_ascii=False).encode()  # an escaped half of a character cannot be stored
    except ValueError as error:
        raise InvalidRequest(f"The part {EVENT_PART!r} cannot be read as JSON: {error}") from error
    try:
        return EventReport.model_validate(values)
    except ValidationError as error:
        found = [{**each, "loc": (EVENT_PART, *each["loc"])} for each in error.errors(include_url=False)]
        raise InvalidRequest(explain_errors(found, values, _fields_at)) from error


def _fields_at(outer: object) -> list[str]:
    return [] if outer else list(EventReport.model_fields)


def _check_png(png: bytearray) -> None:
    """Check size and header of a picture; it is never decoded here.

    Raises:
        InvalidRequest
    """
    width, height = struct.unpack(">II", png[16:24]) if len(png) >= 24 else (0, 0)
    if not png.startswith(PNG_HEAD) or not (0 < width <= MAX_PNG_SIDE and 0 < height <= MAX_PNG_SIDE):
        raise InvalidRequest(
            f"The part {SPECTROGRAM_PART!r} is not a PNG file of at most {MAX_PNG_SIDE} x {MAX_PNG_SIDE} pixels."
        )
    if len(png) > MAX_PNG_BYTES:
        raise InvalidRequest(f"The part {SPECTROGRAM_PART!r} has {len(png)} bytes; at most {MAX_PNG_BYTES} are taken.")
