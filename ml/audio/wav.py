"""WAV: RIFF, RIFX, RF64 and BW64, and Wave64, which has the same chunks under longer names.

The files are not read with libsndfile. It hides truncation, accepts a sample rate of 1 Hz, and unpacks codecs that had
memory faults. The layout follows Microsoft's "Multimedia Programming Interface and Data Specifications 1.0", EBU Tech
3306 (RF64), ITU-R BS.2088 (BW64) and Sony's description of Wave64.
"""

import struct
from typing import NamedTuple

from ml.audio.limits import Header
from ml.audio.samples import is_placeholder
from ml.audio.wave_format import REWRITE, header_of
from ml.errors import MalformedAudio, TruncatedAudio

MAGIC = (b"RIFF", b"RIFX", b"RF64", b"BW64")
# Real files have a few chunks before the samples. Without a bound, a file of empty chunks would take seconds to read.
MAX_CHUNKS = 256
SIZE_IN_DS64 = 0xFFFFFFFF  # RF64 and BW64: the 'ds64' chunk has the size
WAVE64_MAGIC = b"riff" + bytes.fromhex("2e91cf11a5d628db04c10000")
# Chunks that writers put before or after the samples; some writers forget the byte after an odd one.
NAMES = frozenset({b"fmt ", b"data", b"fact", b"LIST", b"bext", b"iXML", b"JUNK", b"junk", b"PEAK", b"cue ", b"id3 "})
# The GUIDs of Wave64 are the names of RIFF and these bytes.
WAVE64_NAMES = bytes.fromhex("f3acd3118cd100c04f8edb8a")


class ChunkLayout(NamedTuple):
    """How the chunks of a kind of file are written.

    Attributes:
        container: name of the kind.
        order: byte order of all numbers, ``<`` or ``>``.
        name_bytes, size_bytes: length of the name and of the size at the start of a chunk.
        counts_head: whether the size of a chunk includes its name and size.
        alignment: chunks begin at multiples of it.
        first: position of the first chunk.
    """

    container: str
    order: str = "<"
    name_bytes: int = 4
    size_bytes: int = 4
    counts_head: bool = False
    alignment: int = 2
    first: int = 12

    @property
    def head_bytes(self) -> int:
        """Length of the name and the size of a chunk."""
        return self.name_bytes + self.size_bytes

    def read_head(self, data: memoryview, position: int) -> tuple[bytes, int]:
        """Return the first four bytes of a chunk's name, and the size of its body as stated."""
        kind = "I" if self.size_bytes == 4 else "Q"
        size: int = struct.unpack_from(self.order + kind, data, position + self.name_bytes)[0]
        name = bytes(data[position : position + self.name_bytes])
        known = self.name_bytes == 4 or name[4:] == WAVE64_NAMES
        return name[:4] if known else b"", max(size - self.head_bytes, 0) if self.counts_head else size

    def after(self, data: memoryview, position: int, size: int) -> int:
        """Return the position of the next chunk, also if the byte after an odd chunk is missing."""
        end = position + self.head_bytes + size
        if self.alignment == 2 and size % 2 and bytes(data[end : end + 4]) in NAMES:
            return end
        return end + -end % self.alignment if self.alignment > 2 else end + size % 2


WAVE64 = ChunkLayout("w64", name_bytes=16, size_bytes=8, counts_head=True, alignment=8, first=40)


def read_header(data: memoryview) -> Header:
    """Find the format and the position of the samples.

    A size that a writer to a pipe leaves is no promise: the samples up to the end of the file are read.

    Args:
        data: the whole file, beginning with one of :data:`MAGIC` or with :data:`WAVE64_MAGIC`.

    Returns:
        The header. Its encoding is ``coded`` if the samples must be unpacked by :mod:`ml.audio.decoder`.

    Raises:
        MalformedAudio: the chunks contradict each other, or a necessary chunk is not among the first 256.
        TruncatedAudio: the file ends inside a chunk.
        UnsupportedCodec: the samples are coded in a way that cannot be read.

    Example:
        >>> import io
        >>> import numpy as np
        >>> import soundfile
        >>> file = io.BytesIO()
        >>> soundfile.write(file, np.zeros((1_000, 2)), 16_000, format="WAV", subtype="PCM_24")
        >>> header = read_header(file.getbuffer())
        >>> header.sample_rate_hz, header.channels, header.frames, header.bits, header.data_bytes
        (16000, 2, 1000, 24, 6000)
    """
    magic = bytes(data[:4])
    if magic == WAVE64_MAGIC[:4]:
        layout, form = WAVE64, bytes(data[24:28])
    else:
        layout, form = ChunkLayout("wav", ">" if magic == b"RIFX" else "<"), bytes(data[8:12])
    if form.lower() != b"wave":
        raise MalformedAudio(f"The file starts as {magic.decode()} but is not a WAVE file. {REWRITE}")
    return _find_samples(data, layout, has_ds64=magic in (b"RF64", b"BW64"))


def _find_samples(data: memoryview, layout: ChunkLayout, *, has_ds64: bool) -> Header:
    data_size_64: int | None = None
    fmt: memoryview | None = None
    empty: Header | None = None
    position, head_bytes = layout.first, layout.head_bytes
    for _ in range(MAX_CHUNKS):
        start = position + head_bytes
        if start > len(data):
            break
        chunk, size = layout.read_head(data, position)
        body = data[start : start + size]
        if chunk == b"data":
            if fmt is None:
                raise MalformedAudio(f"The samples come before the 'fmt ' chunk that describes them. {REWRITE}")
            if size == SIZE_IN_DS64 and data_size_64 is not None:
                size = data_size_64
            stated = None if _is_open(data, layout, start, size) else size
            header = header_of(layout.container, layout.order, fmt, start, stated, len(data))
            if stated != 0:
                return header
            empty = empty or header  # another chunk may have the samples
        if len(body) < size:
            raise TruncatedAudio(
                f"The file ends {size - len(body)} bytes before the end of its {_printable(chunk)} chunk, "
                "before any samples. Send the whole file."
            )
        if chunk == b"fmt ":
            fmt = body
        elif chunk == b"ds64" and has_ds64 and size >= 16:
            data_size_64 = struct.unpack_from("<Q", body, 8)[0]
        position = layout.after(data, position, size)
    if empty is not None:
        return empty
    raise MalformedAudio(
        f"No 'data' chunk with samples was found in the first {MAX_CHUNKS} chunks of the file. Record again, or send "
        "the file as the recorder wrote it."
    )


def _is_open(data: memoryview, layout: ChunkLayout, start: int, size: int) -> bool:
    """Return whether the size of the samples was not known when the header was written.

    A size of zero is meant if the rest of the file is a row of further chunks.
    """
    return is_placeholder(size) or (size == 0 and not _are_chunks(data, layout, start))


def _are_chunks(data: memoryview, layout: ChunkLayout, position: int) -> bool:
    """Return whether the rest of a file is a row of whole chunks; also if nothing is left."""
    for _ in range(MAX_CHUNKS):
        if position >= len(data):
            return True
        if position + layout.head_bytes > len(data):
            return False
        chunk, size = layout.read_head(data, position)
        if not (chunk and chunk.isascii() and chunk.decode("ascii").isprintable()):
            return False
        position += layout.head_bytes + size
        if position > len(data):
            return False
        position += -position % layout.alignment
    return False


def _printable(chunk: bytes) -> str:
    return repr(chunk.decode("latin-1"))
