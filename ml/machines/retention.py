"""Retention: rows above the limits are deleted, within a transaction of the caller."""

import sqlite3

from ml.machines import drift
from ml.machines.limits import ALARMS_KEPT, OBSERVATIONS_KEPT, UNUSABLE_KEPT, MachineLimits


def make_place(db: sqlite3.Connection, limits: MachineLimits, made_by: str | None) -> bool:
    """Delete machines until there is a place for a new one: the longest without a recording first, in alarm last.

    Args:
        db: the database.
        limits: largest numbers of machines.
        made_by: API key of the new machine, which displaces only machines that it made; None displaces any machine.

    Returns:
        Whether there is a place.
    """
    (count,) = db.execute("SELECT count(*) FROM machines").fetchone()
    (made,) = db.execute("SELECT count(*) FROM makers WHERE made_by = ?", (made_by,)).fetchone()
    surplus = max(count + 1 - limits.kept, made + 1 - limits.per_key)
    if surplus <= 0:
        return True
    removable = db.execute(
        "SELECT machines.machine_id FROM machines "
        "LEFT JOIN alarms ON alarms.machine_id = machines.machine_id AND cleared_at IS NULL "
        "LEFT JOIN makers ON makers.machine_id = machines.machine_id "
        "WHERE :made_by IS NULL OR makers.made_by = :made_by ORDER BY alarms.id IS NOT NULL, heard_at LIMIT :surplus",
        {"made_by": made_by, "surplus": surplus},
    ).fetchall()
    if len(removable) < surplus:
        return False
    db.executemany("DELETE FROM machines WHERE machine_id = ?", map(tuple, removable))
    return True


def delete_middle_verdicts(db: sqlite3.Connection, machine_id: str, version: str, number: int) -> None:
    """Delete the verdicts between the first 100, which are the reference of drift, and the last 900.

    Args:
        db: the database.
        machine_id: name of the machine.
        version: the model version.
        number: number of its last verdict.
    """
    db.execute(
        "DELETE FROM observations WHERE machine_id = ? AND version = ? AND number > ? AND number <= ?",
        (machine_id, version, drift.MOST_SCORES, number - OBSERVATIONS_KEPT + drift.MOST_SCORES),
    )


def delete_oldest_unusable(db: sqlite3.Connection, machine_id: str) -> None:
    """Delete all but the last 100 recordings that could not be judged."""
    db.execute(
        "DELETE FROM observations WHERE machine_id = ? AND number IS NULL AND id NOT IN "
        "(SELECT id FROM observations WHERE machine_id = ? AND number IS NULL ORDER BY recorded_at DESC, id DESC "
        "LIMIT ?)",
        (machine_id, machine_id, UNUSABLE_KEPT),
    )


def delete_oldest_versions(db: sqlite3.Connection, machine_id: str, kept: int) -> None:
    """Delete the observations of all versions but the ``kept`` versions that were used last."""
    db.execute(
        "DELETE FROM observations WHERE machine_id = ? AND version NOT IN (SELECT version FROM observations "
        "WHERE machine_id = ? GROUP BY version ORDER BY max(id) DESC LIMIT ?)",
        (machine_id, machine_id, kept),
    )


def delete_oldest_alarms(db: sqlite3.Connection, machine_id: str) -> None:
    """Delete all but the last 100 alarms; an active one is always kept."""
    db.execute(
        "DELETE FROM alarms WHERE machine_id = ? AND id NOT IN "
        "(SELECT id FROM alarms WHERE machine_id = ? "
        "ORDER BY cleared_at IS NULL DESC, raised_at DESC, id DESC LIMIT ?)",
        (machine_id, machine_id, ALARMS_KEPT),
    )
