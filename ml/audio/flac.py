"""FLAC: the header is read here (RFC 9639, section 8.2), libsndfile decodes the samples in blocks.

Blocks bound the memory: half a megabyte of FLAC can unpack into gigabytes, and its header may not state a length.
"""

import io
from collections.abc import Iterator

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from ml.audio.limits import Header
from ml.errors import MalformedAudio, TruncatedAudio, UnsupportedCodec

MAGIC = b"fLaC"
STREAMINFO_BYTES = 34


def read_header(data: memoryview) -> Header:
    """Read the STREAMINFO block, which is the first block of every FLAC file (RFC 9639, section 8.2).

    Args:
        data: the whole file, beginning with :data:`MAGIC`.

    Raises:
        MalformedAudio: the first block is not STREAMINFO, or the number of samples is not stated.
        TruncatedAudio: the file ends inside the block.
        UnsupportedCodec: samples have another size than 16, 24 or 32 bits.

    Example:
        >>> file = io.BytesIO()
        >>> sf.write(file, np.zeros((16_000, 2)), 16_000, format="FLAC", subtype="PCM_24")
        >>> header = read_header(file.getbuffer())
        >>> header.sample_rate_hz, header.channels, header.frames, header.bits
        (16000, 2, 16000, 24)
    """
    info = data[8 : 8 + STREAMINFO_BYTES]
    if len(info) < STREAMINFO_BYTES:
        raise TruncatedAudio(f"The file ends after {len(data)} bytes, inside its FLAC header.")
    if data[4] & 0x7F != 0:
        raise MalformedAudio(f"The first FLAC metadata block is of type {data[4] & 0x7F}; STREAMINFO (0) was expected.")
    # 20 bits sample rate, 3 bits channels - 1, 5 bits sample size - 1, 36 bits total samples
    packed = int.from_bytes(info[10:18], "big")
    bits = (packed >> 36 & 0x1F) + 1
    if bits not in (16, 24, 32):
        raise UnsupportedCodec(f"The FLAC file has {bits}-bit samples; 16, 24 or 32 bits are accepted.")
    frames = packed & (1 << 36) - 1
    if frames == 0:
        raise MalformedAudio("The FLAC header does not state the number of samples: encode it again from a file.")
    return Header(
        container="flac",
        sample_rate_hz=packed >> 44,
        channels=(packed >> 41 & 0x7) + 1,
        frames=frames,
        bits=bits,
    )


def blocks(data: memoryview, header: Header, frames_per_block: int) -> Iterator[NDArray[np.generic]]:
    """Decode the samples block by block.

    Args:
        data: the whole file.
        header: its header.
        frames_per_block: frames in a block; the last block may be shorter.

    Yields:
        Blocks of shape ``(frames, channels)``: int16 for 16 bits, else int32; 24-bit samples are in the upper three
        bytes.

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
    dtype = "int16" if header.bits == 16 else "int32"
    left = header.frames
    coded = io.BytesIO(data)
    try:
        with sf.SoundFile(coded) as file:
            while left > 0:
                block: NDArray[np.generic] = file.read(min(left, frames_per_block), dtype=dtype, always_2d=True)
                if len(block) == 0:
                    break
                left -= len(block)
                yield block
    except sf.LibsndfileError as error:
        # libsndfile has no error code for a file that ends early. If it has read all bytes, the file ended early.
        if coded.tell() < len(data):
            raise MalformedAudio(f"The FLAC file cannot be decoded: {error.error_string}") from error
    if left > 0:
        raise TruncatedAudio(
            f"The header states {header.frames} samples per channel; the file ends after {header.frames - left}."
        )
