"""What goes over the wire about datasets: names, units, ranges and examples."""

from collections import Counter
from dataclasses import asdict
from typing import Annotated, Literal

from pydantic import Field, model_validator

from api.schemas.common import Problem, Schema, Share, Timestamp
from ml.dataset.annotations import MAX_TEXT, TEXT_PATTERN, AnnotationRevision
from ml.dataset.collection.state import CollectionRecording, CollectionState
from ml.dataset.entries import Label
from ml.dataset.paths import NAME_PATTERN

DatasetName = Annotated[str, Field(json_schema_extra={"pattern": f"^{NAME_PATTERN.pattern}$"}, examples=["hall-3"])]
RecordingId = Annotated[str, Field(examples=["2c26b46b68ffc68ff99b453c1d304134"])]
FileName = Annotated[str, Field(examples=["pb1.wav"])]
RequestId = Annotated[str, Field(examples=["0b3c5d4e1f2a4b6c"])]
UNLABELLED = "unlabelled"


class DatasetNew(Schema):
    """A dataset to be made, empty."""

    name: DatasetName
    """1 to 64 lower-case letters, digits, dots, hyphens and underscores; the first a letter or a digit."""


class LabelCounts(Schema):
    """How many recordings have which label."""

    normal: int = Field(ge=0, examples=[960])
    abnormal: int = Field(ge=0, examples=[321])
    unlabelled: int = Field(ge=0, examples=[12])
    """May be scored, and are not trained on."""


class DatasetSummary(Schema):
    """One dataset; of a folder nothing but name and kind is known before a job reads it."""

    name: DatasetName
    kind: Literal["collection", "folder"] = Field(examples=["collection"])
    """A `collection` grows through this API; a `folder` was laid there by hand and is only read, by jobs."""
    recordings: int | None = Field(examples=[1293])
    labels: LabelCounts | None
    version: str | None = Field(examples=["1294"])
    """Changes with every upload, relabelling and removal; a job is pinned to the one that it began with."""
    bytes: int | None = Field(examples=[413737372])
    """Size of the files."""
    damaged_lines: int | None = Field(examples=[0])
    """Lines of its journal that cannot be understood, and are passed over."""

    @classmethod
    def of(cls, name: str, found: CollectionState) -> "DatasetSummary":
        """A collection as it is sent."""
        recordings = found.recordings.values()
        counts = Counter(recording.annotation.label or UNLABELLED for recording in recordings)
        return cls(
            name=name,
            kind="collection",
            recordings=len(recordings),
            labels=LabelCounts(normal=counts["normal"], abnormal=counts["abnormal"], unlabelled=counts[UNLABELLED]),
            version=found.version,
            bytes=sum(recording.info.bytes for recording in recordings),
            damaged_lines=found.damaged,
        )

    @classmethod
    def of_folder(cls, name: str) -> "DatasetSummary":
        """A folder as it is sent."""
        return cls(name=name, kind="folder", recordings=None, labels=None, version=None, bytes=None, damaged_lines=None)


class DatasetList(Schema):
    """The datasets, in alphabetical order."""

    datasets: list[DatasetSummary]


class RecordingLabels(Schema):
    """What is known of a recording beside its sound; null for what nobody has said."""

    label: Label | None = Field(examples=["abnormal"])
    """Whether the machine was healthy. Without one it may be scored, and is not trained on."""
    machine: str | None = Field(examples=["fan"])
    machine_id: str | None = Field(examples=["fan-3"])
    snr_db: float | None = Field(examples=[6.0])
    """Signal-to-noise ratio of the recording, in decibels."""
    fault: str | None = Field(examples=["imbalance"])
    """Name of the fault; of abnormal recordings alone."""
    group: str | None = Field(examples=["monday"])
    """The recording session; where it is null, training guesses it from the file names."""


class RecordingSummary(RecordingLabels):
    """One recording of a dataset: what is said of it, and the facts of its file."""

    id: RecordingId
    """Of its sound, whatever file that came in: the same sound is in a dataset once."""
    file_name: FileName
    """As the client named it."""
    uploaded: Timestamp
    duration_s: float = Field(gt=0, examples=[10.0])
    sample_rate_hz: int = Field(examples=[16000])
    channels: int = Field(ge=1, examples=[8])
    bits: int = Field(examples=[16])
    codec: str = Field(examples=["pcm"])
    """`pcm`, `float` or `flac`."""
    level_dbfs: float | None = Field(examples=[-40.44])
    """RMS level of the mean of all channels in dB relative to a full-scale square wave; null when it is silent."""
    peak_dbfs: float | None = Field(examples=[-21.07])
    """The largest sample of any channel; null when every sample is zero."""
    clipped_share: Share = Field(examples=[0.0])
    """Share of all samples at full scale."""
    bytes: int = Field(examples=[2560044])
    """Size of the file."""

    @model_validator(mode="before")
    @classmethod
    def _flatten(cls, value: object) -> object:
        """Annotation and file facts in one level."""
        if not isinstance(value, CollectionRecording):
            return value
        facts = {"id": value.id, "file_name": value.file_name, "uploaded": value.uploaded, "history": value.history}
        facts |= value.annotation.to_dict() | asdict(value.info)
        return {name: facts[name] for name in cls.model_fields}


class RecordingRevision(RecordingLabels):
    """Labels from a time on."""

    at: Timestamp
    request_id: RequestId
    """The X-Request-ID of the request that changed them."""
    changed: list[str] = Field(examples=[["label", "fault"]])
    """The fields that differ from the revision before."""

    @model_validator(mode="before")
    @classmethod
    def _flatten(cls, value: object) -> object:
        """The annotation in one level with the rest."""
        if not isinstance(value, AnnotationRevision):
            return value
        facts = {"at": value.at, "request_id": value.request_id, "changed": value.changed}
        return facts | value.annotation.to_dict()


class RecordingDetails(RecordingSummary):
    """One recording, with every revision of its labels."""

    history: list[RecordingRevision]
    """The oldest first: the first is the upload, the last holds now."""


class RecordingPage(Schema):
    """Some recordings in the order of their upload."""

    recordings: list[RecordingSummary]
    next_cursor: int | None = Field(examples=[1293])
    """Where the next page begins; null at the end."""


class UploadResult(Schema):
    """What became of one file: the recording, or the error."""

    file_name: FileName
    """As the client named it."""
    id: RecordingId | None
    added: bool = Field(examples=[True])
    """Whether its sound is new in the dataset."""
    relabelled: bool = Field(examples=[False])
    """Whether its sound was there and what was said of it now differs."""
    recording: RecordingSummary | None
    """As it is in the dataset."""
    error: Problem | None


class UploadResponse(Schema):
    """The results, in the order of the files."""

    results: list[UploadResult]


Text = Annotated[str, Field(max_length=MAX_TEXT, pattern=TEXT_PATTERN, strict=True)]


class LabelsChange(Schema):
    """A person's correction: fields left out stay, null clears one. A fault goes with the label `abnormal`."""

    label: Label | None = Field(default=None, examples=["abnormal"])
    machine: Text | None = Field(default=None, examples=["fan"])
    machine_id: Text | None = Field(default=None, examples=["fan-3"])
    snr_db: float | None = Field(default=None, strict=True, allow_inf_nan=False, examples=[6.0])
    """In decibels."""
    fault: Text | None = Field(default=None, examples=["imbalance"])
    group: Text | None = Field(default=None, examples=["monday"])

    def to_label_changes(self) -> dict[str, str | float | None]:
        """The fields that the client sent."""
        return {name: getattr(self, name) for name in self.model_fields_set}
