"""Threshold of a classifier, from scores of normal recordings that the network was not fitted to."""

from collections.abc import Sequence

import numpy as np

from ml.dataset.splitting.method_names import METHODS_WITHIN_SESSIONS
from ml.detectors.thresholds import threshold_at
from ml.evaluation.judged import JudgedRecording
from ml.models.bundle import DecisionThreshold
from ml.models.normal_scores import NormalScores

# At this score the most probable fault and the normal class are equally probable.
EVEN = 0.5


def choose_threshold(normal_scores: Sequence[float], false_alarm_rate: float) -> tuple[float, str]:
    """Choose the threshold: :data:`EVEN`, or more if too many normal recordings score above that.

    The higher threshold is the ``ceil((n + 1) (1 - rate))``-th smallest of the n scores, or the largest if n is too
    small for that rate (split conformal prediction: V. Vovk et al., "Algorithmic learning in a random world", 2005).

    The rate is not guaranteed: the same recordings chose the epoch and the temperature, and the final fit gives another
    network. The test side shows the rate that results.

    The threshold is never below :data:`EVEN`, even if all scores are far below. They come from few sessions, and the
    next session can score higher. On pc_fan, the 99 % prediction limit of the validation scores was 0.14. Of the normal
    recordings of another session, 93 % scored higher.

    Args:
        normal_scores: scores of the normal validation recordings.
        false_alarm_rate: requested share of normal recordings above the threshold, above 0 and below 1.

    Returns:
        The threshold, and a text that explains it.
    """
    scores = np.array(normal_scores)
    threshold = max(EVEN, threshold_at(scores, false_alarm_rate)) if len(scores) else EVEN
    above = int((scores > threshold).sum())
    # The texts of a basis are part of a bundle, and so of the hash in a version's name: changing one renames models.
    basis = "even odds" if threshold == EVEN else "what healthy recordings reach, at more than even odds"
    return threshold, f"{basis}; above it were {above} of {len(scores)} healthy recordings of the validation side"


def measure_false_alarm_rate(threshold: float, basis: str, normal_scores: Sequence[float]) -> DecisionThreshold:
    """Return the threshold with the false-alarm rate of the normal test recordings."""
    above, count = sum(score > threshold for score in normal_scores), len(normal_scores)
    return DecisionThreshold(
        threshold, above / count if count else None, f"{basis}, and {above} of {count} of the test side"
    )


def held_out_scores(normal: Sequence[JudgedRecording], split_method: str) -> NormalScores | None:
    """Return the scores of normal recordings for the bundle of a classifier; None without recordings.

    Args:
        normal: normal recordings of the validation and the test side, judged by the measured network.
        split_method: method of the split. Blocks of one session, and given sides, can share a session.
    """
    if not normal:
        return None
    sessions = np.unique([each.entry.session for each in normal], return_inverse=True)[1]
    return NormalScores(
        scores=tuple(each.score for each in normal),
        sessions=tuple(map(int, sessions)),
        rate_holds_for="same_session" if split_method in METHODS_WITHIN_SESSIONS else "new_session",
    )
