"""Events as other devices report them: checks of the form, and the merge with what is known here by the same id."""

import json
import struct
from dataclasses import dataclass

from pydantic import ValidationError

from api.errors import InvalidRequest
from api.forms import CLIP_PART, EVENT_PART, SPECTROGRAM_PART
from api.json_bodies import parse_strict
from api.schemas.events import EventReport
from api.uploads import UploadForm
from api.validation import explain_errors
from listener.events.event import Change, Event, EventClip
from ml.audio.formats import FLAC, HEAD_BYTES, recognise
from ml.errors import EventConflict, NotAudio

PNG_HEAD = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
MAX_PNG_BYTES = 4 * 2**20
MAX_PNG_SIDE = 8192  # pixels
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

    @property
    def clip_bytes(self) -> int:
        """Size of sound and picture."""
        return len(self.flac or b"") + len(self.png or b"")


def is_older(facts: EventReport, known: Event) -> bool:
    """Return whether a report is older than the event that is known here. An end is never taken back."""
    return _age(facts) < _age(known)


def require_same_origin(facts: EventReport, known: Event | None) -> None:
    """Refuse a report about an event of this service, of another device or of another machine.

    Raises:
        EventConflict
    """
    if known is not None and (known.origin, known.machine_id) != (facts.origin, facts.machine_id):
        raise EventConflict(f"The event {facts.id} is known here from another device, or about another machine.")


def merge(
    known: Event | None, facts: EventReport, clip: EventClip | None, *, dropped: bool = False
) -> tuple[Event, Change] | None:
    """Return the event after a report, with what changed; None if nothing does.

    The newer state wins. What a person did here stays: the review and the recording.

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
        return event, _change(None, event)
    require_same_origin(facts, known)
    if _age(facts) > _age(known):
        kept = clip or known.clip
        return event.changed(
            clip=kept,
            missing_clip=None if kept else event.missing_clip,
            review=known.review or event.review,
            recording=known.recording,
        ), _change(known, event)
    if clip is not None:
        return known.changed(clip=clip, missing_clip=None), "clip"
    return None


def _age(event: EventReport | Event) -> tuple[bool, str]:
    return event.state in ENDED_STATES, event.updated


def _change(known: Event | None, event: Event) -> Change:
    if event.state != "active" and (known is None or known.state == "active"):
        return "ended" if event.state == "ended" else "interrupted"
    if known is None:
        return "began"
    if event.review is not None and known.review is None:
        return "reviewed"
    return "worsened" if event.score > known.score else "updated"


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
