"""A decoded recording and what can be said of its quality."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Channel = int | Literal["mean"]
"""Which channel is listened to: the mean of all (as the original project), or one by its index from 0."""


@dataclass(frozen=True, slots=True)
class AudioQuality:
    """Facts about a recording, for whoever wants to know whether its verdict can be trusted.

    Attributes:
        duration_s: length in seconds.
        sample_rate_hz: as recorded.
        channels: as recorded.
        level_dbfs: RMS level of the channel that was listened to, in dB relative to a full-scale square wave, so that a
            full-scale sine reads -3.01. None when every sample is zero.
        clipped_share: share of all samples, over all channels, at full scale; 0 to 1.
        digital_silence: every sample of every channel has one and the same value: a dead input, not a quiet room.
    """

    duration_s: float
    sample_rate_hz: int
    channels: int
    level_dbfs: float | None
    clipped_share: float
    digital_silence: bool


@dataclass(frozen=True, slots=True)
class Recording:
    """One channel of sound.

    Attributes:
        samples: float32, shape ``(frames,)``; full scale is -1 to 1.
        sample_rate_hz: samples per second.
        quality: what was measured while decoding.
    """

    samples: NDArray[np.float32]
    sample_rate_hz: int
    quality: AudioQuality
