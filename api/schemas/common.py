"""Base of all schemas; schemas of errors, models, job results and health."""

from typing import Annotated, Any, Literal

from pydantic import AliasPath, BaseModel, ConfigDict, Field, RootModel

from ml.dataset.annotations import TEXT_PATTERN
from ml.models.aliases import ALIASES, Alias
from ml.models.labels import MAX_MESSAGE, MAX_NAME
from ml.system.validation import show_required_example

Share = Annotated[float, Field(ge=0, le=1)]
ModelVersion = Annotated[str, Field(examples=["original-47a1c71740"])]
Timestamp = Annotated[str, Field(description="ISO 8601, UTC.", examples=["2026-11-22T21:46:09.123+00:00"])]


class Schema(BaseModel):
    """Base of all schemas. An answer is built from the attributes of the library's values.

    If a field and its attribute have different names, the validation alias is the name of the attribute.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, from_attributes=True)


class RequestSchema(Schema):
    """Base of the JSON bodies of requests."""

    model_config = ConfigDict(json_schema_extra=show_required_example)


class Problem(Schema):
    """Error answer (RFC 9457). `code` is for programs, `detail` for people."""

    type: str = Field(examples=["urn:signalml:problem:audio_truncated"])
    """URN of the error; it ends with the code."""
    title: str = Field(examples=["Unprocessable Content"])
    """Name of the HTTP status."""
    status: int = Field(examples=[422])
    """HTTP status."""
    detail: str = Field(
        examples=[
            "The header states 320000 bytes of samples; the file has 1000: the recording was cut short, or its length "
            "was not filled in at the end."
        ]
    )
    """What was found and what was expected."""
    code: str = Field(examples=["audio_truncated"])
    """Stable code; it never changes after a release."""
    request_id: str = Field(examples=["0b3c5d4e1f2a4b6c"])
    """`X-Request-ID` of this answer, which is also in every log line of the request."""


class AnsweringModel(Schema):
    """Model that answered; the whole answer comes from this version."""

    version: ModelVersion
    labels_revision: int = Field(ge=1, examples=[1])
    """Revision of its labels."""
    threshold_revision: int = Field(ge=1, examples=[1])
    """Revision of its threshold."""
    note: str | None = Field(examples=[None])
    """What a user must know about the model, for example that it is the demonstration model, which knows no real
    machine. Null if there is nothing."""


class ModelSummary(Schema):
    """Model version in the registry."""

    version: ModelVersion
    aliases: list[Alias] = Field(examples=[["champion"]])
    """Aliases that point to the version."""


class ModelList(Schema):
    """Versions, the newest first, and changes of the aliases, the oldest first."""

    models: list[ModelSummary]
    history: list["AliasHistoryEntry"]


class AliasHistoryEntry(Schema):
    """Change of an alias: it was pointed to a version."""

    at: Timestamp
    alias: Alias = Field(examples=["champion"])
    version: ModelVersion
    before: ModelVersion | None
    """Version that the alias pointed to before; null if none."""


class Class(Schema):
    """Class of a model."""

    name: str = Field(examples=["imbalance"])
    message: str = Field(examples=["Component is imbalanced"])
    """Text of the class for people."""
    anomalous: bool = Field(examples=[True])
    """Whether the class is a fault."""


class LabelsRevision(Schema):
    """Names and messages of the classes, valid from a time on."""

    revision: int = Field(ge=1, examples=[1])
    created: Timestamp
    classes: list[Class] = Field(validation_alias=AliasPath("labels", "classes"))


class ThresholdFacts(Schema):
    """Threshold of a model."""

    threshold: Share = Field(examples=[0.5])
    """A score above it is anomalous."""
    false_alarm_rate: Share | None = Field(examples=[None])
    """Expected share of normal recordings above the threshold; null if it was never measured."""
    basis: str = Field(examples=["the most probable class, as the original decided; never measured"])
    """Origin of the threshold."""


class ModelDetails(ModelSummary):
    """Model version with all its facts."""

    created: Timestamp
    features: dict[str, str | int | float | None] = Field(examples=[{"sample_rate_hz": 22050, "n_mfcc": 40}])
    """Feature spec: how a recording becomes the input of the model."""
    features_fingerprint: str = Field(examples=["28b48ffbb1c23a59"])
    """Hash of the feature spec."""
    decision: ThresholdFacts
    labels: list[LabelsRevision]
    """All revisions, the present one last."""
    card: dict[str, object]
    """Model card: origin, figures and limits of the version."""


class AliasTarget(RequestSchema):
    """New target of an alias."""

    version: str = Field(min_length=1, max_length=64, examples=["original-47a1c71740", "previous"])
    """A version or another alias. For `champion`, `previous` rolls back and `challenger` promotes."""


class AliasState(Schema):
    """Versions that the aliases point to now."""

    aliases: dict[Alias, str] = Field(examples=[dict.fromkeys(ALIASES[:1], "original-47a1c71740")])


class ClassName(Schema):
    """New name and message of a class."""

    name: str = Field(min_length=1, max_length=MAX_NAME, pattern=TEXT_PATTERN, examples=["imbalance"])
    message: str = Field(
        min_length=1, max_length=MAX_MESSAGE, pattern=TEXT_PATTERN, examples=["Fan 3: the rotor is out of balance"]
    )


class LabelsPatch(RequestSchema):
    """New names and messages, one for each class, in the order of the classes."""

    classes: list[ClassName] = Field(min_length=2, max_length=1000)


class JobRows(RootModel[list[dict[str, Any]]]):
    """Rows of a result. The columns depend on the kind of the job."""

    root: list[dict[str, Any]] = Field(
        examples=[[{"recording": "5f0c", "name": "a.wav", "verdict": "anomalous", "score": 0.93, "error": None}]]
    )


class Live(Schema):
    """Answer of a process that is alive."""

    status: Literal["alive"] = "alive"


class QueueState(Schema):
    """Last known state of the job queue. It does not affect readiness."""

    status: Literal["not configured", "reachable", "unreachable", "unknown"]
    detail: str | None
    """Reason why the queue is unreachable; otherwise null."""


class ListenerState(Schema):
    """Last known state of the listener. It does not affect readiness."""

    status: Literal["running", "not running"]
    sources: int = Field(ge=0, examples=[2])
    """Number of sources that are switched on."""
    listening: int = Field(ge=0, examples=[2])
    """Number of sources whose sound arrives, or that wait by their schedule."""
    detail: str | None = Field(examples=[None])
    """How to start the listener; null if it runs."""


class Ready(Schema):
    """Whether uploads are answered."""

    status: Literal["ready", "not ready"]
    model: AnsweringModel | None
    """Model that answers; null if there is none."""
    model_failure: str | None
    """Reason why the present champion cannot be used, so that an earlier model or none answers; otherwise null."""
    queue: QueueState
    listener: ListenerState | None = Field(examples=[None])
    """State of live listening; null without sources."""
