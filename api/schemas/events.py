"""Schemas of events of machines."""

from typing import Annotated, Literal, Self

from pydantic import Field, FiniteFloat, model_validator

from api.schemas.common import ModelVersion, RequestSchema, Schema, Share, Timestamp
from api.schemas.datasets import DatasetName, RecordingSummary
from api.schemas.machines import MachineId
from api.schemas.times import Time
from listener.config.entry import NAME_PATTERN
from listener.events.event import Change, Event, EventClip, EventState, MissingClip, Review, ReviewVerdict
from ml.dataset.annotations import MAX_TEXT, TEXT_PATTERN, Label

EVENT_ID = r"^[0-9a-f]{28}$"
MAX_NOTE = 2000
MAX_CAUSE = 2000
MAX_VALUES = 50  # of a list or an object of a report
NOTE_PATTERN = r"^[^\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f]*$"  # text with lines
Text = Annotated[str, Field(max_length=MAX_TEXT, pattern=TEXT_PATTERN)]
Scalar = FiniteFloat | int | bool | Annotated[str, Field(max_length=200)] | None
Facts = Annotated[dict[Annotated[str, Field(max_length=40)], Scalar], Field(max_length=MAX_VALUES)]
QualityValue = Scalar | Annotated[list[Facts], Field(max_length=MAX_VALUES)]
Quality = Annotated[dict[Annotated[str, Field(max_length=40)], QualityValue], Field(max_length=MAX_VALUES)]
EventId = Annotated[str, Field(pattern=EVENT_ID, examples=["019ac7d2f1e84c7b9a3e51d07f20"])]
SourceName = Annotated[str, Field(pattern=NAME_PATTERN, examples=["hall-3"])]
DeviceName = Annotated[str, Field(max_length=MAX_TEXT, pattern=TEXT_PATTERN, examples=["press-room"])]
BAND = {"low_hz": 413.0, "high_hz": 851.0, "db": 6.2, "sigma": 7.9, "share": 0.61}
QUALITY = {"duration_s": 10.0, "sample_rate_hz": 16000, "channels": 1, "level_dbfs": -40.44, "clipped_share": 0.0}


class ClipFacts(Schema):
    """Sound of an event."""

    began: Timestamp
    """Time of its first sample, some seconds before the event began."""
    duration_s: float = Field(ge=0, examples=[24.0])
    """Length in seconds."""
    size_bytes: int = Field(ge=0, examples=[412345])
    """Size of the sound and of the picture of its spectrum."""
    spectrogram: bool = Field(examples=[True])
    """Whether there is a picture of its spectrum."""

    @model_validator(mode="before")
    @classmethod
    def _hide_files(cls, value: object) -> object:
        """Leave the names of files out: they are addresses of this computer."""
        if not isinstance(value, EventClip):
            return value
        return {name: getattr(value, name) for name in cls.model_fields} | {"spectrogram": bool(value.spectrogram)}


class EventReview(Schema):
    """Verdict and note of a person."""

    verdict: ReviewVerdict | None = Field(examples=["faulty"])
    """`healthy`: the machine was healthy; `faulty`: it was faulty; `not_the_machine`: another sound, such as a
    forklift. Null without a verdict."""
    label: str | None = Field(examples=["imbalance"])
    """Name of the fault; null without one."""
    note: str = Field(examples=["Bearing ordered"])
    by: str = Field(examples=["Ana"])
    """Person, or name of the API key."""
    at: Timestamp


