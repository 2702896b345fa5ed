"""``spectrum-gaussian``: how unlikely a fine spectrum is, by how spectra of the same machine differ."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ml.detectors.engines.covariance import whitening
from ml.detectors.engines.engine import EngineState, machine_means
from ml.detectors.spectra import Spectra


class SpectrumGaussian:
    """Mahalanobis distance of the fine spectrum, each machine about its own mean, all with one covariance.

    Machines of a kind differ in where their spectrum lies more than in how it moves, so the covariance of what is left
    after each machine's mean is shared: with a handful of recordings of each machine it could not be had otherwise.
    """

    name: ClassVar[str] = "spectrum-gaussian"

    def fit(self, clips: Sequence[Spectra], machines: NDArray[np.int64]) -> EngineState:
        """See :class:`ml.detectors.engines.engine.Engine`; the precision is kept as its Cholesky factor."""
        vectors = np.stack([clip.fine_spectrum for clip in clips]).astype(np.float64)
        means = machine_means(vectors, machines)
        factor = whitening(vectors - means[machines], max(1, len(clips) - len(means)))
        return {"centres": means.astype(np.float32), "whitening": factor.astype(np.float32)}

    def distances(self, state: EngineState, clip: Spectra) -> NDArray[np.float64]:
        """Mean squared distance over the bands, for each machine: about 1 for a clip like those it learned from."""
        whitened = (clip.fine_spectrum - state["centres"]) @ state["whitening"]
        return np.asarray(np.square(whitened, dtype=np.float64).mean(axis=1))
