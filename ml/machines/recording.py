"""Verdicts into the tables: numbered, counted for the alarm, and what is too much forgotten."""

import sqlite3

from ml.machines import drift, rows
from ml.machines.alarms import Rule
from ml.machines.joining import join
from ml.machines.observation import Observation

OBSERVATIONS_KEPT = 1000
UNUSABLE_KEPT = 100
VERSIONS_KEPT = 3
ALARMS_KEPT = 100
INSERT = (
    f"INSERT INTO observations ({', '.join(rows.OBSERVED)}, number) "  # noqa: S608 - names of ours
    f"VALUES ({', '.join(f':{name}' for name in rows.OBSERVED)}, :number)"
)


def record(db: sqlite3.Connection, observation: Observation, rule: Rule, machines_kept: int) -> None:
    """Add one verdict, within a transaction of the caller's."""
    machine_id, version = observation.machine_id, observation.version
    if observation.also_called is not None:
        join(db, observation.also_called, machine_id, observation.at)
        _forget_versions(db, machine_id, VERSIONS_KEPT)
        _forget_alarms(db, machine_id)
    _hear(db, machine_id, observation.at, machines_kept)
    if not rows.is_known(db, machine_id, version):
        _forget_versions(db, machine_id, VERSIONS_KEPT - 1)
    number = rows.heard(db, machine_id, version) + 1 if observation.judged else None
    facts = {name: getattr(observation, name) for name in rows.OBSERVED}
    db.execute(INSERT, facts | {"number": number})
    if number is None:
        _forget_unusable(db, machine_id)
    else:
        _forget_verdicts(db, machine_id, version, number)
        _raise_or_clear(db, observation, rule)


def _hear(db: sqlite3.Connection, machine_id: str, at: str, machines_kept: int) -> None:
    known = db.execute("UPDATE machines SET heard_at = ? WHERE machine_id = ?", (at, machine_id)).rowcount
    if not known:
        db.execute("INSERT INTO machines VALUES (?, ?)", (machine_id, at))
        _forget_machines(db, machine_id, machines_kept)


def _raise_or_clear(db: sqlite3.Connection, observation: Observation, rule: Rule) -> None:
    machine_id, at = observation.machine_id, observation.at
    latest = [each.anomalous for each in rows.latest_verdicts(db, machine_id, rule.of)]
    lasting = rows.lasting_alarm(db, machine_id)
    alarmed = rule.alarmed(latest, before=lasting is not None)
    if alarmed and lasting is None:
        db.execute(
            "INSERT INTO alarms (machine_id, raised_at, version, anomalous, of) VALUES (?, ?, ?, ?, ?)",
            (machine_id, at, observation.version, sum(latest), len(latest)),
        )
        _forget_alarms(db, machine_id)
    elif lasting is not None and not alarmed:
        db.execute("UPDATE alarms SET cleared_at = ? WHERE id = ?", (at, lasting.id))


def _forget_machines(db: sqlite3.Connection, newcomer: str, kept: int) -> None:
    """Those in alarm last, and never the one that was just heard."""
    db.execute(
        "DELETE FROM machines WHERE machine_id IN (SELECT machines.machine_id FROM machines "
        "LEFT JOIN alarms ON alarms.machine_id = machines.machine_id AND cleared_at IS NULL "
        "WHERE machines.machine_id != ? ORDER BY alarms.id IS NOT NULL, heard_at "
        "LIMIT max(0, (SELECT count(*) FROM machines) - ?))",
        (newcomer, kept),
    )


def _forget_verdicts(db: sqlite3.Connection, machine_id: str, version: str, number: int) -> None:
    """Those between the first, which drift is measured from, and the last."""
    db.execute(
        "DELETE FROM observations WHERE machine_id = ? AND version = ? AND number > ? AND number <= ?",
        (machine_id, version, drift.MOST_SCORES, number - OBSERVATIONS_KEPT + drift.MOST_SCORES),
    )


def _forget_unusable(db: sqlite3.Connection, machine_id: str) -> None:
    db.execute(
        "DELETE FROM observations WHERE machine_id = ? AND number IS NULL AND id NOT IN "
        "(SELECT id FROM observations WHERE machine_id = ? AND number IS NULL ORDER BY id DESC LIMIT ?)",
        (machine_id, machine_id, UNUSABLE_KEPT),
    )


def _forget_versions(db: sqlite3.Connection, machine_id: str, kept: int) -> None:
    db.execute(
        "DELETE FROM observations WHERE machine_id = ? AND version NOT IN (SELECT version FROM observations "
        "WHERE machine_id = ? GROUP BY version ORDER BY max(id) DESC LIMIT ?)",
        (machine_id, machine_id, kept),
    )


def _forget_alarms(db: sqlite3.Connection, machine_id: str) -> None:
    db.execute(
        "DELETE FROM alarms WHERE machine_id = ? AND id NOT IN "
        "(SELECT id FROM alarms WHERE machine_id = ? ORDER BY id DESC LIMIT ?)",
        (machine_id, machine_id, ALARMS_KEPT),
    )
