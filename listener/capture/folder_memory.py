"""Recordings of a folder that were judged or refused before: ``<home>/listener/folders``, one file for each source.

A file is known by its path, size and times, so that a restart reads no file again. A sound is known by the digest of
its bytes, so that a file that was renamed, copied or touched is not judged again.
"""

import hashlib
import logging
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

from listener.capture.folder_files import Fingerprint
from ml.system.atomic import make_folder

logger = logging.getLogger("signalml.listener")
FOLDERS = "folders"
SOUNDS_KEPT = 200_000  # digests of the newest sounds: 23 days of a recording every ten seconds
FILES_KEPT = 200_000  # above it, files that are gone are forgotten
FORGET_EVERY, FORGET_AT_ONCE = 1000, 2000
MOST_UNWRITTEN = 10_000  # while the disk is full
MOST_QUICK = 300_000  # files that are known without the disk: 80 bytes of memory each
BUSY_S = 5.0
Outcome = Literal["judged", "unusable", "refused"]
TABLES = """
CREATE TABLE IF NOT EXISTS files (
    path BLOB PRIMARY KEY,
    size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    ctime_ns INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    unfinished INTEGER NOT NULL  -- 1 until it is moved or deleted
);
CREATE INDEX IF NOT EXISTS unfinished_files ON files (path) WHERE unfinished = 1;
CREATE TABLE IF NOT EXISTS sounds (number INTEGER PRIMARY KEY, digest TEXT NOT NULL UNIQUE, outcome TEXT NOT NULL);
"""
WRITE_FILE = (
    "INSERT OR REPLACE INTO files (path, size, mtime_ns, ctime_ns, outcome, unfinished) VALUES (?, ?, ?, ?, ?, ?)"
)
WRITE_SOUND = "INSERT OR IGNORE INTO sounds (digest, outcome) VALUES (?, ?)"


class KnownFile(NamedTuple):
    """File that was read before.

    Attributes:
        fingerprint: its state when it was read.
        outcome: ``judged``, ``unusable`` (its verdict), or ``refused``: it is no recording that can be used.
        unfinished: whether it must still be moved or deleted.
        digest: digest of its bytes, of a file with a verdict; None otherwise, and for files from the database.
    """

    fingerprint: Fingerprint
    outcome: Outcome
    unfinished: bool = False
    digest: str | None = None


def memory_file(listener_folder: Path, source: str, machine_id: str) -> Path:
    """Return the file of a source. With another machine, all recordings are judged again."""
    machine = hashlib.sha256(machine_id.encode()).hexdigest()[:8]
    return listener_folder / FOLDERS / f"{source}-{machine}.sqlite3"


