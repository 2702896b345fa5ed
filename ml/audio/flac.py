"""FLAC: the header read here (RFC 9639, section 8.2), the samples decoded by libsndfile in blocks.

The blocks matter: half a megabyte of FLAC can unpack into gigabytes, and a header may say nothing of its length.
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
    """Read the STREAMINFO block, which RFC 9639 puts first.

    Raises:
        MalformedAudio, TruncatedAudio, UnsupportedCodec
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
        raise UnsupportedCodec(f"The FLAC holds {bits}-bit samples; 16, 24 or 32 bits are accepted.")
    frames = packed & (1 << 36) - 1
    if frames == 0:
        raise MalformedAudio("The FLAC header does not say how many samples there are: encode it again from a file.")
    return Header(
        container="flac",
        sample_rate_hz=packed >> 44,
        channels=(packed >> 41 & 0x7) + 1,
        frames=frames,
        bits=bits,
    )


def blocks(data: memoryview, header: Header, frames_per_block: int) -> Iterator[NDArray[np.generic]]:
    """Decoded samples, ``(frames, channels)``: int16, or int32 with 24-bit samples in the upper three bytes.

    Raises:
        MalformedAudio: the coded samples do not decode.
        TruncatedAudio: they end before the header says.
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
        # libsndfile has no word for a file that ends too soon; that it has read all there is tells.
        if coded.tell() < len(data):
            raise MalformedAudio(f"The FLAC does not decode: {error.error_string}") from error
    if left > 0:
        raise TruncatedAudio(
            f"The header promises {header.frames} samples per channel; it breaks off after {header.frames - left}."
        )
