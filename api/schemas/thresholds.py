"""Schemas of thresholds."""

from typing import Self

from pydantic import AliasPath, ConfigDict, Field, field_validator, model_validator

from api.schemas.common import ModelVersion, Schema, Share, Timestamp
from api.schemas.machines import AlarmRule, MachineId
from ml.detectors.alarm_limit import EVERY_PATTERN, FALSE_ALARMS_PATTERN, FalseAlarmLimit
from ml.detectors.alarm_rule import KOfNRule
from ml.detectors.calibration import RateHoldsFor
from ml.detectors.false_alarms import FalseAlarms
from ml.detectors.thresholds import SENSITIVITIES, OperatingPoint, Sensitivity
from ml.errors import InvalidParameter
from ml.models.thresholds import ThresholdRequest
from worker.jobs import DatasetName


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


class AlarmFrequency(Schema):
    """Expected false alarms of a machine at the present threshold, under the alarm rule of this service.

    They are counted by applying the rule to the scores of normal recordings, session after session. To get a number per
    day, multiply by the recordings in a day.
    """

    rule: AlarmRule
    per_recording: ExpectedRate
    """Expected number of false alarms per recording of a machine, with a 95 % interval over sessions. Its inverse is
    the number of recordings between two false alarms."""
    counted: int = Field(ge=0, examples=[0])
    """Number of alarms that were counted."""
    n: int = Field(ge=1, examples=[199])
    """Number of these recordings."""
    n_sessions: int = Field(ge=1, examples=[5])
    """Number of their sessions."""
    rate_holds_for: RateHoldsFor = Field(examples=["new_session"])
    """Whether the figures hold for recordings of new sessions or of the same sessions only."""
    notes: list[str] = Field(examples=[[]])
    """What the recordings support, if a limit of false alarms was requested; in sentences."""

    @classmethod
    def of(cls, found: FalseAlarms, notes: tuple[str, ...]) -> "AlarmFrequency":
        """Return the answer for counted false alarms."""
        values = {name: getattr(found, name) for name in cls.model_fields if name != "notes"}
        return cls.model_validate(values | {"notes": list(notes)})


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
    false_alarms: str | None = Field(
        default=None, examples=["1/month"], validation_alias=AliasPath("limit", "false_alarms")
    )
    """Limit of false alarms that was requested; null if the request had none."""
    every: str | None = Field(default=None, examples=["10min"], validation_alias=AliasPath("limit", "every"))
    """Time between recordings for this limit; null without one."""
    basis: str = Field(
        validation_alias=AliasPath("decision", "basis"),
        examples=["for 5 % false alarms; above it were 9 of 199 healthy recordings that had not been learned from"],
    )
    """Origin of the threshold."""


class OddRecordingFacts(Schema):
    """Normal recording that stands apart from its session."""

    name: str = Field(examples=["normal/door.wav"])
    """Path in the dataset."""
    machine: str = Field(examples=["fan/fan-3"])
    session: str = Field(examples=["monday"])
    times: float = Field(ge=0, examples=[4.2])
    """Its relative distance, as a multiple of the median of its session."""


class RecalibrationFacts(Schema):
    """Normal recordings that the threshold comes from, beside or instead of those of the training."""

    dataset: str = Field(examples=["hall-4"])
    recordings: int = Field(ge=1, examples=[120], validation_alias=AliasPath("named"))
    """Number of recordings."""
    sessions: int = Field(ge=1, examples=[3], validation_alias=AliasPath("n_sessions"))
    """Number of their sessions."""
    with_training: bool = Field(examples=[True])
    """Whether the recordings of the training count too."""
    odd_recordings: list[OddRecordingFacts]
    """Recordings that stand apart from their session. The threshold does not count them: listen to them."""
    left_out: dict[str, int] = Field(examples=[{"that the model has learned from": 60}])
    """Number of other normal recordings of the dataset, by the reason why they do not count."""

    @field_validator("recordings", mode="before")
    @classmethod
    def _count(cls, value: object) -> object:
        return len(value) if isinstance(value, tuple) else value


class ThresholdState(Schema):
    """Present threshold of a version, its alternatives and its history."""

    version: ModelVersion
    current: ThresholdPlace
    """Present threshold."""
    evidence: ThresholdEvidence | None
    """Null for a model without scores of normal recordings: a classifier that was imported, or trained by an earlier
    version."""
    alarms: AlarmFrequency | None
    """False alarms of a machine at the present threshold; null for such a model. In a model with a classifier and a
    detector, alarms that the classifier causes are counted too, unless it was trained by an earlier version."""
    recalibration: RecalibrationFacts | None
    """Null if the scores are those of the training alone."""
    sensitivities: list[SensitivityPoint]
    """Threshold of each sensitivity; empty for such a model."""
    history: list[ThresholdPlace]
    """All revisions, the present one last."""


