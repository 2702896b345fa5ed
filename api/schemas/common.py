"""What goes over the wire: names, units, ranges and examples."""

from typing import Annotated, Any, Literal

from pydantic import AliasPath, BaseModel, ConfigDict, Field, RootModel

from ml.models.labels import MAX_MESSAGE, MAX_NAME
from ml.models.registry import ALIASES

Share = Annotated[float, Field(ge=0, le=1)]
ModelVersion = Annotated[str, Field(examples=["original-47a1c71740"])]
Timestamp = Annotated[str, Field(description="ISO 8601, UTC.", examples=["2026-11-22T21:46:09.123+00:00"])]


class Schema(BaseModel):
    """Base of everything sent or taken. An answer is made from the attributes of the library's values.

    Where a field has another name than the attribute, its validation alias says which one it is.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, from_attributes=True)


class Problem(Schema):
    """An error, as RFC 9457 has it; `code` is stable and meant for programs, `detail` for people."""

    type: str = Field(examples=["urn:signalml:problem:audio_truncated"])
    """URN of the kind of problem; ends in its code."""
    title: str = Field(examples=["Unprocessable Content"])
    """The HTTP status in words."""
    status: int = Field(examples=[422])
    """The HTTP status."""
    detail: str = Field(examples=["The header promises 320000 bytes of samples and 1000 are there."])
    """What was found and what was expected."""
    code: str = Field(examples=["audio_truncated"])
    """Never changes once released."""
    request_id: str = Field(examples=["0b3c5d4e1f2a4b6c"])
    """The X-Request-ID of this answer, also in every log line about it."""


class AnsweringModel(Schema):
    """Which model answered; the whole answer comes from this one."""

    version: ModelVersion
    labels_revision: int = Field(ge=1, examples=[1])
    """Which revision of its labels."""
    threshold_revision: int = Field(ge=1, examples=[1])
    """Which revision of its threshold."""


class ModelSummary(Schema):
    """One version in the registry."""

    version: ModelVersion
    aliases: list[Literal["champion", "challenger", "previous"]] = Field(examples=[["champion"]])
    """The aliases that point to it."""


class ModelList(Schema):
    """The versions, the newest first, and how the aliases came about, the oldest change first."""

    models: list[ModelSummary]
    history: list["AliasHistoryEntry"]


class AliasHistoryEntry(Schema):
    """An alias was pointed to a version."""

    at: Timestamp
    alias: Literal["champion", "challenger", "previous"] = Field(examples=["champion"])
    version: ModelVersion
    before: ModelVersion | None
    """The version it pointed to before."""


class Class(Schema):
    """A class of a model."""

    name: str = Field(examples=["imbalance"])
    message: str = Field(examples=["Component is imbalanced"])
    anomalous: bool = Field(examples=[True])


class LabelsRevision(Schema):
    """What the classes were called from a time on."""

    revision: int = Field(ge=1, examples=[1])
    created: Timestamp
    classes: list[Class] = Field(validation_alias=AliasPath("labels", "classes"))


class ThresholdFacts(Schema):
    """From score to verdict."""

    threshold: Share = Field(examples=[0.5])
    false_alarm_rate: Share | None = Field(examples=[None])
    basis: str = Field(examples=["the most probable class, as the original decided; never measured"])
    """Where the threshold comes from."""


class ModelDetails(ModelSummary):
    """One version, whole."""

    created: Timestamp
    features: dict[str, str | int | float | None] = Field(examples=[{"sample_rate_hz": 22050, "n_mfcc": 40}])
    """The feature spec: how a sound becomes what the network hears."""
    features_fingerprint: str = Field(examples=["28b48ffbb1c23a59"])
    decision: ThresholdFacts
    labels: list[LabelsRevision]
    """Every revision, the current one last."""
    card: dict[str, object]
    """Where the model comes from, what it was measured on, and what it cannot do."""


class AliasTarget(Schema):
    """What an alias is to point to."""

    version: str = Field(min_length=1, max_length=64, examples=["original-47a1c71740", "previous"])
    """A version, or another alias: champion <- previous rolls back, champion <- challenger promotes."""


class AliasState(Schema):
    """Where the aliases point now."""

    aliases: dict[Literal["champion", "challenger", "previous"], str] = Field(
        examples=[dict.fromkeys(ALIASES[:1], "original-47a1c71740")]
    )


class ClassName(Schema):
    """What a class is to be called."""

    name: str = Field(min_length=1, max_length=MAX_NAME, examples=["imbalance"])
    message: str = Field(min_length=1, max_length=MAX_MESSAGE, examples=["Fan 3: the rotor is out of balance"])


class LabelsPatch(Schema):
    """New names and messages, one for each class, in the order of the classes."""

    classes: list[ClassName] = Field(min_length=2, max_length=1000)


class JobRows(RootModel[list[dict[str, Any]]]):
    """The rows of a result, whose columns depend on the kind of the job."""

    root: list[dict[str, Any]] = Field(
        examples=[[{"recording": "5f0c", "name": "a.wav", "verdict": "anomalous", "score": 0.93, "error": None}]]
    )


class Live(Schema):
    """The process answers."""

    status: Literal["alive"] = "alive"


class QueueState(Schema):
    """The job queue as it was last seen; never a reason not to be ready."""

    status: Literal["not configured", "reachable", "unreachable", "unknown"]
    detail: str | None
    """Why it is unreachable."""


class Ready(Schema):
    """Whether uploads are answered."""

    status: Literal["ready", "not ready"]
    model: AnsweringModel | None
    """The model that answers."""
    model_failure: str | None
    """Why the present champion does not answer and an earlier one does, or none."""
    queue: QueueState
