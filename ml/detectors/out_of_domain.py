"""Sound that is no machine: speech, rain, a slammed door are to pass neither for healthy nor for a fault."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ml.detectors.engines.engine import Engine, EngineState
from ml.detectors.engines.fluctuation import Fluctuation
from ml.detectors.spectra import Spectra

# So many times as much as this share of healthy recordings show that had not been learned from (decision 14). Not as
# the liveliest of them: a slammed door in one healthy recording would excuse every other sound.
MAX_RELATIVE_FLUCTUATION = 2.0
NORMAL_QUANTILE = 0.95


@dataclass(frozen=True, slots=True)
class OutOfDomainCheck:
    """How the sound of healthy machines moves in time, at the most that is usual.

    Most sounds that are no machine can be told by their spectrum, as faults can. Those that cannot, such as a saw or a
    flush in a hall's noise, move more from one frame to the next than a machine does.

    Attributes:
        state: what the engine has learned.
        scales: what it measures on a healthy recording of each machine: ``(machines,)``.
        most: what it measured at the most on :data:`NORMAL_QUANTILE` of the healthy recordings, without having learned from
            them, in these units: compared with their own machine, and with whichever they were most like: ``(2,)``.
    """

    engine: ClassVar[Engine] = Fluctuation()

    state: EngineState
    scales: NDArray[np.float64]
    most: NDArray[np.float64]

    def relative_fluctuation(self, spectra: Spectra, machine: int | None) -> float:
        """How many times as much a clip moves as nearly every healthy recording.

        Args:
            spectra: the clip.
            machine: which machine it is of, counted from 0; None for whichever it is most like.
        """
        times = self.engine.distances(self.state, spectra) / self.scales
        named, unnamed = self.most
        return float(times.min() / unnamed if machine is None else times[machine] / named)
