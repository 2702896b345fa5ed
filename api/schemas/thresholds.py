"""What goes over the wire about thresholds: names, units, ranges and examples."""

from pydantic import AliasPath, ConfigDict, Field

from api.schemas.common import ModelVersion, Schema, Share, Timestamp
from ml.detectors.thresholds import SENSITIVITIES, OperatingPoint, Sensitivity
from ml.models.thresholds import ThresholdRequest


class ExpectedRate(Schema):
    """Share of further healthy recordings above a threshold, and its 95 % interval, which draws sessions."""

    value: Share = Field(examples=[0.05])
    low: Share = Field(examples=[0.021])
    high: Share = Field(examples=[0.094])


class ThresholdEvidence(Schema):
    """What healthy recordings, which the model had not learned from, say of a threshold."""

    expected: ExpectedRate = Field(validation_alias=AliasPath("expected_rate"))
    n: int = Field(ge=1, examples=[199])
    """How many recordings say so."""
    smallest_rate: Share = Field(examples=[0.005])
    """The smallest false-alarm rate that so many bear out: 1 / (n + 1)."""
    notes: list[str] = Field(examples=[["The interval was drawn from 5 sessions and is rough."]])
    """What to know of the figures."""


class SensitivityPoint(Schema):
    """What a sensitivity would mean."""

    sensitivity: Sensitivity = Field(examples=["high"])
    false_alarm_rate: Share = Field(examples=[0.05])
    """The rate that it is the name of."""
    threshold: Share = Field(examples=[0.62])
    evidence: ThresholdEvidence

    @classmethod
    def of(cls, sensitivity: Sensitivity, operating: OperatingPoint) -> "SensitivityPoint":
        """An operating point as it is sent."""
        return cls(
            sensitivity=sensitivity,
            false_alarm_rate=SENSITIVITIES[sensitivity],
            threshold=operating.threshold,
            evidence=ThresholdEvidence.model_validate(operating),
        )


class ThresholdPlace(Schema):
    """Where the threshold was from a time on."""

    revision: int = Field(ge=1, examples=[2])
    """1 is what the model was written with."""
    created: Timestamp
    threshold: Share = Field(examples=[0.62], validation_alias=AliasPath("decision", "threshold"))
    """A score above it is anomalous."""
    false_alarm_rate: Share | None = Field(examples=[0.05], validation_alias=AliasPath("decision", "false_alarm_rate"))
    """Share of healthy recordings above it; null where nobody has measured it."""
    sensitivity: Sensitivity | None = Field(examples=["high"])
    """The name that it was asked for by."""
    basis: str = Field(
        validation_alias=AliasPath("decision", "basis"),
        examples=["for 5 % false alarms; above it were 9 of 199 healthy recordings that had not been learned from"],
    )
    """Where it comes from."""


class ThresholdState(Schema):
    """Where a version's threshold is, what is known of that, where else it could be, and where it was."""

    version: ModelVersion
    current: ThresholdPlace
    evidence: ThresholdEvidence | None
    """What is known of it; null for a model without scores of healthy recordings, as a classifier alone is."""
    sensitivities: list[SensitivityPoint]
    """What each would mean; none for such a model."""
    history: list[ThresholdPlace]
    """Every revision, the current one last."""


class ThresholdPatch(Schema):
    """Where the threshold is to be: exactly one of the four says so."""

    # Strict, because neither "0.5" nor 1 for true is what the schema says.
    model_config = ConfigDict(strict=True, json_schema_extra={"examples": [{"sensitivity": "high"}]})

    threshold: Share | None = None
    """The score itself."""
    false_alarm_rate: float | None = Field(default=None, gt=0, lt=1)
    """The share of healthy recordings that may be above it."""
    sensitivity: Sensitivity | None = None
    """That share by its name: low is 0.001, medium 0.01, high 0.05."""
    reset: bool = False
    """Back to where it was when the model was written."""

    def to_request(self) -> ThresholdRequest:
        """As the registry takes it.

        Raises:
            InvalidParameter: none or several of the four.
        """
        return ThresholdRequest(**self.model_dump())
