"""Engine ``spectrum-gaussian``: Mahalanobis distance of the fine spectrum."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ml.detectors.engines.covariance import whitening
from ml.detectors.engines.engine import EngineState, machine_means
from ml.detectors.spectra import Spectra


class SpectrumGaussian:
    """Mahalanobis distance of the fine spectrum, with one covariance for all machines.

    ``distance[m] = |(x - mean[m]) W|^2 / bands`` with the whitening matrix W (:func:`whitening`): the squared distance
    of P. C. Mahalanobis (Proc. Natl. Inst. Sci. India 2, 1936), divided by the number of bands. It is about 1 for a
    clip like those of the fit.

    The spectra of machines differ more than their variations do. Therefore the covariance of the differences from each
    machine's mean is shared. A few recordings of one machine would not be enough for a covariance of its own.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> clips = [Spectra(np.zeros((4, 8), np.float32), rng.chisquare(9, 17).astype(np.float32)) for _ in range(9)]
        >>> engine = SpectrumGaussian()
        >>> state = engine.fit(clips[:8], np.zeros(8, np.int64))
        >>> state["centres"].shape, state["whitening"].shape, engine.distances(state, clips[8]).shape
        ((1, 8), (8, 8), (1,))
    """

    name: ClassVar[str] = "spectrum-gaussian"
    needs_frames: ClassVar[bool] = False

    def fit(self, clips: Sequence[Spectra], machines: NDArray[np.int64]) -> EngineState:
        """See :class:`ml.detectors.engines.engine.Engine`.

        Returns:
            ``centres``, float32 ``(machines, bands)`` in dB, and ``whitening``, float32 ``(bands, bands)`` in 1/dB;
            ``bands`` is ``n_fft // 4``.
        """
        vectors = np.stack([clip.fine_spectrum for clip in clips]).astype(np.float64)
        means = machine_means(vectors, machines)
        factor = whitening(vectors - means[machines], max(1, len(clips) - len(means)))
        return {"centres": means.astype(np.float32), "whitening": factor.astype(np.float32)}

    def distances(self, state: EngineState, clip: Spectra) -> NDArray[np.float64]:
        """Return the squared Mahalanobis distance over the number of bands: float64 ``(machines,)``, no unit."""
        whitened = (clip.fine_spectrum - state["centres"]) @ state["whitening"]
        return np.asarray(np.square(whitened, dtype=np.float64).mean(axis=1))
