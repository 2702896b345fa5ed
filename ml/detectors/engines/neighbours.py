"""``neighbours``: how far the nearest normal recordings are, against how far those are from each other."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ml.detectors.engines.engine import EngineState
from ml.detectors.spectra import Spectra

NEAREST = 2


class Neighbours:
    """Distance of the steady sound to its nearest normal clips, relative to the density there.

    The distance is divided by that of the neighbour to its own neighbours, plus a typical one, so that a machine with
    two ways of running, one of them varied, has one scale (after the local outlier factor: M. Breunig et al., SIGMOD
    2000).
    """

    name: ClassVar[str] = "neighbours"

    def fit(self, clips: Sequence[Spectra], machines: NDArray[np.int64]) -> EngineState:
        """See :class:`ml.detectors.engines.engine.Engine`; the clips themselves are what is kept."""
        vectors = np.stack([clip.mel_spectrum for clip in clips])
        density = np.empty(len(clips), np.float32)
        for machine in range(machines.max() + 1):
            mine = machines == machine
            density[mine] = _density(vectors[mine])
        return {"clips": vectors, "density": density, "machines": machines.astype(np.float32)}

    def distances(self, state: EngineState, clip: Spectra) -> NDArray[np.float64]:
        """Mean over the nearest clips of squared distance over density, for each machine."""
        relative = np.square(state["clips"] - clip.mel_spectrum).mean(axis=1) / state["density"]
        machines = state["machines"].astype(np.int64)
        return np.array(
            [float(np.sort(relative[machines == machine])[:NEAREST].mean()) for machine in range(machines.max() + 1)]
        )


def _density(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Squared distance of each to its nearest others, halfway to what is typical; 1 dB where there are no others."""
    if len(vectors) < 2:
        return np.ones(len(vectors), np.float32)
    apart = np.square(vectors[:, None] - vectors[None]).mean(axis=2)
    np.fill_diagonal(apart, np.inf)
    nearest = np.sort(apart, axis=1)[:, : min(NEAREST, len(vectors) - 1)].mean(axis=1)
    return np.asarray((nearest + np.median(nearest)) / 2 + np.float32(1e-3), np.float32)
