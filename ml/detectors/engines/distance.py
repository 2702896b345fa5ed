"""``distance``: plain distance of the steady sound from each machine's mean."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ml.detectors.engines.engine import EngineState, machine_means
from ml.detectors.spectra import Spectra


class Distance:
    """Squared distance in dB of the steady sound, nothing whitened.

    Whitening makes the loudest direction of whatever hardly moves, the small drift from one session to the next
    included; without it a fault that shows in many bands at once stands out of any drift.
    """

    name: ClassVar[str] = "distance"

    def fit(self, clips: Sequence[Spectra], machines: NDArray[np.int64]) -> EngineState:
        """See :class:`ml.detectors.engines.engine.Engine`; a mean for each machine is all there is."""
        vectors = np.stack([clip.mel_spectrum for clip in clips]).astype(np.float64)
        return {"centres": machine_means(vectors, machines).astype(np.float32)}

    def distances(self, state: EngineState, clip: Spectra) -> NDArray[np.float64]:
        """Mean squared difference over the mel bands, in dB squared, for each machine."""
        return np.asarray(np.square(clip.mel_spectrum - state["centres"], dtype=np.float64).mean(axis=1))
