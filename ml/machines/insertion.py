"""Insertion of verdicts into the tables: each is put where its time belongs, numbered, and counted for the alarm."""

import sqlite3
from collections.abc import Iterable

from ml.detectors.alarm_rule import KOfNRule
from ml.machines import history, repeats, retention, rows
from ml.machines.alarm_replay import replay_alarms
from ml.machines.limits import VERSIONS_KEPT, MachineLimits
from ml.machines.merge import merge_machines
from ml.machines.numbering import number_in_order
from ml.machines.observation import Observation

INSERT = (
    f"INSERT INTO observations ({', '.join(rows.OBSERVED)}, number) "  # noqa: S608 - names from this code
    f"VALUES ({', '.join(f':{name}' for name in rows.OBSERVED)}, :number)"
)


def insert_observations(
    db: sqlite3.Connection, observations: Iterable[Observation], rule: KOfNRule, limits: MachineLimits
) -> list[Observation]:
    """Add verdicts in the order of their arrival, within a transaction of the caller.

    Args:
        db: the database.
        observations: the verdicts, at most ``limits.INSERTED_AT_ONCE``.
        rule: alarm rule.
        limits: largest numbers of machines. If there are ``limits.kept`` machines, an API key makes a new one only in
            place of one that it made itself.

    Returns:
        Those that were not added, because their machine is new and has no place.
    """
    inserted, refused = [], []
    for each in observations:
        try:
            row = _insert(db, each, limits)
        except _NoPlace:
            refused.append(each)
        else:
            inserted += [] if row is None else [row]
    if inserted:
        first = min(inserted)
        machines = db.execute("SELECT DISTINCT machine_id FROM observations WHERE id >= ?", (first,)).fetchall()
        for (machine_id,) in machines:
            _update_machine(db, machine_id, first, rule)
    return refused


class _NoPlace(Exception):
    """A new machine has no place among the machines that are kept."""


def _insert(db: sqlite3.Connection, observation: Observation, limits: MachineLimits) -> int | None:
    """Add one verdict with a preliminary number; return its row, or None for a repeated upload."""
    machine_id, version = observation.machine_id, observation.version
    if observation.other_name is not None:
        merge_machines(db, observation.other_name, machine_id, observation.at)
    repeat = repeats.find_repeat(db, observation)
    if observation.request is not None and observation.digest is not None:
        repeats.remember_request(db, observation.request, observation.digest, observation.at)
    if repeat is not None:
        repeats.count_repeat(db, repeat, observation)
        return None
    _touch_machine(db, observation, limits)
    if not rows.version_exists(db, machine_id, version):
        retention.delete_oldest_versions(db, machine_id, VERSIONS_KEPT - 1)
    number = rows.count_verdicts(db, machine_id, version) + 1 if observation.judged else None
    facts = {name: getattr(observation, name) for name in rows.OBSERVED}
    facts |= {"number": number, "recorded_at": _place(db, observation)}
    row = db.execute(INSERT, facts).lastrowid
    history.add_to_hour(db, observation, facts["recorded_at"])
    return row


def _place(db: sqlite3.Connection, observation: Observation) -> str:
    """Return the time that decides the order. Without a known time, a verdict comes after all earlier such ones.

    So neither a clock that is set back nor two processes at once change the order of arrival.
    """
    if observation.stated_at is not None:
        return observation.stated_at
    query = "SELECT max(recorded_at) FROM observations WHERE machine_id = ? AND time_from = 'arrival'"
    latest = db.execute(query, (observation.machine_id,)).fetchone()[0]
    return max(observation.recorded_at, latest or "")


def _touch_machine(db: sqlite3.Connection, observation: Observation, limits: MachineLimits) -> None:
    """Set the time of a machine's last recording; make the machine if it is new.

    Raises:
        _NoPlace
    """
    machine_id, at, made_by = observation.machine_id, observation.at, observation.made_by
    if db.execute("UPDATE machines SET heard_at = ? WHERE machine_id = ?", (at, machine_id)).rowcount:
        return
    if not retention.make_place(db, limits, made_by):
        raise _NoPlace
    db.execute("INSERT INTO machines VALUES (?, ?)", (machine_id, at))
    if made_by is not None:
        db.execute("INSERT INTO makers VALUES (?, ?)", (machine_id, made_by))


def _update_machine(db: sqlite3.Connection, machine_id: str, first_new: int, rule: KOfNRule) -> None:
    """Put the new verdicts of a machine in their order, decide its alarms again from there, and delete old rows."""
    query = (
        "SELECT version, count(*) FROM observations WHERE machine_id = ? AND id >= ? AND number IS NOT NULL "
        "GROUP BY version"
    )
    new = {version: count for version, count in db.execute(query, (machine_id, first_new))}  # noqa: C416 - of rows
    for version, count in new.items():
        number_in_order(db, machine_id, version, count)
    replay_alarms(db, machine_id, first_new, rule)
    for version in new:
        retention.delete_middle_verdicts(db, machine_id, version, rows.count_verdicts(db, machine_id, version))
    retention.delete_oldest_unusable(db, machine_id)
