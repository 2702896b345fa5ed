"""Alarms from the verdicts of a machine, in the order of the times of its recordings.

A new verdict that is the latest adds one decision. After a verdict that arrived late, all decisions from its place on
are made again, so that the alarms are those of an arrival in order.

- An alarm that is still decided keeps its id and its acknowledgement, also if its start or its end moves.
- An alarm that is not decided any more is deleted; one that a person has acknowledged stays in the history, cleared.
"""

import sqlite3
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ml.detectors.alarm_rule import KOfNRule
from ml.machines import retention
from ml.machines.limits import REPLAYED

VERDICTS = "SELECT id, recorded_at, version, verdict FROM observations WHERE machine_id = ? AND number IS NOT NULL"
NEWEST_FIRST = "ORDER BY recorded_at DESC, id DESC"


@dataclass(slots=True)
class _Interval:
    """Alarm that the rule decides: the verdict that raises it, the counts, and the verdict that clears it."""

    raised: Any
    anomalous: int
    of: int
    cleared: Any = None
    alarm_id: int | None = None


def replay_alarms(db: sqlite3.Connection, machine_id: str, first_new: int, rule: KOfNRule) -> None:
    """Decide the alarms of a machine again, from its earliest new verdict on, within a transaction of the caller.

    A verdict with more than ``limits.REPLAYED`` later ones changes no alarm: not all verdicts before it are kept.

    Args:
        db: the database.
        machine_id: name of the machine.
        first_new: smallest id of the new verdicts.
        rule: alarm rule.
    """
    query = f"{VERDICTS} AND id >= ? ORDER BY recorded_at, id LIMIT 1"
    first = db.execute(query, (machine_id, first_new)).fetchone()
    if first is None:
        return
    query = f"{VERDICTS} AND (recorded_at, id) >= (?, ?) {NEWEST_FIRST} LIMIT ?"
    replayed = db.execute(query, (machine_id, *_key(first), REPLAYED)).fetchall()[::-1]
    query = f"{VERDICTS} AND (recorded_at, id) < (?, ?) {NEWEST_FIRST} LIMIT ?"
    earlier = db.execute(query, (machine_id, *_key(replayed[0]), rule.n_verdicts - 1)).fetchall()[::-1]
    alarms = _alarms_from(db, machine_id, replayed[0])
    _store(db, machine_id, alarms, _decide(earlier, replayed, rule, _alarm_before(alarms, replayed[0])))


def _key(row: sqlite3.Row) -> tuple[str, int]:
    return row["recorded_at"], row["id"]


def _raised(alarm: sqlite3.Row) -> tuple[str, int]:
    return alarm["raised_at"], alarm["raised_by"] or 0


def _cleared(alarm: sqlite3.Row) -> tuple[str, int]:
    return alarm["cleared_at"], alarm["cleared_by"] or 0


def _alarms_from(db: sqlite3.Connection, machine_id: str, start: sqlite3.Row) -> list[sqlite3.Row]:
    """Return the alarms that end at a verdict or later, the oldest first."""
    query = (
        "SELECT * FROM alarms WHERE machine_id = ? AND (cleared_at IS NULL OR cleared_at >= ?) ORDER BY raised_at, id"
    )
    found = db.execute(query, (machine_id, start["recorded_at"])).fetchall()
    return [alarm for alarm in found if alarm["cleared_at"] is None or _cleared(alarm) >= _key(start)]


def _alarm_before(alarms: Sequence[sqlite3.Row], start: sqlite3.Row) -> sqlite3.Row | None:
    """Return the alarm that was active just before a verdict; None without one."""
    return next((alarm for alarm in alarms if _raised(alarm) < _key(start)), None)


def _decide(
    earlier: Sequence[sqlite3.Row], replayed: Sequence[sqlite3.Row], rule: KOfNRule, before: sqlite3.Row | None
) -> list[_Interval]:
    """Return the alarms of the replayed verdicts; the earlier ones are only counted."""
    found: list[_Interval] = []
    active: _Interval | None = None
    if before is not None:
        active = _Interval(None, before["anomalous"], before["of"], alarm_id=before["id"])
        found.append(active)
    counted = deque((row["verdict"] == "anomalous" for row in earlier), maxlen=rule.n_verdicts)
    for row in replayed:
        counted.append(row["verdict"] == "anomalous")
        alarmed = rule.is_in_alarm(counted, before=active is not None)
        if alarmed and active is None:
            active = _Interval(row, sum(counted), len(counted))
            found.append(active)
        elif active is not None and not alarmed:
            active.cleared, active = row, None
    return found


def _store(
    db: sqlite3.Connection, machine_id: str, alarms: Sequence[sqlite3.Row], decided: Sequence[_Interval]
) -> None:
    _match(alarms, decided)
    kept = {each.alarm_id for each in decided}
    for alarm in alarms:
        if alarm["id"] not in kept:
            _withdraw(db, alarm)
    # Only one alarm of a machine may be active at any time: those that end are written before the one that lasts.
    for each in sorted(decided, key=lambda each: each.cleared is None):
        _write(db, machine_id, each)
    retention.delete_oldest_alarms(db, machine_id)


def _match(alarms: Sequence[sqlite3.Row], decided: Sequence[_Interval]) -> None:
    """Give each decided alarm the id of the first known alarm that overlaps it and has no other one."""
    taken = {each.alarm_id for each in decided}
    for each in decided:
        for alarm in alarms:
            if each.alarm_id is None and alarm["id"] not in taken and _overlap(alarm, each):
                each.alarm_id = alarm["id"]
                taken.add(alarm["id"])


def _overlap(alarm: sqlite3.Row, decided: _Interval) -> bool:
    starts_before_end = decided.cleared is None or _raised(alarm) < _key(decided.cleared)
    return starts_before_end and (alarm["cleared_at"] is None or _cleared(alarm) > _key(decided.raised))


def _withdraw(db: sqlite3.Connection, alarm: sqlite3.Row) -> None:
    if alarm["acknowledged_at"] is None:
        db.execute("DELETE FROM alarms WHERE id = ?", (alarm["id"],))
    else:
        query = "UPDATE alarms SET cleared_at = coalesce(cleared_at, raised_at), cleared_by = raised_by WHERE id = ?"
        db.execute(query, (alarm["id"],))


def _write(db: sqlite3.Connection, machine_id: str, decided: _Interval) -> None:
    end = (None, None) if decided.cleared is None else _key(decided.cleared)
    if decided.raised is None:
        db.execute("UPDATE alarms SET cleared_at = ?, cleared_by = ? WHERE id = ?", (*end, decided.alarm_id))
        return
    facts = (*_key(decided.raised), decided.raised["version"], decided.anomalous, decided.of, *end)
    if decided.alarm_id is None:
        db.execute(
            "INSERT INTO alarms (raised_at, raised_by, version, anomalous, of, cleared_at, cleared_by, machine_id) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (*facts, machine_id),
        )
    else:
        db.execute(
            "UPDATE alarms SET raised_at = ?, raised_by = ?, version = ?, anomalous = ?, of = ?, cleared_at = ?, "
            "cleared_by = ? WHERE id = ?",
            (*facts, decided.alarm_id),
        )
