"""The record of machines on disk: verdicts, alarms, acknowledgements, and two names of one machine."""

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from ml.detectors.alarm_rule import KOfNRule
from ml.errors import MachineNotFound, NothingToAcknowledge
from ml.machines import insertion
from ml.machines.ledger import Ledger
from ml.machines.limits import OBSERVATIONS_KEPT, UNUSABLE_KEPT, VERSIONS_KEPT
from ml.machines.observation import MachineNames
from ml.machines.schema import open_for_writing
from tests.unit.ledgers import FILE, SEEN, VERDICTS, acknowledge, numbers, observation, record, states


def test_the_record_is_read_after_a_restart(tmp_path: Path) -> None:
    """State, counts and verdicts are as recorded, the newest first."""
    given = [observation("!", score=0.9), observation(".", score=0.1), observation("?", version="fan-2")]
    with Ledger(tmp_path, create=True) as ledger:
        ledger.record(given)
    with Ledger(tmp_path) as ledger:
        health = ledger.health("fan-3", latest=10)
        (summary,) = ledger.summaries()
    assert list(health.latest) == given[::-1]
    assert health.summary == summary
    assert (summary.state, summary.version, summary.heard_at) == ("normal", "fan-2", given[-1].at)
    assert (summary.anomalous, summary.n_verdicts, summary.unusable) == (1, 2, 1)
    second, first = health.versions
    assert (first.version, first.observations, first.recent_n, first.recent_anomalous) == ("fan-1", 2, 2, 1)
    assert (first.recent_median, first.threshold) == (0.5, 0.5)
    assert (second.version, second.observations, second.recent_n, second.threshold) == ("fan-2", 0, 0, None)


def test_an_alarm_is_raised_acknowledged_cleared_and_raised_again(tmp_path: Path) -> None:
    """Each step is after a restart; the second alarm is new and not acknowledged."""
    record(tmp_path, "!!")
    assert states(tmp_path) == {"fan-3": "normal"}
    record(tmp_path, "!")
    assert states(tmp_path) == {"fan-3": "alarm"}
    first = acknowledge(tmp_path)
    assert states(tmp_path) == {"fan-3": "acknowledged"}
    record(tmp_path, "!!!")  # acknowledged, and still the same alarm
    assert states(tmp_path) == {"fan-3": "acknowledged"}
    record(tmp_path, "....")
    assert states(tmp_path) == {"fan-3": "normal"}
    record(tmp_path, "!!!")
    with Ledger(tmp_path) as ledger:
        health = ledger.health("fan-3", latest=0)
    latest, before = health.alarms
    assert (before.id, before.acknowledged, before.anomalous, before.n_verdicts) == (first, SEEN, 3, 3)
    assert before.cleared_at is not None
    assert latest == health.summary.alarm
    assert (latest.id > first, latest.acknowledged, latest.cleared_at, latest.n_verdicts) == (True, None, None, 5)
    assert health.summary.state == "alarm"
    assert health.latest == ()


def test_an_alarm_clears_without_an_acknowledgement(tmp_path: Path) -> None:
    """The history has it without an acknowledgement."""
    record(tmp_path, "!!!....")
    with Ledger(tmp_path) as ledger:
        health = ledger.health("fan-3", latest=0)
    (alarm,) = health.alarms
    assert (health.summary.state, health.summary.alarm) == ("normal", None)
    assert alarm.acknowledged is None
    assert alarm.cleared_at is not None


def test_an_alarm_continues_with_the_next_version(tmp_path: Path) -> None:
    """An alarm belongs to the machine: verdicts of the next version keep or clear it."""
    record(tmp_path, "!!!", version="fan-1")
    record(tmp_path, "..", version="fan-2")
    assert states(tmp_path) == {"fan-3": "alarm"}
    record(tmp_path, "..", version="fan-2")
    assert states(tmp_path) == {"fan-3": "normal"}


def test_only_an_active_alarm_can_be_acknowledged_once(tmp_path: Path) -> None:
    """An unknown machine, no alarm, another alarm and an acknowledged one have different messages."""
    with pytest.raises(MachineNotFound, match="fan-3"):
        acknowledge(tmp_path)
    assert not (tmp_path / "machines").exists()
    record(tmp_path, "!!")
    with pytest.raises(NothingToAcknowledge, match="is not in alarm"):
        acknowledge(tmp_path)
    record(tmp_path, "!")
    with pytest.raises(NothingToAcknowledge, match="in alarm 1 now; alarm 7 was"):
        acknowledge(tmp_path, alarm_id=7)
    assert states(tmp_path) == {"fan-3": "alarm"}
    assert acknowledge(tmp_path, alarm_id=1) == 1
    with pytest.raises(NothingToAcknowledge, match="Alarm 1 of fan-3 is acknowledged already: by Ana"):
        acknowledge(tmp_path)


