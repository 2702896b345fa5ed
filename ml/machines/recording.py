"""Verdicts into the tables: numbered, and counted for the alarm."""

import sqlite3

from ml.machines import retention as forgetting
from ml.machines import rows
from ml.machines.alarms import Rule
from ml.machines.merge import join
from ml.machines.observation import Observation

INSERT = (
    f"INSERT INTO observations ({', '.join(rows.OBSERVED)}, number) "  # noqa: S608 - names of ours
    f"VALUES ({', '.join(f':{name}' for name in rows.OBSERVED)}, :number)"
)


def record(db: sqlite3.Connection, observation: Observation, rule: Rule, machines_kept: int) -> None:
    """Add one verdict, within a transaction of the caller's."""
    machine_id, version = observation.machine_id, observation.version
    if observation.also_called is not None:
        join(db, observation.also_called, machine_id, observation.at)
    _hear(db, machine_id, observation.at, machines_kept)
    if not rows.is_known(db, machine_id, version):
        forgetting.versions(db, machine_id, forgetting.VERSIONS_KEPT - 1)
    number = rows.heard(db, machine_id, version) + 1 if observation.judged else None
    facts = {name: getattr(observation, name) for name in rows.OBSERVED}
    db.execute(INSERT, facts | {"number": number})
    if number is None:
        forgetting.unusable(db, machine_id)
    else:
        forgetting.verdicts(db, machine_id, version, number)
        _raise_or_clear(db, observation, rule)


def _hear(db: sqlite3.Connection, machine_id: str, at: str, machines_kept: int) -> None:
    known = db.execute("UPDATE machines SET heard_at = ? WHERE machine_id = ?", (at, machine_id)).rowcount
    if not known:
        db.execute("INSERT INTO machines VALUES (?, ?)", (machine_id, at))
        forgetting.machines(db, machine_id, machines_kept)


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
        forgetting.alarms(db, machine_id)
    elif lasting is not None and not alarmed:
        db.execute("UPDATE alarms SET cleared_at = ? WHERE id = ?", (at, lasting.id))
