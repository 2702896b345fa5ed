"""What another threshold would have meant for the recordings of a machine: the alarm rule, applied again."""

from collections import deque
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ml.detectors.alarm_rule import KOfNRule
from ml.machines.observation import Observation


class AlarmTime(NamedTuple):
    """Alarm of a machine.

    Attributes:
        raised_at: time of the recording that raises it, ISO 8601, UTC.
        cleared_at: time of the recording that clears it; None if it lasts until the last recording.
        highest: highest score within it, 0 to 1.
    """

    raised_at: str
    cleared_at: str | None
    highest: float


class Replay(NamedTuple):
    """Verdicts on a machine at a threshold.

    Attributes:
        anomalous: number of anomalous recordings.
        alarms: alarms, in time order.
    """

    anomalous: int
    alarms: tuple[AlarmTime, ...]


class MachinePreview(NamedTuple):
    """Verdicts on a machine as they were given, and at another threshold.

    Attributes:
        machine_id: name of the machine.
        since: time of the first recording that counts, ISO 8601, UTC.
        recordings: number of judged recordings of the version that are kept.
        given: at the thresholds of the answers.
        then: at the other threshold.
    """

    machine_id: str
    since: str
    recordings: int
    given: Replay
    then: Replay


def preview_machine(
    machine_id: str, observations: Sequence[Observation], threshold: float, rule: KOfNRule
) -> MachinePreview:
    """Replay the verdicts on a machine at another threshold.

    A recording that was anomalous although its score was not above the threshold of its answer stays anomalous: the
    classifier beside the detector found it.

    Args:
        machine_id: name of the machine.
        observations: judged recordings in time order, at least one.
        threshold: the other threshold, 0 to 1.
        rule: alarm rule.

    Example:
        >>> verdicts = {0.2: "normal", 0.6: "normal", 0.7: "anomalous"}
        >>> some = [
        ...     Observation("fan-3", f"2026-01-0{day}", "fan-1", 1, score, 0.65, verdicts[score], "")
        ...     for day, score in enumerate((0.2, 0.6, 0.7, 0.6, 0.2, 0.2, 0.2), 1)
        ... ]
        >>> found = preview_machine("fan-3", some, 0.5, KOfNRule(raise_at=2, n_verdicts=3, clear_at=0))
        >>> found.given.alarms, found.then.alarms
        ((), (AlarmTime(raised_at='2026-01-03', cleared_at='2026-01-07', highest=0.7),))
    """
    given = [each.anomalous for each in observations]
    then = [each.score > threshold or (each.anomalous and each.score <= each.threshold) for each in observations]
    return MachinePreview(
        machine_id,
        observations[0].recorded_at,
        len(observations),
        _replay(observations, given, rule),
        _replay(observations, then, rule),
    )


def _replay(observations: Sequence[Observation], anomalous: Iterable[bool], rule: KOfNRule) -> Replay:
    alarms: list[AlarmTime] = []
    counted: deque[bool] = deque(maxlen=rule.n_verdicts)
    active, total = False, 0
    for each, is_anomalous in zip(observations, anomalous, strict=True):
        total += is_anomalous
        counted.append(is_anomalous)
        before, active = active, rule.is_in_alarm(counted, before=active)
        if active and not before:
            alarms.append(AlarmTime(each.recorded_at, None, each.score))
        elif active:
            alarms[-1] = alarms[-1]._replace(highest=max(alarms[-1].highest, each.score))
        elif before:
            alarms[-1] = alarms[-1]._replace(cleared_at=each.recorded_at)
    return Replay(total, tuple(alarms))
