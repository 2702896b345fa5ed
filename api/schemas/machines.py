"""Schemas of machines over time: alarms, drift and verdicts."""

from typing import Annotated

from pydantic import AliasChoices, AliasPath, Field

from api.schemas.common import ModelVersion, RequestSchema, Schema, Share, Timestamp
from ml.dataset.annotations import MAX_TEXT, TEXT_PATTERN
from ml.detectors.alarm_rule import KOfNRule
from ml.detectors.calibration import RateHoldsFor
from ml.machines.alarms import AlarmState
from ml.machines.drift import DriftState
from ml.machines.false_alarms import expect_false_alarms
from ml.machines.health import Health
from ml.machines.observation import MACHINE_ID_PATTERN, MAX_MACHINE_ID
from ml.machines.recording_time import TimeSource
from ml.models.served import ServedModel
from ml.models.verdict import VerdictValue

MAX_NOTE = 500
MachineId = Annotated[
    str, Field(min_length=1, max_length=MAX_MACHINE_ID, pattern=MACHINE_ID_PATTERN, examples=["fan-3"])
]
N_VERDICTS = AliasChoices("of", "n_verdicts")
Verdicts = Annotated[int, Field(ge=1, examples=[5], validation_alias=N_VERDICTS)]
MachineState = Annotated[AlarmState, Field(examples=["alarm"])]


class AlarmRule(Schema):
    """Rule of alarms. Anomalous verdicts of all model versions count."""

    raise_at: int = Field(ge=1, examples=[3])
    """Number of anomalous verdicts among the last `of` that raises an alarm."""
    of: Verdicts
    """Number of latest verdicts that count."""
    clear_at: int = Field(ge=0, examples=[1])
    """Largest number of anomalous verdicts at which an alarm clears, acknowledged or not."""


class AlarmAcknowledgement(Schema):
    """Acknowledgement of an alarm."""

    at: Timestamp
    by: str = Field(examples=["Ana"])
    """Person who has seen the alarm, as given in the request."""
    key: str | None = Field(examples=["control-room"])
    """Name of the API key of the request; null if the service requires none."""
    note: str = Field(examples=["Bearing ordered"])


class MachineAlarm(Schema):
    """Alarm of a machine."""

    id: int = Field(ge=1, examples=[7])
    """Unique number of the alarm."""
    raised_at: Timestamp
    version: ModelVersion
    """Model version whose verdict raised the alarm."""
    anomalous: int = Field(ge=1, examples=[3])
    """Number of anomalous verdicts among the last `of` when the alarm was raised."""
    of: Verdicts
    """Number of latest verdicts that counted."""
    acknowledged: AlarmAcknowledgement | None
    """Null if nobody has acknowledged the alarm, or nobody did before it cleared."""
    cleared_at: Timestamp | None
    """Null while the alarm is active."""


class ScoredTime(Schema):
    """Verdicts on a machine within some time."""

    begins: Timestamp
    ends: Timestamp
    """End of the time; it is not part of it."""
    judged: int = Field(ge=0, examples=[6])
    """Number of judged recordings."""
    anomalous: int = Field(ge=0, examples=[1])
    """Number of anomalous ones among them."""
    unusable: int = Field(ge=0, examples=[0])
    """Number of recordings that could not be judged."""
    mean: Share | None = Field(examples=[0.31])
    """Mean score of the judged recordings; null without any, as the next two."""
    lowest: Share | None = Field(examples=[0.12])
    highest: Share | None = Field(examples=[0.74])
    threshold: Share = Field(examples=[0.58])
    """Threshold of the last recording."""
    version: ModelVersion
    """Model version of the last recording."""


class MachineScores(Schema):
    """Scores of a machine over time."""

    machine_id: MachineId
    points: list[ScoredTime]
    """In time order, each of the same length: one or more whole hours."""


