"""The bootstrap over recording groups: how far a figure would move if other sessions had been recorded.

Recordings of one session resemble each other, so a session is what is drawn, with replacement, within each class: a
class cannot vanish from a draw. The interval is that between the 2.5th and 97.5th percentiles of the draws (Efron and
Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13).

**Too few groups.** A class that comes from fewer than three groups is drawn recording by recording instead; the
interval is then too narrow, and a note says so.

**All draws alike.** An AUC or a rate of exactly 1 is 1 in every draw, and the percentiles would claim certainty.
Wilson's interval of a proportion (E. B. Wilson, J. Am. Stat. Assoc. 22, 1927) takes their place, with as many trials as
there are groups (or recordings) of the smaller class that the figure rests on. A difference of two figures that is the
same in every draw may be off by as much as a share that was 0 in so many trials.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ml.evaluation.metrics import Floats
from ml.evaluation.results import UNDEFINED, Estimate

DRAWS = 2000
WEIGHTS_AT_ONCE = 2**16  # half a MiB stays in a core's cache: 5000 recordings take 3 s, with 16 times as many 5 s
MIN_SESSIONS = 3
FEW_SESSIONS = 10  # below this the percentiles of a bootstrap are rough, and too narrow more often than not
Z95 = 1.959963984540054  # 97.5 % of a normal distribution lies below
SAME = 1e-12
DECIMALS = 12  # sums of shares miss 1 by some 1e-16; perfect shall read as 1

Statistic = Callable[[Floats], Floats]
"""From weights ``(draws, recordings)`` to figures ``(draws, figures)``."""
DegenerateInterval = Callable[[float, int], tuple[float, float]]
"""From a figure that all draws agree on, and the number of units that it rests on, to its interval."""


@dataclass(frozen=True, slots=True)
class Stratum:
    """Recordings that are drawn among themselves: their indices, the unit that each belongs to, and how many units."""

    number: int
    members: NDArray[np.int64]
    unit: NDArray[np.int64]
    units: int

    @classmethod
    def of(cls, number: int, members: NDArray[np.int64], groups: NDArray[np.int64]) -> Self:
        """Draw by group, or by recording where there are too few groups."""
        names, unit = np.unique(groups[members], return_inverse=True)
        if len(names) >= MIN_SESSIONS:
            return cls(number, members, unit, len(names))
        return cls(number, members, np.arange(len(members)), len(members))


@dataclass(frozen=True, slots=True)
class BootstrapPlan:
    """What is drawn: strata of recordings, and the seed."""

    size: int
    strata: tuple[Stratum, ...]
    seed: int

    @classmethod
    def of(cls, strata: NDArray[np.int64], groups: NDArray[np.int64], seed: int) -> Self:
        """Recordings with the same number in ``strata`` are drawn among themselves, by their ``groups``."""
        numbers = map(int, np.unique(strata))
        found = tuple(Stratum.of(number, np.flatnonzero(strata == number), groups) for number in numbers)
        return cls(len(strata), found, seed)

    def units(self, *numbers: int) -> int:
        """How many units the smallest of these strata is drawn from; 0 where one is not there."""
        units = {stratum.number: stratum.units for stratum in self.strata}
        return min(units.get(number, 0) for number in numbers)

    def weights(self, draws: int = DRAWS) -> Iterator[Floats]:
        """How often each recording is in each draw, ``(some draws, recordings)`` at a time."""
        rng = np.random.Generator(np.random.PCG64(self.seed))
        at_once = max(1, WEIGHTS_AT_ONCE // max(1, self.size))
        for start in range(0, draws, at_once):
            count = min(at_once, draws - start)
            weights = np.empty((count, self.size))
            for stratum in self.strata:
                weights[:, stratum.members] = _times_drawn(rng, count, stratum.units)[:, stratum.unit]
            yield weights


def _times_drawn(rng: np.random.Generator, draws: int, units: int) -> NDArray[np.int64]:
    drawn = rng.integers(units, size=(draws, units)) + units * np.arange(draws)[:, None]
    return np.bincount(drawn.ravel(), minlength=draws * units).reshape(draws, units)


def wilson(share: float, trials: int) -> tuple[float, float]:
    """The 95 % interval of a proportion that was seen in so many trials."""
    shrink = 1 + Z95**2 / trials
    centre = (share + Z95**2 / (2 * trials)) / shrink
    half = Z95 * math.sqrt(max(0.0, share * (1 - share)) / trials + Z95**2 / (4 * trials**2)) / shrink
    return max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half))


def wilson_difference(difference: float, trials: int) -> tuple[float, float]:
    """The 95 % interval, -1 to 1, of a difference of two paired figures that was the same in so many trials."""
    _, most = wilson(0.0, trials)
    return max(-1.0, difference - most), min(1.0, difference + most)


def bootstrap_estimates(
    statistic: Statistic, plan: BootstrapPlan, units: Sequence[int], degenerate_interval: DegenerateInterval = wilson
) -> tuple[Estimate, ...]:
    """Figures with their intervals.

    Args:
        statistic: what they are.
        plan: how recordings are drawn.
        units: for each figure, the number of units that it rests on: of the smaller class, where it rests on two.
        degenerate_interval: the interval of a figure that is the same in all draws.
    """
    if plan.size == 0:
        return (UNDEFINED,) * len(units)
    values = statistic(np.ones((1, plan.size)))[0]
    draws = np.concatenate([statistic(weights) for weights in plan.weights()])
    return tuple(
        UNDEFINED if math.isnan(value) else _interval(float(value), column, count, degenerate_interval)
        for value, column, count in zip(values, draws.T, units, strict=True)
    )


def _interval(value: float, draws: Floats, units: int, alike: DegenerateInterval) -> Estimate:
    draws = draws[~np.isnan(draws)]
    low, high = np.percentile(draws, [2.5, 97.5])
    if high - low < SAME:
        low, high = alike(value, units)
    return Estimate(*(round(float(figure), DECIMALS) for figure in (value, low, high)))
