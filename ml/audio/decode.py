"""From bytes or a path to a :class:`~ml.audio.recording.Recording`: recognise, check the header, mix block by block."""

import mmap
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ml.audio import flac, wav
from ml.audio.limits import DEFAULT_LIMITS, AudioLimits, Header
from ml.audio.meter import Meter
from ml.audio.recording import AudioQuality, Channel, Recording
from ml.errors import ChannelNotFound, EmptyAudio, NotAudio

# One block of 8 channels is 256 KiB as float32: it stays in a core's L2 cache between conversion and mixing.
SAMPLES_PER_BLOCK = 65_536
AudioSource = bytes | bytearray | memoryview | str | os.PathLike[str]
KNOWN_FILES = (
    (0, b"\x89PNG", "a PNG image"),
    (0, b"\xff\xd8\xff", "a JPEG image"),
    (0, b"OggS", "an Ogg file"),
    (0, b"ID3", "an MP3 file"),
    (0, b"\xff\xfb", "an MP3 file"),
    (0, b"FORM", "an AIFF file"),
    (4, b"ftyp", "an MP4 or M4A file"),
    (0, b"\x1aE\xdf\xa3", "a Matroska or WebM file"),
    (0, b"PK\x03\x04", "a zip archive"),
    (0, b"{", "a JSON text"),
    (0, b"<", "an HTML or XML text"),
)


def decode(
    source: AudioSource,
    *,
    channel: Channel = "mean",
    limits: AudioLimits = DEFAULT_LIMITS,
) -> Recording:
    """Decode one WAV or FLAC recording.

    Args:
        source: the file's bytes, or its path.
        channel: ``"mean"`` of all channels, as the original project did, or the index of one.
        limits: bounds, checked on the header before any memory is spent on samples.

    Returns:
        One channel as float32 in -1 to 1, with what was measured on the way.

    Raises:
        AudioError: one of its subclasses, with what was found and what was expected.
        OSError: the path cannot be read.
    """
    header, blocks = open_audio(view_bytes(source), limits)
    if channel != "mean" and not 0 <= channel < header.channels:
        raise ChannelNotFound(
            f"The model listens to channel {channel} (counted from 0); the recording has {header.channels}."
        )
    return _mix(blocks, header, channel)


def view_bytes(source: AudioSource) -> memoryview:
    """A recording's bytes: those of a path without reading them yet, others as they are.

    Raises:
        EmptyAudio: the file has none.
        OSError: the path cannot be read.
    """
    return _mapped(source) if isinstance(source, (str, os.PathLike)) else memoryview(source)


def _mapped(path: str | os.PathLike[str]) -> memoryview:
    """A file's bytes, without reading them yet.

    Raises:
        EmptyAudio: it has none.
        OSError: the path cannot be read.
    """
    with Path(path).open("rb") as file:
        if os.fstat(file.fileno()).st_size == 0:
            raise EmptyAudio("The file is empty; a WAV or FLAC recording was expected.")
        # Closed with its last view, not here: an error's traceback still holds views of it.
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def open_audio(data: memoryview, limits: AudioLimits) -> tuple[Header, Iterator[NDArray[np.generic]]]:
    """What a recording says of itself, held to ``limits``, and its samples as they are coded, block by block.

    Raises:
        AudioError: one of its subclasses; those of the samples while they are read.
    """
    if len(data) == 0:
        raise EmptyAudio("There are no bytes; a WAV or FLAC recording was expected.")
    magic = bytes(data[:4])
    if magic not in (*wav.MAGIC, flac.MAGIC):
        raise NotAudio(f"This is {_looks_like(data)}; a WAV or FLAC recording was expected.")
    container = flac if magic == flac.MAGIC else wav
    header = container.read_header(data)
    limits.check(header)
    return header, container.blocks(data, header, max(1, SAMPLES_PER_BLOCK // header.channels))


def _mix(blocks: Iterator[NDArray[np.generic]], header: Header, channel: Channel) -> Recording:
    """Mix to one channel while measuring; only the mono samples are ever held whole."""
    meter = Meter(header)
    weights = np.zeros(header.channels, np.float32)
    weights[slice(None) if channel == "mean" else channel] = 1.0 / meter.full_scale
    if channel == "mean":
        weights /= header.channels

    mono = np.empty(header.frames, np.float32)
    position = 0
    for block in blocks:
        meter.read(block)
        stop = position + len(block)
        # OpenBLAS reads past the end of a block and may warn about values that are no part of it.
        with np.errstate(invalid="ignore"):
            np.matmul(block.astype(np.float32), weights, out=mono[position:stop])
        position = stop

    rms = float(np.sqrt(np.dot(mono, mono) / len(mono)))
    return Recording(
        samples=mono,
        sample_rate_hz=header.sample_rate_hz,
        quality=AudioQuality(
            duration_s=header.duration_s,
            sample_rate_hz=header.sample_rate_hz,
            channels=header.channels,
            level_dbfs=20 * float(np.log10(rms)) if rms > 0 else None,
            clipped_share=meter.clipped_samples / (header.frames * header.channels),
            digital_silence=meter.low == meter.high,
        ),
    )


def _looks_like(data: memoryview) -> str:
    for offset, magic, name in KNOWN_FILES:
        if bytes(data[offset : offset + len(magic)]) == magic:
            return name
    return f"a file that starts with the bytes {bytes(data[:4]).hex(' ')}"
