"""Temperature scaling: one number that makes a network's probabilities match observed frequencies.

It is fitted to recordings that the network was not fitted to. C. Guo, G. Pleiss, Y. Sun and K. Weinberger, "On
calibration of modern neural networks", ICML 2017.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

SOFTEST, SHARPEST = 20.0, 0.2  # limits of the temperature, chosen here


def fit_temperature(logits: NDArray[np.float32], labels: NDArray[np.int32]) -> float:
    """Find the temperature T with the lowest loss of ``softmax(logits / T)``.

    The loss is the cross-entropy, each class with the same total weight. The targets of the ``n`` clips of a class are
    ``(n + 1) / (n + 2)`` for this class and ``1 / (n + 2)`` for the others together (J. Platt, "Probabilistic outputs
    for support vector machines", 1999). With targets of 1 and 0, a few clips that are separated perfectly would give
    probabilities of almost exactly 1.

    Args:
        logits: float32 ``(clips, classes)``; or logarithms of probabilities, which differ by a constant for each clip.
        labels: int32 ``(clips,)``: the true classes.

    Returns:
        The temperature, 0.2 to 20; above 1 the probabilities become less extreme.
    """
    targets, weights = _targets(labels, logits.shape[1])
    found = minimize_scalar(
        lambda log_temperature: _loss(logits / np.exp(log_temperature), targets, weights),
        bounds=(np.log(SHARPEST), np.log(SOFTEST)),
        method="bounded",
    )
    return float(np.exp(found.x))


def calibrated_loss(logits: NDArray[np.float32], labels: NDArray[np.int32]) -> float:
    """Return the loss of :func:`fit_temperature` at the best temperature, in nats, 0 or more.

    It decides when a fit stops. It does not change if a network only becomes more confident.

    Args:
        logits: float32 ``(clips, classes)``.
        labels: int32 ``(clips,)``: the true classes.
    """
    targets, weights = _targets(labels, logits.shape[1])
    return _loss(logits / fit_temperature(logits, labels), targets, weights)


def _targets(labels: NDArray[np.int32], classes: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return Platt's targets, ``(clips, classes)``, and weights, ``(clips, 1)``."""
    counts = np.bincount(labels, minlength=classes)[labels][:, None]
    targets = np.where(np.arange(classes) == labels[:, None], counts + 1.0, 1.0 / max(1, classes - 1)) / (counts + 2.0)
    weights = 1.0 / (counts * len(np.unique(labels)))
    return targets, weights


def _loss(logits: NDArray[np.float32], targets: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    return float(-(weights * targets * log_softmax(logits, axis=1)).sum())
