"""Insertion of verdicts into the tables: each is numbered and counted for the alarm."""

import sqlite3

from ml.detectors.alarm_rule import KOfNRule
from ml.machines import retention, rows
from ml.machines.limits import VERSIONS_KEPT, MachineLimits
from ml.machines.merge import merge_machines
from ml.machines.observation import Observation

INSERT = (
    f"INSERT INTO observations ({', '.join(rows.OBSERVED)}, number) "  # noqa: S608 - names from this code
    f"VALUES ({', '.join(f':{name}' for name in rows.OBSERVED)}, :number)"
)


def insert_observation(db: sqlite3.Connection, observation: Observation, rule: KOfNRule, limits: MachineLimits) -> bool:
    """Add one verdict, within a transaction of the caller.

    Returns:
        Whether it was added. If there are ``limits.kept`` machines, an API key makes a new one only in place of one
        that it made itself.
    """
    machine_id, version = observation.machine_id, observation.version
    if observation.other_name is not None:
        merge_machines(db, observation.other_name, machine_id, observation.at)
    if not _touch_machine(db, observation, limits):
        return False
    if not rows.version_exists(db, machine_id, version):
        retention.delete_oldest_versions(db, machine_id, VERSIONS_KEPT - 1)
    number = rows.count_verdicts(db, machine_id, version) + 1 if observation.judged else None
    facts = {name: getattr(observation, name) for name in rows.OBSERVED}
    db.execute(INSERT, facts | {"number": number})
    if number is None:
        retention.delete_oldest_unusable(db, machine_id)
    else:
        retention.delete_middle_verdicts(db, machine_id, version, number)
        _raise_or_clear(db, observation, rule)
    return True


def _touch_machine(db: sqlite3.Connection, observation: Observation, limits: MachineLimits) -> bool:
    """Set the time of a machine's last recording; make the machine if it is new. False if it has no place."""
    machine_id, at, made_by = observation.machine_id, observation.at, observation.made_by
    if db.execute("UPDATE machines SET heard_at = ? WHERE machine_id = ?", (at, machine_id)).rowcount:
        return True
    if not retention.make_place(db, limits, made_by):
        return False
    db.execute("INSERT INTO machines VALUES (?, ?)", (machine_id, at))
    if made_by is not None:
        db.execute("INSERT INTO makers VALUES (?, ?)", (machine_id, made_by))
    return True


def _raise_or_clear(db: sqlite3.Connection, observation: Observation, rule: KOfNRule) -> None:
    machine_id, at = observation.machine_id, observation.at
    latest = [each.anomalous for each in rows.latest_verdicts(db, machine_id, rule.n_verdicts)]
    active = rows.active_alarm(db, machine_id)
    alarmed = rule.is_in_alarm(latest, before=active is not None)
    if alarmed and active is None:
        db.execute(
            "INSERT INTO alarms (machine_id, raised_at, version, anomalous, of) VALUES (?, ?, ?, ?, ?)",
            (machine_id, at, observation.version, sum(latest), len(latest)),
        )
        retention.delete_oldest_alarms(db, machine_id)
    elif active is not None and not alarmed:
        db.execute("UPDATE alarms SET cleared_at = ? WHERE id = ?", (at, active.id))
