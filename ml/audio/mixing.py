"""Mixing of the channels of a recording to one, block by block, with the measurement of its quality."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ml.audio.channels import ChannelFault, ChannelMeter, intact_weights
from ml.audio.dropouts import QUIETEST_DBFS, find_dropouts
from ml.audio.limits import DEFAULT_LIMITS, AudioLimits, Header
from ml.audio.meter import Meter
from ml.audio.recording import AudioQuality, Channel, ChannelPair, Recording, ReferenceState, SingleChannel
from ml.errors import ChannelNotFound

# Over all channels. As float32 a block is 256 KiB: it stays in a core's L2 cache between conversion and mixing.
SAMPLES_PER_BLOCK = 65_536
# Share of the power of one constant value that rounding can leave without its offset.
ROUNDING = 1e-12
# Correlation of two channels that are one signal, at any gain. Pairs of mimii_pair have up to 0.91.
SAME_SIGNAL = 0.999
CodedSamples = NDArray[np.int16] | NDArray[np.float32]
Blocks = Iterable[NDArray[np.generic]]
"""Coded samples of a recording, ``(frames, channels)`` each. Each iteration reads them from the start."""


def frames_in_block(channels: int) -> int:
    """Return the number of frames in which a recording is read.

    Example:
        >>> frames_in_block(8)
        8192
    """
    return max(1, SAMPLES_PER_BLOCK // channels)


def mix_samples(
    samples: CodedSamples,
    sample_rate_hz: int,
    *,
    channel: Channel = "mean",
    limits: AudioLimits = DEFAULT_LIMITS,
) -> Recording:
    """Mix samples in memory to one channel, exactly as :func:`ml.audio.decode.decode` does for a WAV file of them.

    Args:
        samples: int16, or float32 with the full scale -1 to 1; shape ``(frames, channels)``.
        sample_rate_hz: sample rate.
        channel: channel to return, as for ``decode``.
        limits: bounds, as for ``decode``.

    Raises:
        AudioError: the recording is refused; the subclass is the reason.

    Example:
        >>> recording = mix_samples(np.tile(np.array([16_384, 0], np.int16), (16_000, 1)), 16_000)
        >>> recording.samples.shape, recording.samples[0].item(), recording.quality.offset
        ((16000,), 0.25, 0.25)
    """
    frames, channels = samples.shape
    is_float = samples.dtype == np.float32
    header = Header("wav", sample_rate_hz, channels, frames, 8 * samples.itemsize, "float" if is_float else "signed")
    limits.check(header)
    return mix(_InMemory(samples), header, channel)


class _InMemory:
    """Blocks of samples in memory."""

    def __init__(self, samples: CodedSamples) -> None:
        self._samples = samples

    def __iter__(self) -> Iterator[NDArray[np.generic]]:
        step = frames_in_block(self._samples.shape[1])
        yield from (self._samples[start : start + step] for start in range(0, len(self._samples), step))


def mix(blocks: Blocks, header: Header, channel: Channel) -> Recording:
    """Mix a recording to one channel and measure it; only the mixed samples are in memory as a whole.

    Args:
        blocks: its coded samples; they are read again if channels have faults.
        header: its header.
        channel: channel to return.

    Raises:
        ChannelNotFound: the recording has no such channel.
        NotFinite: a sample is NaN, infinite or larger than 2**31.

    Example:
        >>> header = Header("wav", sample_rate_hz=8_000, channels=2, frames=8_000, bits=16)
        >>> mix([np.tile(np.array([8_192, 0], np.int16), (4_000, 1))] * 2, header, "mean").samples.max().item()
        0.125
    """
    if isinstance(channel, ChannelPair):
        return _mix_pair(blocks, header, channel)
    _check_channel(channel, header)
    meter = Meter(header)
    channel_meter = ChannelMeter(header.channels, meter.full_scale)
    weights = np.zeros(header.channels, np.float32)
    weights[channel if isinstance(channel, int) else slice(None)] = 1.0 / meter.full_scale
    if not isinstance(channel, int):
        weights /= header.channels
    mono = _read(blocks, header, weights, meter, channel_meter)
    faults = channel_meter.faults(meter.clipped / header.frames)
    clipped = meter.clipped
    if channel == "intact" and any(each.fault != "offset" for each in faults):
        weights = intact_weights(header.channels, faults)
        clipped = clipped[weights != 0]
        # Which channels are intact is known at the end only, so the file is read again.
        mono = _read(blocks, header, weights / np.float32(meter.full_scale))
    clipped_share = int(clipped.sum()) / (header.frames * len(clipped))
    return _measure(mono, header, faults, clipped_share, digital_silence=meter.low == meter.high)


def _check_channel(channel: SingleChannel, header: Header) -> None:
    if isinstance(channel, int) and not 0 <= channel < header.channels:
        raise ChannelNotFound(
            f"The model uses channel {channel} (counted from 0); the recording has {header.channels}. "
            "Record with the same array of microphones, or use a model of the mean of all channels."
        )


def _mix_pair(blocks: Blocks, header: Header, channels: ChannelPair) -> Recording:
    """Mix a recording to two channels: the main one, and the reference if it can be used."""
    _check_channel(channels.main, header)
    others = [index for index in range(header.channels) if index != channels.reference]
    if not others:
        raise ChannelNotFound(
            f"The model uses channel {channels.reference} (counted from 0) as reference; the recording has no other "
            "channel. Record the machine on another channel."
        )
    meter = Meter(header)
    channel_meter = ChannelMeter(header.channels, meter.full_scale)
    weights = np.zeros((header.channels, 2), np.float32)
    main = [channels.main] if isinstance(channels.main, int) else others
    weights[main, 0] = 1 / len(main)
    if channels.reference < header.channels:
        weights[channels.reference, 1] = 1
    pair = _read(blocks, header, weights / np.float32(meter.full_scale), meter, channel_meter)
    faults = channel_meter.faults(meter.clipped / header.frames)
    of_others = tuple(replace(each, channel=others.index(each.channel)) for each in faults if each.channel in others)
    # If all are dead, the main channel is silent, and no mean of intact channels exists.
    is_dead = sum(each.fault == "dead" for each in of_others) == len(others)
    if channels.main == "intact" and not is_dead and any(each.fault != "offset" for each in of_others):
        weights[others, 0] = intact_weights(len(others), of_others)
        # Which channels are intact is known at the end only, so the file is read again.
        pair = _read(blocks, header, weights / np.float32(meter.full_scale))
    used = weights[:, 0] != 0
    recording = _measure(
        np.ascontiguousarray(pair[:, 0]),
        header,
        faults,
        int(meter.clipped[used].sum()) / (header.frames * int(used.sum())),
        digital_silence=meter.low == meter.high,
    )
    reference = np.ascontiguousarray(pair[:, 1])
    state = _reference_state(recording.samples, reference, channels.reference, header, faults)
    return replace(
        recording,
        quality=replace(recording.quality, reference=state),
        reference=reference if state == "used" else None,
    )


def _reference_state(
    main: NDArray[np.float32],
    samples: NDArray[np.float32],
    channel: int,
    header: Header,
    faults: tuple[ChannelFault, ...],
) -> ReferenceState:
    if channel >= header.channels:
        return "missing"
    found = {each.fault for each in faults if each.channel == channel}
    if "dead" in found or samples.min() == samples.max():
        return "dead"
    if "clipped" in found:
        return "clipped"
    return "duplicate" if _correlation(main, samples) > SAME_SIGNAL else "used"


def _correlation(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Return the size of the correlation of two signals, 0 to 1; 0 if one of them is constant."""
    one, other = one - one.mean(), other - other.mean()
    scale = float(np.sqrt(np.dot(one, one)) * np.sqrt(np.dot(other, other)))
    return abs(float(np.dot(one, other))) / scale if scale > 0 else 0.0


