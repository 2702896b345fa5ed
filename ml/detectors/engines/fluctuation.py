"""``fluctuation``: how the sound moves within a clip, for machines that knock, slide or open and close."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ml.detectors.engines.covariance import STEADY_DB
from ml.detectors.engines.engine import EngineState, machine_means
from ml.detectors.spectra import Spectra


class Fluctuation:
    """Standardised distance of the fluctuation of each mel band, each machine about its own mean."""

    name: ClassVar[str] = "fluctuation"

    def fit(self, clips: Sequence[Spectra], machines: NDArray[np.int64]) -> EngineState:
        """See :class:`ml.detectors.engines.engine.Engine`; the variance of each band is shared by the machines."""
        vectors = np.stack([clip.fluctuation for clip in clips]).astype(np.float64)
        means = machine_means(vectors, machines)
        variance = np.square(vectors - means[machines]).sum(axis=0) / max(1, len(clips) - len(means))
        return {"centres": means.astype(np.float32), "variance": (variance + STEADY_DB**2).astype(np.float32)}

    def distances(self, state: EngineState, clip: Spectra) -> NDArray[np.float64]:
        """Mean over the mel bands of squared distance over variance, for each machine."""
        away = np.square(clip.fluctuation - state["centres"], dtype=np.float64)
        return np.asarray((away / state["variance"]).mean(axis=1))
