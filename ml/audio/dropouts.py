"""Dropouts: parts of a recording in which samples are missing.

A driver or a network that loses samples writes zeros, or repeats the last value. A microphone never gives one value for
so long: its noise changes at least the last bit.
"""

import numpy as np
from numpy.typing import NDArray

from ml.audio.recording import Recording

SHORTEST_S = 0.02
# Below this level the noise can be smaller than the last of 16 bits, and then one value for 20 ms is no dropout.
QUIETEST_DBFS = -80.0


def find_dropouts(samples: NDArray[np.float32], sample_rate_hz: int) -> tuple[tuple[int, int], ...]:
    """Find runs of one value that are at least 20 ms long.

    Args:
        samples: float32, shape ``(n,)``.
        sample_rate_hz: samples per second.

    Returns:
        Start and end of each run, in samples, in time order.

    Example:
        >>> samples = np.arange(4000, dtype=np.float32)
        >>> samples[1000:2000] = 0
        >>> find_dropouts(samples, 16_000)
        ((1000, 2000),)
    """
    shortest = round(SHORTEST_S * sample_rate_hz)
    step = max(1, shortest // 2)
    # A run contains two neighbours of every half run. So a recording without dropouts is read at these places only.
    coarse = samples[::step]
    if not any(_is_constant(samples, int(i) * step, step) for i in np.flatnonzero(coarse[1:] == coarse[:-1])):
        return ()
    borders = np.concatenate([[0], np.flatnonzero(np.diff(samples)) + 1, [len(samples)]])
    long = np.flatnonzero(np.diff(borders) >= shortest)
    return tuple((int(borders[i]), int(borders[i + 1])) for i in long)


def kept_samples(recording: Recording, samples: int, sample_rate_hz: int) -> NDArray[np.bool_] | None:
    """Return which samples of a resampled recording are outside of its dropouts; None if it has no dropouts.

    Args:
        recording: the recording, as it was decoded.
        samples: number of samples after resampling.
        sample_rate_hz: sample rate after resampling.

    Returns:
        ``(samples,)``.

    Example:
        >>> from ml.audio.recording import AudioQuality
        >>> quality = AudioQuality(1.0, 8000, 1, level_dbfs=-20.0, clipped_share=0.0, digital_silence=False)
        >>> recording = Recording(np.zeros(8, np.float32), 8000, quality, dropouts=((2, 4),))
        >>> kept_samples(recording, 16, 16_000).astype(int)
        array([1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1])
    """
    if not recording.dropouts:
        return None
    kept, factor = np.ones(samples, bool), sample_rate_hz / recording.sample_rate_hz
    for start, stop in recording.dropouts:
        kept[int(start * factor) : int(np.ceil(stop * factor))] = False
    return kept


def _is_constant(samples: NDArray[np.float32], start: int, length: int) -> bool:
    part = samples[start : start + length]
    return bool((part == part[0]).all())
