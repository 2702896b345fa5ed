"""Tables of events and alerts in ``<home>/listener/events.sqlite3``, and how the file is opened.

SQLite uses its write-ahead log, as the records of machines do (:mod:`ml.machines.schema`): readers never wait, and a
killed process leaves all its finished transactions and no part of an unfinished one.
"""

import sqlite3
from pathlib import Path

from listener.options import LISTENER_FOLDER
from ml.errors import EventsUnavailable
from ml.system.atomic import file_lock, make_folder

EVENTS_FILE = "events.sqlite3"
UNMADE, FORMAT = 0, 1
BUSY_S = 5.0
IN_MEMORY = ":memory:"
TABLES = f"""
CREATE TABLE events (
    number INTEGER PRIMARY KEY AUTOINCREMENT,  -- in the order of arrival; never used twice
    id TEXT NOT NULL UNIQUE,
    machine_id TEXT NOT NULL,
    source TEXT NOT NULL,
    origin TEXT NOT NULL,
    state TEXT NOT NULL,
    began TEXT NOT NULL,
    ended TEXT,
    verdict TEXT,  -- of a person
    reviewed INTEGER NOT NULL,  -- 1 after a review
    clip_bytes INTEGER NOT NULL,  -- size of its clip; 0 without
    content TEXT NOT NULL  -- the whole event as JSON
);
CREATE INDEX events_of_machine ON events (machine_id, number);
CREATE INDEX events_by_beginning ON events (began);
CREATE INDEX open_events ON events (machine_id) WHERE state = 'active';
CREATE INDEX events_with_clip ON events (reviewed, began) WHERE clip_bytes > 0;
CREATE TABLE changes (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    event TEXT NOT NULL REFERENCES events (id) ON DELETE CASCADE,
    change TEXT NOT NULL,
    at TEXT NOT NULL
);
CREATE INDEX changes_of_event ON changes (event, number);
CREATE TABLE alerts (
    number INTEGER PRIMARY KEY AUTOINCREMENT,  -- alerts of one sink and machine are delivered in this order
    id TEXT NOT NULL,  -- the same for every attempt
    sink TEXT NOT NULL,
    machine_id TEXT NOT NULL,
    event TEXT NOT NULL,
    change TEXT NOT NULL,
    content TEXT NOT NULL,  -- the event at this change, as JSON
    created REAL NOT NULL,  -- seconds since 1970
    due REAL NOT NULL,  -- time of the next attempt, in seconds since 1970
    attempts INTEGER NOT NULL DEFAULT 0,
    state TEXT NOT NULL DEFAULT 'waiting',  -- waiting, dead; delivered and dropped ones are deleted
    error TEXT NOT NULL DEFAULT '',  -- of the last attempt
    by_hand INTEGER NOT NULL DEFAULT 0,  -- 1 if a person sends it again: no rule delays or drops it
    UNIQUE (sink, id)
);
CREATE INDEX alerts_of_sink ON alerts (sink, state, machine_id, number);
CREATE TABLE facts (  -- what delivery remembers for each sink and machine, such as the last alert for a cool-down
    sink TEXT NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (sink, name)
) WITHOUT ROWID;
PRAGMA user_version = {FORMAT};
"""


def open_for_writing(home: Path) -> sqlite3.Connection:
    """Open the file, and create it if it is absent.

    Raises:
        EventsUnavailable: the file has another format.
        sqlite3.Error, OSError: the file cannot be read or created.
    """
    file = home / LISTENER_FOLDER / EVENTS_FILE
    make_folder(file.parent)
    connection = _connect(file)
    try:
        if _format(connection) == UNMADE:
            with file_lock(file.with_name(f".{file.name}.lock")):
                if _format(connection) == UNMADE:  # another process may have made the tables meanwhile
                    connection.execute("PRAGMA journal_mode = WAL")
                    connection.executescript(f"BEGIN IMMEDIATE; {TABLES} COMMIT;")
        _require_format(connection)
    except BaseException:  # also Ctrl-C: no file stays open
        connection.close()
        raise
    return connection


def open_for_reading(home: Path) -> sqlite3.Connection:
    """Open the file; if it is absent, open an empty database in memory."""
    file = home / LISTENER_FOLDER / EVENTS_FILE
    if file.exists():
        return open_for_writing(home)
    connection = _connect(IN_MEMORY)
    connection.executescript(TABLES)
    return connection


def _connect(target: Path | str) -> sqlite3.Connection:
    # A caller may use a connection in several threads, one at a time.
    connection = sqlite3.connect(target, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


def _format(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _require_format(connection: sqlite3.Connection) -> None:
    found = _format(connection)
    if found != FORMAT:
        raise EventsUnavailable(f"The file of events has the format {found}; {FORMAT} was expected.")