def _read(
    blocks: Blocks,
    header: Header,
    weights: NDArray[np.float32],
    meter: Meter | None = None,
    channel_meter: ChannelMeter | None = None,
) -> NDArray[np.float32]:
    """Return the weighted sum of the channels, and let the meters read all blocks.

    Args:
        blocks: the coded samples.
        header: header of the file.
        weights: ``(channels,)``, or ``(channels, sums)`` for several sums.
        meter: meter of the coded samples; None without one.
        channel_meter: meter of the channels; None without one.

    Returns:
        ``(frames,)``, or ``(frames, sums)``.
    """
    mono = np.empty((header.frames, *weights.shape[1:]), np.float32)
    position = 0
    # OpenBLAS reads past the end of a block, and may warn about values that do not belong to it. Set once and not for
    # each block: that took 8 % of the time of decoding.
    with np.errstate(invalid="ignore"):
        for block in blocks:
            if meter is not None:
                meter.read(block)
            values, stop = block.astype(np.float32), position + len(block)
            np.matmul(values, weights, out=mono[position:stop])
            if channel_meter is not None and header.channels > 1:
                channel_meter.read(values)
            position = stop
    return mono


def _measure(
    mono: NDArray[np.float32],
    header: Header,
    faults: tuple[ChannelFault, ...],
    clipped_share: float,
    *,
    digital_silence: bool,
) -> Recording:
    offset = float(mono.mean())
    centred = mono - np.float32(offset)
    power = float(np.dot(centred, centred)) / len(mono)
    has_signal = not digital_silence and power > ROUNDING * offset**2
    dropouts = find_dropouts(mono, header.sample_rate_hz) if has_signal and power > 10 ** (QUIETEST_DBFS / 10) else ()
    return Recording(
        samples=mono,
        sample_rate_hz=header.sample_rate_hz,
        quality=AudioQuality(
            duration_s=header.duration_s,
            sample_rate_hz=header.sample_rate_hz,
            channels=header.channels,
            level_dbfs=10 * float(np.log10(power)) if has_signal else None,
            clipped_share=clipped_share,
            digital_silence=digital_silence,
            offset=offset,
            dropout_share=sum(stop - start for start, stop in dropouts) / len(mono),
            channel_faults=faults,
            codec=header.lossy_codec,
        ),
        dropouts=dropouts,
    )
