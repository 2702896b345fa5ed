"""The record of machines: bounded, whole after any end, in one order for all processes, and honest where it fails."""

import multiprocessing
import os
import shutil
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from ml.errors import MachineNotFound, MachinesUnavailable, NothingToAcknowledge, SignalMLError, StorageFull
from ml.machines import insertion as recording
from ml.machines.alarms import Acknowledgement, KOfNRule
from ml.machines.ledger import Ledger
from ml.machines.observation import MachineNames, Observation
from ml.machines.retention import ALARMS_KEPT, OBSERVATIONS_KEPT, UNUSABLE_KEPT, VERSIONS_KEPT
from ml.machines.schema import open_for_writing
from ml.models.verdict import VerdictValue
from ml.system.clock import timestamp

FILE = "machines/health.sqlite3"
WORDS: dict[str, VerdictValue] = {".": "normal", "!": "anomalous", "?": "unusable"}
SEEN = Acknowledgement("2026-11-24T20:01:00.000+00:00", "Ana", "control-room", "Bearing ordered")


def heard(verdict: str = ".", machine_id: str = "fan-3", version: str = "fan-1", score: float = 0.2) -> Observation:
    """One verdict: ``.`` for normal, ``!`` for anomalous, ``?`` for one that could not be judged."""
    return Observation(machine_id, timestamp(), version, 1, score, 0.5, WORDS[verdict], "normal")


def record(home: Path, verdicts: str, machine_id: str = "fan-3", version: str = "fan-1", **settings: int) -> None:
    """Record some verdicts on one machine, one after another, as a process that has just begun would."""
    with Ledger(home, create=True, **settings) as ledger:
        ledger.record([heard(verdict, machine_id, version) for verdict in verdicts])


def acknowledge(home: Path, machine_id: str = "fan-3", alarm_id: int | None = None) -> int:
    """Acknowledge the alarm of a machine; its id."""
    with Ledger(home) as ledger:
        return ledger.acknowledge(machine_id, SEEN, alarm_id).id


def states(home: Path) -> dict[str, str]:
    """The state of each machine."""
    with Ledger(home) as ledger:
        return dict(ledger.states())


def numbers(home: Path) -> list[int]:
    """The numbers of the verdicts that are kept, in the order of recording."""
    with sqlite3.connect(home / FILE) as db:
        found = [row[0] for row in db.execute("SELECT number FROM observations ORDER BY id")]
    db.close()
    return found


def test_what_was_recorded_is_told_after_a_restart(tmp_path: Path) -> None:
    """State, counts and verdicts are as they were given, the newest first."""
    given = [heard("!", score=0.9), heard(".", score=0.1), heard("?", version="fan-2")]
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


def test_an_alarm_is_raised_acknowledged_cleared_and_raised_anew(tmp_path: Path) -> None:
    """Through restarts at every step; the second alarm is another, that nobody has seen."""
    record(tmp_path, "!!")
    assert states(tmp_path) == {"fan-3": "normal"}
    record(tmp_path, "!")
    assert states(tmp_path) == {"fan-3": "alarm"}
    first = acknowledge(tmp_path)
    assert states(tmp_path) == {"fan-3": "acknowledged"}
    record(tmp_path, "!!!")  # silent, and still the same
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


def test_an_alarm_clears_whether_or_not_somebody_has_seen_it(tmp_path: Path) -> None:
    """The history says that nobody had."""
    record(tmp_path, "!!!....")
    with Ledger(tmp_path) as ledger:
        health = ledger.health("fan-3", latest=0)
    (alarm,) = health.alarms
    assert (health.summary.state, health.summary.alarm) == ("normal", None)
    assert alarm.acknowledged is None
    assert alarm.cleared_at is not None


def test_an_alarm_outlives_the_version_that_raised_it(tmp_path: Path) -> None:
    """It is about the machine: verdicts of the next version keep or clear it."""
    record(tmp_path, "!!!", version="fan-1")
    record(tmp_path, "..", version="fan-2")
    assert states(tmp_path) == {"fan-3": "alarm"}
    record(tmp_path, "..", version="fan-2")
    assert states(tmp_path) == {"fan-3": "normal"}


