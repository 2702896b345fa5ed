"""Schemas of datasets and recordings."""

from dataclasses import asdict
from typing import Annotated, Literal

from pydantic import Field, model_validator

from api.schemas.common import Problem, RequestSchema, Schema, Share, Timestamp
from ml.dataset.annotations import MAX_TEXT, TEXT_PATTERN, AnnotationRevision
from ml.dataset.collection.counts import CollectionCounts
from ml.dataset.collection.state import CollectionRecording
from ml.dataset.entries import Label, SessionOrigin
from ml.dataset.paths import NAME_PATTERN

DatasetName = Annotated[str, Field(json_schema_extra={"pattern": f"^{NAME_PATTERN.pattern}$"}, examples=["hall-3"])]
RecordingId = Annotated[str, Field(examples=["2c26b46b68ffc68ff99b453c1d304134"])]
FileName = Annotated[str, Field(examples=["pb1.wav"])]
RequestId = Annotated[str, Field(examples=["0b3c5d4e1f2a4b6c"])]
UNLABELLED = "unlabelled"
REVISIONS_SHOWN = 100


class DatasetNew(Schema):
    """New, empty dataset."""

    name: DatasetName
    """1 to 64 lower-case letters, digits, dots, hyphens and underscores. The first one is a letter or a digit."""


class LabelCounts(Schema):
    """Number of recordings with each label."""

    normal: int = Field(ge=0, examples=[960])
    abnormal: int = Field(ge=0, examples=[321])
    unlabelled: int = Field(ge=0, examples=[12])
    """Recordings without a label: jobs score them, but do not train on them."""


class PassedOverFiles(Schema):
    """Files and folders of a dataset that are not read for one reason."""

    code: str = Field(examples=["link_broken"])
    """Stable code of the reason."""
    reason: str = Field(examples=["The link leads to nothing."])
    count: int = Field(ge=1, examples=[2])
    """Number of files and folders."""
    examples: list[str] = Field(examples=[["normal/0001.wav", "normal/0002.wav"]])
    """Paths of the first ones."""


class DatasetSummary(Schema):
    """Dataset. For a folder, the fields that need its recordings to be read are null."""

    name: DatasetName
    kind: Literal["collection", "folder"] = Field(examples=["collection"])
    """`collection`: grows by uploads over this API. `folder`: was placed there by hand; jobs only read it."""
    recordings: int | None = Field(examples=[1293])
    labels: LabelCounts | None
    version: str | None = Field(examples=["1294"])
    """Changes with every upload, correction and removal. A job keeps the version that it began with."""
    bytes: int | None = Field(examples=[413737372])
    """Total size of the files, in bytes."""
    damaged_lines: int | None = Field(examples=[0])
    """Lines of the journal that cannot be read and are skipped."""
    passed_over: list[PassedOverFiles] | None = None
    """Files and folders that are not read, or cannot be used, by reason. In lists, and if unknown, it is null."""
    contradictions: int | None = Field(default=None, ge=0, examples=[0])
    """Recordings whose names contradict their labels; a training refuses them without `confirm_labels`. In lists, and
    if unknown, it is null."""

    @classmethod
    def of(cls, name: str, found: CollectionCounts) -> "DatasetSummary":
        """Return the summary of a collection."""
        labels = {label or UNLABELLED: count for label, count in found.labels.items()}
        return cls(
            name=name,
            kind="collection",
            recordings=found.recordings,
            labels=LabelCounts(**{name: labels.get(name, 0) for name in LabelCounts.model_fields}),
            version=found.version,
            bytes=found.bytes,
            damaged_lines=found.damaged,
        )

    @classmethod
    def of_folder(cls, name: str) -> "DatasetSummary":
        """Return the summary of a folder."""
        return cls(name=name, kind="folder", recordings=None, labels=None, version=None, bytes=None, damaged_lines=None)


class DatasetList(Schema):
    """Page of datasets, in alphabetical order."""

    datasets: list[DatasetSummary]
    next_cursor: str | None = Field(examples=["hall-3"])
    """Cursor of the next page; null on the last page."""


class SessionSummary(Schema):
    """Session of a dataset: recordings made one after the other."""

    group: str = Field(examples=["monday"])
    """Name of the session."""
    origin: SessionOrigin = Field(examples=["given"])
    """Where it comes from, the surest first: `given` as `group` of the recordings; `folders`; `file names`, by their
    beginnings; `times in names`, by gaps between them; `file times`, by gaps between the uploads; `none`: all
    recordings of a machine count as one session."""
    first: str | None = Field(examples=["2024-03-05 08:00"])
    """Time of its first recording, as its name or its upload states it; null if it is not known."""
    last: str | None = Field(examples=["2024-03-05 16:30"])
    """Time of its last recording."""
    normal: int = Field(ge=0, examples=[60])
    abnormal: int = Field(ge=0, examples=[0])
    machines: dict[str, int] = Field(examples=[{"fan/fan-3": 60}])
    """Number of recordings of each machine; the name is empty where none is known."""


class SessionList(Schema):
    """Sessions of a dataset, in the order of their first recordings."""

    sessions: list[SessionSummary]


