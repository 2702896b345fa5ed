"""The threshold: from the scores of healthy recordings that the network was not fitted to."""

import math
from collections.abc import Sequence

from ml.bundle import Decision

# Where the most probable fault and the healthy class are equally probable.
EVEN = 0.5


def threshold_from(healthy_scores: Sequence[float], false_alarm_rate: float) -> tuple[float, str]:
    """The lowest threshold, but never under even odds, that so few held-out healthy recordings are above.

    The score that the ``ceil((n + 1) (1 - rate))``-th of them has: another healthy recording of the same kind is above
    it with at most that probability (split conformal prediction: V. Vovk et al., "Algorithmic learning in a random
    world", 2005). Too few recordings for that rate give their highest score, and the basis says so.

    Args:
        healthy_scores: of recordings of the validation side.
        false_alarm_rate: what is wanted, 0 to 1.

    Returns:
        The threshold, and in words where it comes from.
    """
    scores = sorted(healthy_scores)
    count = len(scores)
    rank = math.ceil((count + 1) * (1 - false_alarm_rate))
    reached = scores[min(rank, count) - 1] if scores else EVEN
    threshold = max(EVEN, reached)
    above = sum(score > threshold for score in scores)
    basis = "even odds" if threshold == EVEN else f"{false_alarm_rate:.0%} false alarms allowed"
    basis += f"; above it were {above} of {count} healthy recordings of the validation side"
    if threshold != EVEN and rank > count:
        basis += f", too few to show a rate of {false_alarm_rate:.0%}"
    return threshold, basis


def measured(threshold: float, basis: str, healthy_scores: Sequence[float]) -> Decision:
    """The threshold as a decision, with the false-alarm rate that healthy recordings of the test side show."""
    above, count = sum(score > threshold for score in healthy_scores), len(healthy_scores)
    return Decision(threshold, above / count if count else None, f"{basis}, and {above} of {count} of the test side")
