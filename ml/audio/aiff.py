"""AIFF and AIFF-C: PCM, floats and G.711, big-endian or little-endian.

The layout follows Apple's "Audio Interchange File Format, version 1.3" and "AIFF-C, draft of 26 August 1991".
"""

import math
import struct
from typing import NamedTuple

from ml.audio.limits import Encoding, Header
from ml.audio.samples import is_placeholder, size_present
from ml.errors import MalformedAudio, TruncatedAudio, UnsupportedCodec

MAGIC = b"FORM"
FORMS = (b"AIFF", b"AIFC")
MAX_CHUNKS = 256
REWRITE = "Write the file again (ffmpeg -i in.aiff out.wav)."


class Compression(NamedTuple):
    """Compression type of AIFF-C.

    Attributes:
        encoding: how a sample is stored.
        bits: bits of a sample; None if the COMM chunk states them.
        big_endian: byte order.
        coder: name of the codec if another decoder must unpack it.
    """

    encoding: Encoding = "signed"
    bits: int | None = None
    big_endian: bool = True
    coder: str | None = None


COMPRESSIONS = {
    b"NONE": Compression(),
    b"twos": Compression(),
    b"sowt": Compression(big_endian=False),
    b"raw ": Compression("unsigned", 8),
    b"in24": Compression(bits=24),
    b"in32": Compression(bits=32),
    b"42ni": Compression(bits=24, big_endian=False),
    b"42n1": Compression(bits=24, big_endian=False),
    b"23ni": Compression(bits=32, big_endian=False),
    b"fl32": Compression("float", 32),
    b"FL32": Compression("float", 32),
    b"fl64": Compression("float", 64),
    b"FL64": Compression("float", 64),
    b"ulaw": Compression("mulaw", 8),
    b"ULAW": Compression("mulaw", 8),
    b"alaw": Compression("alaw", 8),
    b"ALAW": Compression("alaw", 8),
    b"ima4": Compression("coded", 16, coder="ima_adpcm"),
    b"GSM ": Compression("coded", 16, coder="gsm"),
    b"MAC3": Compression("coded", 16, coder="mace3"),
    b"MAC6": Compression("coded", 16, coder="mace6"),
}


def read_header(data: memoryview) -> Header:
    """Find the format and the position of the samples.

    Args:
        data: the whole file, beginning with :data:`MAGIC`.

    Returns:
        The header. Its encoding is ``coded`` if the samples must be unpacked by :mod:`ml.audio.decoder`.

    Raises:
        MalformedAudio: it is no AIFF file, or the chunks contradict each other, or COMM or SSND is missing.
        TruncatedAudio: the file has fewer samples than it states.
        UnsupportedCodec: the compression is not known.

    Example:
        >>> import io
        >>> import numpy as np
        >>> import soundfile
        >>> file = io.BytesIO()
        >>> soundfile.write(file, np.zeros((1_000, 2)), 16_000, format="AIFF", subtype="PCM_24")
        >>> header = read_header(file.getbuffer())
        >>> header.sample_rate_hz, header.channels, header.frames, header.bits, header.big_endian
        (16000, 2, 1000, 24, True)
    """
    form = bytes(data[8:12])
    if form not in FORMS:
        raise MalformedAudio(f"The file starts as FORM but is not an AIFF file. {REWRITE}")
    comm: memoryview | None = None
    samples: tuple[int, int] | None = None
    position = 12
    for _ in range(MAX_CHUNKS):
        if position + 8 > len(data) or (comm is not None and samples is not None):
            break
        chunk, size = bytes(data[position : position + 4]), struct.unpack_from(">I", data, position + 4)[0]
        if chunk == b"COMM":
            comm = data[position + 8 : position + 8 + size]
        elif chunk == b"SSND" and position + 16 <= len(data):
            offset = struct.unpack_from(">I", data, position + 8)[0]
            samples = position + 16 + offset, size - 8 - offset
        position += 8 + size + size % 2
    if comm is None or samples is None:
        raise MalformedAudio(f"The file has no 'COMM' or no 'SSND' chunk with samples. {REWRITE}")
    return _header(comm, *samples, len(data), is_compressed=form == b"AIFC")


def _header(comm: memoryview, offset: int, ssnd_bytes: int, available: int, *, is_compressed: bool) -> Header:
    if len(comm) < (22 if is_compressed else 18):
        raise TruncatedAudio(f"The 'COMM' chunk has {len(comm)} bytes, which is too short. Send the whole file.")
    channels, frames, bits = struct.unpack_from(">HIH", comm)
    rate_hz = round(min(_extended(bytes(comm[8:18])), 2.0**32))
    kind = bytes(comm[18:22]) if is_compressed else b"NONE"
    compression = COMPRESSIONS.get(kind)
    if compression is None:
        raise UnsupportedCodec(
            f"The samples are coded as AIFF-C {kind.decode('latin-1')!r}, which cannot be read. "
            "Convert it (ffmpeg -i in.aiff out.wav)."
        )
    if compression.encoding == "coded":
        return Header("aiff", rate_hz, channels, 0, 16, "coded", coder=compression.coder)
    bits = compression.bits or bits
    if channels == 0 or not 0 < bits <= 64 or (bits > 32 and compression.encoding != "float"):
        raise MalformedAudio(f"The header states {channels} channels of {bits} bits, which is impossible. {REWRITE}")
    sample_bytes = -(-bits // 8)
    block = channels * sample_bytes
    present = max(0, available - offset)
    size = size_present(_stated(frames, block, ssnd_bytes, present), present, block)
    return Header(
        container="aiff",
        sample_rate_hz=rate_hz,
        channels=channels,
        frames=size // block,
        bits=bits,
        encoding=compression.encoding,
        stored_bytes=sample_bytes,
        big_endian=compression.big_endian,
        data_offset=offset,
        data_bytes=size,
    )


def _stated(frames: int, block: int, ssnd_bytes: int, present: int) -> int | None:
    """Return the bytes of samples that the header states; None if the file was written to a pipe.

    A writer to a pipe leaves zero or a placeholder in the SSND chunk, and perhaps in the frames of the COMM chunk too.
    """
    is_open = ssnd_bytes <= 0 or is_placeholder(ssnd_bytes + 8)
    if frames > 0 and not is_placeholder(frames):
        return None if is_open and frames * block > present else frames * block
    return None if is_open else ssnd_bytes


def _extended(coded: bytes) -> float:
    """Return the value of an 80-bit float (IEEE 754, extended): one bit sign, 15 exponent, 64 mantissa; NaN gives 0."""
    head, mantissa = struct.unpack(">HQ", coded)
    exponent = (head & 0x7FFF) - 16383 - 63
    if head & 0x8000 or exponent > 64:
        return 0.0
    return math.ldexp(mantissa, exponent)
