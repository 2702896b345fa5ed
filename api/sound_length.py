"""Length of an upload before it is decoded: the work of a request is proportional to its seconds of sound."""

from ml.audio import formats
from ml.audio.decode import read_stated_header
from ml.audio.limits import DEFAULT_LIMITS, AudioLimits
from ml.errors import AudioError

# Coded speech has 16 kbit/s or more; less is possible, but then the longest recording counts.
CODED_BYTES_PER_S = 2_000


def estimate_duration_s(content: bytes | bytearray, limits: AudioLimits = DEFAULT_LIMITS) -> float:
    """Return the seconds of sound in an upload; 0 if decoding within ``limits`` will refuse it.

    They are those of the header, if it states them. Otherwise they are estimated from the size, and are at most those
    that decoding accepts.

    Example:
        >>> estimate_duration_s(b"no sound"), estimate_duration_s(b"OggS" + bytes(39_996))
        (0.0, 20.0)
    """
    data = formats.without_id3(memoryview(content))
    found = formats.recognise(data)
    if found is None:
        return 0.0
    try:
        header = read_stated_header(data, found) if found.decoder == "here" else None
        if header is None or header.frames == 0:
            return min(len(data) / CODED_BYTES_PER_S, limits.max_duration_s)
        limits.check(header)
    except AudioError:
        return 0.0
    return header.duration_s
