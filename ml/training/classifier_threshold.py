"""The threshold: from the scores of healthy recordings that the network was not fitted to."""

from collections.abc import Sequence

import numpy as np

from ml.detectors.thresholds import threshold_at
from ml.models.bundle import DecisionThreshold

# Where the most probable fault and the healthy class are equally probable.
EVEN = 0.5


def choose_threshold(normal_scores: Sequence[float], false_alarm_rate: float) -> tuple[float, str]:
    """Even odds; or, where too many healthy recordings are above those, what so few of them reach.

    That is the ``ceil((n + 1) (1 - rate))``-th of their scores, or the highest where they are too few for that rate
    (split conformal prediction: V. Vovk et al., "Algorithmic learning in a random world", 2005). It promises no rate:
    these recordings chose the epoch and the temperature too, and a network that is fitted once more is another one. The
    test side says what came of it. Never less than even odds, however far
    below them these recordings stay: they are of few sessions, and the next session's may stay less far. Measured on
    pc_fan: their 99 % prediction limit, 0.14, was below 93 % of the healthy recordings of another session.

    Args:
        normal_scores: of recordings of the validation side.
        false_alarm_rate: what is wanted, 0 to 1.

    Returns:
        The threshold, and in words where it comes from.
    """
    scores = np.array(normal_scores)
    threshold = max(EVEN, threshold_at(scores, false_alarm_rate)) if len(scores) else EVEN
    above = int((scores > threshold).sum())
    basis = "even odds" if threshold == EVEN else "what healthy recordings reach, at more than even odds"
    return threshold, f"{basis}; above it were {above} of {len(scores)} healthy recordings of the validation side"


def measure_false_alarm_rate(threshold: float, basis: str, normal_scores: Sequence[float]) -> DecisionThreshold:
    """The threshold as a decision, with the false-alarm rate that healthy recordings of the test side show."""
    above, count = sum(score > threshold for score in normal_scores), len(normal_scores)
    return DecisionThreshold(
        threshold, above / count if count else None, f"{basis}, and {above} of {count} of the test side"
    )
