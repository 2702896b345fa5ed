"""What a detector's engine is: learned from normal clips alone, kept as plain arrays, asked for a distance."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from ml.detectors.spectra import Spectra

EngineState = Mapping[str, NDArray[np.float32]]
"""What an engine has learned: plain arrays, by name."""


class Engine(Protocol):
    """A way of measuring how far a clip is from what is normal."""

    name: ClassVar[str]

    def fit(self, clips: Sequence[Spectra], machines: NDArray[np.int64]) -> EngineState:
        """Learn from normal clips.

        Args:
            clips: at least two.
            machines: of each clip, which machine it is of, counted from 0 without a gap.
        """
        ...

    def distances(self, state: EngineState, clip: Spectra) -> NDArray[np.float64]:
        """How far a clip is from what is normal for each machine.

        Returns:
            ``(machines,)``, above 0, higher is farther; a squared distance, or what takes its place.
        """
        ...


def machine_means(vectors: NDArray[np.float64], machines: NDArray[np.int64]) -> NDArray[np.float64]:
    """Mean vector of each machine, ``(machines, size)``."""
    return np.stack([vectors[machines == machine].mean(axis=0) for machine in range(machines.max() + 1)])
