"""What the tables hold, as values; asked for by whoever writes and whoever reads."""

import sqlite3
from dataclasses import fields

from ml.errors import MachineNotFound
from ml.machines.alarms import Acknowledgement, Alarm
from ml.machines.observation import Observation

OBSERVED = tuple(field.name for field in fields(Observation) if field.name != "other_name")


def require_machine(db: sqlite3.Connection, machine_id: str) -> sqlite3.Row:
    """The row of a machine.

    Raises:
        MachineNotFound
    """
    found: sqlite3.Row | None = db.execute("SELECT * FROM machines WHERE machine_id = ?", (machine_id,)).fetchone()
    if found is None:
        raise MachineNotFound(f"Nothing is remembered of {machine_id!r}: upload its recordings with its machine_id.")
    return found


def machine_exists(db: sqlite3.Connection, machine_id: str) -> bool:
    """Whether anything is remembered of a machine."""
    return db.execute("SELECT 1 FROM machines WHERE machine_id = ?", (machine_id,)).fetchone() is not None


def version_exists(db: sqlite3.Connection, machine_id: str, version: str) -> bool:
    """Whether anything is remembered that a version said of a machine."""
    asked = "SELECT 1 FROM observations WHERE machine_id = ? AND version = ? LIMIT 1"
    return db.execute(asked, (machine_id, version)).fetchone() is not None


def count_verdicts(db: sqlite3.Connection, machine_id: str, version: str) -> int:
    """How many verdicts a version gave on a machine, those that are forgotten by now among them."""
    asked = "SELECT max(number) FROM observations WHERE machine_id = ? AND version = ?"
    return db.execute(asked, (machine_id, version)).fetchone()[0] or 0


def latest_observations(db: sqlite3.Connection, machine_id: str, most: int) -> list[Observation]:
    """The last recordings of a machine, judged or not, whichever version was asked, the newest first."""
    asked = "SELECT * FROM observations WHERE machine_id = ? ORDER BY id DESC LIMIT ?"
    return [parse_observation(row) for row in db.execute(asked, (machine_id, most))]


def latest_verdicts(db: sqlite3.Connection, machine_id: str, most: int) -> list[Observation]:
    """The last recordings of a machine that could be judged, the newest first."""
    asked = "SELECT * FROM observations WHERE machine_id = ? AND number IS NOT NULL ORDER BY id DESC LIMIT ?"
    return [parse_observation(row) for row in db.execute(asked, (machine_id, most))]


def active_alarm(db: sqlite3.Connection, machine_id: str) -> Alarm | None:
    """The alarm that a machine is in."""
    asked = "SELECT * FROM alarms WHERE machine_id = ? AND cleared_at IS NULL"
    row = db.execute(asked, (machine_id,)).fetchone()
    return None if row is None else parse_alarm(row)


def parse_observation(row: sqlite3.Row) -> Observation:
    """A row of ``observations``."""
    return Observation(**{name: row[name] for name in OBSERVED})


def parse_alarm(row: sqlite3.Row) -> Alarm:
    """A row of ``alarms``."""
    said: Acknowledgement | None = None
    if row["acknowledged_at"] is not None:
        said = Acknowledgement(row["acknowledged_at"], row["acknowledged_by"], row["acknowledged_key"], row["note"])
    return Alarm(
        id=row["id"],
        raised_at=row["raised_at"],
        version=row["version"],
        anomalous=row["anomalous"],
        n_verdicts=row["of"],
        acknowledged=said,
        cleared_at=row["cleared_at"],
    )
