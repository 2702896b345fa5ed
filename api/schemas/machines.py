"""What goes over the wire about machines: names, units, ranges and examples."""

from typing import Annotated

from pydantic import AliasChoices, Field

from api.schemas.common import ModelVersion, Schema, Share, Timestamp
from ml.dataset.annotations import MAX_TEXT, TEXT_PATTERN
from ml.machines.alarms import AlarmState, KOfNRule
from ml.machines.drift import DriftState
from ml.machines.health import Health
from ml.machines.observation import MACHINE_ID_PATTERN, MAX_MACHINE_ID
from ml.models.verdict import VerdictValue

MAX_NOTE = 500
MachineId = Annotated[
    str, Field(min_length=1, max_length=MAX_MACHINE_ID, pattern=MACHINE_ID_PATTERN, examples=["fan-3"])
]
N_VERDICTS = AliasChoices("of", "n_verdicts")
Verdicts = Annotated[int, Field(ge=1, examples=[5], validation_alias=N_VERDICTS)]
MachineState = Annotated[AlarmState, Field(examples=["alarm"])]


class AlarmRule(Schema):
    """When a machine is in alarm; anomalous verdicts are counted, whichever version gave them."""

    raise_at: int = Field(ge=1, examples=[3])
    """So many anomalous ones of the last `of` raise an alarm."""
    of: Verdicts
    clear_at: int = Field(ge=0, examples=[1])
    """So many, or fewer, clear it, acknowledged or not."""


class AlarmAcknowledgement(Schema):
    """Who has seen an alarm."""

    at: Timestamp
    by: str = Field(examples=["Ana"])
    """Who, as they said."""
    key: str | None = Field(examples=["control-room"])
    """Name of the API key that it was said with; null where the service requires none."""
    note: str = Field(examples=["Bearing ordered"])


class MachineAlarm(Schema):
    """One alarm of a machine."""

    id: int = Field(ge=1, examples=[7])
    """Like no other alarm's."""
    raised_at: Timestamp
    version: ModelVersion
    """The model whose verdict raised it."""
    anomalous: int = Field(ge=1, examples=[3])
    """How many of the last `of` verdicts were anomalous when it was raised."""
    of: Verdicts
    acknowledged: AlarmAcknowledgement | None
    """Null where nobody has, or had until it cleared."""
    cleared_at: Timestamp | None
    """Null while it lasts."""


class ScoreDrift(Schema):
    """The recent scores of one version at one machine beside the first it gave: Wilcoxon's rank sum of block means."""

    state: DriftState = Field(examples=["steady"])
    """`drifting` takes a p-value below 0.01 and an effect of at least 0.75 or at most 0.25; `too_few` is below 50 on
    each side. It says that scores have moved, never why: a fault, the microphone, the load and the season all can."""
    reference_n: int = Field(ge=0, examples=[100])
    """How many of the first scores were compared."""
    recent_n: int = Field(ge=0, examples=[100])
    """How many of the last."""
    p_value: Share | None = Field(examples=[0.38])
    """How often chance alone moves them so far; blocks of 10 successive scores count as one, since neighbours are
    alike. It is looked at again after each recording, and so errs more often in the long run."""
    effect: Share | None = Field(examples=[0.53])
    """How often a recent score is above one of the first, ties counting half; 0.5 where nothing has moved."""
    reference_median: Share | None = Field(examples=[0.21])
    recent_median: Share | None = Field(examples=[0.22])


class MachineSummary(Schema):
    """A machine in one line."""

    machine_id: MachineId
    state: MachineState
    """`alarm` until somebody acknowledges it, `acknowledged` from then until it clears; `unheard` where as many of the
    last recordings as raise an alarm could not be judged."""
    heard_at: Timestamp
    """When its last recording was answered; a machine that nobody records any more stays in the state that it has."""
    version: ModelVersion
    """The model that answered."""
    anomalous: int = Field(ge=0, examples=[3])
    """How many of the last `of` verdicts were anomalous; recordings that could not be judged have none."""
    of: int = Field(ge=0, examples=[5], validation_alias=N_VERDICTS)
    unusable: int = Field(ge=0, examples=[0])
    """How many of the last recordings, as many as the rule looks at, could not be judged."""
    drift: ScoreDrift
    """Of the scores of that version."""
    alarm: MachineAlarm | None
    """The one that lasts."""


class MachineList(Schema):
    """The machines that are remembered, by their names."""

    rule: AlarmRule
    machines: list[MachineSummary]


class MachineVersion(Schema):
    """What one version of a model has said of a machine."""

    version: ModelVersion
    observations: int = Field(ge=0, examples=[1312])
    """How many verdicts it gave; recordings that could not be judged have none."""
    kept: int = Field(ge=0, examples=[1000])
    """How many of them are kept: the first 100 and the last 900."""
    first_at: Timestamp
    last_at: Timestamp
    threshold: Share | None = Field(examples=[0.5])
    """The score above which the last of them was anomalous; null where there is none."""
    recent_n: int = Field(ge=0, examples=[100])
    """How many of its last verdicts are counted here, at most 100."""
    recent_anomalous: int = Field(ge=0, examples=[4])
    """How many of them were anomalous. Successive verdicts are alike: an interval of this share that took them as
    independent would be too narrow, and none is given."""
    recent_median: Share | None = Field(examples=[0.22])
    """Of their scores."""
    drift: ScoreDrift


class MachineObservation(Schema):
    """One verdict on a machine."""

    at: Timestamp
    """When it was answered; the recording may be older."""
    version: ModelVersion
    threshold_revision: int = Field(ge=1, examples=[1])
    """Which revision of that model's threshold."""
    verdict: VerdictValue = Field(examples=["anomalous"])
    """`unusable` where the recording could not be judged: it counts for nothing here."""
    label: str = Field(examples=["imbalance"])
    """Name of the class that was heard."""
    score: Share = Field(examples=[0.9309])
    threshold: Share = Field(examples=[0.5])


class MachineHealth(MachineSummary):
    """A machine, whole."""

    rule: AlarmRule
    versions: list[MachineVersion]
    """What each version said of it, the one that was heard last first; the last 3 are kept."""
    alarms: list[MachineAlarm]
    """The newest first; the last 100 are kept."""
    latest: list[MachineObservation]
    """Its last verdicts, the newest first, as many as were asked for."""

    @classmethod
    def from_health(cls, health: Health, rule: KOfNRule) -> "MachineHealth":
        """A machine with the rule that its state follows from."""
        summary = MachineSummary.model_validate(health.summary)
        return cls.model_validate(
            {
                **dict(summary),
                "rule": rule,
                "versions": health.versions,
                "alarms": health.alarms,
                "latest": health.latest,
            }
        )


class AlarmSeen(Schema):
    """Somebody has seen an alarm."""

    by: str = Field(min_length=1, max_length=MAX_TEXT, pattern=TEXT_PATTERN, examples=["Ana"])
    """Who."""
    note: str = Field(default="", max_length=MAX_NOTE, pattern=TEXT_PATTERN, examples=["Bearing ordered"])
    """What they have to say."""
    alarm_id: int | None = Field(default=None, ge=1, examples=[7])
    """Which alarm they have seen: where another lasts by now, nothing is acknowledged. By default whichever lasts."""
