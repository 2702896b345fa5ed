"""Choice of the engines of a detector, from normal recordings alone.

An engine that cannot tell machines apart measures something that all of them share: the noise of the hall. Its
distances are as large for normal recordings as for faults, and in the maximum over the engines they cover the others.
So only engines count whose distance to the recording's own machine is clearly smaller than to other machines. Decision
18 has the measurements.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

# Chosen here, on MIMII: with twelve machines at -6 dB the engine `distance` has 1.1 to 1.4, and harms; for fans at 0 dB
# it has 2.0 to 6.2, and is needed.
LEAST_CONTRAST = 1.7
# Share of the largest contrast, for the residual of a reference channel. Chosen on mimii_pair, where the engine
# `distance` has a third of the contrast of `discriminant`, and harms; for fans at 0 dB it has two thirds, and is needed
# (decision 22).
LEAST_SHARE = 0.5


def machine_contrast(
    distances: Sequence[NDArray[np.float64] | None], machine_index: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return how much farther the other machines are than the own one, by each engine.

    For each recording, the median distance to the other machines is divided by the distance to its own machine. The
    contrast is the median of these ratios.

    Args:
        distances: ``(clips, engines, machines)`` for each recording, by engines that have not learned from it; None if
            it was not measured. At least one was measured.
        machine_index: int64 ``(recordings,)``: number of its machine.

    Returns:
        float64 ``(engines,)``, 0 or more; infinity with one machine.

    Example:
        >>> machine_contrast([np.array([[[1.0, 5.0, 3.0]]]), np.array([[[8.0, 2.0, 8.0]]])], np.array([0, 1]))
        array([4.])
    """
    ratios = []
    for measured, machine in zip(distances, machine_index, strict=True):
        if measured is not None:
            mean = measured.mean(axis=0)
            if mean.shape[1] == 1:
                return np.full(len(mean), np.inf)
            own = np.maximum(mean[:, machine], np.finfo(np.float32).tiny)
            ratios.append(np.median(np.delete(mean, machine, axis=1), axis=1) / own)
    return np.asarray(np.median(ratios, axis=0))


def choose_engines(contrast: NDArray[np.float64], least_share: float = 0.0) -> NDArray[np.bool_]:
    """Return which engines count: those with a contrast of at least 1.7; all if no engine has it.

    Args:
        contrast: result of :func:`machine_contrast`.
        least_share: least share of the largest contrast, 0 to 1.

    Returns:
        bool ``(engines,)``.

    Example:
        >>> choose_engines(np.array([2.4, 1.2])), choose_engines(np.array([1.4, 1.2]))
        (array([ True, False]), array([ True,  True]))
        >>> choose_engines(np.array([6.6, 2.6])), choose_engines(np.array([6.6, 2.6]), least_share=0.5)
        (array([ True,  True]), array([ True, False]))
    """
    enough = contrast >= LEAST_CONTRAST
    if least_share:
        enough &= contrast >= least_share * contrast.max()
    return enough if enough.any() else np.ones(len(contrast), bool)
