"""Level of the sound of a source, for each tenth of a second."""

import numpy as np
from numpy.typing import NDArray

STEP_S = 0.1
LOWEST_DBFS = -120.0


def level_dbfs(samples: NDArray[np.float32]) -> float:
    """Return the RMS level without the offset, in dBFS; -120 for silence.

    Args:
        samples: float32, ``(frames, channels)``; the mean over the channels is measured.
    """
    power = float(samples.mean(axis=1, dtype=np.float64).var()) if len(samples) else 0.0
    return max(LOWEST_DBFS, 10 * float(np.log10(power))) if power > 0 else LOWEST_DBFS


class LevelMeter:
    """Level of the last whole tenth of a second."""

    def __init__(self) -> None:
        self._part: list[NDArray[np.float32]] = []
        self._frames = 0
        self.level_dbfs: float | None = None

    def restart(self) -> None:
        """Forget the part of a tenth: the next sound does not follow it."""
        self._part, self._frames = [], 0

    def read(self, samples: NDArray[np.float32], sample_rate_hz: int) -> None:
        """Measure the next samples, ``(frames, channels)``."""
        step = max(1, round(STEP_S * sample_rate_hz))
        self._part.append(samples)
        self._frames += len(samples)
        if self._frames < step:
            return
        joined = np.concatenate(self._part)
        whole = len(joined) - len(joined) % step
        self.level_dbfs = level_dbfs(joined[whole - step : whole])
        self._part, self._frames = [joined[whole:].copy()], len(joined) - whole
