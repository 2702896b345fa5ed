"""Metrics with weights of the recordings: for one set of weights, or for thousands at once.

A bootstrap draw is a count for each recording. Therefore each function takes weights of shape ``(draws, recordings)``
and returns ``(draws,)``. A row of ones gives the figure itself. Undefined figures are NaN.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
MAX_FALSE_ALARM_RATE = 0.1  # of the pAUC, as in DCASE Task 2 (Y. Koizumi et al., DCASE 2020)
# Ten bins as M. Naeini et al., AAAI 2015; at least ten recordings in each, chosen here.
CALIBRATION_BINS, RECORDINGS_PER_BIN = 10, 10


class Ranking:
    """Recordings in the order of their scores, and the ROC curve with any weights.

    Args:
        scores: float64 ``(recordings,)``, higher is more anomalous; may be infinite, not NaN.
        abnormal: bool ``(recordings,)``: whether the recording is abnormal.

    Attributes:
        thresholds: float64 ``(distinct scores,)``, falling.

    Example:
        >>> ranking = Ranking(np.array([0.1, 0.4, 0.4, 0.9]), np.array([False, False, True, True]))
        >>> false_alarms, detections = ranking.roc(np.ones((1, 4)))
        >>> ranking.thresholds, false_alarms, detections
        (array([0.9, 0.4, 0.1]), array([[0. , 0. , 0.5, 1. ]]), array([[0. , 0.5, 1. , 1. ]]))
    """

    def __init__(self, scores: Floats, abnormal: NDArray[np.bool_]) -> None:
        order = np.argsort(-scores, kind="stable")
        falling = scores[order]
        # Equal scores are one step: the ROC is a straight line across them, which counts ties half.
        starts = np.flatnonzero(np.r_[True, falling[1:] != falling[:-1]][: len(falling)])
        ends = np.r_[0, starts[1:], len(falling)] if len(falling) else np.zeros(1, int)
        self.thresholds: Floats = falling[starts]
        self._normal = _Passed.of(order, ~abnormal[order], ends)
        self._abnormal = _Passed.of(order, abnormal[order], ends)

    def roc(self, weights: Floats) -> tuple[Floats, Floats]:
        """Compute the ROC curve.

        Args:
            weights: float64 ``(draws, recordings)``, 0 or more.

        Returns:
            False-alarm rates and detection rates, each float64 ``(draws, distinct scores + 1)``, 0 to 1, rising. Point
            0 is above all scores, point i is at or above ``thresholds[i - 1]``. NaN for a class without weight.
        """
        return self._normal.rates(weights), self._abnormal.rates(weights)


@dataclass(frozen=True, slots=True)
class _Passed:
    """Recordings of one class by falling score, and the number of them at each point of the ROC."""

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
    """Compute the area under the ROC curve with the trapezoidal rule.

    It is the share of pairs (abnormal, normal) in which the abnormal recording has the higher score; ties count half
    (Mann-Whitney U; J. Hanley and B. McNeil, Radiology 143, 1982).

    Args:
        false_alarms: float64 ``(draws, points)`` from :meth:`Ranking.roc`.
        detections: float64 ``(draws, points)``.

    Returns:
        float64 ``(draws,)``, 0 to 1; 0.5 is chance.

    Example:
        >>> ranking = Ranking(np.array([0.1, 0.4, 0.4, 0.9]), np.array([False, False, True, True]))
        >>> auc(*ranking.roc(np.ones((1, 4))))
        array([0.875])
    """
    steps = np.diff(false_alarms)
    area: Floats = (steps * (detections[:, 1:] + detections[:, :-1])).sum(axis=1) / 2
    return area


def partial_auc(false_alarms: Floats, detections: Floats, limit: float = MAX_FALSE_ALARM_RATE) -> Floats:
    """Compute the standardised partial area under the ROC curve: 0.5 is chance, 1 is perfect.

    With the area A up to the limit L: ``(1 + (A - L^2 / 2) / (L - L^2 / 2)) / 2``, after D. McClish ("Analyzing a
    portion of the ROC curve", Med. Decis. Making 9(3), 1989), as in scikit-learn's ``roc_auc_score(max_fpr=0.1)`` and
    the DCASE Task 2 evaluators. The ROC is linear between its points.

    Args:
        false_alarms: float64 ``(draws, points)`` from :meth:`Ranking.roc`.
        detections: float64 ``(draws, points)``.
        limit: highest false-alarm rate, above 0, at most 1.

    Returns:
        float64 ``(draws,)``, at most 1.

    Example:
        >>> ranking = Ranking(np.array([0.1, 0.3, 0.4, 0.9]), np.array([False, True, False, True]))
        >>> partial_auc(*ranking.roc(np.ones((1, 4)))).round(3)
        array([0.737])
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
    """Compute the weighted share of flagged recordings: ``sum(w * flags * among) / sum(w * among)``.

    Args:
        flags: bool ``(recordings,)``: the counted recordings.
        among: bool ``(recordings,)``: the recordings that are the whole.
        weights: float64 ``(draws, recordings)``.

    Returns:
        float64 ``(draws,)``, 0 to 1; NaN if the whole is empty.

    Example:
        >>> flags, among = np.array([True, False, True]), np.array([True, True, False])
        >>> weighted_share(flags, among, np.array([[1.0, 1.0, 1.0], [3.0, 1.0, 0.0]]))
        array([0.5 , 0.75])
    """
    return divide_or_nan(weights @ (flags & among).astype(float), weights @ among.astype(float))


def balanced_accuracy(alarm: NDArray[np.bool_], abnormal: NDArray[np.bool_], weights: Floats) -> Floats:
    """Compute the balanced accuracy of alarms: mean of the detection rate and of 1 minus the false-alarm rate.

    Args:
        alarm: bool ``(recordings,)``: whether there is an alarm.
        abnormal: bool ``(recordings,)``: whether the recording is abnormal.
        weights: float64 ``(draws, recordings)``.

    Returns:
        float64 ``(draws,)``, 0 to 1; 0.5 is chance. NaN if a class has no weight.

    Example:
        >>> alarm, abnormal = np.array([True, False, True, True]), np.array([False, False, True, True])
        >>> balanced_accuracy(alarm, abnormal, np.ones((1, 4)))
        array([0.75])
    """
    detected = weighted_share(alarm, abnormal, weights)
    without_alarm = weighted_share(~alarm, ~abnormal, weights)
    return (detected + without_alarm) / 2


def class_figures(truth: NDArray[np.int64], predicted: NDArray[np.int64], classes: int, weights: Floats) -> Floats:
    """Compute accuracy, balanced accuracy and macro-F1.

    With the weighted confusion matrix ``c[true, predicted]``: accuracy is ``sum(c[k, k]) / sum(c)``. Balanced accuracy
    is the mean over classes of the recall ``c[k, k] / sum(c[k, :])``. Macro-F1 is the mean over classes of
    ``2 c[k, k] / (sum(c[k, :]) + sum(c[:, k]))``.

    The means are over the classes that occur in ``truth`` (as scikit-learn's ``balanced_accuracy_score`` and
    ``f1_score(average="macro", labels=present)``). A class without recordings cannot be missed, and a wrong prediction
    of it lowers the recall of another class. If only one class occurs, all three are NaN: predicting it shows no skill.

    Args:
        truth: int64 ``(recordings,)``: number of the true class, 0 to ``classes - 1``.
        predicted: int64 ``(recordings,)``: number of the predicted class.
        classes: number of classes.
        weights: float64 ``(draws, recordings)``.

    Returns:
        float64 ``(draws, 3)``, 0 to 1.

    Example:
        >>> class_figures(np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1]), 2, np.ones((1, 4))).round(3)
        array([[0.75 , 0.833, 0.733]])
    """
    cells = np.eye(classes * classes)[truth * classes + predicted]
    confusion = (weights @ cells).reshape(-1, classes, classes)
    right = np.diagonal(confusion, axis1=1, axis2=2)
    true_counts, predicted_counts = confusion.sum(axis=2), confusion.sum(axis=1)
    present = true_counts > 0
    recall, f1 = divide_or_nan(right, true_counts), divide_or_nan(2 * right, true_counts + predicted_counts)
    accuracy = divide_or_nan(right.sum(axis=1), true_counts.sum(axis=1))
    count = present.sum(axis=1)
    means = [divide_or_nan(np.where(present, figure, 0).sum(axis=1), count) for figure in (recall, f1)]
    return np.where(count[:, None] > 1, np.stack([accuracy, *means], axis=1), np.nan)


def brier(scores: Floats, abnormal: NDArray[np.bool_], weights: Floats) -> Floats:
    """Compute the Brier score (G. Brier, Mon. Weather Rev. 78, 1950).

    ``sum(w * (score - abnormal)^2) / sum(w)`` with weights ``w``; ``abnormal`` is 1 or 0.

    Args:
        scores: float64 ``(recordings,)``, 0 to 1.
        abnormal: bool ``(recordings,)``.
        weights: float64 ``(draws, recordings)``.

    Returns:
        float64 ``(draws,)``, 0 to 1; 0 is perfect, 0.25 is a constant score of 0.5.

    Example:
        >>> brier(np.array([0.25, 0.75]), np.array([False, True]), np.ones((1, 2)))
        array([0.0625])
    """
    return divide_or_nan(weights @ np.square(scores - abnormal), weights.sum(axis=1))


def calibration_bins(scores: Floats) -> NDArray[np.int64]:
    """Return the calibration bin of each score.

    Bins have equal numbers of recordings, but equal scores are in one bin.

    The number of bins is ``min(10, max(1, floor(recordings / 10)))``, or fewer with many equal scores.

    Args:
        scores: float64 ``(recordings,)``, at least one.

    Returns:
        int64 ``(recordings,)``, from 0.

    Example:
        >>> np.bincount(calibration_bins(np.linspace(0, 1, 30)))
        array([10, 10, 10])
    """
    count = min(CALIBRATION_BINS, max(1, len(scores) // RECORDINGS_PER_BIN))
    edges = np.unique(np.quantile(scores, np.arange(1, count) / count))
    bins: NDArray[np.int64] = np.searchsorted(edges, scores, side="right")
    return bins


def calibration_error(scores: Floats, abnormal: NDArray[np.bool_], bins: NDArray[np.int64], weights: Floats) -> Floats:
    """Compute the expected calibration error (ECE; M. Naeini et al., AAAI 2015).

    ``sum over bins B of W(B) * abs(mean score in B - share of abnormal in B) / W`` with the weight ``W(B)`` of a bin
    and the sum ``W`` of all weights.

    Args:
        scores: float64 ``(recordings,)``, 0 to 1.
        abnormal: bool ``(recordings,)``.
        bins: int64 ``(recordings,)`` from :func:`calibration_bins`.
        weights: float64 ``(draws, recordings)``.

    Returns:
        float64 ``(draws,)``, 0 to 1; 0 is perfect.

    Example:
        >>> scores, abnormal = np.array([0.25, 0.25, 0.75, 0.75]), np.array([False, False, False, True])
        >>> calibration_error(scores, abnormal, np.array([0, 0, 1, 1]), np.ones((1, 4)))
        array([0.25])
    """
    excess = (scores - abnormal)[:, None] * (bins[:, None] == np.unique(bins))
    return divide_or_nan(np.abs(weights @ excess).sum(axis=1), weights.sum(axis=1))


def harmonic_mean(figures: Floats) -> Floats:
    """Compute the harmonic mean ``n / sum(1 / figure)`` of each row, without its NaN.

    Used over machine ids, as in DCASE Task 2 since 2021: one bad machine lowers it.

    Args:
        figures: float64 ``(draws, figures)``, 0 or more.

    Returns:
        float64 ``(draws,)``: 0 if a figure is 0; NaN if all are NaN.

    Example:
        >>> harmonic_mean(np.array([[1.0, 0.5, np.nan], [1.0, 0.0, 1.0]])).round(3)
        array([0.667, 0.   ])
    """
    known = ~np.isnan(figures)
    with np.errstate(divide="ignore"):
        inverse = np.where(known, 1 / np.where(known, figures, 1), 0).sum(axis=1)
    return divide_or_nan(known.sum(axis=1), inverse)


def divide_or_nan(numerator: NDArray[np.generic], denominator: NDArray[np.generic]) -> Floats:
    """Divide with broadcasting. Where the denominator is 0, the result is NaN, without a warning.

    Example:
        >>> divide_or_nan(np.array([1, 2, 0]), np.array([2, 0, 0]))
        array([0.5, nan, nan])
    """
    above, below = np.broadcast_arrays(np.asarray(numerator, float), np.asarray(denominator, float))
    quotient: Floats = np.divide(above, below, out=np.full(above.shape, np.nan), where=below != 0)
    return quotient
