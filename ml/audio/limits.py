"""Limits of one recording, checked on its header alone."""

from dataclasses import dataclass
from typing import Literal

from ml.errors import (
    EmptyAudio,
    RecordingTooLong,
    RecordingTooShort,
    TooManyChannels,
    UnpackedTooLarge,
    UnsupportedSampleRate,
)

UNPACKED_BYTES_PER_SAMPLE = 4  # float32


@dataclass(frozen=True, slots=True)
class Header:
    """Header of a file, before any sample is read.

    Attributes:
        container: ``wav`` or ``flac``.
        sample_rate_hz: samples per second of one channel.
        channels: number of channels.
        frames: samples of each channel, as the header states.
        bits: bits of one coded sample.
        floating: samples are IEEE floats, not integers.
        big_endian: samples are big-endian (RIFX).
        data_offset, data_bytes: position and size of a WAV's samples in the file, in bytes.

    Example:
        >>> Header("wav", sample_rate_hz=16_000, channels=8, frames=40_000, bits=16).duration_s
        2.5
    """

    container: Literal["wav", "flac"]
    sample_rate_hz: int
    channels: int
    frames: int
    bits: int
    floating: bool = False
    big_endian: bool = False
    data_offset: int = 0
    data_bytes: int = 0

    @property
    def duration_s(self) -> float:
        """Length in seconds: ``frames / sample_rate_hz``."""
        return self.frames / self.sample_rate_hz


@dataclass(frozen=True, slots=True)
class AudioLimits:
    """Bounds on one recording.

    Attributes:
        min_duration_s, max_duration_s: length in seconds.
        min_sample_rate_hz, max_sample_rate_hz: sample rate in Hz.
        max_channels: number of channels.
        max_unpacked_bytes: bound on frames x channels x 4 bytes; 128 MiB are 262 s of 8 channels at 16 kHz.

    Example:
        >>> header = Header("wav", sample_rate_hz=16_000, channels=1, frames=4_000, bits=16)
        >>> AudioLimits().check(header)
        Traceback (most recent call last):
        ml.errors.RecordingTooShort: The recording lasts 0.250 s; at least 0.5 s are needed.
    """

    min_duration_s: float = 0.5
    max_duration_s: float = 600.0
    min_sample_rate_hz: int = 4_000
    max_sample_rate_hz: int = 192_000
    max_channels: int = 64
    max_unpacked_bytes: int = 128 * 2**20

    def check(self, header: Header) -> None:
        """Raise the error of the first limit that ``header`` exceeds.

        Raises:
            UnsupportedSampleRate, TooManyChannels, EmptyAudio, RecordingTooShort, RecordingTooLong, UnpackedTooLarge
        """
        if not self.min_sample_rate_hz <= header.sample_rate_hz <= self.max_sample_rate_hz:
            raise UnsupportedSampleRate(
                f"The sample rate is {header.sample_rate_hz} Hz; "
                f"{self.min_sample_rate_hz} to {self.max_sample_rate_hz} Hz are accepted."
            )
        if header.channels > self.max_channels:
            raise TooManyChannels(
                f"The recording has {header.channels} channels; at most {self.max_channels} are accepted."
            )
        if header.frames == 0:
            raise EmptyAudio(
                f"The recording has a header but no samples; at least {self.min_duration_s:g} s of sound were expected."
            )
        if header.duration_s < self.min_duration_s:
            raise RecordingTooShort(
                f"The recording lasts {header.duration_s:.3f} s; at least {self.min_duration_s:g} s are needed."
            )
        if header.duration_s > self.max_duration_s:
            raise RecordingTooLong(
                f"The recording lasts {header.duration_s:.1f} s; at most {self.max_duration_s:g} s are accepted."
            )
        unpacked = header.frames * header.channels * UNPACKED_BYTES_PER_SAMPLE
        if unpacked > self.max_unpacked_bytes:
            raise UnpackedTooLarge(
                f"The recording would unpack to {unpacked / 2**20:.0f} MiB; "
                f"at most {self.max_unpacked_bytes / 2**20:.0f} MiB are accepted."
            )


DEFAULT_LIMITS = AudioLimits()
