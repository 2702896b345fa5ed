"""Two records into one, once a detector knows that they are of one machine: of ``id_00`` and ``fan/id_00``."""

import sqlite3
from collections.abc import Iterable

from ml.machines import retention, rows
from ml.machines.limits import VERSIONS_KEPT


def merge_machines(db: sqlite3.Connection, other: str, machine_id: str, at: str) -> None:
    """Give a machine what was heard of it under another name, within a transaction of the caller's.

    Verdicts of a version that both have are numbered on, those of the name first that it was heard under first. Of two
    alarms that last, the machine's own goes on. What is then too much for one machine is forgotten.
    """
    if not rows.machine_exists(db, other):
        return
    db.execute("INSERT OR IGNORE INTO machines VALUES (?, ?)", (machine_id, at))
    moved = db.execute("SELECT DISTINCT version FROM observations WHERE machine_id = ?", (other,)).fetchall()
    for (version,) in moved:
        _number_on(db, other, machine_id, version)
    db.execute("UPDATE observations SET machine_id = ? WHERE machine_id = ?", (machine_id, other))
    db.execute("UPDATE observations SET number = -number WHERE machine_id = ? AND number < 0", (machine_id,))
    if rows.active_alarm(db, machine_id) is not None:
        db.execute("UPDATE alarms SET cleared_at = ? WHERE machine_id = ? AND cleared_at IS NULL", (at, other))
    db.execute("UPDATE alarms SET machine_id = ? WHERE machine_id = ?", (machine_id, other))
    db.execute("DELETE FROM machines WHERE machine_id = ?", (other,))
    _apply_retention(db, machine_id, [version for (version,) in moved])


def _number_on(db: sqlite3.Connection, other: str, machine_id: str, version: str) -> None:
    """Below 0 for the moment, since no two may have one number at any time."""
    asked = "SELECT machine_id FROM observations WHERE machine_id IN (?, ?) AND version = ? ORDER BY id LIMIT 1"
    (first,) = db.execute(asked, (other, machine_id, version)).fetchone()
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
