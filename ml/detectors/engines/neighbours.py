"""Engine ``neighbours``: distance to the nearest normal clips, relative to the distances there."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ml.detectors.engines.engine import EngineState
from ml.detectors.spectra import Spectra

NEAREST = 2  # neighbours that count; chosen here


class Neighbours:
    """Distance of the mean mel spectrum to the nearest normal clips, over the typical distance there.

    ``distance[m] = mean of d(x, i) / s(i) over the two nearest clips i of machine m``. ``d`` is the mean squared
    difference over the bands of :attr:`Spectra.mel_spectrum`. ``s(i) = (d(i) + median of d(i) over the machine's clips)
    / 2 + 0.001`` with the mean ``d(i)`` of ``d`` to the two nearest other clips of the machine. So a machine with two
    states, one of them with larger variations, has one scale (after the local outlier factor: M. Breunig et al., SIGMOD
    2000).

    Example:
        >>> tilt = np.linspace(-5, 5, 8, dtype=np.float32)
        >>> clips = [Spectra(np.tile(tilt * slope, (4, 1)), np.ones(17, np.float32)) for slope in (1.0, 1.1, 1.2, 2.0)]
        >>> engine = Neighbours()
        >>> state = engine.fit(clips[:3], np.zeros(3, np.int64))
        >>> [round(float(engine.distances(state, clip)[0]), 1) for clip in clips[1:]]
        [0.2, 0.3, 39.4]
    """

    name: ClassVar[str] = "neighbours"
    needs_frames: ClassVar[bool] = False

    def fit(self, clips: Sequence[Spectra], machines: NDArray[np.int64]) -> EngineState:
        """See :class:`ml.detectors.engines.engine.Engine`. The state contains the clips themselves.

        Returns:
            ``clips``, float32 ``(clips, bands)`` in dB; ``density``, float32 ``(clips,)``: ``s`` in dB squared;
            ``machines``, float32 ``(clips,)``.
        """
        vectors = np.stack([clip.mel_spectrum for clip in clips])
        density = np.empty(len(clips), np.float32)
        for machine in range(machines.max() + 1):
            mine = machines == machine
            density[mine] = _local_scales(vectors[mine])
        return {"clips": vectors, "density": density, "machines": machines.astype(np.float32)}

    def distances(self, state: EngineState, clip: Spectra) -> NDArray[np.float64]:
        """Return the mean over the nearest clips of ``d(x, i) / s(i)``: float64 ``(machines,)``, no unit."""
        relative = np.square(state["clips"] - clip.mel_spectrum).mean(axis=1) / state["density"]
        machines = state["machines"].astype(np.int64)
        return np.array(
            [float(np.sort(relative[machines == machine])[:NEAREST].mean()) for machine in range(machines.max() + 1)]
        )


def _local_scales(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Typical squared distance around each clip, ``(clips,)`` in dB squared; 1 if there is no other clip."""
    if len(vectors) < 2:
        return np.ones(len(vectors), np.float32)
    squares = np.square(vectors[:, None] - vectors[None]).mean(axis=2)
    np.fill_diagonal(squares, np.inf)
    nearest = np.sort(squares, axis=1)[:, : min(NEAREST, len(vectors) - 1)].mean(axis=1)
    return np.asarray((nearest + np.median(nearest)) / 2 + np.float32(1e-3), np.float32)
