"""An append-only file of JSON lines: what is in it stays, and what was not acknowledged is not in it.

A line counts once its newline is there. A torn last one, from a power cut or a full disk, was never acknowledged:
readers pass over it, and the next writer cuts it off. Writers hold a lock between them
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
    """One entry as it is written."""
    return json.dumps(entry, allow_nan=False, separators=(",", ":")).encode() + NEWLINE


def append_entry(file: Path, entry: Mapping[str, Any]) -> None:
    """Add an entry, which is on the disk when this returns; where it fails, the file is as long as before.

    Raises:
        OSError: the file cannot be written, or the disk is full.
    """
    with file.open("r+b", buffering=0) as journal:
        length = _whole_length(journal)
        journal.truncate(length)
        journal.seek(length)
        try:
            _write_all(journal, encode_entry(entry))
            os.fsync(journal.fileno())
        except OSError:
            journal.truncate(length)
            raise


def _whole_length(journal: FileIO) -> int:
    """Bytes of the whole lines."""
    size = journal.seek(0, os.SEEK_END)
    if size == 0:
        return 0
    journal.seek(size - 1)
    if journal.read(1) == NEWLINE:
        return size
    journal.seek(0)
    return journal.readall().rfind(NEWLINE) + 1


def _write_all(journal: FileIO, content: bytes) -> None:
    """A disk that fills up takes a part of the bytes, and says so with the next of them."""
    remaining = memoryview(content)
    while remaining:
        remaining = remaining[journal.write(remaining) :]


class JournalReader:
    """Hands out each whole line of a journal once, however often it is asked while others append."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._offset = 0
        self._last = b""

    def new_lines(self) -> tuple[bool, list[bytes]]:
        """The lines since the last call.

        Returns:
            Whether they begin with the first of the file, because none was read yet or what was read is no longer
            there (the file is another, or an append was taken back); and the lines, without their newlines.

        Raises:
            FileNotFoundError: there is no such file.
        """
        with self._file.open("rb") as journal:
            if not self._is_still_there(journal):
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

    def _is_still_there(self, journal: BinaryIO) -> bool:
        """Whether the line that was read last is where it was; each has its time, so that it is like no other."""
        journal.seek(self._offset - len(self._last))
        return journal.read(len(self._last)) == self._last
