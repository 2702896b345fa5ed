"""False alarms of a machine: how often they come at a threshold, and the threshold for a stated frequency.

**Counting.** The scores of normal recordings in a calibration are laid in a row, session after session, each in the
order of its recordings. A score above the threshold is an anomalous verdict, and the alarm rule is applied to the row.
Every alarm is false. Verdicts of one session resemble each other: a false alarm comes from several of them. So counting
in the row differs from a computation with independent verdicts. If a session has several machines, their recordings
should follow each other machine by machine, as they do where each machine has a folder.

**Frequency.** With A alarms among n recordings, the expected number of false alarms per recording is
``(1 + A) / (n + 1)``: the next recording counts as a further alarm, as in a p-value. So n recordings support no
frequency below ``1 / (n + 1)``.

**Interval.** Sessions are drawn with replacement and laid in a row again. The interval is the range between the 2.5th
and the 97.5th percentile of 500 draws. It contains the score interval of a count of rare events (Poisson),
``(A + z^2 / 2 +- z sqrt(A + z^2 / 4)) / n`` with z = 1.96, the counterpart of Wilson's interval: without an alarm among
n recordings, up to ``3.84 / n`` per recording are possible. (The rule of three has ``3 / n``; it is one-sided.) In a
simulation (150 calibrations each, 4, 12 and 30 sessions of 20 recordings, 0, 0.3 and 0.6 of the variance between
sessions, true frequencies of 1/65 to 1/18 000), it contained the true frequency in 95 to 100 % of the cases.

**Threshold.** From the highest score downward, the last threshold before the frequency exceeds the limit. Recordings
that stand apart from their session do not count for the threshold; they count for the frequency. If the limit is lower
than n recordings support, the threshold is the lowest without an alarm, but not below that of the sensitivity
``medium``: whoever wants few alarms does not expect more anomalous recordings than by default. For the threshold, an
alarm that lasts counts again after as many recordings as the rule counts. Otherwise a threshold below all scores, with
one alarm that never ends, would keep to many limits.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ml.detectors.alarm_limit import FalseAlarmLimit, format_time
from ml.detectors.alarm_rule import KOfNRule
from ml.detectors.calibration import Calibration, RateHoldsFor
from ml.detectors.thresholds import (
    BY_HAND,
    SEED,
    SENSITIVITIES,
    SESSIONS_FOR_A_RATE,
    OperatingPoint,
    allowed_above,
    calibrated_threshold,
    operating_point_at_threshold,
    percent,
    smallest_rate,
)
from ml.evaluation.intervals import Z95
from ml.evaluation.results import Estimate

Value = TypeVar("Value", bound=np.generic)
DRAWS = 500  # chosen here
MOST_DRAWN_VERDICTS = 2**24  # about 0.3 s


@dataclass(frozen=True, slots=True)
class FalseAlarms:
    """False alarms at a threshold.

    Attributes:
        rule: alarm rule.
        per_recording: expected number of false alarms per recording, with its 95 % interval.
        counted: number of alarms in the row of normal recordings.
        n, n_sessions: number of these recordings, and of their sessions.
        rate_holds_for: whether the figures hold for recordings of new sessions, or of the same sessions only.
    """

    rule: KOfNRule
    per_recording: Estimate
    counted: int
    n: int
    n_sessions: int
    rate_holds_for: RateHoldsFor

    def time_between_s(self, every_s: float) -> Estimate:
        """Return the expected time between false alarms, with its 95 % interval.

        Args:
            every_s: time from one recording to the next, s.

        Returns:
            Seconds. The upper limit is None if the data show none.
        """
        frequency = self.per_recording
        return Estimate(
            *(every_s / each if each else None for each in (frequency.value, frequency.high, frequency.low))
        )

    def describe(self, every_s: float) -> str:
        """Return a sentence about the time between false alarms.

        Args:
            every_s: time from one recording to the next, s.

        Example:
            >>> scores = np.linspace(0.01, 0.99, 99)
            >>> found = count_false_alarms(Calibration(scores, scores, np.arange(99)), 0.99, KOfNRule())
            >>> found.describe(600)[:83]
            'With a recording every 10 minutes, alarms (3 of 5) come falsely at most once in 4.3'
        """
        time = self.time_between_s(every_s)
        return (
            f"With a recording every {format_time(every_s)}, alarms ({self.rule}) come falsely at most once in "
            f"{format_time(time.low or 0)} (95 % limit), and are expected once in {format_time(time.value or 0)}. "
            f"Among {self.n} normal recordings of {_count(self.n_sessions, 'session')}, "
            f"{_count(self.counted, 'alarm')} {'was' if self.counted == 1 else 'were'} counted."
        )


def count_false_alarms(calibration: Calibration, threshold: float, rule: KOfNRule) -> FalseAlarms:
    """Count the false alarms at a threshold; see the top of this module.

    Args:
        calibration: scores of normal recordings, at least one; those of a session in the order of its recordings.
        threshold: score, 0 to 1.
        rule: alarm rule.

    Example:
        >>> scores = np.tile([0.1, 0.1, 0.9, 0.9, 0.9, 0.1, 0.1, 0.1, 0.1, 0.1], 3)
        >>> calibration = Calibration(scores, scores, np.arange(30) // 10)
        >>> found = count_false_alarms(calibration, 0.5, KOfNRule())
        >>> found.counted, round(1 / found.per_recording.value, 1)
        (3, 7.8)
    """
    sessions = _by_session(calibration.alarms(threshold), calibration.session)
    n, counted = len(calibration.named), _count_in_row(np.concatenate(sessions), rule)
    half = Z95 * math.sqrt(counted + Z95**2 / 4)
    centre = counted + Z95**2 / 2
    drawn = _draw_frequencies(sessions, rule)
    value = (1 + counted) / (n + 1)
    frequency = Estimate(
        value,
        max(0.0, min(value, (centre - half) / n, float(np.percentile(drawn, 2.5)))),
        min(1.0, max(value, (centre + half) / n, float(np.percentile(drawn, 97.5)))),
    )
    return FalseAlarms(rule, frequency, counted, n, len(sessions), calibration.rate_holds_for)


def threshold_for_alarms(calibration: Calibration, frequency: float, rule: KOfNRule) -> float:
    """Return the lowest threshold with at most this expected number of false alarms per recording.

    Args:
        calibration: scores of normal recordings, at least one that does not stand apart from its session.
        frequency: false alarms per recording, above 0.
        rule: alarm rule.

    Example:
        >>> scores = np.linspace(0.01, 0.99, 99)
        >>> calibration = Calibration(scores, scores, np.arange(99) // 33)
        >>> round(threshold_for_alarms(calibration, 0.001, KOfNRule()), 2)  # two scores of 99 raise no alarm
        0.97
    """
    some = calibration.of(calibration.kept)
    scores, allowed = some.named, allowed_above(len(some.named), frequency)
    lowest = float(scores.max())
    for threshold in np.unique(scores)[::-1]:
        anomalous = np.concatenate(_by_session(some.alarms(float(threshold)), some.session))
        lasting = np.count_nonzero(alarm_states(anomalous, rule)) / rule.n_verdicts
        if max(lasting, _count_in_row(anomalous, rule)) > allowed:
            break
        lowest = float(threshold)
    return lowest


def operating_point_for_alarms(calibration: Calibration, limit: FalseAlarmLimit) -> OperatingPoint:
    """Return the operating point at the lowest threshold that keeps to a limit of false alarms.

    If the recordings do not support the limit, a note states what they support and what would be needed.

    Args:
        calibration: scores of normal recordings.
        limit: largest frequency of false alarms.

    Example:
        >>> scores = np.linspace(0.01, 0.99, 99)
        >>> calibration = Calibration(scores, scores, np.arange(99) // 33)
        >>> point = operating_point_for_alarms(calibration, FalseAlarmLimit("1/day", "1h"))
        >>> round(point.threshold, 2), point.basis.partition(";")[0]
        (0.82, 'for 1/day at a recording every 1h (alarm: 3 of 5)')
        >>> operating_point_for_alarms(calibration, FalseAlarmLimit("1/month", "1h")).notes[0][:67]
        '99 normal recordings support no fewer false alarms than one in 4.2 '
    """
    threshold, notes = threshold_for_alarms(calibration, limit.frequency, limit.rule), limit_notes(calibration, limit)
    target = f"for {limit}"
    if notes:
        threshold = max(threshold, calibrated_threshold(calibration, SENSITIVITIES["medium"]))
        target = f"without a false alarm among too few recordings for {limit}"
    elif _exceeds(calibration, threshold, limit):
        notes = (
            f"At this threshold the normal recordings have more false alarms than {limit}, because of recordings that "
            "stand apart from their session or of the classifier.",
        )
    found = operating_point_at_threshold(calibration, threshold)
    share = found.expected_rate.value or 0.0
    if share > SENSITIVITIES["high"]:
        notes = (*notes, f"{percent(share)} of single recordings of a healthy machine are anomalous at this threshold.")
    basis = f"{target}{found.basis.removeprefix(BY_HAND)}"
    return replace(found, basis=basis, notes=(*notes, *found.notes))


def _exceeds(calibration: Calibration, threshold: float, limit: FalseAlarmLimit) -> bool:
    """Return whether all normal recordings, also those that stand apart, raise more alarms than a limit allows."""
    counted = count_false_alarms(calibration, threshold, limit.rule).counted
    return counted > allowed_above(len(calibration.named), limit.frequency)


def limit_notes(calibration: Calibration, limit: FalseAlarmLimit) -> tuple[str, ...]:
    """Return what the recordings support and what a limit needs; empty if they support it.

    Args:
        calibration: scores of normal recordings.
        limit: largest frequency of false alarms.

    Example:
        >>> scores = np.linspace(0.01, 0.99, 99)
        >>> limit_notes(Calibration(scores, scores, np.arange(99)), FalseAlarmLimit("1/day", "1h"))
        ()
    """
    n = int(calibration.kept.sum())
    if limit.frequency >= smallest_rate(n):
        return ()
    needed = math.ceil(round(1 / limit.frequency, 6)) - 1
    return (
        f"{n} normal recordings support no fewer false alarms than one in {format_time(limit.every_s * (n + 1))} at a "
        f"recording every {limit.every}; {limit.false_alarms} was requested. The threshold is the lowest without a "
        f"false alarm among them, but not below that of medium. {limit.false_alarms} needs {needed} normal "
        f"recordings, from at least {SESSIONS_FOR_A_RATE} sessions.",
    )


def _by_session(values: NDArray[Value], session: NDArray[np.int64]) -> list[NDArray[Value]]:
    return [values[session == number] for number in np.unique(session)]


def _draw_frequencies(sessions: Sequence[NDArray[np.bool_]], rule: KOfNRule) -> NDArray[np.float64]:
    """Alarms per recording in rows of drawn sessions, ``(draws,)``."""
    rng = np.random.Generator(np.random.PCG64(SEED))
    lengths = np.array([len(session) for session in sessions])
    draws = min(DRAWS, max(1, MOST_DRAWN_VERDICTS // int(lengths.sum())))
    found = np.empty(draws)
    for draw, drawn in enumerate(rng.integers(len(sessions), size=(draws, len(sessions)))):
        row = np.concatenate([sessions[number] for number in drawn])
        found[draw] = _count_in_row(row, rule) / len(row)
    return found


def _count_in_row(anomalous: NDArray[np.bool_], rule: KOfNRule) -> int:
    states = alarm_states(anomalous, rule)
    return int(states[0]) + int(np.count_nonzero(states[1:] & ~states[:-1]))


def alarm_states(anomalous: NDArray[np.bool_], rule: KOfNRule) -> NDArray[np.bool_]:
    """Return whether a machine is in alarm after each of its verdicts.

    Args:
        anomalous: bool ``(verdicts,)``: whether each verdict is anomalous, the oldest first; at least one.
        rule: alarm rule.

    Returns:
        bool ``(verdicts,)``.

    Example:
        >>> verdicts = np.array([False, True, True, True, False, False, False, True])
        >>> alarm_states(verdicts, KOfNRule()).astype(int)
        array([0, 0, 0, 1, 1, 1, 1, 1])
    """
    total = np.cumsum(anomalous, dtype=np.int64)
    counts = total.copy()
    counts[rule.n_verdicts :] -= total[: -rule.n_verdicts]
    raised, cleared = counts >= rule.raise_at, counts <= rule.clear_at
    # The state is that of the last verdict that raised or cleared; before the first of them, there is no alarm.
    last = np.maximum.accumulate(np.where(raised | cleared, np.arange(len(anomalous)), 0))
    return np.asarray(raised[last])


def _count(number: int, name: str) -> str:
    return f"{number} {name}" if number == 1 else f"{number} {name}s"
