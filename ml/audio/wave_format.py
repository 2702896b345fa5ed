"""The 'fmt ' chunk of WAV and Wave64: how the samples are coded.

The layout follows Microsoft's "Multimedia Programming Interface and Data Specifications 1.0", and ``mmreg.h`` for
WAVE_FORMAT_EXTENSIBLE.
"""

import struct
from typing import NamedTuple

from ml.audio.limits import Encoding, Header
from ml.audio.samples import size_present
from ml.errors import MalformedAudio, UnsupportedCodec

PCM, FLOAT, ALAW, MULAW, EXTENSIBLE = 0x0001, 0x0003, 0x0006, 0x0007, 0xFFFE
G711: dict[int, Encoding] = {ALAW: "alaw", MULAW: "mulaw"}
# Codecs that :mod:`ml.audio.decoder` can unpack, with their names for answers.
CODERS = {
    0x0002: "ms_adpcm",
    0x0011: "ima_adpcm",
    0x0031: "gsm",
    0x0040: "g721",
    0x0050: "mp2",
    0x0055: "mp3",
    0x0160: "wma",
    0x0161: "wma",
    0x00FF: "aac",
    0xF1AC: "flac",
}
# Formats without a decoder here, for the message.
CODERLESS = {0x0045: "G.726 ADPCM", 0x0022: "TrueSpeech", 0x0092: "Dolby AC-3", 0x0162: "Windows Media Audio Pro"}
REWRITE = "Write the file again (ffmpeg -i in.wav out.wav)."
ACCEPTED = (
    "PCM of 8 to 32 bits, floats of 32 or 64 bits, mu-law and A-law are accepted. "
    "Convert it (ffmpeg -i in.wav -c:a pcm_s16le out.wav)."
)
# A WAVE_FORMAT_EXTENSIBLE subformat is a GUID: the format tag, then these constants (KSDATAFORMAT_SUBTYPE_*).
SUBFORMAT = (0x0000, 0x0010, bytes.fromhex("800000aa00389b71"))


class WaveFormat(NamedTuple):
    """Values of a 'fmt ' chunk.

    Attributes:
        tag: format tag, of the subformat if the format is extensible.
        channels, rate_hz: number of channels, and samples per second of each.
        block: bytes of one sample of all channels.
        bits: bits of one sample as stored, before 'valid bits' of an extensible format.
        valid_bits: bits of a sample that have a meaning.
    """

    tag: int
    channels: int
    rate_hz: int
    block: int
    bits: int
    valid_bits: int

    @classmethod
    def read(cls, order: str, fmt: memoryview) -> "WaveFormat":
        """Read the body of a 'fmt ' chunk.

        Args:
            order: ``<`` or ``>``, as for :mod:`struct`.
            fmt: body of the chunk.

        Raises:
            MalformedAudio: the chunk is too short.
            UnsupportedCodec: the subformat is not one of Microsoft's.

        Example:
            >>> WaveFormat.read("<", memoryview(struct.pack("<HHIIHH", 1, 2, 48_000, 288_000, 6, 24)))
            WaveFormat(tag=1, channels=2, rate_hz=48000, block=6, bits=24, valid_bits=24)
        """
        if len(fmt) < 16:
            raise MalformedAudio(f"The 'fmt ' chunk has {len(fmt)} bytes; at least 16 were expected. {REWRITE}")
        tag, channels, rate, _, block, bits = struct.unpack_from(order + "HHIIHH", fmt)
        valid_bits = bits
        if tag == EXTENSIBLE:
            tag, valid_bits = _extension(order, fmt)
        return cls(tag, channels, rate, block, bits, valid_bits if 0 < valid_bits < bits else bits)

    @property
    def encoding(self) -> Encoding:
        """How a sample is stored.

        Raises:
            UnsupportedCodec: in no way that can be read.
        """
        if self.tag in CODERS:
            return "coded"
        if self.tag in G711:
            return G711[self.tag]
        if self.tag == FLOAT and self.bits in (32, 64):
            return "float"
        if self.tag == PCM and 8 <= self.bits <= 32:
            # The bits as stored decide: 8 valid bits of 16 are signed.
            return "unsigned" if self.bits == 8 else "signed"
        unknown = CODERLESS.get(self.tag, f"format 0x{self.tag:04x}")
        name = {PCM: f"{self.bits}-bit PCM", FLOAT: f"{self.bits}-bit float"}.get(self.tag, unknown)
        raise UnsupportedCodec(f"The samples are coded as {name}; {ACCEPTED}")

    @property
    def sample_bytes(self) -> int:
        """Bytes that one sample takes.

        Raises:
            MalformedAudio: blocks, channels and bits contradict each other.
        """
        size, rest = divmod(self.block, self.channels) if self.channels else (0, 0)
        whole = 1 if self.tag in G711 else -(-self.bits // 8)
        in_32 = self.tag == PCM and 17 <= self.bits <= 24  # 20 and 24 bits are stored in 32, too
        if rest or size == 0 or size not in ((whole, 4) if in_32 else (whole,)):
            raise MalformedAudio(
                f"The header states {self.channels} channels of {self.bits} bits in blocks of {self.block} bytes, "
                f"which is impossible. {REWRITE}"
            )
        return size


def header_of(container: str, order: str, fmt: memoryview, offset: int, stated: int | None, available: int) -> Header:
    """Return the header of a file with a 'fmt ' chunk and samples.

    Args:
        container: ``wav`` or ``w64``.
        order: ``<`` or ``>``, as for :mod:`struct`.
        fmt: body of the 'fmt ' chunk.
        offset: position of the first sample.
        stated: bytes of samples that the file states; None if it states nothing.
        available: size of the file in bytes.

    Raises:
        MalformedAudio, TruncatedAudio, UnsupportedCodec

    Example:
        >>> fmt = memoryview(struct.pack("<HHIIHH", 7, 1, 8_000, 8_000, 1, 8))
        >>> header_of("wav", "<", fmt, 58, None, 8_058).codec
        'mulaw'
    """
    found = WaveFormat.read(order, fmt)
    encoding = found.encoding
    if encoding == "coded":
        return Header(container, found.rate_hz, found.channels, 0, 16, encoding, coder=CODERS[found.tag])
    sample_bytes = found.sample_bytes
    size = size_present(stated, available - offset, found.block)
    return Header(
        container=container,
        sample_rate_hz=found.rate_hz,
        channels=found.channels,
        frames=size // found.block,
        bits=8 if encoding in G711.values() else found.valid_bits,
        encoding=encoding,
        stored_bytes=sample_bytes,
        big_endian=order == ">",
        data_offset=offset,
        data_bytes=size,
    )


def _extension(order: str, fmt: memoryview) -> tuple[int, int]:
    """Return the tag and the number of valid bits of an extensible format."""
    if len(fmt) < 40:
        raise MalformedAudio(f"An extensible 'fmt ' chunk has 40 bytes; this one has {len(fmt)}. {REWRITE}")
    valid_bits, _, tag, *rest = struct.unpack_from(order + "HIIHH8s", fmt, 18)
    if tuple(rest) != SUBFORMAT or tag > 0xFFFF:
        raise UnsupportedCodec(f"The samples are coded as subformat {bytes(fmt[24:40]).hex()}; {ACCEPTED}")
    return tag, valid_bits
