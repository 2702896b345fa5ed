"""Drift: whether the scores of one version for one machine have moved since its first recordings.

**Compared scores.** The first 100 scores of the version for the machine, its *reference*, and the last 100. With fewer
than 200 scores, the older and the newer half are compared; with fewer than 100, nothing is compared.

**Test.** Scores of neighbouring recordings are similar. A test that assumes independence finds drift everywhere.
Therefore each side is cut into blocks of 10 successive scores. The means of the blocks are compared by Wilcoxon's rank
sum (F. Wilcoxon, Biometrics Bulletin 1, 1945; H. B. Mann and D. R. Whitney, Ann. Math. Stat. 18, 1947), two-sided and
exact: the distribution is counted over all ways to divide these ranks, with ties. Ranks need no assumption about the
distribution of the scores.

**Effect.** ``P(recent > reference) + P(recent = reference) / 2`` over all pairs of a reference and a recent score: 0.5
without a change, 1 if every recent score is higher. The state is ``drifting`` if the p-value is below 0.01 and the
effect is at least 0.75 or at most 0.25. Then the
difference is unlikely to be chance, and it is large enough to matter.

**Errors**, from a simulation with normally distributed scores whose neighbours correlate by ``r``. The test is repeated
after each recording, which gives many chances to err. The last column is the share of unchanged machines that were
``drifting`` at least once in 1000 recordings.

====  ==============================  =============================  ==============
 r    one test, 100 (50) each side    finds 1.5 deviations           in 1000
====  ==============================  =============================  ==============
0     below 0.1 % (below 0.1 %)       above 99 % (99 %)              below 1 %
0.5   below 0.1 % (0.2 %)             98 % (77 %)                    2 %
0.7   0.7 % (1.9 %)                   94 % (56 %)                    16 %
0.9   9 % (7 %)                       76 % (45 %)                    84 %
====  ==============================  =============================  ==============

**Limits.** The test does not show the cause: a worn bearing, a moved microphone and a cold hall all move scores. A
change that is slower than ten recordings, such as load over a shift or weather over a week, counts as drift. The
reference of a machine that was faulty from the start is faulty too.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

DriftState = Literal["too_few", "steady", "drifting"]
Scores = NDArray[np.float64]
BLOCK = 10
"""Successive scores whose mean counts as one value. Chosen here; the table above has the errors."""
FEWEST_SCORES, MOST_SCORES = 50, 100
"""Fewest and most scores on each side. Chosen here; the table above has the errors of both."""
SIGNIFICANT = 0.01
"""A p-value below this is necessary for ``drifting``. Chosen here, with the table above."""
EFFECT = 0.25
"""A difference of the effect from 0.5 by this or more is necessary for ``drifting``. Chosen here."""


@dataclass(frozen=True, slots=True)
class Drift:
    """Comparison of recent scores with reference scores.

    Attributes:
        state: ``too_few`` (then only the counts are set), ``steady`` or ``drifting``.
        reference_n, recent_n: number of scores on each side.
        p_value: probability, 0 to 1, that chance alone moves the scores at least so far.
        effect: 0 to 1, how often a recent score is above a reference score; 0.5 without a change.
        reference_median, recent_median: median of the scores.
    """

    state: DriftState
    reference_n: int
    recent_n: int
    p_value: float | None = None
    effect: float | None = None
    reference_median: float | None = None
    recent_median: float | None = None


def scores_per_side(n_scores: int) -> int:
    """Compute the number of scores on each side, in whole blocks: ``min(100, 10 * (n_scores // 20))``.

    Args:
        n_scores: number of scores of the version for the machine.

    Example:
        >>> [scores_per_side(n) for n in (19, 119, 1000)]
        [0, 50, 100]
    """
    return min(MOST_SCORES, n_scores // 2 // BLOCK * BLOCK)


def measure_drift(reference: Scores, recent: Scores) -> Drift:
    """Compare recent scores with the reference by p-value and effect.

    Args:
        reference: float64, shape ``(n,)``, 0 to 1, in the order of time; ``n`` from :func:`scores_per_side`.
        recent: float64, shape ``(n,)``, 0 to 1, in the order of time.

    Raises:
        ValueError: there are 50 scores or more, and not a whole number of blocks.

    Example:
        >>> reference = np.linspace(0.10, 0.20, 50)
        >>> drift = measure_drift(reference, reference + 0.05)
        >>> drift.state, round(drift.p_value, 3), round(drift.effect, 2)
        ('steady', 0.056, 0.87)
        >>> measure_drift(reference, reference + 0.2).state
        'drifting'
        >>> measure_drift(reference[:40], reference[10:]).state
        'too_few'
    """
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
    """Compute the effect: the share of pairs in which the recent score is higher; ties count half.

    ``P(recent > reference) + P(recent = reference) / 2``, which is the statistic U of Mann and Whitney divided by the
    number of pairs.

    Args:
        reference: float64, shape ``(n,)``.
        recent: float64, shape ``(m,)``.

    Returns:
        0 to 1; 0.5 without a change.

    Example:
        >>> superiority(np.array([0.1, 0.2]), np.array([0.2, 0.3]))  # 3 of 4 pairs are higher, 1 is a tie
        0.875
    """
    ordered = np.sort(reference)
    below, up_to = np.searchsorted(ordered, recent, "left"), np.searchsorted(ordered, recent, "right")
    return float((below + up_to).mean() / 2 / len(ordered))


def rank_sum_p_value(first: Scores, second: Scores) -> float:
    """Compute the two-sided, exact p-value of Wilcoxon's rank sum, with ties.

    With ``W`` the sum of the ranks of ``second`` in both samples: ``min(1, 2 * min(P(W <= w), P(W >= w)))``, over all
    equally probable ways to choose ``len(second)`` of the ranks. Tied values share the mean of their ranks.

    Args:
        first: float64, shape ``(n,)``; here the means of 10 blocks at most.
        second: float64, shape ``(m,)``.

    Returns:
        0 to 1.

    Example:
        >>> rank_sum_p_value(np.array([1.0, 2.0, 3.0]), np.array([4.0, 5.0, 6.0]))  # 2 of 20 ways
        0.1
    """
    both = np.concatenate([first, second])
    # Ties share the mean of their ranks, which can end in .5. Doubled ranks are whole numbers.
    doubled = (both[:, None] > both).sum(axis=1) + (both[:, None] >= both).sum(axis=1) + 1
    ways = _count_sums(tuple(sorted(doubled.tolist())), len(second))
    found = int(doubled[len(first) :].sum())
    return float(min(1.0, 2 * min(ways[: found + 1].sum(), ways[found:].sum()) / ways.sum()))


@lru_cache(maxsize=64)
def _count_sums(ranks: tuple[int, ...], chosen: int) -> NDArray[np.float64]:
    """Count the ways to choose ``chosen`` ranks, by their sum; exact in float64 for 2 x 10 blocks."""
    ways = np.zeros((chosen + 1, sum(ranks) + 1))
    ways[0, 0] = 1
    for rank in ranks:
        # numpy computes the right side completely before it changes the left side: no rank is used twice.
        ways[1:, rank:] += ways[:-1, :-rank]
    return np.asarray(ways[chosen])


def _blocks(scores: Scores) -> Scores:
    return np.asarray(scores.reshape(-1, BLOCK).mean(axis=1))
