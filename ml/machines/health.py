"""What is told of a machine."""

from dataclasses import dataclass

from ml.machines.alarms import Alarm, State
from ml.machines.drift import Drift
from ml.machines.observation import Observation


@dataclass(frozen=True, slots=True)
class VersionRecord:
    """What one version of a model has said of a machine.

    Attributes:
        version: which.
        observations: how many verdicts it gave.
        kept: how many of them are kept: the first and the last.
        first_at, last_at: when it gave the first and the last, ISO 8601, UTC.
        threshold: the score above which the last of them was anomalous.
        recent_n, recent_anomalous: how many of its last verdicts are counted here, and how many were anomalous.
        recent_median: of the scores of these.
        drift: its recent scores beside its first ones.
    """

    version: str
    observations: int
    kept: int
    first_at: str
    last_at: str
    threshold: float
    recent_n: int
    recent_anomalous: int
    recent_median: float
    drift: Drift


@dataclass(frozen=True, slots=True)
class Summary:
    """A machine in one line.

    Attributes:
        machine_id: which.
        heard_at: when it was judged last, ISO 8601, UTC.
        version: the model that judged it last.
        anomalous, of: how many of its last verdicts were anomalous, as the rule of alarms counts them.
        drift: of that version's scores.
        alarm: the one that lasts; None without one.
    """

    machine_id: str
    heard_at: str
    version: str
    anomalous: int
    of: int
    drift: Drift
    alarm: Alarm | None

    @property
    def state(self) -> State:
        """Whether it is in alarm, and whether somebody has seen that."""
        return "normal" if self.alarm is None else self.alarm.state


@dataclass(frozen=True, slots=True)
class Health:
    """A machine, whole.

    Attributes:
        summary: in one line.
        versions: what each version said of it, the one that was heard last first.
        alarms: the one that lasts and those before, the newest first.
        latest: its last verdicts, the newest first.
    """

    summary: Summary
    versions: tuple[VersionRecord, ...]
    alarms: tuple[Alarm, ...]
    latest: tuple[Observation, ...]
