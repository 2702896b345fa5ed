"""Verdicts on machines for tests, and the record that results."""

import sqlite3
from pathlib import Path

from ml.machines.alarms import Acknowledgement
from ml.machines.ledger import Ledger
from ml.machines.observation import Observation
from ml.models.verdict import VerdictValue
from ml.system.clock import timestamp

FILE = "machines/health.sqlite3"
VERDICTS: dict[str, VerdictValue] = {".": "normal", "!": "anomalous", "?": "unusable"}
SEEN = Acknowledgement("2026-11-24T20:01:00.000+00:00", "Ana", "control-room", "Bearing ordered")


def observation(
    verdict: str = ".", machine_id: str = "fan-3", version: str = "fan-1", score: float = 0.2
) -> Observation:
    """One verdict: ``.`` is normal, ``!`` is anomalous, ``?`` is unusable."""
    return Observation(machine_id, timestamp(), version, 1, score, 0.5, VERDICTS[verdict], "normal")


def record(home: Path, verdicts: str, machine_id: str = "fan-3", version: str = "fan-1", **settings: int) -> None:
    """Record verdicts on one machine in order, with a ledger that was just opened."""
    with Ledger(home, create=True, **settings) as ledger:
        ledger.record([observation(verdict, machine_id, version) for verdict in verdicts])


def acknowledge(home: Path, machine_id: str = "fan-3", alarm_id: int | None = None) -> int:
    """Acknowledge the alarm of a machine; returns the alarm's id."""
    with Ledger(home) as ledger:
        return ledger.acknowledge(machine_id, SEEN, alarm_id).id


def states(home: Path) -> dict[str, str]:
    """The state of each machine."""
    with Ledger(home) as ledger:
        return dict(ledger.states())


def numbers(home: Path) -> list[int]:
    """The numbers of the stored verdicts, in the order of recording."""
    with sqlite3.connect(home / FILE) as db:
        found = [row[0] for row in db.execute("SELECT number FROM observations ORDER BY id")]
    db.close()
    return found
