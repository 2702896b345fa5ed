"""Engine ``discriminant``: distance of the fine spectrum, mostly in the directions in which the machines differ."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ml.detectors.engines.engine import EngineState
from ml.detectors.engines.gaussian import SpectrumGaussian
from ml.detectors.spectra import Spectra

# Part of the largest difference between machines. Chosen here: below it, a direction is rounding.
LEAST_DIFFERENCE = 1e-6
# Chosen on MIMII (decision 18).
MOST_WEIGHT, HALF_WEIGHT_AT = 0.5, 4


class Discriminant:
    """Mahalanobis distance of the fine spectrum, weighted with its part in which the machines differ.

    ``distance[m] = (|z|^2 / bands)^(1 - w) (|z D|^2 / directions)^w`` with ``z = (x - mean[m]) W`` of
    :class:`~ml.detectors.engines.gaussian.SpectrumGaussian`. The columns of ``D`` are the orthonormal directions that
    the whitened means of the machines span: those of the linear discriminant (R. A. Fisher, Ann. Eugenics 7, 1936; C.
    R. Rao, J. R. Stat. Soc. B 10, 1948). It is about 1 for a clip like those of the fit. The weight is ``w = min(1/2,
    directions / (directions + 4))``: the distance in few directions varies much by chance.

    What tells machines apart is the sound of machines. The noise of the hall is the same for all of them, so it has
    little part in these directions. The first factor is for faults that resemble no machine: they are in other
    directions. With one machine, there are no directions, and the distance is that of ``spectrum-gaussian``.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> clips = [Spectra(np.zeros((4, 8), np.float32), rng.chisquare(9, 17).astype(np.float32)) for _ in range(9)]
        >>> engine = Discriminant()
        >>> state = engine.fit(clips[:8], np.arange(8) % 3)
        >>> state["directions"].shape, engine.distances(state, clips[8]).shape
        ((8, 2), (3,))
    """

    name: ClassVar[str] = "discriminant"
    needs_frames: ClassVar[bool] = False

    def fit(self, clips: Sequence[Spectra], machines: NDArray[np.int64]) -> EngineState:
        """See :class:`ml.detectors.engines.engine.Engine`.

        Returns:
            ``centres`` and ``whitening`` of :class:`~ml.detectors.engines.gaussian.SpectrumGaussian`, and
            ``directions``, float32 ``(bands, directions)``, of which there are fewer than machines.
        """
        state = SpectrumGaussian().fit(clips, machines)
        means = np.asarray(state["centres"] @ state["whitening"], np.float64)
        _, differences, directions = np.linalg.svd(means - means.mean(axis=0), full_matrices=False)
        kept = differences > max(LEAST_DIFFERENCE * differences[0], np.finfo(np.float32).tiny)
        return {**state, "directions": directions[kept].T.astype(np.float32)}

    def distances(self, state: EngineState, clip: Spectra) -> NDArray[np.float64]:
        """Return the weighted geometric mean of the two squared distances: float64 ``(machines,)``, no unit."""
        whitened = (clip.fine_spectrum - state["centres"]) @ state["whitening"]
        everywhere = np.square(whitened, dtype=np.float64).mean(axis=1)
        count = state["directions"].shape[1]
        if count == 0:
            return np.asarray(everywhere)
        between = np.square(whitened @ state["directions"], dtype=np.float64).mean(axis=1)
        weight = min(MOST_WEIGHT, count / (count + HALF_WEIGHT_AT))
        return np.asarray(everywhere ** (1 - weight) * between**weight)
