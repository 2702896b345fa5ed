"""Samples that a file stores one by one: integers, floats and G.711, for WAV, Wave64 and AIFF.

Integers of other sizes than whole bytes are in the upper bits of their bytes, and the lower bits are zero. G.711
(ITU-T, 1988) codes telephone sound with 8 bits on a logarithmic scale; its tables are computed from the definition.
"""

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ml.audio.limits import Header
from ml.errors import TruncatedAudio

# Sizes that writers leave in a header if they cannot return to it: nearly 2**31 or 2**32, less the header's own size.
NEARLY = 1 << 16
# No file has this size. Writers of 64-bit sizes leave 2**63 - 1 or 2**64 - 1.
IMPOSSIBLE = 1 << 62


def is_placeholder(size: int) -> bool:
    """Return whether a size in a header is one that a writer to a pipe leaves, and states nothing.

    Args:
        size: number of bytes or frames. Zero is a placeholder too, but only if samples follow.

    Example:
        >>> [is_placeholder(size) for size in (0xFFFFFFFF, 0x7FFFF024, 2**64 - 1, 32_000, 3_000_000_000)]
        [True, True, True, False, False]
    """
    return abs(size - 2**31) <= NEARLY or 2**32 - NEARLY <= size < 2**32 or size >= IMPOSSIBLE


def size_present(stated: int | None, present: int, frame_bytes: int) -> int:
    """Return the number of bytes of samples to read: whole frames.

    Args:
        stated: bytes of samples that the header states; None if it states none.
        present: bytes that follow in the file.
        frame_bytes: bytes of one frame.

    Raises:
        TruncatedAudio: fewer bytes are present than stated.

    Example:
        >>> size_present(None, 1001, 2), size_present(500, 1001, 4)
        (1000, 500)
    """
    if stated is not None and stated > present:
        raise TruncatedAudio(
            f"The header states {stated} bytes of samples; the file has {present}: the recording was cut short. "
            "Send the whole file. If its end is lost, write a new header (ffmpeg -i in.wav out.wav)."
        )
    size = present if stated is None else stated
    return size - size % frame_bytes


def blocks(data: memoryview, header: Header, frames_per_block: int) -> Iterator[NDArray[np.generic]]:
    """Yield the samples block by block; blocks are views of ``data`` where the file has a type of numpy.

    Args:
        data: the whole file.
        header: its header.
        frames_per_block: frames in a block; the last block may be shorter.

    Yields:
        Blocks of shape ``(frames, channels)``: int8, int16, int32, float32 or float64. Integers of 17 to 32 bits are in
        the upper bits of int32; G.711 is unpacked to int16.

    Example:
        >>> header = Header("wav", 16_000, channels=2, frames=3, bits=8, encoding="unsigned", data_bytes=6)
        >>> [block.tolist() for block in blocks(memoryview(bytes([128, 0, 255, 1, 129, 127])), header, 2)]
        [[[0, -128], [127, -127]], [[1, -1]]]
    """
    samples = data[header.data_offset : header.data_offset + header.data_bytes]
    block_bytes = frames_per_block * header.channels * header.sample_bytes
    unpack, channels = _unpacker(header), header.channels
    for start in range(0, len(samples), block_bytes):
        yield unpack(samples[start : start + block_bytes]).reshape(-1, channels)


def _unpacker(header: Header) -> Callable[[memoryview], NDArray[np.generic]]:
    """Return the function that turns the bytes of a block into samples."""
    order, size = ">" if header.big_endian else "<", header.sample_bytes
    if header.encoding in G711:
        return partial(_g711, G711[header.encoding])
    if header.encoding == "unsigned":
        return _unsigned
    if size == 3:
        return partial(_int24, order)
    dtype = np.dtype(f"{order}{'f' if header.encoding == 'float' else 'i'}{size}")
    return lambda raw: np.frombuffer(raw, dtype)


def _g711(table: NDArray[np.int16], raw: memoryview) -> NDArray[np.generic]:
    return np.take(table, np.frombuffer(raw, np.uint8))


def _unsigned(raw: memoryview) -> NDArray[np.generic]:
    return (np.frombuffer(raw, np.uint8) ^ np.uint8(0x80)).view(np.int8)


def _int24(order: str, raw: memoryview) -> NDArray[np.generic]:
    three = np.frombuffer(raw, np.uint8).reshape(-1, 3)
    four = np.zeros((len(three), 4), np.uint8)
    if order == "<":
        four[:, 1:] = three
    else:
        four[:, :3] = three
    return four.view(f"{order}i4").reshape(-1)


def _mu_law() -> NDArray[np.int16]:
    """Values of the 256 codes of mu-law, at 16 bits: G.711, table 2a."""
    code = ~np.arange(256, dtype=np.uint8)
    exponent, mantissa = (code >> 4 & 7).astype(np.int16), (code & 15).astype(np.int16)
    size = ((mantissa << 3) + 0x84 << exponent) - 0x84
    return np.where(code & 0x80, -size, size).astype(np.int16)


def _a_law() -> NDArray[np.int16]:
    """Values of the 256 codes of A-law, at 16 bits: G.711, table 1a."""
    code = np.arange(256, dtype=np.uint8) ^ 0x55
    exponent, mantissa = (code >> 4 & 7).astype(np.int16), (code & 15).astype(np.int16)
    step = (mantissa << 4) + 8
    size = np.where(exponent > 0, step + 0x100 << np.maximum(exponent - 1, 0), step)
    return np.where(code & 0x80, size, -size).astype(np.int16)


G711 = {"mulaw": _mu_law(), "alaw": _a_law()}
