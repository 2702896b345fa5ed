"""Sound that is no machine: speech, rain, a slammed door are to pass neither for healthy nor for a fault."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ml.novelty.engine import Engine, State
from ml.novelty.fluctuation import Fluctuation
from ml.novelty.heard import Heard

# So many times as much as any healthy recording showed that had not been learned from (decision 14).
BEYOND = 1.5


@dataclass(frozen=True, slots=True)
class Guard:
    """How the sound of healthy machines moves in time, at the most.

    Most sounds that are no machine can be told by their spectrum, as faults can. Those that cannot, such as a saw or a
    flush in a hall's noise, move more from one frame to the next than a machine does.

    Attributes:
        state: what the engine has learned.
        scales: what it measures on a healthy recording of each machine: ``(machines,)``.
        most: the most that it measured on a healthy recording it had not learned from, in these units: compared with
            its own machine, and with whichever it was most like: ``(2,)``.
    """

    engine: ClassVar[Engine] = Fluctuation()

    state: State
    scales: NDArray[np.float64]
    most: NDArray[np.float64]

    def beyond(self, heard: Heard, machine: int | None) -> float:
        """How many times as much a clip moves as any healthy recording.

        Args:
            heard: the clip.
            machine: which machine it is of, counted from 0; None for whichever it is most like.
        """
        times = self.engine.score(self.state, heard) / self.scales
        named, unnamed = self.most
        return float(times.min() / unnamed if machine is None else times[machine] / named)
