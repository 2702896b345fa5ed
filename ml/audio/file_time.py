"""Time of a recording in its file: bext and LIST chunks of WAV files, comments of FLAC files.

These times have no time zone: recorders write their local time. They are read as UTC here, unless the text has a zone.
"""

import re
import struct
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import NamedTuple

from ml.audio.flac import MAGIC as FLAC_MAGIC
from ml.audio.wav import MAGIC as WAV_MAGIC
from ml.audio.wav import MAX_CHUNKS

# EBU Tech 3285: OriginationDate (yyyy-mm-dd) and OriginationTime (hh:mm:ss) of the bext chunk; any separator is valid.
BEXT_DATE, BEXT_END = 320, 338
BEXT_TIME = re.compile(rb"(\d{4})\D(\d\d)\D(\d\d)(\d\d)\D(\d\d)\D(\d\d)")
LARGEST_INFO_BYTES = 64 * 1024
COMMENT_BLOCK, LAST_BLOCK = 4, 0x80
COMMENT_NAMES = ("creation_time", "datetime", "date")
LONGEST_TEXT = 64


class _Chunk(NamedTuple):
    name: bytes
    body: memoryview


def time_in_file(content: bytes | bytearray) -> datetime | None:
    """Return the time of a recording from the header of its file.

    Args:
        content: the whole file; WAV or FLAC, damaged or not.

    Returns:
        The time in UTC; None without a date and a time of day.

    Example:
        >>> text = b"ICRD" + struct.pack("<I", 20) + b"2026-11-28T14:30:00Z"
        >>> info = b"LIST" + struct.pack("<I", 4 + len(text)) + b"INFO" + text
        >>> time_in_file(b"RIFF" + struct.pack("<I", 4 + len(info)) + b"WAVE" + info)
        datetime.datetime(2026, 11, 28, 14, 30, tzinfo=datetime.timezone.utc)
    """
    data = memoryview(content)
    if bytes(data[:4]) == FLAC_MAGIC:
        return _time_in_comments(data)
    if bytes(data[:4]) not in WAV_MAGIC:
        return None
    order = ">" if bytes(data[:4]) == b"RIFX" else "<"
    found = list(_chunks(data, order))
    times = [*map(_time_in_bext, found), *(_time_in_info(chunk, order) for chunk in found)]
    return next((time for time in times if time is not None), None)


def _chunks(data: memoryview, order: str, position: int = 12) -> Iterator[_Chunk]:
    for _ in range(MAX_CHUNKS):
        if position + 8 > len(data):
            return
        (size,) = struct.unpack_from(f"{order}I", data, position + 4)
        yield _Chunk(bytes(data[position : position + 4]), data[position + 8 : position + 8 + size])
        position += 8 + size + size % 2


def _time_in_bext(chunk: _Chunk) -> datetime | None:
    found = BEXT_TIME.fullmatch(bytes(chunk.body[BEXT_DATE:BEXT_END])) if chunk.name == b"bext" else None
    return None if found is None else _time_of(found.groups())


def _time_of(parts: tuple[bytes, ...]) -> datetime | None:
    year, month, day, hour, minute, second = map(int, parts)
    try:
        return datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:  # 00 for a clock that was not set
        return None


def _time_in_info(chunk: _Chunk, order: str) -> datetime | None:
    if chunk.name != b"LIST" or bytes(chunk.body[:4]) != b"INFO":
        return None
    entries = _chunks(chunk.body[:LARGEST_INFO_BYTES], order, position=4)
    return next((_time_of_text(bytes(entry.body[:LONGEST_TEXT])) for entry in entries if entry.name == b"ICRD"), None)


def _time_in_comments(data: memoryview) -> datetime | None:
    position = 4
    for _ in range(MAX_CHUNKS):
        if position + 4 > len(data):
            return None
        kind, size = data[position], int.from_bytes(data[position + 1 : position + 4], "big")
        if kind & ~LAST_BLOCK == COMMENT_BLOCK:
            return _time_in_vorbis_comments(data[position + 4 : position + 4 + min(size, LARGEST_INFO_BYTES)])
        if kind & LAST_BLOCK:
            return None
        position += 4 + size
    return None


def _time_in_vorbis_comments(block: memoryview) -> datetime | None:
    """Read the comments: lengths of 4 bytes, little-endian, each before its text; first the vendor's name."""
    values: dict[str, bytes] = {}
    for text in list(_texts(block))[1:]:
        name, _, value = text.partition(b"=")
        values.setdefault(name.decode("latin-1").lower(), value[:LONGEST_TEXT])
    times = (_time_of_text(values.get(name, b"")) for name in COMMENT_NAMES)
    return next((time for time in times if time is not None), None)


def _texts(block: memoryview) -> Iterator[bytes]:
    position, first = 0, True
    while position + 4 <= len(block):
        (size,) = struct.unpack_from("<I", block, position)
        yield bytes(block[position + 4 : position + 4 + size])
        position += 4 + size + 4 * first  # the number of comments stands after the vendor's name
        first = False


def _time_of_text(text: bytes) -> datetime | None:
    written = text.partition(b"\0")[0].decode("ascii", "replace").strip()
    if ":" not in written and "T" not in written:  # a date alone
        return None
    try:
        found = datetime.fromisoformat(written)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
