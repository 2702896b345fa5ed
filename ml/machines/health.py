"""Health of a machine: state, verdicts by version, alarms and drift."""

from dataclasses import dataclass

from ml.machines.alarms import Alarm, AlarmState
from ml.machines.drift import Drift
from ml.machines.observation import Observation


@dataclass(frozen=True, slots=True)
class VersionRecord:
    """Verdicts of one model version on a machine.

    Attributes:
        version: the model version.
        observations: number of recordings that it judged.
        kept: number of these verdicts that are kept: the first and the last.
        first_at, last_at: times of its first and last kept recording, judged or unusable, ISO 8601, UTC.
        threshold: threshold that applied to its last judged recording; None without one.
        recent_n, recent_anomalous: number of the last verdicts that are counted here, and of the anomalous ones.
        recent_median: median of their scores; None without verdicts.
        drift: its recent scores compared with its first ones.
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
    """Summary of a machine.

    Attributes:
        machine_id: name of the machine.
        state: state by the alarm rule.
        heard_at: time of the last answer to a recording that counts, ISO 8601, UTC.
        version: model version that judged its last recording.
        anomalous, n_verdicts: number of anomalous and of all verdicts that the alarm rule counts.
        unusable: number of recordings that could not be judged, of as many last ones as the rule counts.
        identical: how often the bytes of the last recording arrived in a row, at least ten minutes apart; 1 is usual,
            0 means unknown.
        drift: drift of the scores of ``version``.
        alarm: the active alarm; None without one.
    """

    machine_id: str
    state: AlarmState
    heard_at: str
    version: str
    anomalous: int
    n_verdicts: int
    unusable: int
    identical: int
    drift: Drift
    alarm: Alarm | None


@dataclass(frozen=True, slots=True)
class Health:
    """All facts about a machine.

    Attributes:
        summary: the summary.
        versions: verdicts by version, the version used last first.
        alarms: active and former alarms, the newest first.
        latest: its last recordings, judged or not, the newest first.
        every_s: median time from one of its last 100 recordings to the next, s; None if it is not known.
    """

    summary: HealthSummary
    versions: tuple[VersionRecord, ...]
    alarms: tuple[Alarm, ...]
    latest: tuple[Observation, ...]
    every_s: float | None
