"""The contract: what can be asked for, what comes of it, and the states in between.

One definition for the API, its OpenAPI schema, the workers and the command line. Parameters carry names and ids, never
paths or audio: a worker finds both in its own ``SIGNALML_HOME``.
"""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from ml.errors import SignalMLError
from ml.training.choices import PromotionPolicy, TrainingChoices

JobKind = Literal["feature-extraction", "scoring", "retraining", "diagnostic"]
JobState = Literal["queued", "running", "cancelling", "succeeded", "failed", "cancelled"]
QueueName = Literal["extraction", "scoring", "training"]
JOB_KINDS: tuple[JobKind, ...] = ("feature-extraction", "scoring", "retraining", "diagnostic")
JOB_STATES: tuple[JobState, ...] = ("queued", "running", "cancelling", "succeeded", "failed", "cancelled")
FINAL_STATES: tuple[JobState, ...] = ("succeeded", "failed", "cancelled")
QUEUES: tuple[QueueName, ...] = ("extraction", "scoring", "training")
MAX_ATTEMPTS = 3

Timestamp = Annotated[str, Field(description="ISO 8601, UTC.", examples=["2026-11-24T21:46:09.123+00:00"])]
DatasetName = Annotated[
    str,
    Field(
        pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$",
        description="A dataset: one that recordings were put into, or a folder below `datasets/`.",
        examples=["hall-3"],
    ),
]
ModelReference = Annotated[
    str,
    Field(
        pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$",
        description="A version, or an alias; an alias is resolved when the work begins.",
        examples=["champion"],
    ),
]


