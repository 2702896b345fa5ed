"""Thresholds from the scores of n normal recordings, at a stated false-alarm rate.

**p-value.** ``p = (1 + #{scores >= score}) / (n + 1)``. A further normal recording has a p-value of at most ``p`` with
a probability of at most ``p`` (split conformal prediction: V. Vovk, A. Gammerman, G. Shafer, "Algorithmic Learning in a
Random World", 2005).

**Threshold.** The ``ceil((n + 1) (1 - rate))``-th score in ascending order. A further normal recording exceeds it with
a probability of at most ``rate``. So n scores support no rate below ``1 / (n + 1)``. For a lower rate, the highest
score is the threshold, and a note reports this.

**New sessions.** If no score depends on its own session (:attr:`Calibration.rate_holds_for`), the threshold is the
larger of two: the one above, and the bound of the thresholds of the sessions
(:func:`ml.detectors.sessions.session_bound`). The first is right if sessions hardly differ, the second if they do.
Recordings that stand apart from their session count in neither, but they count in the expected rate. So do recordings
that only the classifier beside a detector finds anomalous: the expected rate is that of the verdict.

**Assumption.** The further recording and the n recordings are exchangeable: the same machines, place and microphone.
The bound is exact for scores of held-out recordings. It is nearly exact for cross-fitted scores, whose engines have
learned from slightly fewer recordings than the engines in use. Recordings of one session resemble each other. Therefore
the interval is computed from draws of sessions, and is wide if there are few.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ml.detectors.calibration import Calibration, RateHoldsFor
from ml.detectors.sensitivity import Sensitivity as Sensitivity  # others import it from here
from ml.detectors.sessions import session_bound
from ml.errors import InvalidParameter
from ml.evaluation import metrics
from ml.evaluation.intervals import FEW_SESSIONS, MIN_SESSIONS, BootstrapPlan, bootstrap_estimates, wilson
from ml.evaluation.results import Estimate

Scores = NDArray[np.float64]
SENSITIVITIES: Mapping[Sensitivity, float] = {"low": 0.001, "medium": 0.01, "high": 0.05}
"""The named false-alarm rates, chosen here: one false alarm in 1000, 100 and 20 normal recordings."""
SESSIONS_FOR_A_RATE = 4  # with 2 sessions of pc_fan the worst new session had 88 % false alarms, with 4 it had 26 %
DIGITS = 9  # rates are decimal numbers: (n + 1) rate differs from a whole number by about 1e-16
SEED = 0
# The texts of a basis are part of a bundle, and so of the hash in a version's name: changing one renames models.
BY_HAND = "set by hand"


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """A threshold and its false-alarm rate, measured on normal recordings.

    Attributes:
        threshold: a score above it is anomalous, 0 to 1.
        false_alarm_rate: requested rate, 0 to 1; None if the threshold itself was requested.
        sensitivity: name of the requested rate; None without a name.
        expected_rate: share of further normal recordings above the threshold, with its 95 % interval.
        n: number of normal recordings in the calibration.
        n_sessions: number of their sessions.
        n_odd: number of these recordings that stand apart from their session; the threshold does not count them.
        rate_holds_for: whether the rate holds for recordings of new sessions, or of the same sessions only.
        smallest_rate: smallest rate that n recordings support.
        basis: origin of the threshold, in words.
        notes: remarks on the figures, one sentence or more each.
    """

    threshold: float
    false_alarm_rate: float | None
    sensitivity: Sensitivity | None
    expected_rate: Estimate
    n: int
    n_sessions: int
    n_odd: int
    rate_holds_for: RateHoldsFor
    smallest_rate: float
    basis: str
    notes: tuple[str, ...]


def p_value(scores: Scores, score: float) -> float:
    """Return how often a normal recording has this score or a higher one.

    ``p = (1 + #{scores >= score}) / (n + 1)``.

    Args:
        scores: float64 ``(n,)``: ``Calibration.named`` if the machine is known, else ``Calibration.unnamed``.
        score: score of the recording.

    Returns:
        Above 0, at most 1.

    Example:
        >>> p_value(np.array([0.4, 0.5, 0.6, 0.7]), 0.65)
        0.4
    """
    return (1 + int(np.count_nonzero(scores >= score))) / (len(scores) + 1)


def smallest_rate(n: int) -> float:
    """Return the smallest false-alarm rate that ``n`` normal recordings support: ``1 / (n + 1)``.

    Example:
        >>> smallest_rate(99)
        0.01
    """
    return 1 / (n + 1)


def allowed_above(n: int, rate: float) -> int:
    """Return how many of n normal recordings may be above a threshold for a false-alarm rate.

    ``floor((n + 1) rate) - 1``, because the next recording counts as one more; at least 0, at most ``n - 1``.

    Example:
        >>> allowed_above(99, 0.05), allowed_above(99, 0.001)
        (4, 0)
    """
    return min(max(math.floor(round((n + 1) * rate, DIGITS)) - 1, 0), n - 1)


def threshold_at(scores: Scores, rate: float) -> float:
    """Return the score that a further normal recording exceeds with a probability of at most ``rate``.

    The ``ceil((n + 1) (1 - rate))``-th score in ascending order: :func:`allowed_above` scores are higher.

    Args:
        scores: float64 ``(n,)``: scores of normal recordings, at least one.
        rate: false-alarm rate, above 0 and below 1. Below :func:`smallest_rate` the highest score is returned.

    Raises:
        InvalidParameter: the rate is out of range.

    Example:
        >>> scores = np.linspace(0.01, 0.99, 99)
        >>> round(threshold_at(scores, 0.05), 2), round(threshold_at(scores, 0.001), 2)
        (0.95, 0.99)
    """
    if not 0 < rate < 1:
        raise InvalidParameter(f"The false-alarm rate is {rate}; a number above 0 and below 1 was expected.")
    return float(np.sort(scores)[len(scores) - 1 - allowed_above(len(scores), rate)])


def calibrated_threshold(calibration: Calibration, rate: float) -> float:
    """Return the threshold at a false-alarm rate; see the top of this module.

    Args:
        calibration: scores of normal recordings.
        rate: false-alarm rate, above 0 and below 1.

    Raises:
        InvalidParameter: the rate is out of range.

    Example:
        >>> scores, session = np.linspace(0.01, 0.99, 99), np.arange(99) // 33
        >>> threshold = calibrated_threshold(Calibration(scores, scores, session, rate_holds_for="new_session"), 0.05)
        >>> round(threshold, 2), round(calibrated_threshold(Calibration(scores, scores, session), 0.05), 2)
        (0.99, 0.95)
    """
    scores, session = calibration.named[calibration.kept], calibration.session[calibration.kept]
    threshold = threshold_at(scores, rate)
    if calibration.rate_holds_for == "same_session":
        return threshold
    return max(threshold, session_bound(scores, session, lambda values: threshold_at(values, rate)))


def operating_point_at_rate(
    calibration: Calibration, rate: float, sensitivity: Sensitivity | None = None
) -> OperatingPoint:
    """Return the operating point at a false-alarm rate.

    Args:
        calibration: scores of normal recordings.
        rate: share of normal recordings that may exceed the threshold, above 0 and below 1.
        sensitivity: name of the rate; None without a name.

    Raises:
        InvalidParameter: the rate is out of range.

    Example:
        >>> scores = np.linspace(0.01, 0.99, 99)
        >>> point = operating_point_at_rate(Calibration(scores, scores, np.arange(99)), 0.05)
        >>> round(point.threshold, 2), point.expected_rate.value, point.n, point.smallest_rate
        (0.95, 0.05, 99, 0.01)
    """
    n = int(calibration.kept.sum())
    threshold = calibrated_threshold(calibration, rate)
    if rate < smallest_rate(n):
        counted = " that counts" if n < len(calibration.named) else ""
        basis = f"the highest healthy score{counted}, of too few for {percent(rate)} false alarms"
        notes: tuple[str, ...] = (
            f"{n} normal recordings support no false-alarm rate below {percent(smallest_rate(n))}; {percent(rate)} was "
            "requested. The threshold is the highest of their scores.",
        )
    else:
        basis, notes = f"for {percent(rate)} false alarms", ()
    if calibration.rate_holds_for == "new_session":
        basis = f"{basis} in a new session"
    anomalous = int(calibration.alarms(threshold)[calibration.kept].sum())
    if calibration.by_classifier is not None and anomalous > allowed_above(n, rate):
        notes = (
            *notes,
            f"With the classifier's verdicts, {anomalous} of {n} normal recordings are anomalous at this threshold; "
            f"{percent(rate)} was requested.",
        )
    return _operating_point(calibration, threshold, rate, sensitivity, basis, notes)


def operating_point_at_sensitivity(calibration: Calibration, sensitivity: Sensitivity) -> OperatingPoint:
    """Return the operating point at a named false-alarm rate.

    Args:
        calibration: scores of normal recordings.
        sensitivity: ``low``, ``medium`` or ``high``, see :data:`SENSITIVITIES`.

    Raises:
        InvalidParameter: no rate has this name.

    Example:
        >>> scores = np.linspace(0.01, 0.99, 99)
        >>> point = operating_point_at_sensitivity(Calibration(scores, scores, np.arange(99)), "medium")
        >>> round(point.threshold, 2), point.false_alarm_rate
        (0.99, 0.01)
    """
    if sensitivity not in SENSITIVITIES:
        raise InvalidParameter(f"The sensitivity is {sensitivity!r}; one of {', '.join(SENSITIVITIES)} was expected.")
    return operating_point_at_rate(calibration, SENSITIVITIES[sensitivity], sensitivity)


def operating_point_at_threshold(calibration: Calibration, threshold: float) -> OperatingPoint:
    """Return the operating point at a threshold that a person chose.

    Args:
        calibration: scores of normal recordings.
        threshold: score, 0 to 1.

    Raises:
        InvalidParameter: the threshold is out of range.

    Example:
        >>> scores = np.linspace(0.01, 0.99, 99)
        >>> point = operating_point_at_threshold(Calibration(scores, scores, np.arange(99)), 0.895)
        >>> point.expected_rate.value, point.basis
        (0.11, 'set by hand; above it were 10 of 99 healthy recordings that had not been learned from')
    """
    return _operating_point(calibration, check_threshold(threshold), None, None, BY_HAND, ())


def check_threshold(threshold: float) -> float:
    """Return the threshold itself.

    Raises:
        InvalidParameter: it is not a score from 0 to 1.

    Example:
        >>> check_threshold(0.5)
        0.5
    """
    if not 0 <= threshold <= 1:
        raise InvalidParameter(f"The threshold is {threshold}; a score from 0 to 1 was expected.")
    return threshold


def _operating_point(
    calibration: Calibration,
    threshold: float,
    rate: float | None,
    sensitivity: Sensitivity | None,
    basis: str,
    notes: tuple[str, ...],
) -> OperatingPoint:
    n, above = len(calibration.named), int(np.count_nonzero(calibration.alarms(threshold)))
    which = "above it" if calibration.by_classifier is None else "above it, or anomalous by the classifier,"
    return OperatingPoint(
        threshold=threshold,
        false_alarm_rate=rate,
        sensitivity=sensitivity,
        expected_rate=expected_rate(calibration, threshold),
        n=n,
        n_sessions=calibration.n_sessions,
        n_odd=n - int(calibration.kept.sum()),
        rate_holds_for=calibration.rate_holds_for,
        smallest_rate=smallest_rate(int(calibration.kept.sum())),
        basis=f"{basis}; {which} were {above} of {n} healthy recordings that had not been learned from",
        notes=(*notes, *_session_notes(calibration)),
    )


def expected_rate(calibration: Calibration, threshold: float) -> Estimate:
    """Estimate the share of further normal recordings that are anomalous at a threshold, with its 95 % interval.

    The value is the p-value of a score just above the threshold: ``(1 + #{scores > threshold}) / (n + 1)``.

    The interval comes from bootstrap draws of sessions: how far the value would move if other sessions had been
    recorded. It contains Wilson's interval, which treats each recording as a session of its own: with one or two
    recordings above the threshold, the draws hardly differ. In a simulation (150 calibrations, 0.3 of the variance
    between sessions), it contained the true rate in 79 to 81 % of the cases with 5 sessions, in 89 % with 12 and in
    95 % with 30. The draws alone did in 48 to 76 %, 53 to 88 % and 93 %.

    Args:
        calibration: scores of normal recordings.
        threshold: score, 0 to 1.

    Returns:
        Value and interval, 0 to 1; undefined without recordings.

    Example:
        >>> scores = np.linspace(0.01, 0.99, 99)
        >>> rate = expected_rate(Calibration(scores, scores, np.arange(99)), 0.895)
        >>> rate.value, round(rate.low, 2), round(rate.high, 2)
        (0.11, 0.06, 0.19)
    """
    n, above = len(calibration.named), calibration.alarms(threshold)
    plan = BootstrapPlan.of(np.zeros(n, np.int64), calibration.session, SEED)

    def rates(weights: Scores) -> Scores:
        return ((1 + n * metrics.weighted_share(above, np.ones(n, bool), weights)) / (n + 1))[:, None]

    (drawn,) = bootstrap_estimates(rates, plan, [plan.units(0)])
    if drawn.value is None or drawn.low is None or drawn.high is None:
        return drawn  # there are no recordings
    low, high = wilson(drawn.value, n)
    return Estimate(drawn.value, min(drawn.low, low), max(drawn.high, high))


def _session_notes(calibration: Calibration) -> tuple[str, ...]:
    sessions = calibration.n_sessions
    notes = []
    if calibration.rate_holds_for == "new_session" and sessions < SESSIONS_FOR_A_RATE:
        notes.append(
            f"{sessions} sessions support no false-alarm rate of a new session; at least {SESSIONS_FOR_A_RATE} are "
            "needed. Record the normal machine on more days."
        )
    if sessions < MIN_SESSIONS:
        of = "one session" if sessions == 1 else f"{sessions} sessions"
        notes.append(
            f"The normal recordings are of {of}: the interval was drawn recording by recording. Recordings of one "
            "session resemble each other, so the interval is too narrow."
        )
    elif sessions < FEW_SESSIONS:
        notes.append(f"The interval was drawn from {sessions} sessions and is rough.")
    return tuple(notes)


def percent(rate: float) -> str:
    """Return a rate as text in percent, with three significant digits.

    Example:
        >>> percent(0.05), percent(1 / 19)
        ('5 %', '5.26 %')
    """
    return f"{100 * rate:.3g} %"
