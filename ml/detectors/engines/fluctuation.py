"""Engine ``fluctuation``: variation within a clip, for machines that knock, slide, or open and close."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ml.detectors.engines.covariance import STEADY_DB
from ml.detectors.engines.engine import EngineState, machine_means
from ml.detectors.spectra import Spectra


class Fluctuation:
    """Standardised distance of the variation of each mel band over time.

    ``distance[m] = mean over bands of (x - mean[m])^2 / (variance + 0.3^2)`` with :attr:`Spectra.fluctuation` ``x`` and
    the variance of each band around the machine's mean, shared by all machines. It is about 1 for a clip like those of
    the fit.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> clips = [Spectra(rng.normal(size=(50, 8)).astype(np.float32), np.ones(17, np.float32)) for _ in range(8)]
        >>> engine = Fluctuation()
        >>> state = engine.fit(clips, np.zeros(8, np.int64))
        >>> wild = Spectra(clips[0].log_mel * 10, clips[0].power)  # 20 dB more variation
        >>> engine.distances(state, clips[0]).round(1), (engine.distances(state, wild) > 100).tolist()
        (array([0.8]), [True])
    """

    name: ClassVar[str] = "fluctuation"
    needs_frames: ClassVar[bool] = False

    def fit(self, clips: Sequence[Spectra], machines: NDArray[np.int64]) -> EngineState:
        """See :class:`ml.detectors.engines.engine.Engine`.

        Returns:
            ``centres``, float32 ``(machines, bands)`` in dB, and ``variance``, float32 ``(bands,)`` in dB squared.
        """
        vectors = np.stack([clip.fluctuation for clip in clips]).astype(np.float64)
        means = machine_means(vectors, machines)
        variance = np.square(vectors - means[machines]).sum(axis=0) / max(1, len(clips) - len(means))
        return {"centres": means.astype(np.float32), "variance": (variance + STEADY_DB**2).astype(np.float32)}

    def distances(self, state: EngineState, clip: Spectra) -> NDArray[np.float64]:
        """Return the mean over bands of squared distance over variance: float64 ``(machines,)``, no unit."""
        squares = np.square(clip.fluctuation - state["centres"], dtype=np.float64)
        return np.asarray((squares / state["variance"]).mean(axis=1))
