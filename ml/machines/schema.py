"""Tables of the records of machines, and how their file is opened.

SQLite uses its write-ahead log: readers never wait, writers of several processes take turns, a killed process leaves
all its finished transactions and no part of an unfinished one. The file needs a local disk of one computer: a network
file system has no shared memory for the log.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from ml.errors import MachinesUnavailable
from ml.machines.history import has_hours, make_hours
from ml.system.atomic import file_lock, make_folder

UNMADE, WITHOUT_TIMES, FORMAT = 0, 1, 2
BUSY_S = 5.0
IN_MEMORY = ":memory:"
INDEXES = """
CREATE INDEX observations_of_machine ON observations (machine_id, recorded_at, id);
CREATE INDEX judged_of_machine ON observations (machine_id, recorded_at, id) WHERE number IS NOT NULL;
CREATE INDEX observations_without_time ON observations (machine_id, recorded_at) WHERE time_from = 'arrival';
CREATE INDEX observations_in_order ON observations (machine_id, version, recorded_at, id);
CREATE INDEX observations_by_digest ON observations (machine_id, digest);
CREATE UNIQUE INDEX observations_of_version ON observations (machine_id, version, number);
"""
REQUESTS = """
CREATE TABLE requests (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL,  -- Idempotency-Key
    request TEXT NOT NULL,  -- digest of the whole request
    digest TEXT NOT NULL,  -- of the bytes of one of its files; empty for a request without files
    at TEXT NOT NULL
);
CREATE UNIQUE INDEX requests_by_key ON requests (key, digest);
CREATE INDEX requests_by_time ON requests (at);
"""
# Verdicts of format 1 counted in the order of their ids, whatever the clock was: their times must not decrease.
FROM_FORMAT_1 = """
DROP INDEX observations_of_machine;
DROP INDEX judged_of_machine;
DROP INDEX observations_of_version;
ALTER TABLE observations ADD COLUMN recorded_at TEXT NOT NULL DEFAULT '';
ALTER TABLE observations ADD COLUMN time_from TEXT NOT NULL DEFAULT 'arrival';
ALTER TABLE observations ADD COLUMN digest TEXT;
ALTER TABLE observations ADD COLUMN repeats INTEGER NOT NULL DEFAULT 0;
ALTER TABLE observations ADD COLUMN late_repeats INTEGER NOT NULL DEFAULT 0;
ALTER TABLE observations ADD COLUMN repeated_at TEXT;
ALTER TABLE alarms ADD COLUMN raised_by INTEGER;
ALTER TABLE alarms ADD COLUMN cleared_by INTEGER;
CREATE TEMP TABLE ordered (id INTEGER PRIMARY KEY, latest TEXT);
INSERT INTO ordered SELECT id, max(at) OVER (PARTITION BY machine_id ORDER BY id) FROM observations;
UPDATE observations SET recorded_at = (SELECT latest FROM ordered WHERE ordered.id = observations.id);
DROP TABLE temp.ordered;
"""
TABLES = f"""
CREATE TABLE machines (
    machine_id TEXT PRIMARY KEY,
    heard_at TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE observations (
    id INTEGER PRIMARY KEY,  -- in the order of arrival, over all versions
    machine_id TEXT NOT NULL REFERENCES machines ON DELETE CASCADE,
    version TEXT NOT NULL,
    number INTEGER,  -- number of the verdict of this version on this machine, from 1; NULL: not judged
    at TEXT NOT NULL,
    threshold_revision INTEGER NOT NULL,
    score REAL NOT NULL,
    threshold REAL NOT NULL,
    verdict TEXT NOT NULL,
    label TEXT NOT NULL,
    recorded_at TEXT NOT NULL,  -- time of the recording; verdicts count in this order, then in that of their ids
    time_from TEXT NOT NULL,  -- where this time comes from; 'arrival': it is not known
    digest TEXT,  -- of the uploaded bytes; NULL in records of format 1
    repeats INTEGER NOT NULL DEFAULT 0,  -- later uploads of the same bytes, which did not count
    late_repeats INTEGER NOT NULL DEFAULT 0,  -- those of them that cannot be retries
    repeated_at TEXT  -- time of the answer to the last one
);
{INDEXES}
{REQUESTS}
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
    cleared_at TEXT,
    raised_by INTEGER,  -- ids of the observations that raised and cleared it; NULL in records of format 1
    cleared_by INTEGER
);
CREATE INDEX alarms_of_machine ON alarms (machine_id, id);
CREATE UNIQUE INDEX one_lasting_alarm ON alarms (machine_id) WHERE cleared_at IS NULL;
PRAGMA user_version = {FORMAT};
"""
# The API key that made a machine; a machine without a row was made without one. The table was added later: it is made
# in files of earlier versions when they are opened for writing.
MAKERS = """
CREATE TABLE IF NOT EXISTS makers (
    machine_id TEXT PRIMARY KEY REFERENCES machines ON DELETE CASCADE,
    made_by TEXT NOT NULL
) WITHOUT ROWID;
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
        if _format(connection) in (UNMADE, WITHOUT_TIMES):
            # Two processes can be here at the same time: the second finds the tables made.
            with _making(file):
                _make(connection)
        _require_format(connection)
        connection.execute(MAKERS)
        _add_hours(connection, file)
    return connection


def open_for_reading(file: Path) -> sqlite3.Connection:
    """Open the file; if it is absent or has no tables yet, open an empty database in memory.

    Tables of format 1 are changed to those of this format.

    Raises:
        MachinesUnavailable: the file has another format.
        sqlite3.Error: the file cannot be read.
    """
    if file.exists():
        connection = _connect(file)
        with _closed_on_failure(connection):
            if _format(connection) == WITHOUT_TIMES:
                with _making(file):
                    _make(connection)
            if _format(connection) != UNMADE:
                _require_format(connection)
                _add_hours(connection, file)
                return connection
        connection.close()  # another process is making the tables, or was ended before, or found the disk full
    connection = _connect(IN_MEMORY)
    _make(connection)
    make_hours(connection)
    return connection


def _add_hours(connection: sqlite3.Connection, file: Path) -> None:
    """Make the table of hours in a file of an earlier version."""
    if not has_hours(connection):
        with _making(file):
            make_hours(connection)


def _making(file: Path) -> AbstractContextManager[None]:
    return file_lock(file.with_name(f".{file.name}.lock"))


def _connect(target: Path | str) -> sqlite3.Connection:
    # A caller may use a connection in several threads, one at a time.
    connection = sqlite3.connect(target, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
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
    """Make the tables, or those of this format from those of format 1, in one transaction."""
    found = _format(connection)
    if found == UNMADE:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(f"BEGIN IMMEDIATE; {TABLES} COMMIT;")
    elif found == WITHOUT_TIMES:
        connection.executescript(
            f"BEGIN IMMEDIATE; {FROM_FORMAT_1} {INDEXES} {REQUESTS} PRAGMA user_version = {FORMAT}; COMMIT;"
        )
