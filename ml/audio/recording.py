"""Decoded recording and its measured quality."""

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from ml.audio.channels import ChannelFault, ChannelFaultName

Mixed = Literal["mean", "intact"]
MIXED = get_args(Mixed)
SingleChannel = int | Mixed
"""Channel that a model uses.

``mean`` of all channels, as in the original project; ``intact``, the mean without dead and clipped channels, and with
the right sign of inverted ones; or one index from 0.
"""


class ChannelPair(NamedTuple):
    """The two channels that a model with a reference channel uses.

    Attributes:
        main: the channel of the machine; ``mean`` and ``intact`` are of all channels but the reference.
        reference: index of the channel that records the hall, from 0.
    """

    main: SingleChannel
    reference: int


Channel = SingleChannel | ChannelPair
ReferenceState = Literal["used", "unused", "missing", "dead", "clipped", "duplicate", "disturbed", "swapped"]
"""State of a reference channel.

``used``; ``unused``: training has found that it does not help; ``missing``: the recording has no such channel;
``dead``: it has no signal; ``clipped``: more than 1 % of its samples are at full scale; ``duplicate``: it is the
same signal as the main channel; ``disturbed``: it has sounds that the main channel does not have; ``swapped``: it
records the machine, and the main channel the hall.
"""


@dataclass(frozen=True, slots=True)
class AudioQuality:
    """Measured facts that show whether a verdict on the recording can be trusted.

    Attributes:
        duration_s: length in seconds.
        sample_rate_hz: sample rate of the file.
        channels: number of channels of the file.
        level_dbfs: RMS of the used channel without its offset, in dB relative to a full-scale square wave: a full-scale
            sine has -3.01. None if every sample has the same value.
        clipped_share: share of the samples that are at full scale, 0 to 1: of all channels, or of those that are used
            if the model uses the intact ones.
        offset: mean of the used channel; 0 for a good microphone.
        dropout_share: share of the recording in which samples are missing: at least 20 ms of one value, 0 to 1.
        digital_silence: every sample of every channel has the same value, as from an input without a signal. A quiet
            hall is not silent: its recording has noise.
        channel_faults: faults of channels that others do not have.
        codec: name of a codec with losses, such as ``mulaw``, ``mp3``, ``opus`` or ``aac``; None without losses.
        reference: state of the reference channel; None if the model uses none.
    """

    duration_s: float
    sample_rate_hz: int
    channels: int
    level_dbfs: float | None
    clipped_share: float
    digital_silence: bool
    offset: float = 0.0
    dropout_share: float = 0.0
    channel_faults: tuple[ChannelFault, ...] = ()
    codec: str | None = None
    reference: ReferenceState | None = None

    @property
    def level_with_offset_dbfs(self) -> float | None:
        """RMS level with the offset, in dBFS, as earlier versions measured it; None if every sample is zero."""
        power = self.offset**2 + (0.0 if self.level_dbfs is None else 10 ** (self.level_dbfs / 10))
        return 10 * math.log10(power) if power > 0 else None

    def faulty_channels(self, fault: ChannelFaultName) -> tuple[int, ...]:
        """Return the channels with a fault."""
        return tuple(each.channel for each in self.channel_faults if each.fault == fault)


@dataclass(frozen=True, slots=True)
class Recording:
    """One channel of a recording.

    Attributes:
        samples: float32, shape ``(frames,)``; full scale is -1 to 1.
        sample_rate_hz: samples per second.
        quality: measured while decoding.
        dropouts: start and end of each dropout, in samples.
        reference: samples of the reference channel at the same times, float32 ``(frames,)``; None if the model uses
            none, or if its state is not ``used``.
    """

    samples: NDArray[np.float32]
    sample_rate_hz: int
    quality: AudioQuality
    dropouts: tuple[tuple[int, int], ...] = ()
    reference: NDArray[np.float32] | None = None