class ScoreDrift(Schema):
    """Recent scores of a version on a machine, compared with its first ones by Wilcoxon's rank-sum test."""

    state: DriftState = Field(examples=["steady"])
    """`drifting`: a p-value below 0.01 and an effect of at least 0.75 or at most 0.25. `too_few`: fewer than 50 scores
    on each side. The test does not know the cause: a fault, the microphone, the load or the season can move scores."""
    reference_n: int = Field(ge=0, examples=[100])
    """Number of first scores that were compared."""
    recent_n: int = Field(ge=0, examples=[100])
    """Number of recent scores that were compared."""
    p_value: Share | None = Field(examples=[0.38])
    """Probability that chance alone moves the scores at least so far. Neighbouring recordings are similar, so the mean
    of 10 successive scores counts as one value. The test is repeated after each recording, so that in the long run
    false results are more frequent."""
    effect: Share | None = Field(examples=[0.53])
    """How often a recent score is higher than one of the first, 0 to 1; ties count half. Without a change it is 0.5."""
    reference_median: Share | None = Field(examples=[0.21])
    """Median of the first scores."""
    recent_median: Share | None = Field(examples=[0.22])
    """Median of the recent scores."""


class MachineSummary(Schema):
    """State of a machine."""

    machine_id: MachineId
    """Name of the record."""
    state: MachineState
    """`alarm`: an alarm that nobody has acknowledged. `acknowledged`: an acknowledged alarm that has not cleared.
    `unheard`: no alarm, but too many of the last recordings (as many as raise an alarm) could not be judged, or have
    the same bytes."""
    heard_at: Timestamp
    """Time of the last answer to a recording that counts. Without new recordings, the state does not change."""
    version: ModelVersion
    """Model version that judged the last recording."""
    anomalous: int = Field(ge=0, examples=[3])
    """Number of anomalous verdicts among the last `of`. Recordings that could not be judged do not count."""
    of: int = Field(ge=0, examples=[5], validation_alias=N_VERDICTS)
    """Number of latest verdicts that count; smaller than the rule's number if there are fewer."""
    unusable: int = Field(ge=0, examples=[0])
    """Number of recordings that could not be judged, among as many of the last recordings as the rule counts."""
    identical: int = Field(ge=0, examples=[1])
    """How often the bytes of the last recording arrived in a row, at least 10 minutes apart. 1 is usual; a larger
    number means that the recorder sends an old file again and again. 0 if it is not known."""
    drift: ScoreDrift
    """Drift of the scores of that version."""
    alarm: MachineAlarm | None
    """Active alarm; null if there is none."""


class MachineList(Schema):
    """Machines with a record, ordered by name."""

    rule: AlarmRule
    machines: list[MachineSummary]


class MachineVersion(Schema):
    """Verdicts of one model version on a machine."""

    version: ModelVersion
    observations: int = Field(ge=0, examples=[1312])
    """Number of verdicts. Recordings that could not be judged do not count."""
    kept: int = Field(ge=0, examples=[1000])
    """Number of verdicts that are kept: the first 100 and the last 900."""
    first_at: Timestamp
    last_at: Timestamp
    threshold: Share | None = Field(examples=[0.5])
    """Threshold of the last verdict; null if there is no verdict."""
    recent_n: int = Field(ge=0, examples=[100])
    """Number of latest verdicts that `recent_anomalous` and `recent_median` count, at most 100."""
    recent_anomalous: int = Field(ge=0, examples=[4])
    """Number of anomalous verdicts among them. There is no interval: successive verdicts are similar, so an interval
    that treats them as independent would be too narrow."""
    recent_median: Share | None = Field(examples=[0.22])
    """Median of their scores."""
    drift: ScoreDrift


class MachineObservation(Schema):
    """Verdict on a machine."""

    at: Timestamp
    """Time of the answer; the recording may be older."""
    recorded_at: Timestamp
    """Time of the recording. Verdicts count in this order."""
    time_from: TimeSource = Field(examples=["request"])
    """Where this time comes from; see `/v1/predict`."""
    repeats: int = Field(ge=0, examples=[0])
    """Number of later uploads of the same bytes, which did not count."""
    version: ModelVersion
    threshold_revision: int = Field(ge=1, examples=[1])
    """Revision of the model's threshold."""
    verdict: VerdictValue = Field(examples=["anomalous"])
    """`unusable`: the recording could not be judged. It does not count for alarms and drift."""
    label: str = Field(examples=["imbalance"])
    """Name of the class."""
    score: Share = Field(examples=[0.9309])
    threshold: Share = Field(examples=[0.5])