class FolderMemory:
    """Memory of one source, for one thread. A disk that is full, or a damaged file, costs memory after a restart only.

    Args:
        file: its file; None keeps it in memory.
    """

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._unwritten: dict[str, KnownFile] = {}
        self._failure = ""
        self._written = 0
        self._forget_after = b""
        self._db = self._open()
        self._quick, self._all_quick = self._read_quick()

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def find(self, path: str, fingerprint: Fingerprint) -> KnownFile | None:
        """Return what is known of a file in this state; None for a file that is new or has changed."""
        known = self._unwritten.get(path) or self._read(path)
        return known if known is not None and known.fingerprint == fingerprint else None

    def is_known(self, path: str, fingerprint: Fingerprint) -> bool:
        """Return whether a file was read in this state; quick, for listings of many files."""
        if hash((path, fingerprint)) in self._quick:
            return True
        return not self._all_quick and self.find(path, fingerprint) is not None

    def outcome_of(self, digest: str) -> Outcome | None:
        """Return the outcome of a sound that was judged before; None for a new one."""
        for known in self._unwritten.values():
            if known.digest == digest:
                return known.outcome
        row = self._one("SELECT outcome FROM sounds WHERE digest = ?", (digest,))
        return None if row is None else row[0]

    def remember(self, path: str, known: KnownFile) -> None:
        """Keep the outcome of a file."""
        self._unwritten.pop(path, None)
        self._unwritten[path] = known
        self._all_quick = self._all_quick and len(self._quick) < MOST_QUICK
        if self._all_quick:
            self._quick.add(hash((path, known.fingerprint)))
        self._write()

    def forget(self, path: str, known: KnownFile) -> None:
        """Forget a file that was moved or deleted; its sound stays known."""
        self._quick.discard(hash((path, known.fingerprint)))
        waiting = self._unwritten.pop(path, None)

        def change(db: sqlite3.Connection) -> None:
            db.execute("DELETE FROM files WHERE path = ?", (os.fsencode(path),))
            if waiting is not None and waiting.digest is not None:
                db.execute(WRITE_SOUND, (waiting.digest, waiting.outcome))

        self._change(change)

    def unfinished(self, most: int) -> list[tuple[str, KnownFile]]:
        """Return files that must still be moved or deleted."""
        rows = self._all(
            "SELECT size, mtime_ns, ctime_ns, outcome, unfinished, path FROM files WHERE unfinished = 1 LIMIT ?",
            (most,),
        )
        return [(os.fsdecode(row[5]), _known(row)) for row in rows]

    def forget_absent(self, exists: Callable[[str], bool]) -> None:
        """Forget files that are gone, if there are too many; a part of them at each call."""
        count = self._one("SELECT count(*) FROM files", ())
        if count is None or count[0] <= FILES_KEPT:
            return
        rows = self._all(
            "SELECT path FROM files WHERE path > ? ORDER BY path LIMIT ?", (self._forget_after, FORGET_AT_ONCE)
        )
        absent = [(path,) for (path,) in rows if not exists(os.fsdecode(path))]
        self._forget_after = rows[-1][0] if rows else b""
        self._change(lambda db: db.executemany("DELETE FROM files WHERE path = ?", absent))

    def _read_quick(self) -> tuple[set[int], bool]:
        """Return the hashes of known files, and whether they are all."""
        rows = self._all("SELECT path, size, mtime_ns, ctime_ns FROM files LIMIT ?", (MOST_QUICK,))
        quick = {hash((os.fsdecode(path), Fingerprint(*numbers))) for path, *numbers in rows}
        return quick, len(rows) < MOST_QUICK

    def _write(self) -> None:
        waiting = list(self._unwritten.items())

        def change(db: sqlite3.Connection) -> None:
            db.executemany(
                WRITE_FILE,
                [(os.fsencode(path), *known.fingerprint, known.outcome, known.unfinished) for path, known in waiting],
            )
            db.executemany(WRITE_SOUND, [(each.digest, each.outcome) for _, each in waiting if each.digest])
            self._written += len(waiting)
            if self._written >= FORGET_EVERY:
                self._written = 0
                db.execute("DELETE FROM sounds WHERE number <= (SELECT max(number) FROM sounds) - ?", (SOUNDS_KEPT,))

        if self._change(change):
            self._unwritten.clear()
        while len(self._unwritten) > MOST_UNWRITTEN:
            del self._unwritten[next(iter(self._unwritten))]

    def _change(self, change: Callable[[sqlite3.Connection], object]) -> bool:
        """Make a change: all or nothing. Returns whether it was written."""
        try:
            with self._db:
                self._db.execute("BEGIN IMMEDIATE")
                change(self._db)
        except (sqlite3.Error, OSError) as error:
            self._note_failure(error)
            return False
        self._failure = ""
        return True

    def _read(self, path: str) -> KnownFile | None:
        query = "SELECT size, mtime_ns, ctime_ns, outcome, unfinished FROM files WHERE path = ?"
        row = self._one(query, (os.fsencode(path),))
        return None if row is None else _known(row)

    def _one(self, query: str, values: tuple[object, ...]) -> Any:
        rows = self._all(query, values)
        return rows[0] if rows else None

    def _all(self, query: str, values: tuple[object, ...]) -> list[Any]:
        try:
            return self._db.execute(query, values).fetchall()
        except sqlite3.Error as error:
            self._note_failure(error)
            return []

    def _note_failure(self, error: Exception) -> None:
        if str(error) != self._failure:
            logger.warning("recordings that were judged cannot be remembered: %s", error)
        self._failure = str(error)

    def _open(self) -> sqlite3.Connection:
        if self._file is None:
            return _connect(":memory:")
        try:
            make_folder(self._file.parent)
            return _connect(str(self._file))
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):  # the disk is full, or the file is not ours
                self._note_failure(error)
                return _connect(":memory:")
            logger.warning("%s is damaged and begins anew: %s", self._file.name, error)
            for ending in ("", "-wal", "-shm"):
                Path(f"{self._file}{ending}").unlink(missing_ok=True)
            return _connect(str(self._file))
        except OSError as error:
            self._note_failure(error)
            return _connect(":memory:")


def _known(row: Any) -> KnownFile:
    size, mtime_ns, ctime_ns, outcome, unfinished = row[:5]
    return KnownFile(Fingerprint(size, mtime_ns, ctime_ns), outcome, bool(unfinished))


def _connect(target: str) -> sqlite3.Connection:
    connection = sqlite3.connect(target, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        # A power cut can cost the last seconds; a killed process costs nothing.
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.executescript(TABLES)
    except BaseException:  # also Ctrl-C: no file stays open
        connection.close()
        raise
    return connection
