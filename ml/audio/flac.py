"""FLAC: the header is read here (RFC 9639, section 8.2), libsndfile decodes the samples in blocks.

Blocks bound the memory: half a megabyte of FLAC can unpack into gigabytes, and its header may not state a length.
"""

import io
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from ml.audio.limits import Header
from ml.errors import MalformedAudio, TruncatedAudio, UnsupportedCodec

MAGIC = b"fLaC"
STREAMINFO_BYTES = 34
# Frames that are lost at most, in addition to the cut one, if a file without a length was cut off.
BLOCK_OF_UNKNOWN_LENGTH = 4096


def read_header(data: memoryview) -> Header:
    """Read the STREAMINFO block, which is the first block of every FLAC file (RFC 9639, section 8.2).

    Args:
        data: the whole file, beginning with :data:`MAGIC`.

    Returns:
        The header. Its frames are 0 if the file was written to a pipe; :func:`count_frames` counts them.

    Raises:
        MalformedAudio: the first block is not STREAMINFO.
        TruncatedAudio: the file ends inside the block.
        UnsupportedCodec: samples have another size than 8, 16, 24 or 32 bits.

    Example:
        >>> file = io.BytesIO()
        >>> sf.write(file, np.zeros((16_000, 2)), 16_000, format="FLAC", subtype="PCM_24")
        >>> header = read_header(file.getbuffer())
        >>> header.sample_rate_hz, header.channels, header.frames, header.bits
        (16000, 2, 16000, 24)
    """
    info = data[8 : 8 + STREAMINFO_BYTES]
    if len(info) < STREAMINFO_BYTES:
        raise TruncatedAudio(f"The file ends after {len(data)} bytes, inside its FLAC header. Send the whole file.")
    if data[4] & 0x7F != 0:
        raise MalformedAudio(
            f"The first FLAC metadata block is of type {data[4] & 0x7F}; STREAMINFO (0) was expected. "
            "Write the file again (ffmpeg -i in.flac out.flac)."
        )
    # 20 bits sample rate, 3 bits channels - 1, 5 bits sample size - 1, 36 bits total samples
    packed = int.from_bytes(info[10:18], "big")
    bits = (packed >> 36 & 0x1F) + 1
    if bits not in (8, 16, 24, 32):
        raise UnsupportedCodec(
            f"The FLAC file has {bits}-bit samples; 8, 16, 24 or 32 bits are accepted. "
            "Convert it (ffmpeg -i in.flac out.wav)."
        )
    return Header(
        container="flac",
        sample_rate_hz=packed >> 44,
        channels=(packed >> 41 & 0x7) + 1,
        frames=packed & (1 << 36) - 1,
        bits=bits,
        stored_bytes=2 if bits <= 16 else 4,  # what libsndfile unpacks to
        coder="flac",
    )


def count_frames(data: memoryview, header: Header, max_frames: int) -> Header:
    """Return the header of a file that does not state its length, with the frames that are there.

    The file is decoded once for it. A frame that was cut off at the end is left out.

    Args:
        data: the whole file.
        header: its header, with 0 frames.
        max_frames: number of frames after which the counting ends.

    Raises:
        MalformedAudio: the coded samples cannot be decoded.

    Example:
        >>> file = io.BytesIO()
        >>> sf.write(file, np.zeros(1_000), 16_000, format="FLAC")
        >>> data = file.getbuffer()
        >>> count_frames(data, replace(read_header(data), frames=0), max_frames=2_000).frames
        1000
    """
    frames = 0
    for block in _decode(data, header, BLOCK_OF_UNKNOWN_LENGTH):
        frames += len(block)
        if frames > max_frames:
            break
    return replace(header, frames=frames)


def blocks(data: memoryview, header: Header, frames_per_block: int) -> Iterator[NDArray[np.generic]]:
    """Decode the samples block by block.

    Args:
        data: the whole file.
        header: its header.
        frames_per_block: frames in a block; the last block may be shorter.

    Yields:
        Blocks of shape ``(frames, channels)``: int16 for 8 and 16 bits, else int32; the samples are in the upper bits.

    Raises:
        MalformedAudio: the coded samples cannot be decoded.
        TruncatedAudio: the file has fewer samples than the header states.

    Example:
        >>> file = io.BytesIO()
        >>> sf.write(file, np.full((1_000, 2), 0.5), 16_000, format="FLAC")
        >>> data = file.getbuffer()
        >>> [(block.shape, block[0, 0].item()) for block in blocks(data, read_header(data), 600)]
        [((600, 2), 16384), ((400, 2), 16384)]
    """
    left = header.frames
    if _states_length(data):
        decoded = _decode(data, header, frames_per_block)
    else:
        decoded = _decode(data, header, BLOCK_OF_UNKNOWN_LENGTH)
    for block in decoded:
        yield block[:left]
        left -= len(block)
        if left <= 0:
            return
    raise TruncatedAudio(
        f"The header states {header.frames} samples per channel; the file ends after {header.frames - left}. "
        "Send the whole file. If its end is lost, write a new header (ffmpeg -i in.flac out.flac)."
    )


def _states_length(data: memoryview) -> bool:
    return read_header(data).frames > 0


def _decode(data: memoryview, header: Header, frames_per_block: int) -> Iterator[NDArray[np.generic]]:
    """Yield decoded blocks until the end of the file, also if it is within a frame."""
    dtype = "int16" if header.sample_bytes == 2 else "int32"
    coded, is_decoded = io.BytesIO(data), False
    try:
        with _Stream(coded) as file:
            while True:
                block: NDArray[np.generic] = file.read(frames_per_block, dtype=dtype, always_2d=True)
                if len(block) == 0:
                    break
                is_decoded = True
                yield block
    except sf.LibsndfileError as error:
        # libsndfile has no error code for a file that ends early. If it has read all bytes, the file ended early.
        states_length = _states_length(data)
        is_cut = coded.tell() >= len(data) - (0 if states_length else _frame_bytes(data, header))
        if not is_cut or not (is_decoded or states_length):
            raise MalformedAudio(
                f"The FLAC file cannot be decoded: {error.error_string.rstrip('. ')}. Send the file as the recorder "
                "wrote it, or record again."
            ) from error


def _frame_bytes(data: memoryview, header: Header) -> int:
    """Return twice the size of the largest FLAC frame: libFLAC goes back to the start of an incomplete one."""
    frames = int.from_bytes(data[10:12], "big")  # of the largest block, 16 bits of STREAMINFO
    return 2 * frames * header.channels * (header.bits // 8 + 1)


class _Stream(sf.SoundFile):  # type: ignore[misc]  # soundfile has no types
    """Sound file that is read in order. Searching fails in a file that does not state its length."""

    def seekable(self) -> bool:
        return False
