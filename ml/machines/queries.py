"""Queries: the tables as the health of machines."""

import logging
import sqlite3

import numpy as np

from ml.detectors.alarm_rule import KOfNRule
from ml.machines import drift, rows
from ml.machines.alarms import Alarm, AlarmState, state_of
from ml.machines.drift import Drift
from ml.machines.health import Health, HealthSummary, VersionRecord
from ml.machines.repeats import count_identical
from ml.machines.rhythm import median_interval_s

logger = logging.getLogger("signalml.machines")
RECENT = 100


def states(db: sqlite3.Connection, rule: KOfNRule) -> dict[str, AlarmState]:
    """Return the state of each machine, in the order of names."""
    names = [row["machine_id"] for row in db.execute("SELECT machine_id FROM machines ORDER BY machine_id")]
    return {name: state(db, name, rule) for name in names}


def state(db: sqlite3.Connection, machine_id: str, rule: KOfNRule) -> AlarmState:
    """Return the state of one machine; ``normal`` without a record."""
    return _state(db, machine_id, rule, rows.active_alarm(db, machine_id))


def summaries(db: sqlite3.Connection, rule: KOfNRule) -> list[HealthSummary]:
    """Return the summary of each machine, in the order of names; damaged records are logged and left out."""
    found = []
    for row in db.execute("SELECT * FROM machines ORDER BY machine_id").fetchall():
        try:
            found.append(_summary(db, row, rule))
        except (ValueError, TypeError, LookupError) as error:
            logger.warning("the record of the machine %r is damaged: %s", row["machine_id"], error)
    return found


def health(db: sqlite3.Connection, machine_id: str, rule: KOfNRule, latest: int) -> Health:
    """Return all facts about a machine, with at most ``latest`` of its last recordings.

    Raises:
        MachineNotFound
    """
    return Health(
        summary=_summary(db, rows.require_machine(db, machine_id), rule),
        versions=_versions(db, machine_id),
        alarms=tuple(rows.parse_alarm(row) for row in _alarms(db, machine_id)),
        latest=tuple(rows.latest_observations(db, machine_id, latest)),
        every_s=median_interval_s([each.recorded_at for each in rows.latest_observations(db, machine_id, RECENT)]),
    )


def _summary(db: sqlite3.Connection, machine: sqlite3.Row, rule: KOfNRule) -> HealthSummary:
    machine_id = machine["machine_id"]
    (last,) = rows.latest_observations(db, machine_id, 1)
    verdicts = rows.latest_verdicts(db, machine_id, rule.n_verdicts)
    alarm = rows.active_alarm(db, machine_id)
    return HealthSummary(
        machine_id=machine_id,
        state=_state(db, machine_id, rule, alarm),
        heard_at=machine["heard_at"],
        version=last.version,
        anomalous=sum(each.anomalous for each in verdicts),
        n_verdicts=len(verdicts),
        unusable=_unusable(db, machine_id, rule),
        identical=count_identical(db, machine_id, rule.n_verdicts),
        drift=_drift(db, machine_id, last.version),
        alarm=alarm,
    )


def _state(db: sqlite3.Connection, machine_id: str, rule: KOfNRule, alarm: Alarm | None) -> AlarmState:
    without_news = max(_unusable(db, machine_id, rule), count_identical(db, machine_id, rule.n_verdicts))
    return state_of(rule, alarm, without_news)


def _unusable(db: sqlite3.Connection, machine_id: str, rule: KOfNRule) -> int:
    return sum(not each.judged for each in rows.latest_observations(db, machine_id, rule.n_verdicts))


def _versions(db: sqlite3.Connection, machine_id: str) -> tuple[VersionRecord, ...]:
    found = db.execute(
        "SELECT version, max(number) AS verdicts, count(number) AS kept, min(recorded_at) AS first_at, "
        "max(recorded_at) AS last_at "
        "FROM observations WHERE machine_id = ? GROUP BY version ORDER BY max(id) DESC",
        (machine_id,),
    ).fetchall()
    return tuple(_version(db, machine_id, row) for row in found)


def _version(db: sqlite3.Connection, machine_id: str, facts: sqlite3.Row) -> VersionRecord:
    found = db.execute(
        "SELECT * FROM observations WHERE machine_id = ? AND version = ? AND number IS NOT NULL "
        "ORDER BY number DESC LIMIT ?",
        (machine_id, facts["version"], RECENT),
    )
    recent = [rows.parse_observation(row) for row in found]
    return VersionRecord(
        version=facts["version"],
        observations=facts["verdicts"] or 0,
        kept=facts["kept"],
        first_at=facts["first_at"],
        last_at=facts["last_at"],
        threshold=recent[0].threshold if recent else None,
        recent_n=len(recent),
        recent_anomalous=sum(each.anomalous for each in recent),
        recent_median=float(np.median([each.score for each in recent])) if recent else None,
        drift=_drift(db, machine_id, facts["version"]),
    )


def _drift(db: sqlite3.Connection, machine_id: str, version: str) -> Drift:
    n_verdicts = rows.count_verdicts(db, machine_id, version)
    side = drift.scores_per_side(n_verdicts)
    found = db.execute(
        "SELECT score FROM observations WHERE machine_id = ? AND version = ? AND (number <= ? OR number > ?) "
        "ORDER BY number",
        (machine_id, version, side, n_verdicts - side),
    )
    scores = np.array([row["score"] for row in found])
    return drift.measure_drift(scores[:side], scores[side:])


def _alarms(db: sqlite3.Connection, machine_id: str) -> list[sqlite3.Row]:
    query = "SELECT * FROM alarms WHERE machine_id = ? ORDER BY raised_at DESC, id DESC"
    return db.execute(query, (machine_id,)).fetchall()