class RecordingLabels(Schema):
    """Labels of a recording. A value that is not known is null."""

    label: Label | None = Field(examples=["abnormal"])
    """`normal`: the machine was healthy; `abnormal`: it was faulty. Recordings without a label are not trained on."""
    machine: str | None = Field(examples=["fan"])
    """Kind of the machine."""
    machine_id: str | None = Field(examples=["fan-3"])
    """Identifier of the machine."""
    snr_db: float | None = Field(examples=[6.0])
    """Signal-to-noise ratio of the recording, in dB."""
    fault: str | None = Field(examples=["imbalance"])
    """Name of the fault; only for abnormal recordings."""
    group: str | None = Field(examples=["monday"])
    """Recording session. If it is null, a training finds it from the file names or the times of the uploads."""


class RecordingSummary(RecordingLabels):
    """Recording of a dataset: its labels, and the facts of its file."""

    id: RecordingId
    """Hash of the samples, the same in every format without losses. A dataset has each recording once."""
    file_name: FileName
    """Name that the client gave."""
    uploaded: Timestamp
    duration_s: float = Field(gt=0, examples=[10.0])
    """Duration in seconds."""
    sample_rate_hz: int = Field(examples=[16000])
    channels: int = Field(ge=1, examples=[8])
    bits: int = Field(examples=[16])
    """Bits of a sample."""
    codec: str = Field(examples=["pcm"])
    """How the file is coded: `pcm`, `float`, `flac`, `mulaw`, `alaw`, `mp3`, `vorbis`, `opus`, `aac` and others."""
    level_dbfs: float | None = Field(examples=[-40.44])
    """RMS level of the mean of all channels without its offset, in dB relative to a full-scale square wave; null if
    this mean never changes."""
    peak_dbfs: float | None = Field(examples=[-21.07])
    """Largest sample of any channel, in dB relative to full scale; null if every sample is zero."""
    clipped_share: Share = Field(examples=[0.0])
    """Share of all samples that are at full scale."""
    bytes: int = Field(examples=[2560044])
    """Size of the file, in bytes."""

    @model_validator(mode="before")
    @classmethod
    def _flatten(cls, value: object) -> object:
        """Put annotation and file facts into one level."""
        if not isinstance(value, CollectionRecording):
            return value
        facts = {"id": value.id, "file_name": value.file_name, "uploaded": value.uploaded}
        facts |= value.annotation.to_dict() | asdict(value.info)
        return {name: facts[name] for name in cls.model_fields}


class RecordingRevision(RecordingLabels):
    """Labels of a recording, valid from a time on."""

    at: Timestamp
    request_id: RequestId
    """`X-Request-ID` of the request that changed the labels."""
    changed: list[str] = Field(examples=[["label", "fault"]])
    """Fields that differ from the revision before."""

    @model_validator(mode="before")
    @classmethod
    def _flatten(cls, value: object) -> object:
        """Put the annotation into one level with the other fields."""
        if not isinstance(value, AnnotationRevision):
            return value
        facts = {"at": value.at, "request_id": value.request_id, "changed": value.changed}
        return facts | value.annotation.to_dict()


class RecordingDetails(RecordingSummary):
    """Recording with the revisions of its labels."""

    history: list[RecordingRevision]
    """The latest revisions, the oldest first. The first of all is from the upload, the last one is valid."""
    revisions: int = Field(ge=1, examples=[1])
    """Number of all revisions."""

    @classmethod
    def of(cls, recording: CollectionRecording, latest: int = REVISIONS_SHOWN) -> "RecordingDetails":
        """Return a recording with its latest revisions."""
        facts = RecordingSummary.model_validate(recording).model_dump()
        return cls(
            **facts,
            history=[RecordingRevision.model_validate(revision) for revision in recording.history[-latest:]],
            revisions=len(recording.history),
        )


class RecordingPage(Schema):
    """Page of recordings, in the order of upload."""

    recordings: list[RecordingSummary]
    next_cursor: int | None = Field(examples=[1293])
    """Cursor of the next page; null on the last page."""


class UploadResult(Schema):
    """Result of one uploaded file: the recording, or an error."""

    file_name: FileName
    """Name that the client gave."""
    id: RecordingId | None
    """Id of the recording; null after an error."""
    added: bool = Field(examples=[True])
    """Whether the recording is new in the dataset."""
    relabelled: bool = Field(examples=[False])
    """Whether the recording was there already and its labels have changed."""
    recording: RecordingSummary | None
    """Recording as it is in the dataset; null after an error."""
    warning: str | None = Field(default=None, examples=["Its label is normal, and its name has the word 'anomaly'."])
    """What contradicts the label of the recording: a training refuses it until the label is corrected, or confirmed
    with `confirm_labels`; otherwise null."""
    error: Problem | None
    """Reason why the file was refused; otherwise null."""


class UploadResponse(Schema):
    """Results, in the order of the files."""

    results: list[UploadResult]


Text = Annotated[str, Field(max_length=MAX_TEXT, pattern=TEXT_PATTERN, strict=True)]


class LabelsChange(RequestSchema):
    """Correction of labels. A field that is left out does not change; null clears it."""

    label: Label | None = Field(default=None, examples=["abnormal"])
    machine: Text | None = Field(default=None, examples=["fan"])
    machine_id: Text | None = Field(default=None, examples=["fan-3"])
    snr_db: float | None = Field(default=None, strict=True, allow_inf_nan=False, examples=[6.0])
    """Signal-to-noise ratio in dB."""
    fault: Text | None = Field(default=None, examples=["imbalance"])
    """Name of the fault; only with the label `abnormal`. With another label, it is cleared."""
    group: Text | None = Field(default=None, examples=["monday"])
    """Recording session."""

    def to_label_changes(self) -> dict[str, str | float | None]:
        """Return the fields that the client sent."""
        return {name: getattr(self, name) for name in self.model_fields_set}
