"""Jobs: kinds, parameters, records, states and errors.

API, OpenAPI schema, workers and command line use these definitions. Parameters contain names and ids, never paths or
audio: a worker finds both in its own ``SIGNALML_HOME``.
"""

import re
from typing import Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ml.dataset.paths import NAME_PATTERN
from ml.detectors.sensitivity import Sensitivity
from ml.errors import SignalMLError
from ml.features.kinds import FeatureKind
from ml.system.validation import show_required_example
from ml.training.choices import PromotionPolicy, TrainingChoices

JobKind = Literal["feature-extraction", "scoring", "retraining", "recalibration", "diagnostic"]
JobState = Literal["queued", "running", "cancelling", "succeeded", "failed", "cancelled"]
QueueName = Literal["extraction", "scoring", "training"]
JOB_KINDS: tuple[JobKind, ...] = get_args(JobKind)
JOB_STATES: tuple[JobState, ...] = get_args(JobState)
FINAL_STATES: tuple[JobState, ...] = ("succeeded", "failed", "cancelled")
QUEUES: tuple[QueueName, ...] = get_args(QueueName)
MAX_ATTEMPTS = 3
JOB_ID = re.compile(r"[0-9a-f]{24}")
"""Id of a job: milliseconds and random digits."""

Timestamp = Annotated[str, Field(description="ISO 8601, UTC.", examples=["2026-11-24T21:46:09.123+00:00"])]
DatasetName = Annotated[
    str,
    Field(
        pattern=f"^{NAME_PATTERN.pattern}$",
        description="Name of a dataset: a collection of uploads, or a folder below `datasets/`.",
        examples=["hall-3"],
    ),
]
ModelReference = Annotated[
    str,
    Field(
        pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$",
        description="Model version or alias; an alias is resolved when the work begins.",
        examples=["champion"],
    ),
]


class JobSchema(BaseModel):
    """Base of all job schemas."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class JobParameters(JobSchema):
    """Base of the parameters of each kind. Over HTTP, neither `true` nor a text is accepted as a number."""

    model_config = ConfigDict(strict=True, json_schema_extra=show_required_example)

    kind: ClassVar[JobKind]
    usual_queue: ClassVar[QueueName]

    @property
    def queue(self) -> QueueName:
        """Queue of the work."""
        return self.usual_queue

    @property
    def exclusive_key(self) -> str | None:
        """Key that only one unfinished job can hold; None without this limit."""
        return None


class ExtractionParameters(JobParameters):
    """Compute and store the features of all labelled recordings of a dataset, so that trainings find them."""

    kind = "feature-extraction"
    usual_queue = "extraction"
    dataset: DatasetName
    features: FeatureKind = Field(default="spectrum", examples=["spectrum"])
    """`spectrum` (default): log-mel bands at the recordings' sample rate; `original`: MFCCs of the original project."""


class ScoringParameters(JobParameters):
    """Judge every recording of a dataset, labelled or not."""

    kind = "scoring"
    usual_queue = "scoring"
    dataset: DatasetName
    model: ModelReference = "champion"


class RetrainingTarget(JobParameters):
    """Dataset and promotion policy of a retraining."""

    dataset: DatasetName
    promote: PromotionPolicy = Field(default="if-better", examples=["if-better"])
    """Whether the candidate becomes the champion: `always`, `never`, or `if-better` than the present one (default)."""


class RetrainingParameters(TrainingChoices, RetrainingTarget):
    """Train a candidate, and compare it with the champion on recordings that neither has learned from."""

    kind: ClassVar[JobKind] = "retraining"
    usual_queue: ClassVar[QueueName] = "training"

    @property
    def exclusive_key(self) -> str | None:
        """Key of the dataset: only one retraining of a dataset runs at a time."""
        return f"retraining:{self.dataset}"


class RecalibrationParameters(JobParameters):
    """Set a model's threshold with the normal recordings of a dataset, without a training.

    Recordings that the model has learned from do not count. Give a rate or a sensitivity, or neither: then the rate
    stays as it is.
    """

    kind = "recalibration"
    usual_queue = "scoring"
    dataset: DatasetName
    model: ModelReference = "champion"
    false_alarm_rate: float | None = Field(default=None, gt=0, lt=1, examples=[0.01])
    """Share of normal recordings that may be above the threshold; more than 0 and less than 1."""
    sensitivity: Sensitivity | None = Field(default=None, examples=["medium"])
    """Named false-alarm rate."""
    confirm_labels: bool = Field(default=False, examples=[False])
    """Use recordings although their names contradict their labels, such as `anomaly_1.wav` with the label `normal`."""

    @model_validator(mode="after")
    def _require_one_rate(self) -> Self:
        if self.false_alarm_rate is not None and self.sensitivity is not None:
            raise ValueError("false_alarm_rate and sensitivity were given; one of them was expected")
        return self


