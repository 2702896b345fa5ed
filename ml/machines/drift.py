"""Whether the scores of one version at one machine are still what they were.

**What is compared.** The first scores that the version gave the machine, its *reference*, and its last: 100 of each;
the older and the newer half while there are fewer than 200; nothing below 100.

**The test.** Scores of neighbouring recordings resemble each other, and a test that takes them as independent finds
drift everywhere. Each side is therefore cut into blocks of 10 successive scores, and the means of the blocks are
compared by Wilcoxon's rank sum (F. Wilcoxon, Biometrics Bulletin 1, 1945; H. B. Mann and D. R. Whitney, Ann. Math.
Stat. 18, 1947), two-sided, its distribution over all ways to divide those very ranks counted out, ties included. Ranks
ask nothing of how scores are distributed.

**The effect.** How often a recent score is above one of the reference, ties counting half: 0.5 where nothing has
moved, 1 where every one is. ``drifting`` takes both, a p-value below 0.01 and an effect of at least 0.75 or at most
0.25: a difference that is not chance, and one that is worth a look.

**How often it errs**, simulated with normal scores whose neighbours correlate by ``r``. Looked at after each recording,
as here, it has many chances to err: the last column is the share of machines that never changed and were called
drifting at least once in 1000 recordings.

====  ==============================  =============================  ==============
 r    one look, 100 (50) each side   finds 1.5 deviations           in 1000
====  ==============================  =============================  ==============
0     below 0.1 % (below 0.1 %)       above 99 % (99 %)              below 1 %
0.5   below 0.1 % (0.2 %)             98 % (77 %)                    2 %
0.7   0.7 % (1.9 %)                   94 % (56 %)                    16 %
0.9   9 % (7 %)                       76 % (45 %)                    84 %
====  ==============================  =============================  ==============

**What it cannot know.** Why: a worn bearing, a moved microphone and a cold hall all move scores. What changes more
slowly than ten recordings, load over a shift or weather over a week, is no chance to it but drift. A machine that was
ill from the first has an ill reference.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

DriftState = Literal["too_few", "steady", "drifting"]
Scores = NDArray[np.float64]
BLOCK = 10
FEWEST_SCORES, MOST_SCORES = 50, 100
"""Scores on each side."""
SIGNIFICANT = 0.01
EFFECT = 0.25
"""How far from 0.5 the effect must be."""


@dataclass(frozen=True, slots=True)
class Drift:
    """Recent scores beside those of the reference.

    Attributes:
        state: ``too_few`` where nothing can be said, and all but the counts is None.
        reference_n, recent_n: how many scores were compared.
        p_value: how often chance alone moves them so far, or further.
        effect: 0 to 1, how often a recent score is above one of the reference; 0.5 where nothing has moved.
        reference_median, recent_median: of the scores.
    """

    state: DriftState
    reference_n: int
    recent_n: int
    p_value: float | None = None
    effect: float | None = None
    reference_median: float | None = None
    recent_median: float | None = None


def scores_per_side(n_scores: int) -> int:
    """How many scores there are to each side, of a machine that was heard so often: whole blocks."""
    return min(MOST_SCORES, n_scores // 2 // BLOCK * BLOCK)


def measure_drift(reference: Scores, recent: Scores) -> Drift:
    """Compare two runs of scores, each in the order of time and as long as :func:`scores_per_side` says."""
    if len(reference) < FEWEST_SCORES:
        return Drift("too_few", len(reference), len(recent))
    p_value, effect = rank_sum_p_value(_blocks(reference), _blocks(recent)), superiority(reference, recent)
    drifting = p_value < SIGNIFICANT and abs(effect - 0.5) >= EFFECT
    return Drift(
        state="drifting" if drifting else "steady",
        reference_n=len(reference),
        recent_n=len(recent),
        p_value=p_value,
        effect=effect,
        reference_median=float(np.median(reference)),
        recent_median=float(np.median(recent)),
    )


def superiority(reference: Scores, recent: Scores) -> float:
    """The share of pairs in which the recent score is the higher one, ties counting half."""
    ordered = np.sort(reference)
    below, up_to = np.searchsorted(ordered, recent, "left"), np.searchsorted(ordered, recent, "right")
    return float((below + up_to).mean() / 2 / len(ordered))


def rank_sum_p_value(first: Scores, second: Scores) -> float:
    """Of Wilcoxon's rank sum, two-sided and exact: over every way to divide these values, ties and all."""
    both = np.concatenate([first, second])
    # Ties share the mean of their ranks, which may be a half: twice the ranks are whole.
    doubled = (both[:, None] > both).sum(axis=1) + (both[:, None] >= both).sum(axis=1) + 1
    ways = _ways(tuple(sorted(doubled.tolist())), len(second))
    found = int(doubled[len(first) :].sum())
    return float(min(1.0, 2 * min(ways[: found + 1].sum(), ways[found:].sum()) / ways.sum()))


@lru_cache(maxsize=64)
def _ways(ranks: tuple[int, ...], chosen: int) -> NDArray[np.float64]:
    """How many choices of so many ranks add up to each sum: whole numbers, exact in float64 for 2 x 10 blocks."""
    ways = np.zeros((chosen + 1, sum(ranks) + 1))
    ways[0, 0] = 1
    for rank in ranks:
        # The right side is whole before the left is written: no rank is taken twice.
        ways[1:, rank:] += ways[:-1, :-rank]
    return np.asarray(ways[chosen])


def _blocks(scores: Scores) -> Scores:
    return np.asarray(scores.reshape(-1, BLOCK).mean(axis=1))
