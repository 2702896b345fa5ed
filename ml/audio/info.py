"""A recording read once, block by block, for what an index of recordings holds of it."""

import hashlib
from dataclasses import dataclass

import numpy as np

from ml.audio.decode import AudioSource, open_audio, view_bytes
from ml.audio.limits import DEFAULT_LIMITS, AudioLimits, Header
from ml.audio.meter import Meter

HASH_DIGITS = 32


@dataclass(frozen=True, slots=True)
class AudioInfo:
    """Facts about one file.

    Attributes:
        audio_hash: 32 hexadecimal digits of the SHA-256 of rate, channel count and every sample of every channel as
            float32, full scale 1: the same for the same sound in WAV and in FLAC, of 16 and of 24 bits.
        duration_s, sample_rate_hz, channels, bits: as the header says and the samples bear out.
        codec: ``pcm``, ``float`` or ``flac``.
        level_dbfs: RMS of the mean of all channels, as :class:`~ml.audio.recording.AudioQuality` has it; None for silence.
        peak_dbfs: the largest sample of any channel; None for digital silence.
        clipped_share: share of samples at full scale, 0 to 1.
        bytes: size of the file.
    """

    audio_hash: str
    duration_s: float
    sample_rate_hz: int
    channels: int
    bits: int
    codec: str
    level_dbfs: float | None
    peak_dbfs: float | None
    clipped_share: float
    bytes: int


def read_info(source: AudioSource, limits: AudioLimits = DEFAULT_LIMITS) -> AudioInfo:
    """Read a whole recording once; no more than a block of its samples is held.

    Args:
        source: the file's bytes, or its path.
        limits: bounds, as :func:`~ml.audio.decode.decode` has them.

    Raises:
        AudioError: whatever :func:`~ml.audio.decode.decode` would refuse, in the same words.
        OSError: the path cannot be read.
    """
    data = view_bytes(source)
    header, blocks = open_audio(data, limits)
    meter = Meter(header)
    digest = hashlib.sha256(f"{header.sample_rate_hz} Hz, {header.channels} channels".encode())
    energy = 0.0
    for block in blocks:
        meter.read(block)
        # Adding zero makes -0.0 and 0.0, which sound the same, the same bytes.
        samples = block.astype("<f4") * np.float32(1 / meter.full_scale) + np.float32(0)
        digest.update(samples.data)
        mean = samples.mean(axis=1)
        # Not a dot product: BLAS adds in another order with another number of threads.
        energy += float(np.square(mean, dtype=np.float64).sum())
    return AudioInfo(
        audio_hash=digest.hexdigest()[:HASH_DIGITS],
        duration_s=header.duration_s,
        sample_rate_hz=header.sample_rate_hz,
        channels=header.channels,
        bits=header.bits,
        codec=_codec(header),
        level_dbfs=_decibels(np.sqrt(energy / header.frames)),
        peak_dbfs=_decibels(max(abs(meter.low), abs(meter.high)) / meter.full_scale),
        clipped_share=meter.clipped_samples / (header.frames * header.channels),
        bytes=len(data),
    )


def _codec(header: Header) -> str:
    if header.container == "flac":
        return "flac"
    return "float" if header.floating else "pcm"


def _decibels(amplitude: float) -> float | None:
    return 20 * float(np.log10(amplitude)) if amplitude > 0 else None
