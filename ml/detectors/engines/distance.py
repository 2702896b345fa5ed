"""Engine ``distance``: plain distance of the mean mel spectrum from the mean of each machine."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ml.detectors.engines.engine import EngineState, machine_means
from ml.detectors.spectra import Spectra


class Distance:
    """Squared distance in dB of the mean mel spectrum, without whitening.

    ``distance[m] = mean over bands of (x - mean[m])^2`` with :attr:`Spectra.mel_spectrum` ``x``.

    Whitening gives the directions with the smallest variance the largest weight, also the small drift from one session
    to the next. Without whitening, a fault that changes many bands at once is larger than any drift.

    Example:
        >>> tilt = np.linspace(-5, 5, 8, dtype=np.float32)
        >>> clips = [Spectra(np.tile(tilt * slope, (4, 1)), np.ones(17, np.float32)) for slope in (1.0, 1.0, 2.0)]
        >>> engine = Distance()
        >>> state = engine.fit(clips[:2], np.array([0, 0]))
        >>> engine.distances(state, clips[0]).round(1), engine.distances(state, clips[2]).round(1)
        (array([0.]), array([19.4]))
    """

    name: ClassVar[str] = "distance"
    needs_frames: ClassVar[bool] = False

    def fit(self, clips: Sequence[Spectra], machines: NDArray[np.int64]) -> EngineState:
        """See :class:`ml.detectors.engines.engine.Engine`.

        Returns:
            ``centres``, float32 ``(machines, bands)``: mean spectrum of each machine, in dB.
        """
        vectors = np.stack([clip.mel_spectrum for clip in clips]).astype(np.float64)
        return {"centres": machine_means(vectors, machines).astype(np.float32)}

    def distances(self, state: EngineState, clip: Spectra) -> NDArray[np.float64]:
        """Return the mean squared difference over the mel bands: float64 ``(machines,)`` in dB squared."""
        return np.asarray(np.square(clip.mel_spectrum - state["centres"], dtype=np.float64).mean(axis=1))
