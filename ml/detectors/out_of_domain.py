"""Out-of-domain check, for sound that comes from no machine: speech, rain, a slammed door."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ml.detectors.engines.distance import Distance
from ml.detectors.engines.engine import Engine, EngineState
from ml.detectors.engines.fluctuation import Fluctuation
from ml.detectors.spectra import Spectra

# Chosen here, on ESC-50 sounds (benchmarks/detectors/README.md, decisions 14 and 16). A quantile of each session and
# not the maximum: one slammed door in a long session would otherwise excuse every other sound.
MAX_RELATIVE_FLUCTUATION = 2.0
NORMAL_QUANTILE = 0.95
MAX_RELATIVE_DISTANCE = 2.0  # chosen here: decision 18 has the measurements


@dataclass(frozen=True, slots=True)
class SpectrumCheck:
    """Check whether the spectrum of a clip is much farther from every machine than that of normal recordings.

    It is for detectors whose score leaves out the engine ``distance``, because it cannot tell the machines apart: a
    sound that resembles none of them is still far from all of them.

    Attributes:
        state: what the engine ``distance`` has learned.
        scales: float64 ``(machines,)``, above 0: typical distance of normal recordings.
        most: at least 1: relative distance from the most similar machine that 95 % of the normal recordings stay below,
            measured without having learned from them.

    Example:
        >>> check = SpectrumCheck({"centres": np.zeros((2, 8), np.float32)}, np.array([2.0, 4.0]), most=5.0)
        >>> tilted = Spectra(np.tile(np.linspace(-9, 9, 8, dtype=np.float32), (4, 1)), np.ones(17, np.float32))
        >>> round(check.relative_distance(tilted), 2)
        2.32
    """

    engine: ClassVar[Engine] = Distance()

    state: EngineState
    scales: NDArray[np.float64]
    most: float

    def relative_distance(self, spectra: Spectra) -> float:
        """Compute the distance of a clip from the most similar machine, relative to 95 % of the normal recordings.

        Returns:
            0 or more; above :data:`MAX_RELATIVE_DISTANCE` the clip is out of domain.
        """
        return float((self.engine.distances(self.state, spectra) / self.scales).min() / self.most)


@dataclass(frozen=True, slots=True)
class OutOfDomainCheck:
    """Check whether the variation of a clip in time is much farther from normal than that of normal recordings.

    Most sounds that come from no machine have an unusual spectrum, as faults have. The others, such as a saw or a flush
    in the noise of a hall, vary more from frame to frame than a machine does. A clip that varies much less is far from
    normal too, because the distance has no sign.

    Attributes:
        state: what the engine ``fluctuation`` has learned.
        scales: float64 ``(machines,)``, above 0: typical distance of normal recordings.
        most: float64 ``(2,)``, at least 1: relative distance that 95 % of the normal recordings stay below, measured
            without having learned from them. First in comparison with their own machine, then with the most similar
            one.
        spectrum: check of the spectrum; None if the score has the engine ``distance``.

    Example:
        >>> state = {"centres": np.zeros((1, 8), np.float32), "variance": np.ones(8, np.float32)}
        >>> check = OutOfDomainCheck(state, np.array([2.0]), np.array([10.0, 8.0]))
        >>> steady = Spectra(np.zeros((4, 8), np.float32), np.ones(17, np.float32))  # fluctuation -20 dB
        >>> round(check.relative_fluctuation(steady, 0), 3), round(check.relative_fluctuation(steady, None), 3)
        (20.0, 25.0)
    """

    engine: ClassVar[Engine] = Fluctuation()

    state: EngineState
    scales: NDArray[np.float64]
    most: NDArray[np.float64]
    spectrum: SpectrumCheck | None = None

    def relative_fluctuation(self, spectra: Spectra, machine: int | None) -> float:
        """Compute how far the variation of a clip in time is from normal, relative to 95 % of the normal recordings.

        ``distance[m] / scales[m] / most[i]`` with the distance of the engine ``fluctuation``; ``i`` is 0 for a named
        machine, else 1, and then ``m`` is the machine with the smallest value.

        Args:
            spectra: spectra of the clip.
            machine: number of its machine, from 0; None for the most similar machine.

        Returns:
            0 or more; above :data:`MAX_RELATIVE_FLUCTUATION` the clip is out of domain.
        """
        relative = self.engine.distances(self.state, spectra) / self.scales
        named, unnamed = self.most
        return float(relative.min() / unnamed if machine is None else relative[machine] / named)