def test_only_an_alarm_that_lasts_and_nobody_has_seen_can_be_acknowledged(tmp_path: Path) -> None:
    """An unknown machine, no alarm, another alarm, and one that was acknowledged: each is said."""
    with pytest.raises(MachineNotFound, match="fan-3"):
        acknowledge(tmp_path)
    assert not (tmp_path / "machines").exists()
    record(tmp_path, "!!")
    with pytest.raises(NothingToAcknowledge, match="is in no alarm"):
        acknowledge(tmp_path)
    record(tmp_path, "!")
    with pytest.raises(NothingToAcknowledge, match="in alarm 1 by now; 7 was"):
        acknowledge(tmp_path, alarm_id=7)
    assert states(tmp_path) == {"fan-3": "alarm"}
    assert acknowledge(tmp_path, alarm_id=1) == 1
    with pytest.raises(NothingToAcknowledge, match="Ana has acknowledged alarm 1"):
        acknowledge(tmp_path)


def test_recordings_that_cannot_be_judged_raise_nothing_and_clear_nothing(tmp_path: Path) -> None:
    """They stand between no two verdicts; a machine of which they are many is unheard, unless it is in alarm."""
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


def test_machines_keep_apart(tmp_path: Path) -> None:
    """One machine's verdicts say nothing of another."""
    for verdict in "!!":
        for machine_id in ("fan-3", "fan-4", "fan/id_00"):
            record(tmp_path, verdict, machine_id)
    record(tmp_path, "!", "fan-4")
    assert states(tmp_path) == {"fan-3": "normal", "fan-4": "alarm", "fan/id_00": "normal"}


def test_a_machine_has_another_name_only_where_that_means_no_other() -> None:
    """Its id, where no other machine has that; none where nothing is known of it, or what is known is no name here."""
    known = {"a/1": "a/1", "1": "a/1", "a/2": "a/2", "b/2": "b/2", "3": "3", "a b/4": "a b/4", "4": "a b/4"}
    found = {said: MachineNames.resolve(said, known.get) for said in ("a/1", "1", "a/2", "2", "3", "4", "a/5")}
    assert found == {"a/1": ("a/1", "1"), "1": ("a/1", "1")} | {said: (said, None) for said in found if "1" not in said}


@pytest.mark.parametrize("first", ["id_00", "fan/id_00"])
def test_two_records_of_one_machine_become_one(tmp_path: Path, first: str) -> None:
    """Verdicts that were numbered alike are numbered on, in their order, and the machine's own alarm lasts."""
    second = {"id_00": "fan/id_00", "fan/id_00": "id_00"}[first]
    record(tmp_path, "!!!", first)
    record(tmp_path, "?.!!!", second)
    record(tmp_path, ".", "id_00", version="fan-0")
    with Ledger(tmp_path, create=True) as ledger:
        own = ledger.health("fan/id_00", 0).summary.alarm
        ledger.record([replace(heard(".", "fan/id_00"), other_name="id_00")] * 2)
        found = ledger.health("fan/id_00", 20)
        assert not ledger.has_machine("id_00")
    assert numbers(tmp_path) == [1, 2, 3, None, 4, 5, 6, 7, 1, 8, 9]
    assert [each.verdict for each in found.latest][::-1] == [WORDS[each] for each in "!!!?.!!!..."]
    assert [(each.version, each.observations) for each in found.versions] == [("fan-1", 9), ("fan-0", 1)]
    assert found.summary.alarm == own
    assert [alarm.cleared_at is None for alarm in sorted(found.alarms, key=lambda alarm: alarm != own)] == [True, False]