def test_unusable_recordings_raise_no_alarm_and_clear_none(tmp_path: Path) -> None:
    """They do not count as verdicts; with many of them a machine is ``unheard``, unless it is in alarm."""
    record(tmp_path, "!?!???")
    assert states(tmp_path) == {"fan-3": "unheard"}
    record(tmp_path, "!")
    assert states(tmp_path) == {"fan-3": "alarm"}
    record(tmp_path, "?" * 20)
    assert states(tmp_path) == {"fan-3": "alarm"}
    record(tmp_path, "...")
    assert states(tmp_path) == {"fan-3": "alarm"}
    record(tmp_path, ".")
    assert states(tmp_path) == {"fan-3": "normal"}


def test_machines_are_independent(tmp_path: Path) -> None:
    """One machine's verdicts do not change another's state."""
    for verdict in "!!":
        for machine_id in ("fan-3", "fan-4", "fan/id_00"):
            record(tmp_path, verdict, machine_id)
    record(tmp_path, "!", "fan-4")
    assert states(tmp_path) == {"fan-3": "normal", "fan-4": "alarm", "fan/id_00": "normal"}


def test_a_machine_has_another_name_only_if_it_is_unambiguous() -> None:
    """The other name is its id, if no other machine has that id; unknown machines have none."""
    known = {"a/1": "a/1", "1": "a/1", "a/2": "a/2", "b/2": "b/2", "3": "3", "a b/4": "a b/4", "4": "a b/4"}
    found = {name: MachineNames.resolve(name, known.get) for name in ("a/1", "1", "a/2", "2", "3", "4", "a/5")}
    assert found == {"a/1": ("a/1", "1"), "1": ("a/1", "1")} | {name: (name, None) for name in found if "1" not in name}


@pytest.mark.parametrize("first", ["id_00", "fan/id_00"])
def test_two_records_of_one_machine_become_one(tmp_path: Path, first: str) -> None:
    """Verdicts are numbered again in their order, and the machine's own alarm stays."""
    second = {"id_00": "fan/id_00", "fan/id_00": "id_00"}[first]
    record(tmp_path, "!!!", first)
    record(tmp_path, "?.!!!", second)
    record(tmp_path, ".", "id_00", version="fan-0")
    with Ledger(tmp_path, create=True) as ledger:
        own = ledger.health("fan/id_00", 0).summary.alarm
        ledger.record([replace(observation(".", "fan/id_00"), other_name="id_00")] * 2)
        found = ledger.health("fan/id_00", 20)
        assert not ledger.has_machine("id_00")
    assert numbers(tmp_path) == [1, 2, 3, None, 4, 5, 6, 7, 1, 8, 9]
    assert [each.verdict for each in found.latest][::-1] == [VERDICTS[each] for each in "!!!?.!!!..."]
    assert [(each.version, each.observations) for each in found.versions] == [("fan-1", 9), ("fan-0", 1)]
    assert found.summary.alarm == own
    assert [alarm.cleared_at is None for alarm in sorted(found.alarms, key=lambda alarm: alarm != own)] == [True, False]


def test_merged_records_have_the_limits_of_one_machine(tmp_path: Path) -> None:
    """Versions and verdicts are limited as for one machine, and no other machine is removed."""
    for version in range(VERSIONS_KEPT):
        record(tmp_path, ".", "id_00", f"old-{version}")
        record(tmp_path, ".", "fan/id_00", f"new-{version}")
    for version in ("new-0", "new-1"):
        for name in ("id_00", "fan/id_00"):
            record(tmp_path, "?" * UNUSABLE_KEPT + "!" * OBSERVATIONS_KEPT, name, version)
    record(tmp_path, ".", "other")
    with Ledger(tmp_path, create=True, machines_kept=2) as ledger:
        ledger.record([replace(observation(".", "fan/id_00", "new-0"), other_name="id_00")])
        found = ledger.health("fan/id_00", latest=10_000)
        assert set(ledger.states()) == {"fan/id_00", "other"}
    assert len(found.versions) == VERSIONS_KEPT
    counts = [(version.observations, version.kept) for version in found.versions[:2]]
    assert counts == [(2 * OBSERVATIONS_KEPT + 2, OBSERVATIONS_KEPT), (2 * OBSERVATIONS_KEPT + 1, OBSERVATIONS_KEPT)]
    assert sum(not each.judged for each in found.latest) == UNUSABLE_KEPT


def test_another_name_without_a_record_costs_one_query(tmp_path: Path) -> None:
    """If there is nothing to merge, a verdict on a machine with two names needs one query more."""
    record(tmp_path, ".")
    queries: list[str] = []
    with closing(open_for_writing(tmp_path / FILE)) as db:
        db.set_trace_callback(queries.append)
        insertion.insert_observations(db, [observation()], KOfNRule(), 10)
        single = len(queries)
        insertion.insert_observations(db, [replace(observation(), other_name="id_00")], KOfNRule(), 10)
    assert len(queries) == single + single + 1


def test_a_ledger_uses_the_given_rule(tmp_path: Path) -> None:
    """One of one raises, none of one clears."""
    rule = KOfNRule(1, 1, 0)
    with Ledger(tmp_path, create=True, rule=rule) as ledger:
        ledger.record([observation("!")])
        assert ledger.states() == {"fan-3": "alarm"}
        ledger.record([observation(".")])
        assert ledger.states() == {"fan-3": "normal"}
