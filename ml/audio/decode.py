"""Decoding of a recording: check its format and header, read its samples block by block."""

import mmap
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ml.audio import aiff, decoder, flac, formats, samples, wav
from ml.audio.formats import FileFormat
from ml.audio.limits import DEFAULT_LIMITS, AudioLimits, Header
from ml.audio.mixing import frames_in_block, mix
from ml.audio.recording import Channel, Recording
from ml.errors import EmptyAudio, NotAudio

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
    header, blocks = open_audio(view_bytes(source), limits)
    return mix(blocks, header, channel)


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
        read = flac.blocks if self._header.container == "flac" else samples.blocks
        return read(self._data, self._header, frames_in_block(self._header.channels))


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
