"""Figures of merit under any weights of the recordings, for one set of weights or for two thousand at once.

A bootstrap draw is nothing but a count for each recording, so each function here takes weights of shape
``(draws, recordings)`` and answers ``(draws,)``: a row of ones gives the figure itself. What is undefined is NaN.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
MAX_FALSE_ALARM_RATE = 0.1  # of the pAUC, as in DCASE Task 2
CALIBRATION_BINS, RECORDINGS_PER_BIN = 10, 10


class Ranking:
    """The order that scores put recordings in, and the ROC that it makes under any weights.

    Args:
        scores: ``(recordings,)``, higher is more anomalous; may be infinite, not NaN.
        abnormal: ``(recordings,)``, what they truly are.
    """

    def __init__(self, scores: Floats, abnormal: NDArray[np.bool_]) -> None:
        order = np.argsort(-scores, kind="stable")
        falling = scores[order]
        # Scores that are equal are passed at once: the ROC goes straight over them, which counts ties half.
        starts = np.flatnonzero(np.r_[True, falling[1:] != falling[:-1]][: len(falling)])
        ends = np.r_[0, starts[1:], len(falling)] if len(falling) else np.zeros(1, int)
        self.thresholds: Floats = falling[starts]
        self._normal = _Passed.of(order, ~abnormal[order], ends)
        self._abnormal = _Passed.of(order, abnormal[order], ends)

    def roc(self, weights: Floats) -> tuple[Floats, Floats]:
        """False-alarm and detection rates above each score, from none to all: ``(draws, distinct scores + 1)``."""
        return self._normal.rates(weights), self._abnormal.rates(weights)


@dataclass(frozen=True, slots=True)
class _Passed:
    """The recordings of one class by falling score, and how many of them each step of the ROC has passed."""

    members: NDArray[np.int64]
    passed: NDArray[np.int64]

    @classmethod
    def of(cls, order: NDArray[np.int64], mine: NDArray[np.bool_], ends: NDArray[np.int64]) -> Self:
        return cls(order[mine], np.r_[0, np.cumsum(mine)][ends])

    def rates(self, weights: Floats) -> Floats:
        counts = np.zeros((len(weights), len(self.members) + 1))
        np.cumsum(weights[:, self.members], axis=1, out=counts[:, 1:])
        return divide_or_nan(counts[:, self.passed], counts[:, -1:])


def auc(false_alarms: Floats, detections: Floats) -> Floats:
    """Area under the ROC: the share of (abnormal, normal) pairs in the right order, ties counting half (Mann-Whitney).

    The rates are those of :meth:`Ranking.roc`.
    """
    steps = np.diff(false_alarms)
    area: Floats = (steps * (detections[:, 1:] + detections[:, :-1])).sum(axis=1) / 2
    return area


def partial_auc(false_alarms: Floats, detections: Floats, limit: float = MAX_FALSE_ALARM_RATE) -> Floats:
    """Area under the ROC up to a false-alarm rate, standardised to 0.5 for chance and 1 for perfect.

    The standardisation is McClish's ("Analyzing a portion of the ROC curve", Med. Decis. Making 9(3), 1989), as in
    scikit-learn's ``roc_auc_score(max_fpr=0.1)`` and the DCASE Task 2 evaluators. Between two scores the ROC is
    straight.
    """
    start, end = false_alarms[:, :-1], false_alarms[:, 1:]
    clipped = np.minimum(end, limit)
    width = np.maximum(clipped - start, 0)
    slope = np.where(end > start, np.diff(detections) / np.where(end > start, end - start, 1), 0)
    area = (width * (detections[:, :-1] + slope * width / 2)).sum(axis=1)
    area[np.isnan(false_alarms[:, -1]) | np.isnan(detections[:, -1])] = np.nan
    lowest = limit**2 / 2
    standardised: Floats = (1 + (area - lowest) / (limit - lowest)) / 2
    return standardised


def weighted_share(flags: NDArray[np.bool_], among: NDArray[np.bool_], weights: Floats) -> Floats:
    """Weighted share of the recordings ``among`` which ``flags`` says; NaN where there are none."""
    return divide_or_nan(weights @ (flags & among).astype(float), weights @ among.astype(float))


def class_figures(truth: NDArray[np.int64], predicted: NDArray[np.int64], classes: int, weights: Floats) -> Floats:
    """Accuracy, balanced accuracy and macro-F1, ``(draws, 3)``.

    The latter two are means over the classes that truly are there (as scikit-learn's ``balanced_accuracy_score`` and
    ``f1_score(average="macro", labels=present)``): a class that no recording has cannot be missed, and one that is
    wrongly heard costs the recall of another. All three are NaN where only one class is there: to be right about it
    would be no merit.
    """
    cells = np.eye(classes * classes)[truth * classes + predicted]
    confusion = (weights @ cells).reshape(-1, classes, classes)
    right = np.diagonal(confusion, axis1=1, axis2=2)
    true, heard = confusion.sum(axis=2), confusion.sum(axis=1)
    there = true > 0
    recall, f1 = divide_or_nan(right, true), divide_or_nan(2 * right, true + heard)
    accuracy = divide_or_nan(right.sum(axis=1), true.sum(axis=1))
    count = there.sum(axis=1)
    means = [divide_or_nan(np.where(there, figure, 0).sum(axis=1), count) for figure in (recall, f1)]
    return np.where(count[:, None] > 1, np.stack([accuracy, *means], axis=1), np.nan)


def brier(scores: Floats, abnormal: NDArray[np.bool_], weights: Floats) -> Floats:
    """Mean squared distance between the score and what is true, 0 or 1 (G. W. Brier, 1950)."""
    return divide_or_nan(weights @ np.square(scores - abnormal), weights.sum(axis=1))


def calibration_bins(scores: Floats) -> NDArray[np.int64]:
    """A bin for each score: at most ten of equal mass, of at least ten recordings each; equal scores share one."""
    count = min(CALIBRATION_BINS, max(1, len(scores) // RECORDINGS_PER_BIN))
    edges = np.unique(np.quantile(scores, np.arange(1, count) / count))
    bins: NDArray[np.int64] = np.searchsorted(edges, scores, side="right")
    return bins


def calibration_error(scores: Floats, abnormal: NDArray[np.bool_], bins: NDArray[np.int64], weights: Floats) -> Floats:
    """Expected calibration error: mean over the bins, by their weight, of |mean score - share of abnormal|."""
    excess = (scores - abnormal)[:, None] * (bins[:, None] == np.unique(bins))
    return divide_or_nan(np.abs(weights @ excess).sum(axis=1), weights.sum(axis=1))


def harmonic_mean(figures: Floats) -> Floats:
    """Over the columns of ``(draws, figures)``, those that are NaN left out; 0 where one is 0."""
    known = ~np.isnan(figures)
    with np.errstate(divide="ignore"):
        inverse = np.where(known, 1 / np.where(known, figures, 1), 0).sum(axis=1)
    return divide_or_nan(known.sum(axis=1), inverse)


def divide_or_nan(numerator: NDArray[np.generic], denominator: NDArray[np.generic]) -> Floats:
    """NaN, and no warning, where there is nothing to divide by."""
    above, below = np.broadcast_arrays(np.asarray(numerator, float), np.asarray(denominator, float))
    quotient: Floats = np.divide(above, below, out=np.full(above.shape, np.nan), where=below != 0)
    return quotient