class PreviewedAlarm(Schema):
    """Alarm of a machine at a threshold."""

    raised_at: Timestamp
    cleared_at: Timestamp | None
    """Null if it lasts until the last recording."""
    highest: Share = Field(examples=[0.91])
    """Highest score within it."""


class PreviewedVerdicts(Schema):
    """Verdicts on a machine at a threshold."""

    anomalous: int = Field(ge=0, examples=[4])
    """Number of anomalous recordings."""
    alarms: list[PreviewedAlarm]
    """Alarms by the alarm rule of this service, in time order."""


class MachinePreview(Schema):
    """What a threshold would have meant for a machine."""

    machine_id: MachineId
    since: Timestamp
    """Time of the first recording that counts."""
    recordings: int = Field(ge=1, examples=[480])
    """Number of judged recordings of this version that are kept, at most 1000."""
    given: PreviewedVerdicts
    """As the answers were."""
    then: PreviewedVerdicts
    """At the threshold of the preview. What the classifier alone found stays anomalous."""


class ThresholdPreview(Schema):
    """What a threshold would mean: for normal recordings of the training, and for the last recordings of machines."""

    version: ModelVersion
    threshold: Share = Field(examples=[0.62])
    evidence: ThresholdEvidence | None
    """Null for a model without scores of normal recordings."""
    alarms: AlarmFrequency | None
    """False alarms of a machine at this threshold; null for such a model."""
    normal_scores: list[Share] = Field(examples=[[0.11, 0.19, 0.37]])
    """Scores of normal recordings by engines that have not learned from them, in rising order; empty for such a model.
    Recordings that stand apart from their session are left out."""
    machines: list[MachinePreview]
    """Machines with verdicts of this version, by name; for a key that is bound to machines, these only."""


class ThresholdPatch(Schema):
    """New threshold: exactly one field; also `every` with `false_alarms`, a rate or sensitivity with `recalibrate`."""

    # Strict: the schema allows neither the text "0.5" as a number nor 1 as true.
    model_config = ConfigDict(strict=True, json_schema_extra={"examples": [{"sensitivity": "high"}]})

    threshold: Share | None = None
    """Score, 0 to 1."""
    false_alarm_rate: float | None = Field(default=None, gt=0, lt=1)
    """Share of normal recordings that may be above the threshold; more than 0 and less than 1."""
    sensitivity: Sensitivity | None = None
    """Named false-alarm rate: low is 0.001, medium 0.01, high 0.05."""
    false_alarms: str | None = Field(default=None, pattern=FALSE_ALARMS_PATTERN, examples=["1/month"])
    """Largest number of false alarms of a machine in a day, week, month or year, by the alarm rule of this service.
    If the normal recordings do not support it, the threshold is the lowest without a false alarm among them, and a note
    states what they support."""
    every: str | None = Field(default=None, pattern=EVERY_PATTERN, examples=["10min"])
    """Time from one recording to the next, for `false_alarms`: a number with s, min, h or d."""
    reset: bool = False
    """Whether to return to the threshold that the model was written with."""
    recalibrate: DatasetName | None = None
    """Dataset whose normal recordings set the threshold. Without a rate or a sensitivity, the rate stays as it is."""
    confirm_labels: bool = False
    """With `recalibrate`: use recordings although their names contradict their labels."""

    @model_validator(mode="after")
    def _recalibrate_with_a_rate(self) -> Self:
        if self.confirm_labels and self.recalibrate is None:
            raise ValueError("confirm_labels was given without recalibrate")
        if self.recalibrate is not None:
            if self.reset or any(each is not None for each in (self.threshold, self.false_alarms, self.every)):
                raise ValueError("recalibrate was given with another field than a rate or a sensitivity")
            if self.false_alarm_rate is not None and self.sensitivity is not None:
                raise ValueError("false_alarm_rate and sensitivity were given; one of them was expected")
        return self

    def to_request(self, rule: KOfNRule) -> ThresholdRequest:
        """Return the request for the registry.

        Args:
            rule: alarm rule of this service.

        Raises:
            InvalidParameter: none or several of the five, or one of false_alarms and every without the other.
        """
        values = self.model_dump(exclude={"false_alarms", "every", "recalibrate", "confirm_labels"})
        return ThresholdRequest(**values, limit=self._limit(rule))

    def _limit(self, rule: KOfNRule) -> FalseAlarmLimit | None:
        if self.false_alarms is None and self.every is None:
            return None
        if self.false_alarms is None or self.every is None:
            raise InvalidParameter("One of false_alarms and every was given; both together were expected.")
        return FalseAlarmLimit(self.false_alarms, self.every, rule)
