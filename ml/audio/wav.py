"""WAV: RIFF, RIFX and RF64, with PCM of 16, 24 and 32 bits and floats of 32 and 64 bits.

The files are not read with libsndfile. It hides truncation, accepts a sample rate of 1 Hz, and unpacks codecs that had
memory faults. The layout follows Microsoft's "Multimedia Programming Interface and Data Specifications 1.0" and EBU
Tech 3306 (RF64).
"""

import struct
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ml.audio.limits import Header
from ml.errors import MalformedAudio, TruncatedAudio, UnsupportedCodec

PCM, FLOAT, EXTENSIBLE = 0x0001, 0x0003, 0xFFFE
CODECS = {
    0x0002: "Microsoft ADPCM",
    0x0006: "A-law",
    0x0007: "mu-law",
    0x0011: "IMA ADPCM",
    0x0031: "GSM 6.10",
    0x0040: "G.721 ADPCM",
    0x0050: "MPEG",
    0x0055: "MP3",
    0x0161: "Windows Media Audio",
    0xF1AC: "FLAC in WAV",
}
ACCEPTED = "PCM of 16, 24 or 32 bits and floats of 32 or 64 bits are accepted"
MAGIC = (b"RIFF", b"RIFX", b"RF64")
# A WAVE_FORMAT_EXTENSIBLE subformat is a GUID: the format tag, then these constants (KSDATAFORMAT_SUBTYPE_*).
SUBFORMAT = (0x0000, 0x0010, bytes.fromhex("800000aa00389b71"))
# Real files have a few chunks before the samples. Without a bound, a file of empty chunks would take seconds to read.
MAX_CHUNKS = 256
SIZE_IN_DS64 = 0xFFFFFFFF  # RF64: the 'ds64' chunk has the size


def read_header(data: memoryview) -> Header:
    """Find the format and the position of the samples.

    Args:
        data: the whole file, beginning with one of :data:`MAGIC`.

    Raises:
        MalformedAudio: the chunks contradict each other, or a necessary chunk is not among the first 256.
        TruncatedAudio: the file ends inside a chunk.
        UnsupportedCodec: the samples are neither PCM of 16, 24 or 32 bits nor floats of 32 or 64 bits.

    Example:
        >>> import io
        >>> import soundfile
        >>> file = io.BytesIO()
        >>> soundfile.write(file, np.zeros((1_000, 2)), 16_000, format="WAV", subtype="PCM_24")
        >>> header = read_header(file.getbuffer())
        >>> header.sample_rate_hz, header.channels, header.frames, header.bits, header.data_bytes
        (16000, 2, 1000, 24, 6000)
    """
    magic = bytes(data[:4])
    order = ">" if magic == b"RIFX" else "<"
    if bytes(data[8:12]) != b"WAVE":
        raise MalformedAudio(f"The file starts as {magic.decode()} but is not a WAVE file.")
    data_size_64: int | None = None
    fmt: memoryview | None = None
    position = 12
    for _ in range(MAX_CHUNKS):
        if position + 8 > len(data):
            break
        chunk, size = bytes(data[position : position + 4]), _uint32(order, data, position + 4)
        body = data[position + 8 : position + 8 + size]
        if chunk == b"data":
            if fmt is None:
                raise MalformedAudio("The samples come before the 'fmt ' chunk that describes them.")
            if size == SIZE_IN_DS64 and data_size_64 is not None:
                size = data_size_64
            return _header(order, fmt, position + 8, size, len(data))
        if len(body) < size:
            raise TruncatedAudio(
                f"The file ends {size - len(body)} bytes before the end of its {_printable(chunk)} chunk, "
                "before any samples."
            )
        if chunk == b"fmt ":
            fmt = body
        elif chunk == b"ds64" and magic == b"RF64" and size >= 16:
            data_size_64 = struct.unpack_from("<Q", body, 8)[0]
        position += 8 + size + size % 2  # chunks are padded to an even length
    raise MalformedAudio(f"No 'data' chunk with samples was found in the first {MAX_CHUNKS} chunks of the file.")