class JobSchema(BaseModel):
    """Base of everything that a job takes and gives."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class JobParameters(JobSchema):
    """Base of the parameters of each kind. True is no number, and no text is; a command line asks for less."""

    model_config = ConfigDict(strict=True)

    kind: ClassVar[JobKind]

    @property
    def queue(self) -> QueueName:
        """Where the work waits."""
        return QUEUE_OF[self.kind]

    @property
    def exclusive_key(self) -> str | None:
        """Of what only one may be under way; None for no such thing."""
        return None


class ExtractionParameters(JobParameters):
    """Compute and keep the features of every recording of a dataset, so that trainings find them."""

    kind = "feature-extraction"
    dataset: DatasetName
    features: Literal["spectrum", "original"] = Field(default="spectrum", examples=["spectrum"])
    """What a training of that kind hears: log-mel bands at the recordings' own rate, or the original's MFCCs."""


class ScoringParameters(JobParameters):
    """Judge every recording of a dataset, labelled or not."""

    kind = "scoring"
    dataset: DatasetName
    model: ModelReference = "champion"


class RetrainingTarget(JobParameters):
    """The dataset of a retraining, and what becomes of the candidate."""

    dataset: DatasetName
    promote: PromotionPolicy = Field(default="if-better", examples=["if-better"])
    """Whether the candidate becomes the champion, which answers uploads."""


class RetrainingParameters(TrainingChoices, RetrainingTarget):
    """Train a candidate on a dataset, hold it against the champion on recordings that neither has learned from."""

    kind: ClassVar[JobKind] = "retraining"

    @property
    def exclusive(self) -> str | None:
        """One retraining of a dataset at a time."""
        return f"retraining:{self.dataset}"


class DiagnosticParameters(JobParameters):
    """Do nothing, by way of a queue and a worker: shows that the way from request to result is whole."""

    kind = "diagnostic"
    through: QueueName = Field(default="scoring", examples=["scoring"])
    """The queue whose workers are to show that they work."""
    seconds: float = Field(default=0.0, ge=0, le=3600, examples=[0.0])
    """How long to do nothing."""

    @property
    def queue(self) -> QueueName:
        """The one that is looked at."""
        return self.through


PARAMETERS: dict[JobKind, type[JobParameters]] = {
    each.kind: each for each in (ExtractionParameters, ScoringParameters, RetrainingParameters, DiagnosticParameters)
}
QUEUE_OF: dict[JobKind, QueueName] = {
    "feature-extraction": "extraction",
    "scoring": "scoring",
    "retraining": "training",
    "diagnostic": "scoring",
}


class JobError(JobSchema):
    """Why a job failed."""

    code: str = Field(examples=["dataset_one_class"])
    """Never changes once released: a code of the error list, or `worker_lost`, `time_limit`, `internal_error`."""
    detail: str = Field(examples=["All 12 recordings in hall-3 are normal; a classifier learns from both."])


class JobProgress(JobSchema):
    """How far a job is."""

    step: str = Field(examples=["recordings"])
    """What is being done."""
    done: int = Field(ge=0, examples=[120])
    """How much of that step is behind us."""
    total: int = Field(ge=0, examples=[1000])
    """How much there is; 0 while that is not known."""
    eta_s: float | None = Field(examples=[42.5])
    """Seconds until this step is done, if it goes on like this; null while that cannot be said."""
    message: str = Field(examples=["loss 0.213, accuracy 93%"])


class Job(JobSchema):
    """One piece of long work, as its record says."""

    id: str = Field(examples=["019ac7d2f1e84c7b9a3e51d0"])
    kind: JobKind = Field(examples=["scoring"])
    state: JobState = Field(examples=["running"])
    attempt: int = Field(ge=0, le=MAX_ATTEMPTS, examples=[1])
    """How often its work, or the part that was begun most often, has been begun; 0 while it waits."""
    parameters: dict[str, Any] = Field(examples=[{"dataset": "hall-3", "model": "champion"}])
    progress: JobProgress | None
    """Null before the first report."""
    created: Timestamp
    started: Timestamp | None
    ended: Timestamp | None
    request_id: str = Field(examples=["0b3c5d4e1f2a4b6c"])
    """The X-Request-ID that caused it; it is in the log lines of API and workers."""
    dataset_version: str | None = Field(examples=["42"])
    """The state of the dataset that the work is pinned to; null until it begins."""
    model_version: str | None = Field(examples=["fan-3-47a1c71740"])
    """Of a scoring: the model that judges. Of a retraining: the candidate. Null until that is known."""
    summary: dict[str, Any] | None = Field(examples=[{"recordings": 1000, "anomalous": 12, "errors": 1}])
    """What came of it, in short; null until it succeeded."""
    error: JobError | None
    """Null unless it failed."""
    revision: int = Field(ge=1, examples=[17])
    """Counts every change of this record; the ETag."""

    @property
    def has_ended(self) -> bool:
        """Whether nothing will change any more."""
        return self.state in FINAL_STATES


class JobPage(JobSchema):
    """Jobs, the newest first."""

    jobs: list[Job]
    next: str | None = Field(examples=["019ac7d2f1e84c7b9a3e51d0"])
    """The cursor of the next page; null where there is none."""


class ExtractionRow(JobSchema):
    """What was done with one recording."""

    recording: str
    """The SHA-256 of its samples, 32 digits; empty where it cannot be read."""
    name: str
    """Its path in the dataset."""
    windows: int | None
    """How many clips it was cut into."""
    error: str | None
    """A code and a sentence; null where all went well."""


class JobRefused(SignalMLError):
    """Work that is not taken on, or a job that is not there."""

    code = "job_refused"


class JobNotFound(JobRefused):
    """There is no such job, or its record was forgotten with age."""

    code = "job_not_found"


class JobKindUnknown(JobRefused):
    """There is no such kind of job."""

    code = "job_kind_unknown"


class JobConflict(JobRefused):
    """Another job, asked for in other words, holds what this one needs."""

    code = "job_conflict"


class IdempotencyConflict(JobRefused):
    """The Idempotency-Key was used before, for another request."""

    code = "idempotency_conflict"


class ResultNotReady(JobRefused):
    """The job has no result: it has not succeeded, or not yet."""

    code = "job_result_not_ready"


class QueueUnavailable(JobRefused):
    """The job queue cannot be reached, or is not configured; everything else goes on."""

    code = "queue_unavailable"


class QueueFull(JobRefused):
    """As much work waits as is taken on."""

    code = "queue_full"
