"""Repeated uploads: the same bytes for one machine are one recording, and count once.

Two recordings of a machine are never equal to the byte. So equal bytes are a retry of an upload whose answer was lost,
or a recorder that sends an old file again. Bytes are a repeat

- within ten minutes after the answer that counted,
- with the same Idempotency-Key, for a day,
- with the same time of recording, from the request or from the file, for as long as the verdict is kept.

Otherwise they count again. A recorder that sends one file for ever is found by :func:`count_identical`.
"""

import sqlite3
from datetime import datetime, timedelta
from typing import NamedTuple

from ml.machines.limits import REPEAT_WINDOW_S, REQUESTS_KEPT
from ml.machines.observation import KeyedRequest, Observation
from ml.machines.rows import NEWEST_FIRST
from ml.system.idempotency import KEPT_S

REPEATED = """
SELECT id, at, repeated_at FROM observations
WHERE machine_id IN (:machine_id, :other_name) AND digest = :digest
    AND (at >= :since OR (time_from != 'arrival' AND recorded_at = :stated_at))
ORDER BY id DESC LIMIT 1
"""


class Repeat(NamedTuple):
    """Verdict that was recorded before for the same bytes.

    Attributes:
        id: its row; None if the row was deleted, and only its Idempotency-Key is known.
        at: time of its answer, ISO 8601, UTC.
    """

    id: int | None
    at: str


def find_repeat(db: sqlite3.Connection, observation: Observation) -> Repeat | None:
    """Return the verdict that was recorded before for the same bytes; None if the observation counts."""
    if observation.digest is None:
        return None
    facts = {
        "machine_id": observation.machine_id,
        "other_name": observation.other_name,
        "digest": observation.digest,
        "stated_at": observation.stated_at,
        "since": _earlier(observation.at, REPEAT_WINDOW_S),
    }
    row = db.execute(REPEATED, facts).fetchone()
    if row is not None:
        return Repeat(row["id"], row["at"])
    return _find_by_key(db, observation)


def _find_by_key(db: sqlite3.Connection, observation: Observation) -> Repeat | None:
    if observation.request is None:
        return None
    query = "SELECT at FROM requests WHERE key = ? AND request = ? AND digest = ? AND at >= ?"
    key, request = observation.request
    row = db.execute(query, (key, request, observation.digest, _earlier(observation.at, KEPT_S))).fetchone()
    if row is None:
        return None
    query = "SELECT id FROM observations WHERE machine_id = ? AND digest = ? ORDER BY id DESC LIMIT 1"
    counted = db.execute(query, (observation.machine_id, observation.digest)).fetchone()
    return Repeat(None if counted is None else counted["id"], row["at"])


def count_repeat(db: sqlite3.Connection, repeat: Repeat, observation: Observation) -> None:
    """Count an upload that does not count as a verdict, within a transaction of the caller."""
    is_retry = _find_by_key(db, observation) is not None
    db.execute(
        "UPDATE observations SET repeats = repeats + 1, repeated_at = :at, "
        "late_repeats = late_repeats + (NOT :is_retry AND coalesce(repeated_at, at) < :since) WHERE id = :id",
        {
            "id": repeat.id,
            "at": observation.at,
            "is_retry": is_retry,
            "since": _earlier(observation.at, REPEAT_WINDOW_S),
        },
    )


def count_identical(db: sqlite3.Connection, machine_id: str, most: int) -> int:
    """Return how often the bytes of a machine's last recording arrived in a row, at least ten minutes apart.

    Args:
        db: the database.
        machine_id: name of the machine.
        most: largest number of last recordings to compare.

    Returns:
        0 without a digest, 1 for a recording that is new, as all should be.
    """
    query = f"SELECT digest, late_repeats FROM observations WHERE machine_id = ? {NEWEST_FIRST} LIMIT ?"  # noqa: S608 - from this code
    count, first = 0, None
    for digest, late_repeats in db.execute(query, (machine_id, most)):
        first = first or digest
        if digest is None or digest != first:
            break
        count += 1 + late_repeats
    return count


def find_request(db: sqlite3.Connection, key: str, at: str) -> str | None:
    """Return the digest of the request that an Idempotency-Key was used for within the last day; None without one."""
    query = "SELECT request FROM requests WHERE key = ? AND at >= ? ORDER BY id LIMIT 1"
    row = db.execute(query, (key, _earlier(at, KEPT_S))).fetchone()
    return None if row is None else str(row["request"])


def remember_request(db: sqlite3.Connection, request: KeyedRequest, digest: str, at: str) -> None:
    """Keep an Idempotency-Key with its request and the digest of one file, within a transaction of the caller."""
    db.execute("DELETE FROM requests WHERE at < ?", (_earlier(at, KEPT_S),))
    if find_request(db, request.key, at) not in (None, request.digest):
        return  # two requests at once: the key belongs to the first one
    query = "INSERT OR IGNORE INTO requests (key, request, digest, at) VALUES (?, ?, ?, ?)"
    db.execute(query, (request.key, request.digest, digest, at))
    db.execute("DELETE FROM requests WHERE id <= (SELECT max(id) FROM requests) - ?", (REQUESTS_KEPT,))


def _earlier(at: str, seconds: float) -> str:
    return (datetime.fromisoformat(at) - timedelta(seconds=seconds)).isoformat(timespec="milliseconds")
