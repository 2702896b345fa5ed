"""Length of an upload before it is decoded: the work of a request is proportional to its seconds of sound."""

from ml.audio import flac, wav
from ml.errors import AudioError

# Files with loss have 64 kbit/s or more.
CODED_BYTES_PER_S = 8_000


def estimate_duration_s(content: bytes | bytearray) -> float:
    """Return the seconds of sound in an upload, by its header; 0 if decoding will refuse it.

    Example:
        >>> estimate_duration_s(b"no sound" * 10_000)
        10.0
    """
    data = memoryview(content)
    magic = bytes(data[:4])
    if magic not in (*wav.MAGIC, flac.MAGIC):
        return len(data) / CODED_BYTES_PER_S
    try:
        header = flac.read_header(data) if magic == flac.MAGIC else wav.read_header(data)
    except AudioError:
        return 0.0
    return header.duration_s
