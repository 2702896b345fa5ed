"""What another threshold would have meant for a machine: the alarm rule, applied again to its scores."""

from dataclasses import replace
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from ml.detectors.alarm_rule import KOfNRule
from ml.machines.ledger import Ledger
from ml.machines.observation import Observation
from ml.machines.threshold_preview import AlarmTime, preview_machine
from tests.unit.ledgers import observation

RULE = KOfNRule(raise_at=2, n_verdicts=3, clear_at=0)
THRESHOLD = 0.5


def at(minute: int) -> str:
    """A time of a day."""
    return f"2026-01-01T{minute // 60:02}:{minute % 60:02}:00.000+00:00"


def observed(scores: list[float]) -> list[Observation]:
    """Verdicts at the threshold 0.5, a minute apart."""
    return [
        replace(
            observation("!" if score > THRESHOLD else ".", score=score), recorded_at=at(minute), time_from="request"
        )
        for minute, score in enumerate(scores)
    ]


@given(scores=st.lists(st.sampled_from([0.1, 0.45, 0.55, 0.9]), min_size=1, max_size=60))
def test_at_the_same_threshold_nothing_changes(scores: list[float]) -> None:
    """The alarms are those of the record."""
    found = preview_machine("fan-3", observed(scores), THRESHOLD, RULE)
    assert found.given == found.then
    assert found.recordings == len(scores)


def test_the_alarms_are_those_of_the_record(tmp_path: Path) -> None:
    """The rule of the record raises and clears the same ones at the same recordings."""
    scores = [0.1, 0.9, 0.8, 0.1, 0.2, 0.1, 0.9, 0.1, 0.7, 0.6]
    with Ledger(tmp_path, create=True, rule=RULE) as ledger:
        ledger.record(observed(scores))
        (found,) = ledger.preview_threshold("fan-1", THRESHOLD, at(0))
        recorded = [(alarm.raised_at, alarm.cleared_at) for alarm in ledger.health("fan-3", 1).alarms][::-1]
    assert [(alarm.raised_at, alarm.cleared_at) for alarm in found.given.alarms] == recorded
    assert recorded == [(at(2), at(5)), (at(8), None)]
    assert [alarm.highest for alarm in found.given.alarms] == [0.8, 0.7]


def test_a_higher_threshold_has_fewer_alarms() -> None:
    """And a lower one has more."""
    scores = [0.1, 0.6, 0.6, 0.1, 0.1, 0.1, 0.9, 0.9, 0.45, 0.45]
    high, low = (preview_machine("fan-3", observed(scores), threshold, RULE).then for threshold in (0.7, 0.4))
    assert (high.anomalous, high.alarms) == (2, (AlarmTime(at(7), None, 0.9),))
    assert (low.anomalous, [alarm.raised_at for alarm in low.alarms]) == (6, [at(2), at(7)])


def test_what_the_classifier_found_stays_anomalous() -> None:
    """Its score is not above the threshold of the answer, so the threshold did not decide."""
    by_classifier = replace(observed([0.3])[0], verdict="anomalous")
    assert preview_machine("fan-3", [by_classifier], 0.9, RULE).then.anomalous == 1


def test_only_judged_recordings_of_the_version_and_the_time_count(tmp_path: Path) -> None:
    """By machine, in the order of names."""
    some = observed([0.1, 0.9, 0.9])
    other = [replace(each, version="fan-2") for each in some]
    unjudged = replace(observation("?"), recorded_at=at(30), time_from="request")
    early = replace(some[0], machine_id="early", recorded_at="2025-01-01T00:00:00.000+00:00")
    another = replace(some[0], machine_id="another")
    with Ledger(tmp_path, create=True, rule=RULE) as ledger:
        ledger.record([*some, *other, unjudged, early, another])
        found = ledger.preview_threshold("fan-1", 0.2, at(0))
    assert [(each.machine_id, each.recordings) for each in found] == [("another", 1), ("fan-3", 3)]