def test_a_machine_that_takes_over_a_record_is_bounded_all_the_same(tmp_path: Path) -> None:
    """Versions and verdicts as of one machine, and no other is forgotten for it."""
    for version in range(VERSIONS_KEPT):
        record(tmp_path, ".", "id_00", f"old-{version}")
        record(tmp_path, ".", "fan/id_00", f"new-{version}")
    for version in ("new-0", "new-1"):
        for name in ("id_00", "fan/id_00"):
            record(tmp_path, "?" * UNUSABLE_KEPT + "!" * OBSERVATIONS_KEPT, name, version)
    record(tmp_path, ".", "other")
    with Ledger(tmp_path, create=True, machines_kept=2) as ledger:
        ledger.record([replace(heard(".", "fan/id_00", "new-0"), other_name="id_00")])
        found = ledger.health("fan/id_00", latest=10_000)
        assert set(ledger.states()) == {"fan/id_00", "other"}
    assert len(found.versions) == VERSIONS_KEPT
    counts = [(version.observations, version.kept) for version in found.versions[:2]]
    assert counts == [(2 * OBSERVATIONS_KEPT + 2, OBSERVATIONS_KEPT), (2 * OBSERVATIONS_KEPT + 1, OBSERVATIONS_KEPT)]
    assert sum(not each.judged for each in found.latest) == UNUSABLE_KEPT


def test_a_name_without_a_record_costs_one_look(tmp_path: Path) -> None:
    """A verdict on a machine of two names is recorded as any other is, where there is nothing to join."""
    record(tmp_path, ".")
    asked: list[str] = []
    with closing(open_for_writing(tmp_path / FILE)) as db:
        db.set_trace_callback(asked.append)
        recording.insert_observation(db, heard(), KOfNRule(), 10)
        plainly = len(asked)
        recording.insert_observation(db, replace(heard(), other_name="id_00"), KOfNRule(), 10)
    assert len(asked) == plainly + plainly + 1


def test_the_rule_is_the_one_that_is_asked_for(tmp_path: Path) -> None:
    """One of one raises, none of one clears."""
    rule = KOfNRule(1, 1, 0)
    with Ledger(tmp_path, create=True, rule=rule) as ledger:
        ledger.record([heard("!")])
        assert ledger.states() == {"fan-3": "alarm"}
        ledger.record([heard(".")])
        assert ledger.states() == {"fan-3": "normal"}


# Bounds


def test_of_many_verdicts_the_first_and_the_last_are_kept(tmp_path: Path) -> None:
    """A hundred for drift to be measured from, nine hundred since, however many there were."""
    record(tmp_path, "." * 2345)
    assert numbers(tmp_path) == [*range(1, 101), *range(2345 - 899, 2346)]
    with Ledger(tmp_path) as ledger:
        (version,) = ledger.health("fan-3", latest=0).versions
    assert (version.observations, version.kept, version.recent_n) == (2345, OBSERVATIONS_KEPT, 100)


def test_drift_is_measured_from_the_first_scores(tmp_path: Path) -> None:
    """However many came since: scores that crept away slowly are far from those."""
    with Ledger(tmp_path, create=True) as ledger:
        ledger.record([heard(score=i / 4000) for i in range(2000)])
        (summary,) = ledger.summaries()
    assert (summary.drift.state, summary.drift.effect) == ("drifting", 1.0)
    assert (summary.drift.reference_n, summary.drift.recent_n) == (100, 100)
    assert summary.drift.reference_median == pytest.approx(49.5 / 4000)
    assert summary.drift.recent_median == pytest.approx(1949.5 / 4000)


def test_a_new_version_has_a_drift_of_its_own(tmp_path: Path) -> None:
    """Scores of two versions are never compared."""
    with Ledger(tmp_path, create=True) as ledger:
        ledger.record([heard(score=0.1, version="fan-1") for _ in range(150)])
        ledger.record([heard(score=0.9, version="fan-2") for _ in range(150)])
        health = ledger.health("fan-3", latest=0)
    assert [version.drift.state for version in health.versions] == ["steady", "steady"]
    assert health.summary.drift.reference_median == 0.9


def test_recordings_that_cannot_be_judged_are_no_part_of_drift(tmp_path: Path) -> None:
    """Whatever score they were given."""
    with Ledger(tmp_path, create=True) as ledger:
        for _ in range(120):
            ledger.record([heard(".", score=0.2), heard("?", score=1.0)])
        (summary,) = ledger.summaries()
    assert (summary.drift.state, summary.drift.reference_n, summary.drift.recent_median) == ("steady", 60, 0.2)


