"""The tables, told as health."""

import sqlite3

import numpy as np

from ml.machines import drift, rows
from ml.machines.alarms import Rule, State
from ml.machines.drift import Drift
from ml.machines.health import Health, Summary, VersionRecord

RECENT = 100


def states(db: sqlite3.Connection) -> dict[str, State]:
    """The state of each machine, by their names."""
    found = db.execute(
        "SELECT machines.machine_id AS name, alarms.* FROM machines "
        "LEFT JOIN alarms ON alarms.machine_id = machines.machine_id AND cleared_at IS NULL ORDER BY name"
    )
    return {row["name"]: "normal" if row["id"] is None else rows.alarm(row).state for row in found}


def summaries(db: sqlite3.Connection, rule: Rule) -> list[Summary]:
    """Every machine in one line, by their names."""
    found = db.execute("SELECT * FROM machines ORDER BY machine_id").fetchall()
    return [_summary(db, row, rule) for row in found]


def health(db: sqlite3.Connection, machine_id: str, rule: Rule, latest: int) -> Health:
    """A machine, whole, with at most so many of its last verdicts.

    Raises:
        MachineNotFound
    """
    return Health(
        summary=_summary(db, rows.machine(db, machine_id), rule),
        versions=_versions(db, machine_id),
        alarms=tuple(rows.alarm(row) for row in _alarms(db, machine_id)),
        latest=tuple(rows.latest(db, machine_id, latest)),
    )


def _summary(db: sqlite3.Connection, machine: sqlite3.Row, rule: Rule) -> Summary:
    machine_id = machine["machine_id"]
    latest = rows.latest(db, machine_id, rule.of)
    version = latest[0].version
    return Summary(
        machine_id=machine_id,
        heard_at=machine["heard_at"],
        version=version,
        anomalous=sum(each.anomaly for each in latest),
        of=len(latest),
        drift=_drift(db, machine_id, version),
        alarm=rows.lasting_alarm(db, machine_id),
    )


def _versions(db: sqlite3.Connection, machine_id: str) -> tuple[VersionRecord, ...]:
    found = db.execute(
        "SELECT version, max(number) AS heard, count(*) AS kept, min(at) AS first_at, max(at) AS last_at "
        "FROM observations WHERE machine_id = ? GROUP BY version ORDER BY max(id) DESC",
        (machine_id,),
    ).fetchall()
    return tuple(_version(db, machine_id, row) for row in found)


def _version(db: sqlite3.Connection, machine_id: str, facts: sqlite3.Row) -> VersionRecord:
    recent = db.execute(
        "SELECT * FROM observations WHERE machine_id = ? AND version = ? ORDER BY number DESC LIMIT ?",
        (machine_id, facts["version"], RECENT),
    ).fetchall()
    return VersionRecord(
        version=facts["version"],
        observations=facts["heard"],
        kept=facts["kept"],
        first_at=facts["first_at"],
        last_at=facts["last_at"],
        threshold=recent[0]["threshold"],
        recent_n=len(recent),
        recent_anomalous=sum(row["anomaly"] for row in recent),
        recent_median=float(np.median([row["score"] for row in recent])),
        drift=_drift(db, machine_id, facts["version"]),
    )


def _drift(db: sqlite3.Connection, machine_id: str, version: str) -> Drift:
    heard = rows.heard(db, machine_id, version)
    side = drift.side(heard)
    found = db.execute(
        "SELECT score FROM observations WHERE machine_id = ? AND version = ? AND (number <= ? OR number > ?) "
        "ORDER BY number",
        (machine_id, version, side, heard - side),
    )
    scores = np.array([row["score"] for row in found])
    return drift.measure(scores[:side], scores[side:])


def _alarms(db: sqlite3.Connection, machine_id: str) -> list[sqlite3.Row]:
    return db.execute("SELECT * FROM alarms WHERE machine_id = ? ORDER BY id DESC", (machine_id,)).fetchall()