class DiagnosticParameters(JobParameters):
    """Test a queue and its workers with a job that does nothing."""

    kind = "diagnostic"
    usual_queue = "scoring"
    through: QueueName = Field(default="scoring", examples=["scoring"])
    """Queue to test; by default `scoring`."""
    seconds: float = Field(default=0.0, ge=0, le=3600, examples=[0.0])
    """Duration of the job in seconds, 0 to 3600; by default 0."""

    @property
    def queue(self) -> QueueName:
        """Queue to test."""
        return self.through


PARAMETERS: dict[JobKind, type[JobParameters]] = {
    each.kind: each
    for each in (
        ExtractionParameters,
        ScoringParameters,
        RetrainingParameters,
        RecalibrationParameters,
        DiagnosticParameters,
    )
}


class JobError(JobSchema):
    """Why a job failed."""

    code: str = Field(examples=["dataset_one_class"])
    """Stable code: one of the error list, or `worker_lost`, `time_limit`, `internal_error`."""
    detail: str = Field(
        examples=["All 12 recordings in hall-3 are normal; a classifier needs normal and abnormal recordings."]
    )


class JobProgress(JobSchema):
    """Progress of a job."""

    step: str = Field(examples=["recordings"])
    """Name of the present step."""
    done: int = Field(ge=0, examples=[120])
    """Number of finished items of the step."""
    total: int = Field(ge=0, examples=[1000])
    """Number of all items of the step; 0 if unknown."""
    eta_s: float | None = Field(examples=[42.5])
    """Estimated time until the end of the step, in seconds; null if unknown."""
    message: str = Field(examples=["loss 0.213, accuracy 93%"])


class Job(JobSchema):
    """Record of a job."""

    id: str = Field(examples=["019ac7d2f1e84c7b9a3e51d0"])
    kind: JobKind = Field(examples=["scoring"])
    state: JobState = Field(examples=["running"])
    attempt: int = Field(ge=0, le=MAX_ATTEMPTS, examples=[1])
    """Number of starts of the work or, in a job with parts, the highest number of any part; 0 before the start."""
    parameters: dict[str, Any] = Field(examples=[{"dataset": "hall-3", "model": "champion"}])
    progress: JobProgress | None
    """Null before the first report."""
    created: Timestamp
    started: Timestamp | None
    ended: Timestamp | None
    request_id: str = Field(examples=["0b3c5d4e1f2a4b6c"])
    """X-Request-ID of the request that created the job; the log lines of API and workers contain it."""
    dataset_version: str | None = Field(examples=["42"])
    """Version of the dataset that the job uses; null until the work begins."""
    model_version: str | None = Field(examples=["fan-3-47a1c71740"])
    """Scoring: the version that judges. Retraining: the candidate. Recalibration: the version whose threshold is set.
    Null until it is known."""
    summary: dict[str, Any] | None = Field(examples=[{"recordings": 1000, "anomalous": 12, "errors": 1}])
    """Short result; null until the job has succeeded."""
    error: JobError | None
    """Null unless the job has failed."""
    revision: int = Field(ge=1, examples=[17])
    """Number of changes of this record; its ETag."""

    @property
    def has_ended(self) -> bool:
        """Whether the state is final."""
        return self.state in FINAL_STATES


class JobPage(JobSchema):
    """Page of jobs, newest first."""

    jobs: list[Job]
    next: str | None = Field(examples=["019ac7d2f1e84c7b9a3e51d0"])
    """Cursor of the next page; null on the last page."""
    unreadable: list[str] = Field(default=[], examples=[[]])
    """Ids of jobs whose records are damaged; left out if there are none."""


class ExtractionRow(JobSchema):
    """Result of a feature extraction for one recording."""

    recording: str
    """Hash of the samples, 32 hexadecimal digits of SHA-256; empty if the file cannot be read."""
    name: str
    """Path in the dataset."""
    windows: int | None
    """Number of clips; null if there are no features."""
    error: str | None
    """Error code, colon, sentence; null without an error."""


class JobRefused(SignalMLError):
    """A request about a job was refused."""

    code = "job_refused"


class JobNotFound(JobRefused):
    """The job does not exist, or its record was deleted because of its age."""

    code = "job_not_found"


class JobRecordDamaged(JobRefused):
    """The record of the job is damaged: something else has written to the job queue."""

    code = "job_record_damaged"


class JobKindUnknown(JobRefused):
    """The job kind does not exist."""

    code = "job_kind_unknown"


class JobConflict(JobRefused):
    """Another job on the same dataset has not ended, and only one of them can run at a time."""

    code = "job_conflict"


class ResultNotReady(JobRefused):
    """The job has no result, because it has not succeeded."""

    code = "job_result_not_ready"


class QueueUnavailable(JobRefused):
    """The job queue is unreachable, full or not configured. Everything except jobs works."""

    code = "queue_unavailable"


class QueueFull(JobRefused):
    """The maximum number of units already waits."""

    code = "queue_full"