def _header(order: str, fmt: memoryview, offset: int, size: int, available: int) -> Header:
    if len(fmt) < 16:
        raise MalformedAudio(f"The 'fmt ' chunk has {len(fmt)} bytes; at least 16 were expected.")
    tag, channels, rate, _, block, bits = struct.unpack_from(order + "HHIIHH", fmt)
    if tag == EXTENSIBLE:
        tag = _extensible_tag(order, fmt)
    if (tag, bits) not in {(PCM, 16), (PCM, 24), (PCM, 32), (FLOAT, 32), (FLOAT, 64)}:
        name = {PCM: f"{bits}-bit PCM", FLOAT: f"{bits}-bit float"}.get(tag) or CODECS.get(tag, f"format 0x{tag:04x}")
        raise UnsupportedCodec(f"The samples are coded as {name}; {ACCEPTED}.")
    if channels == 0 or block != channels * bits // 8:
        raise MalformedAudio(
            f"The header states {channels} channels of {bits} bits in blocks of {block} bytes, which is impossible."
        )
    if offset + size > available:
        raise TruncatedAudio(
            f"The header states {size} bytes of samples; the file has {available - offset}: "
            "the recording was cut short, or its length was not filled in at the end."
        )
    if size % block:
        raise MalformedAudio(f"{size} bytes of samples are not a whole number of {block}-byte frames.")
    return Header(
        container="wav",
        sample_rate_hz=rate,
        channels=channels,
        frames=size // block,
        bits=bits,
        floating=tag == FLOAT,
        big_endian=order == ">",
        data_offset=offset,
        data_bytes=size,
    )


def _extensible_tag(order: str, fmt: memoryview) -> int:
    if len(fmt) < 40:
        raise MalformedAudio(f"An extensible 'fmt ' chunk has 40 bytes; this one has {len(fmt)}.")
    tag: int
    tag, *rest = struct.unpack_from(order + "IHH8s", fmt, 24)
    if tuple(rest) != SUBFORMAT or tag > 0xFFFF:
        raise UnsupportedCodec(f"The samples are coded as subformat {bytes(fmt[24:40]).hex()}; {ACCEPTED}.")
    return tag


def blocks(data: memoryview, header: Header, frames_per_block: int) -> Iterator[NDArray[np.generic]]:
    """Yield the coded samples block by block; blocks are views of ``data``, except for 24 bits.

    Args:
        data: the whole file.
        header: its header.
        frames_per_block: frames in a block; the last block may be shorter.

    Yields:
        Blocks of shape ``(frames, channels)``: int16, int32, float32 or float64 in the file's byte order. 24-bit
        samples are in the upper three bytes of int32.

    Example:
        >>> import io
        >>> import soundfile
        >>> file = io.BytesIO()
        >>> soundfile.write(file, np.full((1_000, 2), 0.5), 16_000, format="WAV", subtype="PCM_24")
        >>> data = file.getbuffer()
        >>> [(block.shape, block[0, 0].item() / 2**31) for block in blocks(data, read_header(data), 600)]
        [((600, 2), 0.5), ((400, 2), 0.5)]
    """
    order = ">" if header.big_endian else "<"
    samples = data[header.data_offset : header.data_offset + header.data_bytes]
    block_bytes = frames_per_block * header.channels * header.bits // 8
    for start in range(0, len(samples), block_bytes):
        raw = samples[start : start + block_bytes]
        flat = _int24(raw, order) if header.bits == 24 else np.frombuffer(raw, f"{order}{_kind(header)}")
        yield flat.reshape(-1, header.channels)


def _kind(header: Header) -> str:
    return f"{'f' if header.floating else 'i'}{header.bits // 8}"


def _int24(raw: memoryview, order: str) -> NDArray[np.generic]:
    three = np.frombuffer(raw, np.uint8).reshape(-1, 3)
    four = np.zeros((len(three), 4), np.uint8)
    if order == "<":
        four[:, 1:] = three
    else:
        four[:, :3] = three
    return four.view(f"{order}i4").reshape(-1)


def _uint32(order: str, data: memoryview, position: int) -> int:
    value: int = struct.unpack_from(order + "I", data, position)[0]
    return value


def _printable(chunk: bytes) -> str:
    return repr(chunk.decode("latin-1"))
