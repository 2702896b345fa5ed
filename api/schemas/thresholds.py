"""Schemas of thresholds."""

from pydantic import AliasPath, ConfigDict, Field

from api.schemas.common import ModelVersion, Schema, Share, Timestamp
from ml.detectors.calibration import RateHoldsFor
from ml.detectors.thresholds import SENSITIVITIES, OperatingPoint, Sensitivity
from ml.models.thresholds import ThresholdRequest


class ExpectedRate(Schema):
    """Expected share of further normal recordings above a threshold, with a 95 % interval over sessions."""

    value: Share = Field(examples=[0.05])
    low: Share = Field(examples=[0.021])
    high: Share = Field(examples=[0.094])


class ThresholdEvidence(Schema):
    """Measured properties of a threshold, from normal recordings that the model has not learned from."""

    expected: ExpectedRate = Field(validation_alias=AliasPath("expected_rate"))
    n: int = Field(ge=1, examples=[199])
    """Number of these recordings."""
    n_sessions: int = Field(ge=1, examples=[5])
    """Number of their sessions."""
    n_odd: int = Field(ge=0, examples=[3])
    """Number of these recordings that stand apart from their session. The threshold does not count them."""
    rate_holds_for: RateHoldsFor = Field(examples=["new_session"])
    """`new_session`: the rates hold for recordings of sessions that were never recorded. `same_session`: only for
    recordings of the sessions that the model has learned from."""
    smallest_rate: Share = Field(examples=[0.005])
    """Lowest false-alarm rate that their number supports: 1 / (n - n_odd + 1)."""
    notes: list[str] = Field(examples=[["The interval was drawn from 5 sessions and is rough."]])
    """Limits of these figures, in sentences."""


class SensitivityPoint(Schema):
    """Threshold of a sensitivity."""

    sensitivity: Sensitivity = Field(examples=["high"])
    false_alarm_rate: Share = Field(examples=[0.05])
    """False-alarm rate of this sensitivity."""
    threshold: Share = Field(examples=[0.62])
    evidence: ThresholdEvidence

    @classmethod
    def of(cls, sensitivity: Sensitivity, operating: OperatingPoint) -> "SensitivityPoint":
        """Return the answer for an operating point."""
        return cls(
            sensitivity=sensitivity,
            false_alarm_rate=SENSITIVITIES[sensitivity],
            threshold=operating.threshold,
            evidence=ThresholdEvidence.model_validate(operating),
        )


class ThresholdPlace(Schema):
    """Revision of the threshold, valid from a time on."""

    revision: int = Field(ge=1, examples=[2])
    """Number of the revision; 1 is the threshold that the model was written with."""
    created: Timestamp
    threshold: Share = Field(examples=[0.62], validation_alias=AliasPath("decision", "threshold"))
    """A score above it is anomalous."""
    false_alarm_rate: Share | None = Field(examples=[0.05], validation_alias=AliasPath("decision", "false_alarm_rate"))
    """Expected share of normal recordings above the threshold; null if it was never measured."""
    sensitivity: Sensitivity | None = Field(examples=["high"])
    """Sensitivity that was requested; null if the request had none."""
    basis: str = Field(
        validation_alias=AliasPath("decision", "basis"),
        examples=["for 5 % false alarms; above it were 9 of 199 healthy recordings that had not been learned from"],
    )
    """Origin of the threshold."""


class ThresholdState(Schema):
    """Present threshold of a version, its alternatives and its history."""

    version: ModelVersion
    current: ThresholdPlace
    """Present threshold."""
    evidence: ThresholdEvidence | None
    """Null for a model without scores of normal recordings: a classifier that was imported, or trained by an earlier
    version."""
    sensitivities: list[SensitivityPoint]
    """Threshold of each sensitivity; empty for such a model."""
    history: list[ThresholdPlace]
    """All revisions, the present one last."""


class ThresholdPatch(Schema):
    """New threshold. Send exactly one of the four fields."""

    # Strict: the schema allows neither the text "0.5" as a number nor 1 as true.
    model_config = ConfigDict(strict=True, json_schema_extra={"examples": [{"sensitivity": "high"}]})

    threshold: Share | None = None
    """Score, 0 to 1."""
    false_alarm_rate: float | None = Field(default=None, gt=0, lt=1)
    """Share of normal recordings that may be above the threshold; more than 0 and less than 1."""
    sensitivity: Sensitivity | None = None
    """Named false-alarm rate: low is 0.001, medium 0.01, high 0.05."""
    reset: bool = False
    """Whether to return to the threshold that the model was written with."""

    def to_request(self) -> ThresholdRequest:
        """Return the request for the registry.

        Raises:
            InvalidParameter: none or several of the four.
        """
        return ThresholdRequest(**self.model_dump())