class Seconds(Schema):
    """Time in seconds, with its 95 % interval."""

    value: float = Field(gt=0, examples=[120000.0])
    low: float = Field(gt=0, examples=[31000.0])
    high: float | None = Field(gt=0, examples=[None])
    """Null if the data show no upper limit."""


class FalseAlarmTime(Schema):
    """Expected time between two false alarms of a machine.

    The alarm rule was applied to the scores of normal recordings in the model, session after session. In a model with a
    classifier and a detector, alarms that the classifier causes are counted too, unless it was trained by an earlier
    version.
    """

    version: ModelVersion
    """Model version that answers now."""
    every_s: float = Field(gt=0, examples=[600.0])
    """Median time from one of the last 100 recordings of the machine to the next, in seconds."""
    time_between_s: Seconds
    """Expected time between two false alarms. `low` is the shortest time that the data still allow."""
    counted: int = Field(ge=0, examples=[0], validation_alias=AliasPath("found", "counted"))
    """Number of alarms that were counted."""
    n: int = Field(ge=1, examples=[199], validation_alias=AliasPath("found", "n"))
    """Number of normal recordings in which they were counted."""
    n_sessions: int = Field(ge=1, examples=[5], validation_alias=AliasPath("found", "n_sessions"))
    """Number of their sessions."""
    rate_holds_for: RateHoldsFor = Field(
        examples=["new_session"], validation_alias=AliasPath("found", "rate_holds_for")
    )
    """Whether the figures hold for recordings of new sessions or of the same sessions only."""
    basis: str = Field(
        examples=[
            "With a recording every 10 minutes, alarms (3 of 5) come falsely at most once in 8.6 hours (95 % limit), "
            "and are expected once in 33 hours. Among 199 normal recordings of 5 sessions, 0 alarms were counted."
        ]
    )
    """The same in words."""


class MachineHealth(MachineSummary):
    """Machine with its alarms and verdicts."""

    rule: AlarmRule
    false_alarms: FalseAlarmTime | None
    """Null if it is not known; `false_alarms_unknown` is then the reason."""
    false_alarms_unknown: str | None = Field(examples=[None])
    """Why the time between false alarms is not known, in a sentence; null if it is known."""
    versions: list[MachineVersion]
    """Verdicts of each model version, the version used last first; 3 versions are kept."""
    alarms: list[MachineAlarm]
    """Alarms, the newest first; the last 100 are kept."""
    latest: list[MachineObservation]
    """Latest verdicts, the newest first; the parameter `latest` sets their number."""

    @classmethod
    def from_health(cls, health: Health, rule: KOfNRule, model: ServedModel | None) -> "MachineHealth":
        """Return a machine with the rule of its alarms, and its false alarms by the model that answers."""
        false_alarms, unknown = expect_false_alarms(model, rule, health.every_s)
        summary = MachineSummary.model_validate(health.summary)
        return cls.model_validate(
            {
                **dict(summary),
                "rule": rule,
                "false_alarms": false_alarms,
                "false_alarms_unknown": unknown,
                "versions": health.versions,
                "alarms": health.alarms,
                "latest": health.latest,
            }
        )


class AlarmSeen(RequestSchema):
    """Request to acknowledge an alarm."""

    by: str = Field(min_length=1, max_length=MAX_TEXT, pattern=TEXT_PATTERN, examples=["Ana"])
    """Person who has seen the alarm."""
    note: str = Field(default="", max_length=MAX_NOTE, pattern=TEXT_PATTERN, examples=["Bearing ordered"])
    """Note of the person."""
    alarm_id: int | None = Field(default=None, ge=1, examples=[7])
    """Id of the alarm that the person has seen. If another alarm is active now, nothing is acknowledged. Default: the
    active alarm."""
