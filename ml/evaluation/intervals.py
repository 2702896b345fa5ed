"""Bootstrap over sessions: 95 % intervals of figures.

An interval shows how far a figure would move if other sessions had been recorded. Recordings of one session resemble
each other. Therefore whole sessions are drawn, with replacement, within each class: each draw contains all classes. The
interval is the range between the 2.5th and 97.5th percentiles of the draws (B. Efron and R. Tibshirani, "An
Introduction to the Bootstrap", 1993, chapter 13).

**Too few sessions.** A class with fewer than three sessions is drawn recording by recording. The interval is then too
narrow, and a note reports this.

**Equal draws.** An AUC or a rate of exactly 1 is 1 in each draw, and the percentiles would suggest certainty. Then the
interval is Wilson's for a proportion (E. Wilson, J. Am. Stat. Assoc. 22, 1927). Its number of trials is the number of
sessions (or recordings) of the smaller class. For a difference of two figures that is equal in all draws, the interval
extends on both sides by the upper limit of Wilson's interval for a proportion of 0.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ml.evaluation.metrics import Floats
from ml.evaluation.results import UNDEFINED, Estimate

DRAWS = 2000  # chosen here
# Half a MiB fits into a core's cache: 5000 recordings take 3 s; with 16 times as many weights, 5 s.
WEIGHTS_AT_ONCE = 2**16
MIN_SESSIONS = 3  # chosen here
FEW_SESSIONS = 10  # chosen here: with fewer, bootstrap percentiles are rough, and mostly too narrow
Z95 = 1.959963984540054  # 97.5 % quantile of the standard normal distribution
SAME = 1e-12  # draws that differ by less are equal
DECIMALS = 12  # sums of shares differ from 1 by about 1e-16; rounding makes a perfect figure exactly 1

Statistic = Callable[[Floats], Floats]
"""Function from weights ``(draws, recordings)`` to figures ``(draws, figures)``."""
DegenerateInterval = Callable[[float, int], tuple[float, float]]
"""Function from a figure that is equal in all draws, and its number of units, to its interval."""


@dataclass(frozen=True, slots=True)
class Stratum:
    """Recordings that are drawn among themselves, for example one class.

    Attributes:
        number: number of the stratum.
        members: int64 ``(members,)``: indices of its recordings.
        unit: int64 ``(members,)``: number of the drawn unit, a session or a recording, from 0.
        units: number of units.

    Example:
        >>> stratum = Stratum.of(0, np.array([0, 1, 2, 3]), np.array([7, 7, 8, 9]))
        >>> stratum.unit, stratum.units
        (array([0, 0, 1, 2]), 3)
    """

    number: int
    members: NDArray[np.int64]
    unit: NDArray[np.int64]
    units: int

    @classmethod
    def of(cls, number: int, members: NDArray[np.int64], sessions: NDArray[np.int64]) -> Self:
        """Make a stratum whose units are sessions, or recordings if there are fewer than three sessions.

        Args:
            number: number of the stratum.
            members: int64 ``(members,)``: indices of its recordings.
            sessions: int64 ``(recordings,)``: number of the session of each recording, of all strata.
        """
        names, unit = np.unique(sessions[members], return_inverse=True)
        if len(names) >= MIN_SESSIONS:
            return cls(number, members, unit, len(names))
        return cls(number, members, np.arange(len(members)), len(members))


@dataclass(frozen=True, slots=True)
class BootstrapPlan:
    """Strata of recordings to draw from, and the seed of the draws.

    Attributes:
        size: number of recordings.
        strata: the strata.
        seed: seed of the draws.

    Example:
        >>> plan = BootstrapPlan.of(np.array([0, 0, 0, 1, 1]), np.array([0, 1, 2, 3, 3]), seed=0)
        >>> plan.units(0), plan.units(0, 1), plan.units(2)
        (3, 2, 0)
        >>> (weights,) = plan.weights(draws=4)
        >>> weights.shape, weights[:, :3].sum(axis=1), weights[:, 3:].sum(axis=1)
        ((4, 5), array([3., 3., 3., 3.]), array([2., 2., 2., 2.]))
    """

    size: int
    strata: tuple[Stratum, ...]
    seed: int

    @classmethod
    def of(cls, strata: NDArray[np.int64], sessions: NDArray[np.int64], seed: int) -> Self:
        """Make a plan.

        Args:
            strata: int64 ``(recordings,)``: number of the stratum of each recording.
            sessions: int64 ``(recordings,)``: number of the session of each recording.
            seed: seed of the draws.
        """
        numbers = map(int, np.unique(strata))
        found = tuple(Stratum.of(number, np.flatnonzero(strata == number), sessions) for number in numbers)
        return cls(len(strata), found, seed)

    def units(self, *numbers: int) -> int:
        """Return the number of units of the smallest of these strata; 0 if one is empty, or without numbers."""
        units = {stratum.number: stratum.units for stratum in self.strata}
        return min((units.get(number, 0) for number in numbers), default=0)

    def weights(self, draws: int = DRAWS) -> Iterator[Floats]:
        """Yield how often draws contain each recording: float64 ``(some draws, recordings)`` at a time."""
        rng = np.random.Generator(np.random.PCG64(self.seed))
        at_once = max(1, WEIGHTS_AT_ONCE // max(1, self.size))
        for start in range(0, draws, at_once):
            count = min(at_once, draws - start)
            weights = np.empty((count, self.size))
            for stratum in self.strata:
                weights[:, stratum.members] = _draw_counts(rng, count, stratum.units)[:, stratum.unit]
            yield weights


def _draw_counts(rng: np.random.Generator, draws: int, units: int) -> NDArray[np.int64]:
    """How often each unit is drawn, ``(draws, units)``."""
    drawn = rng.integers(units, size=(draws, units)) + units * np.arange(draws)[:, None]
    return np.bincount(drawn.ravel(), minlength=draws * units).reshape(draws, units)


def wilson(share: float, trials: int) -> tuple[float, float]:
    """Compute Wilson's 95 % interval of a proportion (E. Wilson, J. Am. Stat. Assoc. 22, 1927).

    With the proportion p, n trials and z = 1.96:
    ``(p + z^2 / 2n +- z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n)``. It always contains p.

    Args:
        share: the proportion, 0 to 1.
        trials: number of trials, at least 1.

    Returns:
        Lower and upper limit, 0 to 1.

    Raises:
        ZeroDivisionError: there are no trials.

    Example:
        >>> [round(limit, 3) for limit in wilson(1.0, 5)]
        [0.566, 1.0]
    """
    shrink = 1 + Z95**2 / trials
    centre = (share + Z95**2 / (2 * trials)) / shrink
    half = Z95 * math.sqrt(max(0.0, share * (1 - share)) / trials + Z95**2 / (4 * trials**2)) / shrink
    return max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half))


def wilson_difference(difference: float, trials: int) -> tuple[float, float]:
    """Compute a 95 % interval of a difference of two paired proportions that was equal in all trials.

    ``difference +- u`` with the upper limit ``u`` of Wilson's interval for 0 in as many trials; chosen here.

    Args:
        difference: -1 to 1.
        trials: number of trials, at least 1.

    Returns:
        Lower and upper limit, -1 to 1.

    Raises:
        ZeroDivisionError: there are no trials.

    Example:
        >>> [round(limit, 3) for limit in wilson_difference(0.0, 20)]
        [-0.161, 0.161]
    """
    _, most = wilson(0.0, trials)
    return max(-1.0, difference - most), min(1.0, difference + most)


def bootstrap_estimates(
    statistic: Statistic, plan: BootstrapPlan, units: Sequence[int], degenerate_interval: DegenerateInterval = wilson
) -> tuple[Estimate, ...]:
    """Compute figures with their 95 % intervals: percentiles of 2000 bootstrap draws.

    Args:
        statistic: function that computes the figures.
        plan: how recordings are drawn.
        units: ``(figures,)``: number of units of each figure; of the smaller class, if it uses two.
        degenerate_interval: computes the interval of a figure that is equal in all draws.

    Returns:
        An estimate for each figure, rounded to 12 decimals; undefined if there are no recordings or the figure is NaN.

    Example:
        >>> values = np.arange(10.0)
        >>> plan = BootstrapPlan.of(np.zeros(10, int), np.arange(10), seed=0)
        >>> (mean,) = bootstrap_estimates(lambda weights: (weights @ values / 10)[:, None], plan, [plan.units(0)])
        >>> mean.value, round(mean.low, 1), round(mean.high, 1)
        (4.5, 2.7, 6.3)
    """
    if plan.size == 0:
        return (UNDEFINED,) * len(units)
    values = statistic(np.ones((1, plan.size)))[0]
    draws = np.concatenate([statistic(weights) for weights in plan.weights()])
    return tuple(
        UNDEFINED if math.isnan(value) else _interval(float(value), column, count, degenerate_interval)
        for value, column, count in zip(values, draws.T, units, strict=True)
    )


def _interval(value: float, draws: Floats, units: int, degenerate_interval: DegenerateInterval) -> Estimate:
    draws = draws[~np.isnan(draws)]
    low, high = np.percentile(draws, [2.5, 97.5])
    if high - low < SAME:
        low, high = degenerate_interval(value, units)
    return Estimate(*(round(float(figure), DECIMALS) for figure in (value, low, high)))