class EventSummary(Schema):
    """Event of a machine: from the alarm that began it to its end."""

    id: EventId
    """Unique; it never changes, also in another service."""
    machine_id: MachineId
    source: str = Field(examples=["hall-3"])
    """Source whose clip began it."""
    origin: str = Field(examples=[""])
    """Name of the device that reported it; empty for an event of this service's own listener."""
    state: EventState = Field(examples=["ended"])
    """`active`; `ended`; `interrupted`: the listener or the source ended before the alarm cleared."""
    began: Timestamp
    """Time of the first anomalous clip of the alarm."""
    ended: Timestamp | None
    """Null while it is active."""
    updated: Timestamp
    """Time of the last change."""
    clips: int = Field(ge=0, examples=[12])
    """Number of clips that were judged since its beginning."""
    anomalous: int = Field(ge=0, examples=[9])
    """Number of anomalous ones among them."""
    score: Share = Field(examples=[0.93])
    """Highest score."""
    threshold: Share = Field(examples=[0.5])
    """Threshold at the highest score."""
    label: str = Field(examples=["imbalance"])
    """Name of the class at the highest score."""
    reasons: list[dict[str, Scalar]] = Field(examples=[[BAND]])
    """Frequency bands that deviate most at the highest score, as `bands` of `/v1/predict`."""
    version: ModelVersion
    """Model version at the highest score."""
    labels_revision: int = Field(ge=0, examples=[1])
    threshold_revision: int = Field(ge=0, examples=[1])
    quality: Quality | None = Field(examples=[QUALITY])
    """Quality of the clip with the highest score, as `quality` of `/v1/predict`; null if it is not known."""
    continues: EventId | None
    """Event that this one continues, because that one had the longest length; otherwise null."""
    cause: str = Field(examples=[""])
    """Reason why it was interrupted, or ended before the alarm cleared; otherwise empty."""
    clip: ClipFacts | None
    """Its sound, at `/v1/events/{event}/clip`; null without."""
    missing_clip: MissingClip | None = Field(examples=[None])
    """Why there is no sound. `pending`: it is not written yet; `disk_full`; `no_sound`: the source keeps none;
    `deleted`: to make room; `off`: clips are switched off. Null with one."""
    review: EventReview | None
    """Verdict and note of a person; null without."""
    recording: str | None = Field(examples=[None])
    """Recording that was made of the sound: name of the dataset, a slash, and the id; null without."""


class EventPage(Schema):
    """Page of events, the newest first."""

    events: list[EventSummary]
    next: int | None = Field(examples=[1293])
    """Cursor of the next page; null on the last page."""


class EventChangeEntry(Schema):
    """Change of an event."""

    change: Change = Field(examples=["began"])
    """`began`; `worsened`: its highest score rose clearly; `updated`: other progress; `ended`; `interrupted`; `clip`:
    its sound was written or deleted; `reviewed`: a person gave a verdict or a note."""
    at: Timestamp


class EventDetails(EventSummary):
    """Event with its changes."""

    changes: list[EventChangeEntry]
    """All changes, the oldest first."""

    @classmethod
    def of(cls, event: Event, changes: list[tuple[Change, str]]) -> Self:
        """Return an event with its changes."""
        facts = EventSummary.model_validate(event).model_dump()
        return cls(**facts, changes=[EventChangeEntry(change=change, at=at) for change, at in changes])


