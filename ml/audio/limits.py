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
MAX_FILE_BYTES = 32 * 2**20  # largest recording, unless a setting has another number


Encoding = Literal["signed", "unsigned", "float", "mulaw", "alaw", "coded"]
"""How one sample is stored: as an integer, as an IEEE float, by G.711, or by a coder that another decoder unpacks."""

CODECS: dict[Encoding, str] = {"signed": "pcm", "unsigned": "pcm"}  # the others have the name of their encoding
# Codecs that give back every sample as it was coded; all others leave out parts of the sound.
LOSSLESS = frozenset({"pcm", "float", "flac", "alac", "wavpack", "ape", "tta", "wmalossless"})
# Largest value of a sample of G.711 as 16-bit integer.
G711_HIGHEST = {"mulaw": 32_124.0, "alaw": 32_256.0}


@dataclass(frozen=True, slots=True)
class Header:
    """Header of a file, before any sample is read.

    Attributes:
        container: format of the file: ``wav``, ``w64``, ``aiff``, ``flac``, or a name of :mod:`ml.audio.formats`.
        sample_rate_hz: samples per second of one channel.
        channels: number of channels.
        frames: samples of each channel, as the header states or as many as there are.
        bits: bits of one sample that have a meaning; they are the upper ones of the stored bits.
        encoding: how a sample is stored.
        stored_bytes: bytes that one sample takes in the file; 0 stands for the smallest number that holds ``bits``.
        coder: name of the codec of a file that was coded; None for samples that are stored one by one.
        big_endian: samples are big-endian (RIFX, AIFF).
        data_offset, data_bytes: position and size of the samples in the file, in bytes; not for FLAC.

    Example:
        >>> header = Header("wav", sample_rate_hz=16_000, channels=8, frames=40_000, bits=16)
        >>> header.duration_s, header.sample_bytes, header.codec
        (2.5, 2, 'pcm')
    """

    container: str
    sample_rate_hz: int
    channels: int
    frames: int
    bits: int
    encoding: Encoding = "signed"
    stored_bytes: int = 0
    coder: str | None = None
    big_endian: bool = False
    data_offset: int = 0
    data_bytes: int = 0

    @property
    def duration_s(self) -> float:
        """Length in seconds: ``frames / sample_rate_hz``; 0 for a rate of 0, which no limits accept."""
        return self.frames / self.sample_rate_hz if self.sample_rate_hz else 0.0

    @property
    def sample_bytes(self) -> int:
        """Bytes that one sample takes in the file."""
        return self.stored_bytes or -(-self.bits // 8)

    @property
    def codec(self) -> str:
        """Name of the codec: ``pcm``, ``float``, ``mulaw``, ``alaw``, or that of the coder."""
        return self.coder or CODECS.get(self.encoding, self.encoding)

    @property
    def lossy_codec(self) -> str | None:
        """Name of the codec if it leaves out parts of the sound; else None."""
        return None if self.codec in LOSSLESS else self.codec

    @property
    def full_scale(self) -> float:
        """Divisor of a sample in a block: ``-full_scale`` is -1. It is 1 for floats."""
        return 1.0 if self.encoding == "float" else 2.0 ** (self._value_bits - 1)

    @property
    def highest(self) -> float:
        """Largest value of a sample in a block: full scale, as far as the coding can hold it."""
        if self.encoding == "float":
            return 1.0
        return G711_HIGHEST.get(self.encoding) or self.full_scale - 2.0 ** (self._value_bits - self.bits)

    @property
    def lowest(self) -> float:
        """Smallest value of a sample in a block."""
        return -G711_HIGHEST.get(self.encoding, self.full_scale)

    @property
    def _value_bits(self) -> int:
        """Bits of the integers in the blocks: 8, 16 or 32. G.711 is unpacked to 16 bits."""
        if self.encoding in G711_HIGHEST:
            return 16
        return {1: 8, 2: 16}.get(self.sample_bytes, 32)


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
        ml.errors.RecordingTooShort: The recording lasts 0.250 s; at least 0.5 s are needed. Record longer.
    """

    min_duration_s: float = 0.5
    max_duration_s: float = 600.0
    min_sample_rate_hz: int = 4_000
    max_sample_rate_hz: int = 384_000
    max_channels: int = 64
    max_unpacked_bytes: int = 128 * 2**20

    def max_frames(self, header: Header) -> int:
        """Return the largest number of frames that is accepted of a file, by its rate and channels."""
        values = self.max_unpacked_bytes // UNPACKED_BYTES_PER_SAMPLE
        return min(int(self.max_duration_s * header.sample_rate_hz), values // header.channels)

    def check(self, header: Header) -> None:
        """Raise the error of the first limit that ``header`` exceeds.

        Raises:
            UnsupportedSampleRate, TooManyChannels, EmptyAudio, RecordingTooShort, RecordingTooLong, UnpackedTooLarge
        """
        if not self.min_sample_rate_hz <= header.sample_rate_hz <= self.max_sample_rate_hz:
            raise UnsupportedSampleRate(
                f"The sample rate is {header.sample_rate_hz} Hz; "
                f"{self.min_sample_rate_hz} to {self.max_sample_rate_hz} Hz are accepted. Resample it "
                "(ffmpeg -i in.wav -ar 48000 out.wav)."
            )
        if header.channels > self.max_channels:
            raise TooManyChannels(
                f"The recording has {header.channels} channels; at most {self.max_channels} are accepted. "
                "Send the channels that the model needs, or their mean (ffmpeg -i in.wav -ac 1 out.wav)."
            )
        if header.frames == 0:
            raise EmptyAudio(
                f"The recording has a header but no samples; at least {self.min_duration_s:g} s were expected. "
                "Check that the recorder was running."
            )
        if header.duration_s < self.min_duration_s:
            raise RecordingTooShort(
                f"The recording lasts {header.duration_s:.3f} s; at least {self.min_duration_s:g} s are needed. "
                "Record longer."
            )
        if header.duration_s > self.max_duration_s:
            raise RecordingTooLong(
                f"The recording lasts {header.duration_s:.1f} s; at most {self.max_duration_s:g} s are accepted. "
                "Send it in parts."
            )
        unpacked = header.frames * header.channels * UNPACKED_BYTES_PER_SAMPLE
        if unpacked > self.max_unpacked_bytes:
            raise UnpackedTooLarge(
                f"The recording would unpack to {unpacked / 2**20:.0f} MiB; "
                f"at most {self.max_unpacked_bytes / 2**20:.0f} MiB are accepted. "
                "Send a part of it, or fewer channels."
            )


DEFAULT_LIMITS = AudioLimits()