def test_versions_alarms_and_the_unusable_are_bounded(tmp_path: Path) -> None:
    """The last ones are kept of each."""
    for number in range(5):
        record(tmp_path, ".", version=f"fan-{number}")
    record(tmp_path, "?" * (UNUSABLE_KEPT + 30), version="fan-9")
    record(tmp_path, "!!!...." * (ALARMS_KEPT + 5), version="fan-9")
    with Ledger(tmp_path) as ledger:
        health = ledger.health("fan-3", latest=OBSERVATIONS_KEPT)
    assert [version.version for version in health.versions] == ["fan-9", "fan-4", "fan-3"][:VERSIONS_KEPT]
    assert [alarm.id for alarm in health.alarms] == list(range(ALARMS_KEPT + 5, 5, -1))
    assert sum(not each.judged for each in health.latest) == UNUSABLE_KEPT


def test_a_new_machine_takes_the_place_of_the_one_that_was_silent_longest(tmp_path: Path) -> None:
    """Not of one in alarm, as long as there is another; and its alarms go with it."""
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


# Several processes, and their ends


def _write(home: Path, name: str, count: int) -> None:
    with Ledger(home, create=True) as ledger:
        for _ in range(count):
            ledger.record([heard(".", "shared"), heard("!", name)])


def test_processes_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    """Four of them, from before there is a file: each verdict has a number of its own, each alarm is there once."""
    names = [f"fan-{number}" for number in range(4)]
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_write, args=(tmp_path, name, 150)) for name in names]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 4
    with Ledger(tmp_path) as ledger:
        found = {name: ledger.health(name, latest=0) for name in (*names, "shared")}
    assert [version.observations for version in found["shared"].versions] == [600]
    for name in names:
        assert [version.observations for version in found[name].versions] == [150]
        assert len(found[name].alarms) == 1


def _at_once(works: Sequence[Callable[[], object]]) -> list[object]:
    """Run each in a thread, beginning at the same moment; what they returned or raised."""
    barrier = threading.Barrier(len(works))

    def run(work: Callable[[], object]) -> object:
        barrier.wait(10)
        try:
            return work()
        except SignalMLError as error:
            return error

    with ThreadPoolExecutor(len(works)) as pool:
        return list(pool.map(run, works))


@pytest.mark.parametrize("attempt", range(10))
def test_whoever_makes_the_file_first_makes_it_for_all(tmp_path: Path, attempt: int) -> None:
    """Eight find none at the same moment: none fails, and no verdict is lost."""
    assert _at_once([partial(record, tmp_path, "!")] * 8) == [None] * 8
    assert numbers(tmp_path) == list(range(1, 9))


def test_of_those_who_acknowledge_at_once_one_does(tmp_path: Path) -> None:
    """The others are told who; and verdicts that are recorded meanwhile are no reason for anybody to fail."""
    record(tmp_path, "!!!")
    for _ in range(20):
        told = _at_once([partial(acknowledge, tmp_path)] * 6 + [partial(record, tmp_path, "!" * 5)] * 2)
        assert sorted(type(each).__name__ for each in told[:6]) == ["NothingToAcknowledge"] * 5 + ["int"]
        assert told[6:] == [None, None]
        record(tmp_path, "....!!!")


def test_a_process_that_is_killed_leaves_whole_verdicts(tmp_path: Path) -> None:
    """kill -9 in the midst of writing, several times: the file is sound, and of one call both verdicts are there."""
    context = multiprocessing.get_context("spawn")
    before = 0
    for _ in range(3):
        process = context.Process(target=_write, args=(tmp_path, "fan-1", 100_000))
        process.start()
        deadline = time.monotonic() + 30
        while _count(tmp_path) < before + 20:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        before = _count(tmp_path)
        with Ledger(tmp_path) as ledger:
            counts = [ledger.health(name, latest=0).versions[0].observations for name in ("fan-1", "shared")]
        assert counts[0] == counts[1]
    with sqlite3.connect(tmp_path / FILE) as db:
        assert db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    db.close()


def _count(home: Path) -> int:
    with Ledger(home) as ledger:
        found = ledger.states()
        return ledger.health("shared", latest=0).versions[0].observations if "shared" in found else 0


# Where it fails


