"""Decoded recording and its measured quality."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Channel = int | Literal["mean"]
"""Channel that a model uses: ``mean`` of all channels, as in the original project, or one index from 0."""


@dataclass(frozen=True, slots=True)
class AudioQuality:
    """Measured facts that show whether a verdict on the recording can be trusted.

    Attributes:
        duration_s: length in seconds.
        sample_rate_hz: sample rate of the file.
        channels: number of channels of the file.
        level_dbfs: RMS of the used channel, in dB relative to a full-scale square wave: a full-scale sine has -3.01.
            None if every sample is zero.
        clipped_share: share of the samples of all channels that are at full scale, 0 to 1.
        offset: mean of the used channel; 0 for a good microphone.
        dropout_share: share of the recording in which samples are missing: at least 20 ms of one value, 0 to 1.
        digital_silence: every sample of every channel has the same value, as from an input without a signal. A quiet
            hall is not silent: its recording has noise.
    """

    duration_s: float
    sample_rate_hz: int
    channels: int
    level_dbfs: float | None
    clipped_share: float
    digital_silence: bool
    offset: float = 0.0
    dropout_share: float = 0.0

    @property
    def sound_dbfs(self) -> float | None:
        """Level without the offset, in dBFS; None if nothing remains."""
        if self.level_dbfs is None:
            return None
        power = 10 ** (self.level_dbfs / 10) - self.offset**2
        return 10 * math.log10(power) if power > 0 else None


@dataclass(frozen=True, slots=True)
class Recording:
    """One channel of a recording.

    Attributes:
        samples: float32, shape ``(frames,)``; full scale is -1 to 1.
        sample_rate_hz: samples per second.
        quality: measured while decoding.
        dropouts: start and end of each dropout, in samples.
    """

    samples: NDArray[np.float32]
    sample_rate_hz: int
    quality: AudioQuality
    dropouts: tuple[tuple[int, int], ...] = ()
