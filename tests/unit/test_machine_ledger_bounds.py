"""Limits of the record of machines: verdicts, versions, alarms, machines, and drift from the first scores."""

import sqlite3
from pathlib import Path

import pytest

from ml.machines.ledger import Ledger
from ml.machines.limits import ALARMS_KEPT, OBSERVATIONS_KEPT, UNUSABLE_KEPT, VERSIONS_KEPT
from tests.unit.ledgers import FILE, numbers, observation, record, states


def test_of_many_verdicts_the_first_and_the_last_are_kept(tmp_path: Path) -> None:
    """The first hundred are kept as reference of the drift, and the last nine hundred."""
    record(tmp_path, "." * 2345)
    assert numbers(tmp_path) == [*range(1, 101), *range(2345 - 899, 2346)]
    with Ledger(tmp_path) as ledger:
        (version,) = ledger.health("fan-3", latest=0).versions
    assert (version.observations, version.kept, version.recent_n) == (2345, OBSERVATIONS_KEPT, 100)


def test_drift_is_measured_from_the_first_scores(tmp_path: Path) -> None:
    """Scores that rise slowly are far from the first ones in the end."""
    with Ledger(tmp_path, create=True) as ledger:
        ledger.record([observation(score=i / 4000) for i in range(2000)])
        (summary,) = ledger.summaries()
    assert (summary.drift.state, summary.drift.effect) == ("drifting", 1.0)
    assert (summary.drift.reference_n, summary.drift.recent_n) == (100, 100)
    assert summary.drift.reference_median == pytest.approx(49.5 / 4000)
    assert summary.drift.recent_median == pytest.approx(1949.5 / 4000)


def test_a_new_version_has_a_drift_of_its_own(tmp_path: Path) -> None:
    """Scores of two versions are never compared."""
    with Ledger(tmp_path, create=True) as ledger:
        ledger.record([observation(score=0.1, version="fan-1") for _ in range(150)])
        ledger.record([observation(score=0.9, version="fan-2") for _ in range(150)])
        health = ledger.health("fan-3", latest=0)
    assert [version.drift.state for version in health.versions] == ["steady", "steady"]
    assert health.summary.drift.reference_median == 0.9


def test_unusable_recordings_do_not_count_for_drift(tmp_path: Path) -> None:
    """Their scores are ignored."""
    with Ledger(tmp_path, create=True) as ledger:
        for _ in range(120):
            ledger.record([observation(".", score=0.2), observation("?", score=1.0)])
        (summary,) = ledger.summaries()
    assert (summary.drift.state, summary.drift.reference_n, summary.drift.recent_median) == ("steady", 60, 0.2)


def test_versions_alarms_and_unusable_recordings_are_limited(tmp_path: Path) -> None:
    """The last ones of each are kept."""
    for number in range(5):
        record(tmp_path, ".", version=f"fan-{number}")
    record(tmp_path, "?" * (UNUSABLE_KEPT + 30), version="fan-9")
    record(tmp_path, "!!!...." * (ALARMS_KEPT + 5), version="fan-9")
    with Ledger(tmp_path) as ledger:
        health = ledger.health("fan-3", latest=OBSERVATIONS_KEPT)
    assert [version.version for version in health.versions] == ["fan-9", "fan-4", "fan-3"][:VERSIONS_KEPT]
    assert [alarm.id for alarm in health.alarms] == list(range(ALARMS_KEPT + 5, 5, -1))
    assert sum(not each.judged for each in health.latest) == UNUSABLE_KEPT


def test_a_new_machine_replaces_the_one_without_a_verdict_for_longest(tmp_path: Path) -> None:
    """Machines in alarm are replaced last; a replaced machine's alarms are removed too."""
    record(tmp_path, "!!!", "ill", machines_kept=3)
    record(tmp_path, "!!!....", "old", machines_kept=3)
    record(tmp_path, ".", "young", machines_kept=3)
    record(tmp_path, ".", "old", machines_kept=3)
    record(tmp_path, ".", "new", machines_kept=3)
    assert states(tmp_path) == {"ill": "alarm", "new": "normal", "old": "normal"}
    for name in ("a", "b", "c"):
        record(tmp_path, "!!!", name, machines_kept=3)
    assert list(states(tmp_path)) == ["a", "b", "c"]
    with sqlite3.connect(tmp_path / FILE) as db:
        left = {row[0] for row in db.execute("SELECT machine_id FROM alarms UNION SELECT machine_id FROM observations")}
    db.close()
    assert left == {"a", "b", "c"}
