"""Decoding of a recording: check its format and header, mix its channels block by block."""

import mmap
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ml.audio import aiff, decoder, flac, formats, samples, wav
from ml.audio.channels import ChannelFault, ChannelMeter, intact_weights
from ml.audio.dropouts import QUIETEST_DBFS, find_dropouts
from ml.audio.formats import FileFormat
from ml.audio.limits import DEFAULT_LIMITS, AudioLimits, Header
from ml.audio.meter import Meter
from ml.audio.recording import AudioQuality, Channel, ChannelPair, Recording, ReferenceState, SingleChannel
from ml.errors import ChannelNotFound, EmptyAudio, NotAudio

# Over all channels. As float32 a block is 256 KiB: it stays in a core's L2 cache between conversion and mixing.
SAMPLES_PER_BLOCK = 65_536
# Share of the power of one constant value that rounding can leave without its offset.
ROUNDING = 1e-12
# Correlation of two channels that are one signal, at any gain. Pairs of mimii_pair have up to 0.91.
SAME_SIGNAL = 0.999
AudioSource = bytes | bytearray | memoryview | str | os.PathLike[str]


def decode(
    source: AudioSource,
    *,
    channel: Channel = "mean",
    limits: AudioLimits = DEFAULT_LIMITS,
) -> Recording:
    """Decode one recording to one channel.

    With ``channel="mean"``: ``samples[t] = sum over c of coded[t, c] / (full_scale * channels)``, in float32.
    With ``intact``, the sum is of the channels that :func:`ml.audio.channels.intact_weights` keeps. The level is
    ``10 * log10(mean((samples - mean(samples)) ** 2))`` in dBFS.

    Args:
        source: the file's bytes, or its path.
        channel: ``"mean"`` of all channels, as in the original project; ``"intact"``, the mean of those without a
            fault; the index of one channel from 0; or a pair of one of these and the reference channel.
        limits: bounds, checked on the header before memory is used for samples.

    Returns:
        Samples as float32, shape ``(frames,)``, nominally -1 to 1 (float files may exceed it), with measured quality.

    Raises:
        AudioError: the recording is refused; the subclass is the reason.
        OSError: the path cannot be read.

    Example:
        >>> import io
        >>> import soundfile
        >>> file = io.BytesIO()
        >>> soundfile.write(file, np.tile([0.5, 0.0], (16_000, 1)), 16_000, format="WAV")  # 1 s of two channels
        >>> recording = decode(file.getvalue())
        >>> recording.samples.shape, recording.samples[0].item(), recording.quality.level_dbfs, recording.quality.offset
        ((16000,), 0.25, None, 0.25)
    """
    return _mix(view_bytes(source), limits, channel)


def view_bytes(source: AudioSource) -> memoryview:
    """Return a view of a recording's bytes; a file is mapped into memory and read later.

    Raises:
        EmptyAudio: the file at the path has no bytes.
        OSError: the path cannot be read.

    Example:
        >>> view_bytes(b"RIFF").nbytes
        4
    """
    return _map_file(source) if isinstance(source, (str, os.PathLike)) else memoryview(source)


def _map_file(path: str | os.PathLike[str]) -> memoryview:
    with Path(path).open("rb") as file:
        if os.fstat(file.fileno()).st_size == 0:
            raise EmptyAudio("The file is empty; a recording was expected. Check the recorder and its disk.")
        # The map is closed with its last view, not here: an error's traceback still has views of it.
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


class Samples:
    """Coded samples of one file. Each iteration reads them from the start.

    Args:
        data: the whole file, or the decoded samples of a coded file.
        header: its header.
    """

    def __init__(self, data: memoryview, header: Header) -> None:
        self._data, self._header = data, header

    def __iter__(self) -> Iterator[NDArray[np.generic]]:
        """Yield blocks of shape ``(frames, channels)``, of at most 65 536 samples over all channels."""
        frames_per_block = max(1, SAMPLES_PER_BLOCK // self._header.channels)
        read = flac.blocks if self._header.container == "flac" else samples.blocks
        return read(self._data, self._header, frames_per_block)


def open_audio(data: memoryview, limits: AudioLimits) -> tuple[Header, Samples]:
    """Read and check a recording's header, and return its coded samples, which are read later.

    Args:
        data: the whole file.
        limits: bounds on the header.

    Returns:
        The header, and blocks of shape ``(frames, channels)``: integers or floats as coded, not scaled. A block has
        at most 65 536 samples over all channels.

    Raises:
        AudioError: the header is refused; errors in the samples are raised by the iterator.

    Example:
        >>> import io
        >>> import soundfile
        >>> file = io.BytesIO()
        >>> soundfile.write(file, np.zeros((16_000, 8)), 16_000, format="FLAC")
        >>> header, blocks = open_audio(file.getbuffer(), DEFAULT_LIMITS)
        >>> header.channels, [block.shape for block in blocks]
        (8, [(8192, 8), (7808, 8)])
    """
    if len(data) == 0:
        raise EmptyAudio("There are no bytes; a recording was expected. Check the upload and the recorder.")
    data = formats.without_id3(data)
    found = formats.recognise(data)
    if found is None:
        raise NotAudio(
            f"This is {formats.looks_like(data)}; a recording was expected, WAV or FLAC, or another format of "
            "docs/formats.md. Export it as WAV."
        )
    data, header = _read_header(data, found, limits)
    limits.check(header)
    return header, Samples(data, header)


def _read_header(data: memoryview, found: FileFormat, limits: AudioLimits) -> tuple[memoryview, Header]:
    """Return the header of a file, with the data that it describes: those of the file, or its decoded samples."""
    if found.decoder != "here":
        return decoder.decode(data, found, limits, None)
    header = read_stated_header(data, found)
    if header.encoding == "coded":
        return decoder.decode(data, found, limits, header.coder)
    if found is formats.FLAC and header.frames == 0 and header.sample_rate_hz > 0:
        return data, flac.count_frames(data, header, limits.max_frames(header))
    return data, header


def read_stated_header(data: memoryview, found: FileFormat) -> Header:
    """Return the header as a file states it, without decoding; its frames are 0 if the file does not state them.

    Args:
        data: the whole file, without an ID3 tag before it.
        found: its format; its decoder is ``here``.

    Raises:
        AudioError: the header is refused.

    Example:
        >>> import io
        >>> import soundfile
        >>> file = io.BytesIO()
        >>> soundfile.write(file, np.zeros(16_000), 16_000, format="AIFF")
        >>> read_stated_header(file.getbuffer(), formats.AIFF).duration_s
        1.0
    """
    reader = {formats.FLAC: flac, formats.AIFF: aiff}.get(found, wav)
    header: Header = reader.read_header(data)
    return header


def _mix(data: memoryview, limits: AudioLimits, channel: Channel) -> Recording:
    """Mix a recording to one channel and measure it; only the mixed samples are in memory as a whole."""
    header, blocks = open_audio(data, limits)
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


def _mix_pair(blocks: "Samples", header: Header, channels: ChannelPair) -> Recording:
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
    blocks: Samples,
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