def test_to_a_reader_nothing_was_heard_yet(tmp_path: Path) -> None:
    """No file is an empty record, and looking makes none."""
    assert states(tmp_path) == {}
    with Ledger(tmp_path) as ledger:
        assert ledger.summaries() == []
        with pytest.raises(MachineNotFound, match="upload its recordings"):
            ledger.health("fan-3", latest=1)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / FILE).parent.mkdir()
    (tmp_path / FILE).touch()  # whoever was to make it was ended
    assert states(tmp_path) == {}
    assert (tmp_path / FILE).stat().st_size == 0
    record(tmp_path, ".")
    assert states(tmp_path) == {"fan-3": "normal"}


def test_all_of_a_call_or_nothing(tmp_path: Path) -> None:
    """A verdict that cannot be recorded takes those beside it along, and none half."""
    record(tmp_path, "..")
    with Ledger(tmp_path, create=True) as ledger:
        with pytest.raises(MachinesUnavailable, match=r"NOT NULL constraint failed: observations\.score"):
            ledger.record([heard("!"), heard("!"), heard("!", score=float("nan"))])
        ledger.record([heard(".")])
    assert numbers(tmp_path) == [1, 2, 3]
    assert states(tmp_path) == {"fan-3": "normal"}


@pytest.mark.parametrize("damage", [b"not a database at all" * 100, b"SQLite format 3\0" + bytes(3000)])
def test_a_damaged_file_is_said_and_left_alone(tmp_path: Path, damage: bytes) -> None:
    """By its name in the home, to readers and writers, and without a word of where the home is."""
    (tmp_path / FILE).parent.mkdir()
    (tmp_path / FILE).write_bytes(damage)
    for create in (False, True):
        with pytest.raises(MachinesUnavailable, match=FILE) as told, Ledger(tmp_path, create) as ledger:
            ledger.summaries()
        assert str(tmp_path) not in str(told.value)
    assert (tmp_path / FILE).read_bytes() == damage


def test_a_file_of_a_newer_format_is_refused(tmp_path: Path) -> None:
    """It is not written into in ways that it does not know."""
    record(tmp_path, ".")
    with sqlite3.connect(tmp_path / FILE) as db:
        db.execute("PRAGMA user_version = 2")
    db.close()
    with pytest.raises(MachinesUnavailable, match="has the format 2; 1 was expected"):
        Ledger(tmp_path, create=True)
    with pytest.raises(MachinesUnavailable, match="has the format 2; 1 was expected"):
        Ledger(tmp_path)


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    """Where a file is in its place, for one."""
    (tmp_path / "machines").write_text("in the way")
    with pytest.raises(MachinesUnavailable, match=FILE) as told:
        Ledger(tmp_path, create=True)
    assert str(tmp_path) not in str(told.value)


def test_a_file_that_was_removed_is_noticed(tmp_path: Path) -> None:
    """Whoever holds it open can tell, and open another."""
    with Ledger(tmp_path, create=True) as ledger:
        ledger.record([heard()])
        assert ledger.is_current()
        (tmp_path / FILE).unlink()
        assert not ledger.is_current()
        record(tmp_path, ".")
        assert not ledger.is_current()


def test_a_full_disk_is_said_and_the_record_is_as_before(tmp_path: Path) -> None:
    """A real one, filled by verdicts: none of the call that failed is there, and once there is room it goes on."""
    home = tmp_path / "home"
    home.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(home)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no tmpfs can be mounted here: that takes root and CAP_SYS_ADMIN")
    try:
        ballast = home / "ballast"
        ballast.write_bytes(bytes(200 * 1024))
        with Ledger(home, create=True) as ledger:
            recorded = _fill(ledger)
            assert ledger.health("fan-0", latest=0).versions[0].observations == recorded
            ballast.unlink()
            ledger.record(_some(5))
            assert ledger.health("fan-0", latest=0).versions[0].observations == recorded + 5
    finally:
        subprocess.run(["umount", str(home)], check=True)


def _fill(ledger: Ledger) -> int:
    """Record until the disk is full; how many verdicts there are then of each machine."""
    for recorded in range(0, 5000, 5):
        try:
            ledger.record(_some(5))
        except StorageFull as error:
            assert "it is as before" in str(error)  # noqa: PT017 - it must come, and not at once
            return recorded
    pytest.fail("the disk did not fill up")


def _some(count: int) -> Sequence[Observation]:
    return [heard(machine_id=f"fan-{number}") for _ in range(count) for number in range(10)]
