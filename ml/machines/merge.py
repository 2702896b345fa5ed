"""Merge of the records of one machine under two names, such as ``id_00`` and ``fan/id_00``."""

import sqlite3
from collections.abc import Iterable

from ml.machines import history, retention, rows
from ml.machines.limits import OBSERVATIONS_KEPT, VERSIONS_KEPT
from ml.machines.numbering import number_in_order


def merge_machines(db: sqlite3.Connection, other: str, machine_id: str, at: str) -> None:
    """Move the record of ``other`` to ``machine_id``, within a transaction of the caller.

    If both have verdicts of one version, they are numbered in the order of the times of the recordings. Of
    two active alarms, the one of ``machine_id`` continues and the other is cleared. Rows above the limits of one
    machine are deleted.

    Args:
        db: the database.
        other: the other name; nothing happens if it has no record.
        machine_id: the name that is kept.
        at: time of the merge, ISO 8601, UTC.
    """
    if not rows.machine_exists(db, other):
        return
    db.execute("INSERT OR IGNORE INTO machines VALUES (?, ?)", (machine_id, at))
    moved = db.execute("SELECT DISTINCT version FROM observations WHERE machine_id = ?", (other,)).fetchall()
    for (version,) in moved:
        _renumber(db, other, machine_id, version)
    db.execute("UPDATE observations SET machine_id = ? WHERE machine_id = ?", (machine_id, other))
    db.execute("UPDATE observations SET number = -number WHERE machine_id = ? AND number < 0", (machine_id,))
    for (version,) in moved:
        number_in_order(db, machine_id, version, OBSERVATIONS_KEPT)
    if rows.active_alarm(db, machine_id) is not None:
        db.execute("UPDATE alarms SET cleared_at = ? WHERE machine_id = ? AND cleared_at IS NULL", (at, other))
    db.execute("UPDATE alarms SET machine_id = ? WHERE machine_id = ?", (machine_id, other))
    history.move_hours(db, other, machine_id)
    db.execute("DELETE FROM machines WHERE machine_id = ?", (other,))
    _apply_retention(db, machine_id, [version for (version,) in moved])


def _renumber(db: sqlite3.Connection, other: str, machine_id: str, version: str) -> None:
    """Let the newer record's numbers continue the older record's; the order follows.

    They are negative until the merge, because numbers must be unique at any time.
    """
    query = "SELECT machine_id FROM observations WHERE machine_id IN (?, ?) AND version = ? ORDER BY id LIMIT 1"
    (first,) = db.execute(query, (other, machine_id, version)).fetchone()
    db.execute(
        "UPDATE observations SET number = -(number + ?) WHERE machine_id = ? AND version = ?",
        (rows.count_verdicts(db, first, version), other if first == machine_id else machine_id, version),
    )


def _apply_retention(db: sqlite3.Connection, machine_id: str, moved: Iterable[str]) -> None:
    retention.delete_oldest_versions(db, machine_id, VERSIONS_KEPT)
    for version in moved:
        retention.delete_middle_verdicts(db, machine_id, version, rows.count_verdicts(db, machine_id, version))
    retention.delete_oldest_unusable(db, machine_id)
    retention.delete_oldest_alarms(db, machine_id)
