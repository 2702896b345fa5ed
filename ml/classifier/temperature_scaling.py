"""How sure a network may be: one temperature, found on recordings it was not fitted to.

C. Guo, G. Pleiss, Y. Sun and K. Weinberger, "On calibration of modern neural networks", ICML 2017.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

SOFTEST, SHARPEST = 20.0, 0.2


def fit_temperature(logits: NDArray[np.float32], labels: NDArray[np.int32]) -> float:
    """What to divide the logits by so that the probabilities are about as often right as they say.

    The targets are J. Platt's (1999), who expects of ``n`` recordings of a class that one more would be wrong: without
    them a handful that is told apart perfectly would ask for infinite certainty.

    Args:
        logits: ``(clips, classes)``, or logarithms of probabilities, which differ from logits by a constant.
        labels: ``(clips,)``, the true classes.

    Returns:
        A temperature from 0.2 to 20; over 1 softens.
    """
    targets, weights = _targets(labels, logits.shape[1])
    found = minimize_scalar(
        lambda log_temperature: _loss(logits / np.exp(log_temperature), targets, weights),
        bounds=(np.log(SHARPEST), np.log(SOFTEST)),
        method="bounded",
    )
    return float(np.exp(found.x))


def calibrated_loss(logits: NDArray[np.float32], labels: NDArray[np.int32]) -> float:
    """Cross-entropy in nats at the best temperature, each class counting the same.

    What fitting is stopped by: a network that only grows surer of itself is neither better nor worse by this.
    """
    targets, weights = _targets(labels, logits.shape[1])
    return _loss(logits / fit_temperature(logits, labels), targets, weights)


def _targets(labels: NDArray[np.int32], classes: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    counts = np.bincount(labels, minlength=classes)[labels][:, None]
    targets = np.where(np.arange(classes) == labels[:, None], counts + 1.0, 1.0 / max(1, classes - 1)) / (counts + 2.0)
    weights = 1.0 / (counts * len(np.unique(labels)))
    return targets, weights


def _loss(logits: NDArray[np.float32], targets: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    return float(-(weights * targets * log_softmax(logits, axis=1)).sum())
