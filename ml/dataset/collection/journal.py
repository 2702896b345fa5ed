"""Journal: an append-only file of JSON lines. Acknowledged lines stay in it.

A line is valid once its newline is written. An incomplete last line, from a power cut or a full disk, was never
acknowledged: readers skip it, and the next writer removes it. Writers must hold a lock
(:func:`ml.system.atomic.file_lock`).
"""

import json
import os
from collections.abc import Mapping
from io import FileIO
from pathlib import Path
from typing import Any, BinaryIO

NEWLINE = b"\n"


def encode_entry(entry: Mapping[str, Any]) -> bytes:
    """Return the line of one entry."""
    return json.dumps(entry, allow_nan=False, separators=(",", ":")).encode() + NEWLINE


def append_entry(file: Path, entry: Mapping[str, Any]) -> None:
    """Append an entry and wait until it is on disk; after an error, the file has its former length.

    Raises:
        OSError: the file cannot be written, or the disk is full.
    """
    with file.open("r+b", buffering=0) as journal:
        length = _complete_length(journal)
        journal.truncate(length)
        journal.seek(length)
        try:
            _write_all(journal, encode_entry(entry))
            os.fsync(journal.fileno())
        except OSError:
            journal.truncate(length)
            raise


def _complete_length(journal: FileIO) -> int:
    """Return the number of bytes of all complete lines."""
    size = journal.seek(0, os.SEEK_END)
    if size == 0:
        return 0
    journal.seek(size - 1)
    if journal.read(1) == NEWLINE:
        return size
    journal.seek(0)
    return journal.readall().rfind(NEWLINE) + 1


def _write_all(journal: FileIO, content: bytes) -> None:
    """Write all bytes; a disk that becomes full accepts a part first and fails at the next write."""
    remaining = memoryview(content)
    while remaining:
        remaining = remaining[journal.write(remaining) :]


class JournalReader:
    """Reader that returns each complete line of a journal once, while others append."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._offset = 0
        self._last = b""

    def new_lines(self) -> tuple[bool, list[bytes]]:
        """Return the lines since the last call.

        Returns:
            Whether the lines begin with the first line of the file, and the lines without their newlines. They begin
            with the first line if none was read before, or if the lines read before are no longer in the file: it was
            replaced, or an append was undone.

        Raises:
            FileNotFoundError: there is no such file.
        """
        with self._file.open("rb") as journal:
            if not self._is_unchanged(journal):
                self._offset, self._last = 0, b""
            from_start = self._offset == 0
            journal.seek(self._offset)
            whole, newline, _ = journal.read().rpartition(NEWLINE)
            if not newline:
                return from_start, []
            lines = whole.split(NEWLINE)
            self._offset += len(whole) + len(NEWLINE)
            self._last = lines[-1] + NEWLINE
            return from_start, lines

    def _is_unchanged(self, journal: BinaryIO) -> bool:
        """Return whether the last line read is still in its place; each line has a time and is unique."""
        journal.seek(self._offset - len(self._last))
        return journal.read(len(self._last)) == self._last
