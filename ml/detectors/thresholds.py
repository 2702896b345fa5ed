"""From the scores of healthy recordings to a threshold at a stated false-alarm rate.

**p-value.** How often a healthy recording scores as high as this one or higher, this one counted in:
``(1 + #{scores >= score}) / (n + 1)``. A healthy recording has a p-value of at most ``p`` with a probability of at most
``p`` (split conformal prediction: V. Vovk et al., "Algorithmic learning in a random world", 2005).

**Threshold.** The ``ceil((n + 1) (1 - rate))``-th of the scores: one more healthy recording is above it with a
probability of at most ``rate``. So many scores bear out no rate below ``1 / (n + 1)``; for less, the highest of them is
the threshold, and a note says so.

**What that rests on.** That the next recording could as well have been one of those: exact for scores of recordings
that were held out, nearly so for cross-fitted ones, whose engines have learned from a little less than the one in use.
And recordings of one session resemble each other: the interval draws sessions, and is wide where they are few.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ml.detectors.detector import Calibration
from ml.errors import InvalidParameter
from ml.evaluation import metrics
from ml.evaluation.intervals import FEW_SESSIONS, MIN_SESSIONS, BootstrapPlan, bootstrap_estimates, wilson
from ml.evaluation.results import Estimate

Scores = NDArray[np.float64]
Sensitivity = Literal["low", "medium", "high"]
SENSITIVITIES: Mapping[Sensitivity, float] = {"low": 0.001, "medium": 0.01, "high": 0.05}
"""The named false-alarm rates."""
DIGITS = 9  # rates are decimal: (n + 1) (1 - rate) misses a whole number by some 1e-16
SEED = 0
BY_HAND = "set by hand"


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """A threshold, and what healthy recordings say of it.

    Attributes:
        threshold: a score above it is anomalous.
        false_alarm_rate: what was asked for; None where the threshold itself was.
        sensitivity: the name that it was asked for by; None without one.
        expected_rate: share of further healthy recordings above it, and its 95 % interval, which draws sessions.
        n: how many healthy recordings say so.
        smallest_rate: the smallest rate that so many bear out.
        basis: in words, where the threshold comes from.
        notes: what a reader must know of the figures, in sentences.
    """

    threshold: float
    false_alarm_rate: float | None
    sensitivity: Sensitivity | None
    expected_rate: Estimate
    n: int
    smallest_rate: float
    basis: str
    notes: tuple[str, ...]


def p_value(scores: Scores, score: float) -> float:
    """How often a healthy recording scores as high as ``score`` or higher: above 0, at most 1.

    Args:
        scores: of healthy recordings, ``(n,)``: ``Calibration.named`` where the machine is known, else ``unnamed``.
        score: of the recording in hand.
    """
    return (1 + int(np.count_nonzero(scores >= score))) / (len(scores) + 1)


def smallest_rate(n: int) -> float:
    """The smallest false-alarm rate that ``n`` healthy recordings bear out."""
    return 1 / (n + 1)


def threshold_at(scores: Scores, rate: float) -> float:
    """The score above which a further healthy recording is with a probability of at most ``rate``.

    Args:
        scores: of healthy recordings, ``(n,)``, at least one.
        rate: above 0, below 1; below :func:`smallest_rate` the highest score is returned.

    Raises:
        InvalidParameter: a rate that is none.
    """
    if not 0 < rate < 1:
        raise InvalidParameter(f"A false-alarm rate of {rate}; a number above 0 and below 1 was expected.")
    rank = math.ceil(round((len(scores) + 1) * (1 - rate), DIGITS))
    return float(np.sort(scores)[min(max(rank, 1), len(scores)) - 1])


def operating_point_at_rate(
    calibration: Calibration, rate: float, sensitivity: Sensitivity | None = None
) -> OperatingPoint:
    """The threshold at a false-alarm rate.

    Args:
        calibration: scores of healthy recordings.
        rate: the share of healthy recordings that may be above the threshold.
        sensitivity: the name of that rate, where it was asked for by name.

    Raises:
        InvalidParameter: a rate that is none.
    """
    n = len(calibration.named)
    threshold = threshold_at(calibration.named, rate)
    if rate < smallest_rate(n):
        basis = f"the highest healthy score, of too few for {percent(rate)} false alarms"
        notes: tuple[str, ...] = (
            f"{n} healthy recordings bear out no false-alarm rate below {percent(smallest_rate(n))}; "
            f"{percent(rate)} was asked for, and the threshold is the highest of their scores.",
        )
    else:
        basis, notes = f"for {percent(rate)} false alarms", ()
    return _operating_point(calibration, threshold, rate, sensitivity, basis, notes)


def operating_point_at_sensitivity(calibration: Calibration, sensitivity: Sensitivity) -> OperatingPoint:
    """The threshold at a named rate.

    Raises:
        InvalidParameter: a name that no rate has.
    """
    if sensitivity not in SENSITIVITIES:
        raise InvalidParameter(f"A sensitivity of {sensitivity!r}; {', '.join(SENSITIVITIES)} were expected.")
    return operating_point_at_rate(calibration, SENSITIVITIES[sensitivity], sensitivity)


def operating_point_at_threshold(calibration: Calibration, threshold: float) -> OperatingPoint:
    """What is known of a threshold that was set as a score, 0 to 1.

    Raises:
        InvalidParameter: a score that is none.
    """
    return _operating_point(calibration, _check_threshold(threshold), None, None, BY_HAND, ())


def _check_threshold(threshold: float) -> float:
    """The threshold itself.

    Raises:
        InvalidParameter: it is no score from 0 to 1.
    """
    if not 0 <= threshold <= 1:
        raise InvalidParameter(f"A threshold of {threshold}; a score from 0 to 1 was expected.")
    return threshold


def _operating_point(
    calibration: Calibration,
    threshold: float,
    rate: float | None,
    sensitivity: Sensitivity | None,
    basis: str,
    notes: tuple[str, ...],
) -> OperatingPoint:
    n, above = len(calibration.named), int(np.count_nonzero(calibration.named > threshold))
    return OperatingPoint(
        threshold=threshold,
        false_alarm_rate=rate,
        sensitivity=sensitivity,
        expected_rate=expected_rate(calibration, threshold),
        n=n,
        smallest_rate=smallest_rate(n),
        basis=f"{basis}; above it were {above} of {n} healthy recordings that had not been learned from",
        notes=(*notes, *_session_notes(calibration)),
    )


def expected_rate(calibration: Calibration, threshold: float) -> Estimate:
    """The share of further healthy recordings above ``threshold``: the p-value of one that is just above it.

    Its 95 % interval draws sessions with replacement, as an evaluation does: how far it would move if other sessions
    had been recorded. It is never narrower than Wilson's, which takes every recording for a session of its own: where
    one or two recordings are above, draws hardly differ. Where a session had 0.3 of the variance, it held the true
    rate in 79 to 81 % of 150 simulated calibrations with 5 sessions, 89 % with 12 and 95 % with 30; draws alone did in
    48 to 76 %, 53 to 88 % and 93 %.
    """
    n, above = len(calibration.named), calibration.named > threshold
    plan = BootstrapPlan.of(np.zeros(n, np.int64), calibration.session, SEED)

    def rates(weights: Scores) -> Scores:
        return ((1 + n * metrics.weighted_share(above, np.ones(n, bool), weights)) / (n + 1))[:, None]

    (drawn,) = bootstrap_estimates(rates, plan, [plan.units(0)])
    if drawn.value is None or drawn.low is None or drawn.high is None:
        return drawn  # there are no recordings
    low, high = wilson(drawn.value, n)
    return Estimate(drawn.value, min(drawn.low, low), max(drawn.high, high))


def _session_notes(calibration: Calibration) -> tuple[str, ...]:
    sessions = len(np.unique(calibration.session))
    if sessions < MIN_SESSIONS:
        of = "one session" if sessions == 1 else f"{sessions} sessions"
        return (
            f"The healthy recordings are of {of}: the interval was drawn recording by recording, and as recordings of "
            "one session resemble each other, it is too narrow.",
        )
    if sessions < FEW_SESSIONS:
        return (f"The interval was drawn from {sessions} sessions and is rough.",)
    return ()


def percent(rate: float) -> str:
    """A rate in words: 0.05 is ``5 %``."""
    return f"{100 * rate:.3g} %"