class EventReviewChange(RequestSchema):
    """Verdict and note of a person. A field that is left out does not change; null clears it."""

    reviewed: bool | None = Field(default=None, strict=True, examples=[True])
    """`true`: the event was looked at, also without a verdict. `false`: the whole review is removed; no other field may
    be sent then. By default, an event with a verdict, label or note is reviewed."""
    verdict: ReviewVerdict | None = Field(default=None, examples=["faulty"])
    """`healthy`, `faulty`, or `not_the_machine`: another sound, such as a forklift."""
    label: Text | None = Field(default=None, examples=["imbalance"])
    """Name of the fault; only with the verdict `faulty`."""
    note: str | None = Field(default=None, max_length=MAX_NOTE, pattern=NOTE_PATTERN, examples=["Bearing ordered"])
    by: Text | None = Field(default=None, examples=["Ana"])
    """Person; by default, the name of the API key."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("there is no field; reviewed, verdict, label or note was expected")
        if self.reviewed is False and len(self.model_fields_set) > 1:
            raise ValueError("reviewed is false and removes the review; no other field was expected")
        return self

    def review_of(self, event: Event) -> tuple[ReviewVerdict | None, str | None, str]:
        """Return verdict, label and note of an event after this change.

        A label belongs to the verdict ``faulty``: another verdict takes it away.
        """
        sent = {name: getattr(self, name) for name in self.model_fields_set & {"verdict", "label", "note"}}
        before = event.review
        verdict: ReviewVerdict | None = sent.get("verdict", before and before.verdict)
        label = sent.get("label", before.label if before is not None and verdict == "faulty" else None)
        return verdict, label, sent.get("note", before and before.note) or ""


class ReportedClip(Schema):
    """Sound of a reported event, as the device keeps it."""

    began: Time
    file: str | None = Field(default=None, max_length=200)
    spectrogram: str | None = Field(default=None, max_length=200)
    duration_s: FiniteFloat = Field(default=0, ge=0)
    size_bytes: int = Field(default=0, ge=0)


class ReportedReview(Schema):
    """Verdict and note of a person at the device."""

    verdict: ReviewVerdict | None
    label: Text | None
    note: str = Field(max_length=MAX_NOTE, pattern=NOTE_PATTERN)
    by: Text
    at: Time


class EventReport(Schema):
    """Event of another device, as it is there."""

    id: EventId
    machine_id: MachineId
    source: SourceName
    origin: DeviceName = Field(min_length=1)
    """Name of the device."""
    state: EventState
    began: Time
    ended: Time | None = None
    updated: Time
    clips: int = Field(default=0, ge=0)
    anomalous: int = Field(default=0, ge=0)
    score: Share
    threshold: Share
    label: str = Field(max_length=200, pattern=TEXT_PATTERN)
    reasons: list[Facts] = Field(default=[], max_length=MAX_VALUES)
    version: str = Field(max_length=100, pattern=TEXT_PATTERN)
    labels_revision: int = Field(default=0, ge=0)
    threshold_revision: int = Field(default=0, ge=0)
    quality: (
        Annotated[dict[Annotated[str, Field(max_length=40)], QualityValue], Field(max_length=MAX_VALUES)] | None
    ) = None
    continues: EventId | None = None
    cause: str = Field(default="", max_length=MAX_CAUSE, pattern=NOTE_PATTERN)
    clip: ReportedClip | None = None
    missing_clip: MissingClip | None = None
    review: ReportedReview | None = None
    recording: str | None = Field(default=None, max_length=200)
    change: Change | None = None
    """What changed at the device."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.state == "active") != (self.ended is None):
            raise ValueError("state and ended do not fit: an active event has no end, and any other has one")
        return self

    def to_event(self) -> Event:
        """Return the event without its sound; the recording of the device is not one of this service."""
        values = self.model_dump(exclude={"clip", "change", "review", "recording", "reasons", "missing_clip"})
        review = None if self.review is None else Review(**self.review.model_dump())
        return Event(**values, reasons=tuple(self.reasons), review=review, missing_clip=self.missing_clip or "pending")


class ReportResult(Schema):
    """Result of a report."""

    id: EventId
    result: Literal["created", "updated", "unchanged"] = Field(examples=["created"])
    """`unchanged`: the event is known here as new as this, or newer."""
    has_clip: bool = Field(examples=[True])
    """Whether its sound is here."""


class ClipRecordingRequest(RequestSchema):
    """Dataset and labels for the sound of an event."""

    dataset: DatasetName
    """Dataset; it is created if it does not exist."""
    label: Label | None = Field(default=None, examples=["abnormal"])
    """By default, from the verdict of the review: `healthy` and `not_the_machine` are `normal`, `faulty` is
    `abnormal`."""
    fault: Text | None = Field(default=None, examples=["imbalance"])
    """Name of the fault; by default, the label of the review. Only with the label `abnormal`."""


class ClipRecording(Schema):
    """Recording that was made of the sound of an event."""

    dataset: DatasetName
    added: bool = Field(examples=[True])
    """Whether the recording is new in the dataset."""
    relabelled: bool = Field(examples=[False])
    """Whether the recording was there already and its labels have changed."""
    recording: RecordingSummary
    """Recording as it is in the dataset."""


def to_summary(event: Event) -> EventSummary:
    """Return an event as an answer has it."""
    return EventSummary.model_validate(event)
