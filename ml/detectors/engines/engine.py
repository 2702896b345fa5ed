"""Engine: interface of a scoring method that learns from normal clips; its state is plain arrays."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from ml.detectors.spectra import Spectra

EngineState = Mapping[str, NDArray[np.float32]]
"""What an engine has learned: arrays by name."""


class Engine(Protocol):
    """A method that measures how far a clip is from normal clips.

    Attributes:
        name: name of the engine, as in options and bundles.
        needs_frames: whether :meth:`fit` and :meth:`distances` use the frames of a clip, and not only their means.

    Example:
        >>> from ml.detectors.engines.distance import Distance
        >>> clips = [Spectra(np.full((4, 8), level, np.float32), np.ones(17, np.float32)) for level in (-20, -30, -10)]
        >>> engine: Engine = Distance()
        >>> state = engine.fit(clips, np.array([0, 0, 1]))
        >>> engine.distances(state, clips[0]).shape
        (2,)
    """

    name: ClassVar[str]
    needs_frames: ClassVar[bool]

    def fit(self, clips: Sequence[Spectra], machines: NDArray[np.int64]) -> EngineState:
        """Learn from normal clips.

        Args:
            clips: spectra of at least two clips.
            machines: int64 ``(clips,)``: number of the machine of each clip, from 0 without a gap.

        Returns:
            The state that :meth:`distances` takes.
        """
        ...

    def distances(self, state: EngineState, clip: Spectra) -> NDArray[np.float64]:
        """Measure how far a clip is from the normal clips of each machine.

        Args:
            state: result of :meth:`fit`.
            clip: spectra of the clip.

        Returns:
            float64 ``(machines,)``, 0 or more, higher is farther: a squared distance or another squared error.
        """
        ...


def machine_means(vectors: NDArray[np.float64], machines: NDArray[np.int64]) -> NDArray[np.float64]:
    """Compute the mean vector of each machine.

    Args:
        vectors: float64 ``(clips, size)``.
        machines: int64 ``(clips,)``: number of the machine of each clip, from 0 without a gap.

    Returns:
        float64 ``(machines, size)``.

    Example:
        >>> machine_means(np.array([[1.0, 2.0], [3.0, 4.0], [9.0, 9.0]]), np.array([0, 0, 1]))
        array([[2., 3.],
               [9., 9.]])
    """
    return np.stack([vectors[machines == machine].mean(axis=0) for machine in range(machines.max() + 1)])
