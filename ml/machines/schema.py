"""Tables of the records of machines, and how their file is opened.

SQLite uses its write-ahead log: readers never wait, writers of several processes take turns, a killed process leaves
all its finished transactions and no part of an unfinished one. The file needs a local disk of one computer: a network
file system has no shared memory for the log.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ml.errors import MachinesUnavailable
from ml.system.atomic import file_lock, make_folder

UNMADE, FORMAT = 0, 1
BUSY_S = 5.0
IN_MEMORY = ":memory:"
TABLES = f"""
CREATE TABLE machines (
    machine_id TEXT PRIMARY KEY,
    heard_at TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE observations (
    id INTEGER PRIMARY KEY,  -- in the order of recording, over all versions
    machine_id TEXT NOT NULL REFERENCES machines ON DELETE CASCADE,
    version TEXT NOT NULL,
    number INTEGER,  -- number of the verdict of this version on this machine, from 1; NULL: not judged
    at TEXT NOT NULL,
    threshold_revision INTEGER NOT NULL,
    score REAL NOT NULL,
    threshold REAL NOT NULL,
    verdict TEXT NOT NULL,
    label TEXT NOT NULL
);
CREATE INDEX observations_of_machine ON observations (machine_id, id);
CREATE INDEX judged_of_machine ON observations (machine_id, id) WHERE number IS NOT NULL;
CREATE UNIQUE INDEX observations_of_version ON observations (machine_id, version, number);
CREATE TABLE alarms (
    id INTEGER PRIMARY KEY AUTOINCREMENT,  -- never used twice
    machine_id TEXT NOT NULL REFERENCES machines ON DELETE CASCADE,
    raised_at TEXT NOT NULL,
    version TEXT NOT NULL,
    anomalous INTEGER NOT NULL,
    of INTEGER NOT NULL,
    acknowledged_at TEXT,
    acknowledged_by TEXT,
    acknowledged_key TEXT,
    note TEXT,
    cleared_at TEXT
);
CREATE INDEX alarms_of_machine ON alarms (machine_id, id);
CREATE UNIQUE INDEX one_lasting_alarm ON alarms (machine_id) WHERE cleared_at IS NULL;
PRAGMA user_version = {FORMAT};
"""


def open_for_writing(file: Path) -> sqlite3.Connection:
    """Open the file, and create it if it is absent.

    Raises:
        MachinesUnavailable: the file has another format.
        sqlite3.Error, OSError: the file cannot be read or created.
    """
    make_folder(file.parent)
    connection = _connect(file)
    with _closed_on_failure(connection):
        if _format(connection) == UNMADE:
            # Two processes can be here at the same time: the second finds the tables made.
            with file_lock(file.with_name(f".{file.name}.lock")):
                _make(connection)
        _require_format(connection)
    return connection


def open_for_reading(file: Path) -> sqlite3.Connection:
    """Open the file; if it is absent or has no tables yet, open an empty database in memory.

    Raises:
        MachinesUnavailable: the file has another format.
        sqlite3.Error: the file cannot be read.
    """
    if file.exists():
        connection = _connect(file)
        with _closed_on_failure(connection):
            if _format(connection) != UNMADE:
                _require_format(connection)
                return connection
        connection.close()  # another process is making the tables, or was ended before, or found the disk full
    connection = _connect(IN_MEMORY)
    _make(connection)
    return connection


def _connect(target: Path | str) -> sqlite3.Connection:
    connection = sqlite3.connect(target, timeout=BUSY_S, isolation_level=None)
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


@contextmanager
def _closed_on_failure(connection: sqlite3.Connection) -> Iterator[None]:
    try:
        yield
    except BaseException:  # also Ctrl-C: no file stays open
        connection.close()
        raise


def _format(connection: sqlite3.Connection) -> Any:
    return connection.execute("PRAGMA user_version").fetchone()[0]


def _require_format(connection: sqlite3.Connection) -> None:
    found = _format(connection)
    if found != FORMAT:
        raise MachinesUnavailable(f"The record of machines has the format {found}; {FORMAT} was expected.")


def _make(connection: sqlite3.Connection) -> None:
    """Make the tables, in one transaction, if they are absent."""
    if _format(connection) == UNMADE:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(f"BEGIN IMMEDIATE; {TABLES} COMMIT;")
