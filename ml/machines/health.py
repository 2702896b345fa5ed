"""What is told of a machine."""

from dataclasses import dataclass

from ml.machines.alarms import Alarm, AlarmState
from ml.machines.drift import Drift
from ml.machines.observation import Observation


@dataclass(frozen=True, slots=True)
class VersionRecord:
    """What one version of a model has said of a machine.

    Attributes:
        version: which.
        observations: how many recordings it judged.
        kept: how many of these verdicts are kept: the first and the last.
        first_at, last_at: when it was asked first and last, ISO 8601, UTC.
        threshold: the score above which the last of them was anomalous; None where it has judged no recording.
        recent_n, recent_anomalous: how many of its last verdicts are counted here, and how many were anomalous.
        recent_median: of the scores of these; None where there are none.
        drift: its recent scores beside its first ones.
    """

    version: str
    observations: int
    kept: int
    first_at: str
    last_at: str
    threshold: float | None
    recent_n: int
    recent_anomalous: int
    recent_median: float | None
    drift: Drift


@dataclass(frozen=True, slots=True)
class HealthSummary:
    """A machine in one line.

    Attributes:
        machine_id: which.
        state: whether it is in alarm, and whether somebody has seen that.
        heard_at: when its last recording was answered, ISO 8601, UTC.
        version: the model that answered.
        anomalous, n_verdicts: how many of its last verdicts were anomalous, as the rule of alarms counts them.
        unusable: how many of its last recordings, as many as the rule looks at, could not be judged.
        drift: of that version's scores.
        alarm: the one that lasts; None without one.
    """

    machine_id: str
    state: AlarmState
    heard_at: str
    version: str
    anomalous: int
    n_verdicts: int
    unusable: int
    drift: Drift
    alarm: Alarm | None


@dataclass(frozen=True, slots=True)
class Health:
    """A machine, whole.

    Attributes:
        summary: in one line.
        versions: what each version said of it, the one that was heard last first.
        alarms: the one that lasts and those before, the newest first.
        latest: its last verdicts, the newest first.
    """

    summary: HealthSummary
    versions: tuple[VersionRecord, ...]
    alarms: tuple[Alarm, ...]
    latest: tuple[Observation, ...]
