"""Scores of a machine over a year: sums for each hour, joined to points."""

import sqlite3
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ml.machines.history import HOURS_KEPT
from ml.machines.ledger import Ledger
from ml.machines.observation import Observation
from tests.unit.ledgers import FILE, observation

BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)
YEAR = 365 * 24


def at(hours: float) -> str:
    """A time, in hours after the beginning of the year."""
    return (BEGINNING + timedelta(hours=hours)).isoformat(timespec="milliseconds")


def verdict(hours: float, kind: str = ".", score: float = 0.2, machine_id: str = "fan-3") -> Observation:
    """A verdict on a recording of this time."""
    return replace(observation(kind, machine_id, score=score), recorded_at=at(hours), time_from="request")


def record(home: Path, *verdicts: Observation) -> None:
    """Record verdicts in this order."""
    with Ledger(home, create=True) as ledger:
        ledger.record(verdicts)


def test_an_hour_has_counts_and_scores(tmp_path: Path) -> None:
    """A recording that could not be judged has no score."""
    some = [verdict(0.1), verdict(0.5, "!", 0.8), verdict(0.2, "?", 0.99), verdict(3.0, ".", 0.4)]
    record(tmp_path, *some)
    with Ledger(tmp_path) as ledger:
        first, second = ledger.score_points("fan-3", at(0), at(5), 100)
    assert (first.judged, first.anomalous, first.unusable) == (2, 1, 1)
    assert (first.mean, first.lowest, first.highest) == (0.5, 0.2, 0.8)
    assert (first.begins, first.ends) == (at(0), at(1))
    assert (second.begins, second.judged, second.mean) == (at(3), 1, 0.4)


def test_an_hour_that_was_not_judged_has_no_score(tmp_path: Path) -> None:
    """And one that was judged later gets its scores."""
    record(tmp_path, verdict(0.1, "?"))
    with Ledger(tmp_path) as ledger:
        (point,) = ledger.score_points("fan-3", at(0), at(5), 100)
    assert (point.mean, point.lowest, point.highest, point.unusable) == (None, None, None, 1)
    record(tmp_path, verdict(0.2, "!", 0.7))
    with Ledger(tmp_path) as ledger:
        (point,) = ledger.score_points("fan-3", at(0), at(5), 100)
    assert (point.mean, point.lowest, point.highest, point.unusable) == (0.7, 0.7, 0.7, 1)


@pytest.mark.parametrize("most", [1, 3, 7, 24, 1000])
def test_joined_hours_have_the_sums(tmp_path: Path, most: int) -> None:
    """However many points are wanted; each is as long as the others."""
    some = [verdict(hour, ".!"[hour % 3 == 0], score=hour / 100) for hour in range(50)]
    record(tmp_path, *some)
    with Ledger(tmp_path) as ledger:
        points = ledger.score_points("fan-3", at(0), at(49), most)
    assert len(points) <= most
    assert sum(point.judged for point in points) == 50
    assert sum(point.anomalous for point in points) == 17
    assert max(point.highest or 0 for point in points) == 0.49
    assert len({_length(point.begins, point.ends) for point in points}) == 1
    mean = sum((point.mean or 0) * point.judged for point in points) / 50
    assert mean == pytest.approx(0.245)


def _length(begins: str, ends: str) -> timedelta:
    return datetime.fromisoformat(ends) - datetime.fromisoformat(begins)


def test_the_last_version_and_threshold_of_a_point_count(tmp_path: Path) -> None:
    """A model changed within it."""
    old, new = verdict(1), replace(verdict(2), version="fan-2", threshold=0.7)
    record(tmp_path, new, old)
    with Ledger(tmp_path) as ledger:
        (point,) = ledger.score_points("fan-3", at(0), at(9), 1)
    assert (point.version, point.threshold, point.judged) == ("fan-2", 0.7, 2)


def test_deleted_verdicts_stay_in_the_sums(tmp_path: Path) -> None:
    """Of a version, 1000 verdicts are kept."""
    record(tmp_path, *[verdict(number / 10) for number in range(1500)])
    with Ledger(tmp_path) as ledger:
        points = ledger.score_points("fan-3", at(0), at(200), 500)
    assert sum(point.judged for point in points) == 1500


def test_a_repeated_upload_counts_once(tmp_path: Path) -> None:
    """As in the record."""
    once = replace(verdict(1), digest="abc")
    record(tmp_path, once, once)
    with Ledger(tmp_path) as ledger:
        assert [point.judged for point in ledger.score_points("fan-3", at(0), at(5), 9)] == [1]


def test_two_names_of_a_machine_are_joined(tmp_path: Path) -> None:
    """When its records are merged."""
    record(tmp_path, verdict(1, machine_id="id_00", score=0.1), verdict(2, machine_id="id_00", score=0.3))
    record(tmp_path, replace(verdict(1.5, machine_id="fan/id_00", score=0.5), other_name="id_00"))
    with Ledger(tmp_path) as ledger:
        first, second = ledger.score_points("fan/id_00", at(0), at(5), 99)
    assert (first.judged, first.lowest, first.highest) == (2, 0.1, 0.5)
    assert (second.judged, second.mean) == (1, 0.3)


def test_old_hours_are_deleted(tmp_path: Path) -> None:
    """400 days before the newest one."""
    record(tmp_path, verdict(0), verdict(1), verdict(HOURS_KEPT))
    with sqlite3.connect(tmp_path / FILE) as db:
        assert db.execute("SELECT count(*) FROM hours").fetchone() == (2,)
    db.close()


def test_a_record_of_an_earlier_version_gets_its_hours(tmp_path: Path) -> None:
    """From the verdicts that are kept, also if it is only read."""
    record(tmp_path, verdict(1), verdict(2, "!", 0.9), verdict(2.5, "?"))
    with Ledger(tmp_path) as ledger:
        expected = ledger.score_points("fan-3", at(0), at(5), 99)
    with sqlite3.connect(tmp_path / FILE) as db:
        db.execute("DROP TABLE hours")
    db.close()
    with Ledger(tmp_path) as ledger:
        assert ledger.score_points("fan-3", at(0), at(5), 99) == expected


def test_a_year_is_read_within_a_tenth_of_a_second(tmp_path: Path) -> None:
    """With a recording every hour: the shortest of five times."""
    record(tmp_path, verdict(0))
    with sqlite3.connect(tmp_path / FILE) as db:
        db.executemany(
            "INSERT OR REPLACE INTO hours VALUES ('fan-3', ?, 'fan-1', 6, 1, 0, 1.2, 0.1, 0.7, 0.5)",
            [(int(BEGINNING.timestamp()) // 3600 + hour,) for hour in range(YEAR)],
        )
    db.close()
    times = []
    with Ledger(tmp_path) as ledger:
        for _ in range(5):
            began = time.perf_counter()
            points = ledger.score_points("fan-3", at(0), at(YEAR - 1), 500)
            times.append(time.perf_counter() - began)
    assert sum(point.judged for point in points) == 6 * YEAR
    assert 400 < len(points) <= 500
    assert min(times) < 0.1
