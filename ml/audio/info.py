"""Facts about one recording for the index of a dataset, measured in one pass, block by block."""

import hashlib
from dataclasses import dataclass

import numpy as np

from ml.audio.decode import AudioSource, open_audio, view_bytes
from ml.audio.limits import DEFAULT_LIMITS, AudioLimits
from ml.audio.meter import Meter
from ml.audio.mixing import ROUNDING

HASH_DIGITS = 32


@dataclass(frozen=True, slots=True)
class AudioInfo:
    """Facts about one file.

    Attributes:
        audio_hash: 32 hexadecimal digits of a SHA-256 over sample rate, channel count and all samples of all channels
            as float32 with full scale 1. The same samples have the same hash in WAV and FLAC, of 16 and of 24 bits.
        duration_s, sample_rate_hz, channels, bits: from the header; the samples were read to the end.
        codec: how the file is coded: ``pcm``, ``float``, ``flac``, ``mulaw``, ``mp3``, ``aac`` and others.
        level_dbfs: RMS of the mean of all channels without its offset, as in :class:`~ml.audio.recording.AudioQuality`;
            None if it is 0.
        peak_dbfs: ``20 * log10`` of the largest absolute sample of any channel; None if all samples are zero.
        clipped_share: share of the samples of all channels that are at full scale, 0 to 1.
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
    """Read a whole recording once and measure it; only one block of samples is in memory at a time.

    ``level_dbfs = 10 * log10(sum over t of m[t] ** 2 / frames - (sum over t of m[t] / frames) ** 2)`` of the mean over
    the channels ``m[t]``, with sums in float64.

    Args:
        source: the file's bytes, or its path.
        limits: bounds, as in :func:`~ml.audio.decode.decode`.

    Raises:
        AudioError: the recording is refused, with the message of :func:`~ml.audio.decode.decode`.
        OSError: the path cannot be read.

    Example:
        >>> import io
        >>> import soundfile
        >>> file = io.BytesIO()
        >>> samples = np.tile([[0.5, 0.5], [0.3, 0.3]], (8000, 1))
        >>> soundfile.write(file, samples, 16_000, format="FLAC")
        >>> info = read_info(file.getvalue())
        >>> info.codec, info.bits, info.duration_s, round(info.level_dbfs, 2), len(info.audio_hash)
        ('flac', 16, 1.0, -20.0, 32)
    """
    data = view_bytes(source)
    header, blocks = open_audio(data, limits)
    meter = Meter(header)
    digest = hashlib.sha256(f"{header.sample_rate_hz} Hz, {header.channels} channels".encode())
    energy = total = 0.0
    for block in blocks:
        meter.read(block)
        # Adding zero gives -0.0 and 0.0 the same bytes.
        samples = block.astype("<f4") * np.float32(1 / meter.full_scale) + np.float32(0)
        digest.update(samples.data)
        mean = samples.mean(axis=1)
        # Not a dot product: with another number of threads, BLAS adds in another order.
        energy += float(np.square(mean, dtype=np.float64).sum())
        total += float(mean.sum(dtype=np.float64))
    power = energy / header.frames
    sound = power - (total / header.frames) ** 2
    return AudioInfo(
        audio_hash=digest.hexdigest()[:HASH_DIGITS],
        duration_s=header.duration_s,
        sample_rate_hz=header.sample_rate_hz,
        channels=header.channels,
        bits=header.bits,
        codec=header.codec,
        level_dbfs=_decibels(np.sqrt(sound)) if sound > ROUNDING * power else None,
        peak_dbfs=_decibels(max(abs(meter.low), abs(meter.high)) / meter.full_scale),
        clipped_share=meter.clipped_samples / (header.frames * header.channels),
        bytes=len(data),
    )


def _decibels(amplitude: float) -> float | None:
    return 20 * float(np.log10(amplitude)) if amplitude > 0 else None
