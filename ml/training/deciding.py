"""The threshold: from the scores of healthy recordings that the network was not fitted to."""

import math
from collections.abc import Sequence

from ml.bundle import Decision

# Where the most probable fault and the healthy class are equally probable.
EVEN = 0.5


def decide(healthy_scores: Sequence[float], false_alarm_rate: float) -> Decision:
    """The lowest threshold, but never under even odds, that so few held-out healthy recordings are above.

    The score that the ``ceil((n + 1) (1 - rate))``-th of them has: another healthy recording of the same kind is above
    it with at most that probability (split conformal prediction: V. Vovk et al., "Algorithmic learning in a random
    world", 2005). Too few recordings for that rate give their highest score, and the basis says so.

    Args:
        healthy_scores: of recordings of the validation side.
        false_alarm_rate: what is wanted, 0 to 1.

    Returns:
        The decision. Its rate is the share of these recordings above the threshold.
    """
    scores = sorted(healthy_scores)
    count = len(scores)
    rank = math.ceil((count + 1) * (1 - false_alarm_rate))
    reached = scores[min(rank, count) - 1] if scores else EVEN
    threshold = max(EVEN, reached)
    above = sum(score > threshold for score in scores)
    basis = f"even odds; {above} of {count} held-out healthy recordings are above it"
    if reached > EVEN:
        basis = f"{above} of {count} held-out healthy recordings are above it; {false_alarm_rate:.0%} were allowed"
    if rank > count:
        basis += f", too few to show a rate of {false_alarm_rate:.0%}"
    return Decision(threshold, above / count if count else None, basis)
