"""Retention: rows above the limits are deleted, within a transaction of the caller."""

import sqlite3

from ml.machines import drift
from ml.machines.limits import ALARMS_KEPT, OBSERVATIONS_KEPT, UNUSABLE_KEPT


def delete_oldest_machines(db: sqlite3.Connection, newcomer: str, kept: int) -> None:
    """Delete machines until ``kept`` are left: the longest without a recording first, those in alarm last.

    The machine ``newcomer`` is never deleted.
    """
    db.execute(
        "DELETE FROM machines WHERE machine_id IN (SELECT machines.machine_id FROM machines "
        "LEFT JOIN alarms ON alarms.machine_id = machines.machine_id AND cleared_at IS NULL "
        "WHERE machines.machine_id != ? ORDER BY alarms.id IS NOT NULL, heard_at "
        "LIMIT max(0, (SELECT count(*) FROM machines) - ?))",
        (newcomer, kept),
    )


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
