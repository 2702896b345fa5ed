"""Rows of the tables as values, for insertion and for queries."""

import sqlite3
from collections.abc import Iterator
from dataclasses import fields

from ml.errors import MachineNotFound
from ml.machines.alarms import Acknowledgement, Alarm
from ml.machines.observation import Observation

OBSERVED = tuple(field.name for field in fields(Observation) if field.name not in ("other_name", "made_by", "request"))
NEWEST_FIRST = "ORDER BY recorded_at DESC, id DESC"


def require_machine(db: sqlite3.Connection, machine_id: str) -> sqlite3.Row:
    """Return the row of a machine.

    Raises:
        MachineNotFound
    """
    found: sqlite3.Row | None = db.execute("SELECT * FROM machines WHERE machine_id = ?", (machine_id,)).fetchone()
    if found is None:
        raise MachineNotFound(f"There is no record of {machine_id!r}: upload its recordings with its machine_id.")
    return found


def machine_exists(db: sqlite3.Connection, machine_id: str) -> bool:
    """Check that a machine has a record."""
    return db.execute("SELECT 1 FROM machines WHERE machine_id = ?", (machine_id,)).fetchone() is not None


def version_exists(db: sqlite3.Connection, machine_id: str, version: str) -> bool:
    """Check that a machine has a verdict of a version."""
    query = "SELECT 1 FROM observations WHERE machine_id = ? AND version = ? LIMIT 1"
    return db.execute(query, (machine_id, version)).fetchone() is not None


def count_verdicts(db: sqlite3.Connection, machine_id: str, version: str) -> int:
    """Return the number of verdicts of a version on a machine; deleted verdicts count too."""
    query = "SELECT max(number) FROM observations WHERE machine_id = ? AND version = ?"
    return db.execute(query, (machine_id, version)).fetchone()[0] or 0


def latest_observations(db: sqlite3.Connection, machine_id: str, most: int) -> list[Observation]:
    """Return the last recordings of a machine, judged or not, of all versions, the newest first."""
    query = f"SELECT * FROM observations WHERE machine_id = ? {NEWEST_FIRST} LIMIT ?"  # noqa: S608 - from this code
    return [parse_observation(row) for row in db.execute(query, (machine_id, most))]


def latest_verdicts(db: sqlite3.Connection, machine_id: str, most: int) -> list[Observation]:
    """Return the last judged recordings of a machine, of all versions, the newest first."""
    query = f"SELECT * FROM observations WHERE machine_id = ? AND number IS NOT NULL {NEWEST_FIRST} LIMIT ?"  # noqa: S608 - from this code
    return [parse_observation(row) for row in db.execute(query, (machine_id, most))]


def judged_since(db: sqlite3.Connection, version: str, since: str) -> Iterator[Observation]:
    """Yield the judged recordings of a version from a time on, by machine and in time order."""
    query = (
        "SELECT * FROM observations WHERE version = ? AND number IS NOT NULL AND recorded_at >= ? "
        "ORDER BY machine_id, recorded_at, id"
    )
    return map(parse_observation, db.execute(query, (version, since)))


def active_alarm(db: sqlite3.Connection, machine_id: str) -> Alarm | None:
    """Return the active alarm of a machine; None without one."""
    query = "SELECT * FROM alarms WHERE machine_id = ? AND cleared_at IS NULL"
    row = db.execute(query, (machine_id,)).fetchone()
    return None if row is None else parse_alarm(row)


def parse_observation(row: sqlite3.Row) -> Observation:
    """Make an observation of a row of ``observations``."""
    return Observation(**{name: row[name] for name in OBSERVED})


def parse_alarm(row: sqlite3.Row) -> Alarm:
    """Make an alarm of a row of ``alarms``."""
    acknowledged: Acknowledgement | None = None
    if row["acknowledged_at"] is not None:
        acknowledged = Acknowledgement(
            row["acknowledged_at"], row["acknowledged_by"], row["acknowledged_key"], row["note"]
        )
    return Alarm(
        id=row["id"],
        raised_at=row["raised_at"],
        version=row["version"],
        anomalous=row["anomalous"],
        n_verdicts=row["of"],
        acknowledged=acknowledged,
        cleared_at=row["cleared_at"],
    )
