"""Numbers of the verdicts of one version on one machine: from 1, in the order of the times of the recordings."""

import sqlite3

from ml.machines import rows


def number_in_order(db: sqlite3.Connection, machine_id: str, version: str, n_new: int) -> None:
    """Give the verdicts their present numbers in the order of recording, within a transaction of the caller.

    Numbers of deleted verdicts stay unused. So a verdict between the kept first and last ones gets a number that
    retention deletes.

    Args:
        db: the database.
        machine_id: name of the machine.
        version: the model version.
        n_new: number of verdicts whose numbers may be wrong; they are the largest ones.
    """
    if _is_in_order(db, machine_id, version, n_new):
        return
    query = (
        "SELECT id, number FROM observations WHERE machine_id = ? AND version = ? AND number IS NOT NULL "
        "ORDER BY recorded_at, id"
    )
    found = db.execute(query, (machine_id, version)).fetchall()
    numbers = sorted(row["number"] for row in found)
    changed = [(number, row["id"]) for number, row in zip(numbers, found, strict=True) if number != row["number"]]
    # They are negative meanwhile, because numbers must be unique at any time.
    db.executemany("UPDATE observations SET number = -? WHERE id = ?", changed)
    db.executemany("UPDATE observations SET number = ? WHERE id = ?", changed)


def _is_in_order(db: sqlite3.Connection, machine_id: str, version: str, n_new: int) -> bool:
    query = (
        "SELECT number FROM observations WHERE machine_id = ? AND version = ? AND number IS NOT NULL "
        "ORDER BY recorded_at DESC, id DESC LIMIT ?"
    )
    found = [number for (number,) in db.execute(query, (machine_id, version, n_new + 1))]
    newest = rows.count_verdicts(db, machine_id, version)
    return found == list(range(newest, newest - len(found), -1))
