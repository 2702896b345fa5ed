"""Scores of a machine over a year: sums for each hour, which stay when single verdicts are deleted.

Each recorded verdict is added to the row of its hour and model version. An answer joins neighbouring hours until there
are few enough points for a picture.
"""

import sqlite3
from datetime import UTC, datetime
from typing import NamedTuple

from ml.machines.observation import Observation

HOUR_S = 3600
HOURS_KEPT = 400 * 24  # of one machine
LAST_HOUR = int(datetime(9999, 12, 31, 23, tzinfo=UTC).timestamp()) // HOUR_S  # of the calendar
# Later than the other tables: made in files of earlier versions when they are opened for writing.
HOURS = """
CREATE TABLE hours (
    machine_id TEXT NOT NULL REFERENCES machines ON DELETE CASCADE,
    hour INTEGER NOT NULL,  -- since 1970, UTC
    version TEXT NOT NULL,
    judged INTEGER NOT NULL,
    anomalous INTEGER NOT NULL,
    unusable INTEGER NOT NULL,
    score_sum REAL NOT NULL,  -- of the judged recordings, as the next two
    score_min REAL,
    score_max REAL,
    threshold REAL NOT NULL,  -- of the last one
    PRIMARY KEY (machine_id, hour, version)
) WITHOUT ROWID;
INSERT INTO hours
SELECT
    machine_id, CAST(strftime('%s', recorded_at) AS INTEGER) / 3600, version, count(number), sum(verdict = 'anomalous'),
    sum(number IS NULL), total(CASE WHEN number IS NOT NULL THEN score END),
    min(CASE WHEN number IS NOT NULL THEN score END), max(CASE WHEN number IS NOT NULL THEN score END), max(threshold)
FROM observations GROUP BY 1, 2, 3;
"""
ADD = """
INSERT INTO hours VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET
    judged = judged + excluded.judged,
    anomalous = anomalous + excluded.anomalous,
    unusable = unusable + excluded.unusable,
    score_sum = score_sum + excluded.score_sum,
    score_min = min(ifnull(score_min, excluded.score_min), ifnull(excluded.score_min, score_min)),
    score_max = max(ifnull(score_max, excluded.score_max), ifnull(excluded.score_max, score_max)),
    threshold = excluded.threshold
"""


class ScorePoint(NamedTuple):
    """Verdicts on a machine within some time.

    Attributes:
        begins, ends: the time, ISO 8601, UTC; ``ends`` is not part of it.
        judged, anomalous, unusable: number of judged recordings, of anomalous ones among them, and of recordings that
            could not be judged.
        mean, lowest, highest: scores of the judged recordings; None without any.
        threshold: threshold of the last recording.
        version: model version of the last recording.
    """

    begins: str
    ends: str
    judged: int
    anomalous: int
    unusable: int
    mean: float | None
    lowest: float | None
    highest: float | None
    threshold: float
    version: str


def has_hours(db: sqlite3.Connection) -> bool:
    """Check that the table exists."""
    return db.execute("SELECT 1 FROM sqlite_master WHERE name = 'hours'").fetchone() is not None


def make_hours(db: sqlite3.Connection) -> None:
    """Make the table if it is absent, and fill it from the verdicts that are kept."""
    if not has_hours(db):
        db.executescript(f"BEGIN IMMEDIATE; {HOURS} COMMIT;")


def add_to_hour(db: sqlite3.Connection, observation: Observation, recorded_at: str) -> None:
    """Add a verdict to its hour, within a transaction of the caller; hours that are too old are deleted.

    Args:
        db: the database.
        observation: the verdict.
        recorded_at: time that decides its place, ISO 8601, UTC.
    """
    hour, machine_id = hour_of(recorded_at), observation.machine_id
    newest = db.execute("SELECT max(hour) FROM hours WHERE machine_id = ?", (machine_id,)).fetchone()[0]
    judged, score = int(observation.judged), observation.score if observation.judged else None
    counts = (judged, int(observation.anomalous), 1 - judged)
    db.execute(ADD, (machine_id, hour, observation.version, *counts, score or 0.0, score, score, observation.threshold))
    if newest is None or hour > newest:
        db.execute("DELETE FROM hours WHERE machine_id = ? AND hour <= ?", (machine_id, hour - HOURS_KEPT))


def move_hours(db: sqlite3.Connection, other: str, machine_id: str) -> None:
    """Add the hours of another name of a machine to those of the machine, within a transaction of the caller."""
    columns = "hour, version, judged, anomalous, unusable, score_sum, score_min, score_max, threshold"
    moved = db.execute(f"SELECT ?, {columns} FROM hours WHERE machine_id = ?", (machine_id, other)).fetchall()  # noqa: S608 - names from this code
    db.executemany(ADD, map(tuple, moved))
    db.execute("DELETE FROM hours WHERE machine_id = ?", (other,))


def score_points(db: sqlite3.Connection, machine_id: str, since: str, until: str, most: int) -> list[ScorePoint]:
    """Return the verdicts on a machine as at most ``most`` points of equal length, in time order.

    Args:
        db: the database.
        machine_id: name of the machine.
        since: beginning, ISO 8601; whole hours are returned.
        until: end, ISO 8601.
        most: largest number of points, at least 1. Points without recordings are left out.
    """
    first, last = hour_of(since), hour_of(until)
    width = max(1, -(-(last - first + 1) // most))
    # In SQLite, the other columns of a row with max() are those of the row that has the maximum.
    wanted = {"first": first, "width": width, "machine_id": machine_id, "last": last}
    rows = db.execute(
        "SELECT (hour - :first) / :width AS place, sum(judged) AS judged, sum(anomalous) AS anomalous, "
        "sum(unusable) AS unusable, sum(score_sum) AS score_sum, min(score_min) AS lowest, max(score_max) AS highest "
        "FROM hours WHERE machine_id = :machine_id AND hour BETWEEN :first AND :last GROUP BY place ORDER BY place",
        wanted,
    ).fetchall()
    latest = db.execute(
        "SELECT (hour - :first) / :width AS place, max(hour), version, threshold FROM hours "
        "WHERE machine_id = :machine_id AND hour BETWEEN :first AND :last GROUP BY place ORDER BY place",
        wanted,
    ).fetchall()
    return [
        ScorePoint(
            begins=_time_of(first + row["place"] * width),
            ends=_time_of(first + (row["place"] + 1) * width),
            judged=row["judged"],
            anomalous=row["anomalous"],
            unusable=row["unusable"],
            mean=row["score_sum"] / row["judged"] if row["judged"] else None,
            lowest=row["lowest"],
            highest=row["highest"],
            threshold=last_one["threshold"],
            version=last_one["version"],
        )
        for row, last_one in zip(rows, latest, strict=True)
    ]


def hour_of(time: str) -> int:
    """Return the hour of a time, in hours since 1970.

    Example:
        >>> hour_of("1970-01-02T03:59:59.999+00:00")
        27
    """
    return int(datetime.fromisoformat(time).timestamp() // HOUR_S)


def _time_of(hour: int) -> str:
    return datetime.fromtimestamp(min(hour, LAST_HOUR) * HOUR_S, UTC).isoformat(timespec="milliseconds")
