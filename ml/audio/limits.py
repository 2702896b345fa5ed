"""What a recording may be, checked on its header alone."""

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

UNPACKED_BYTES_PER_SAMPLE = 4  # float32, what every decoder of this kind unpacks to


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says of itself, before a single sample is read.

    ``bits`` counts the bits of one coded sample; ``floating`` tells IEEE floats from integers. ``frames`` is what the
    header promises, one sample per channel each. ``data_offset`` and ``data_bytes`` say where a WAV's samples lie.
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
        """Length in seconds."""
        return self.frames / self.sample_rate_hz


@dataclass(frozen=True, slots=True)
class AudioLimits:
    """Bounds on one recording. Durations in seconds, rates in hertz.

    ``max_unpacked_bytes`` bounds frames x channels x 4 bytes: 128 MiB is 262 s of 8 channels at 16 kHz.
    """

    min_duration_s: float = 0.5
    max_duration_s: float = 600.0
    min_sample_rate_hz: int = 4_000
    max_sample_rate_hz: int = 192_000
    max_channels: int = 64
    max_unpacked_bytes: int = 128 * 2**20

    def check(self, header: Header) -> None:
        """Refuse ``header`` by the first bound that it breaks.

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
            raise EmptyAudio("The header is followed by no samples; at least half a second of sound was expected.")
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
