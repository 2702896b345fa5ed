"""The record of machines with several processes, kills, damaged files and a full disk."""

import multiprocessing
import os
import signal
import sqlite3
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from ml.errors import MachineNotFound, MachinesUnavailable, SignalMLError, StorageFull
from ml.machines.ledger import Ledger
from ml.machines.observation import Observation
from testing.servers import PATIENCE_S, wait_until
from tests.disks import small_disk
from tests.unit.ledgers import FILE, acknowledge, numbers, observation, record, states
from tests.unit.processes import at_once


def _write(home: Path, name: str, count: int) -> None:
    with Ledger(home, create=True) as ledger:
        for _ in range(count):
            ledger.record([observation(".", "shared"), observation("!", name)])


def test_processes_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    """Four processes start without a file: each verdict has its own number, each alarm is there once."""
    names = [f"fan-{number}" for number in range(4)]
    at_once(_write, [(tmp_path, name, 150) for name in names])
    with Ledger(tmp_path) as ledger:
        found = {name: ledger.health(name, latest=0) for name in (*names, "shared")}
    assert [version.observations for version in found["shared"].versions] == [600]
    for name in names:
        assert [version.observations for version in found[name].versions] == [150]
        assert len(found[name].alarms) == 1


def _in_threads(works: Sequence[Callable[[], object]]) -> list[object]:
    """Run each function in a thread, starting together; returns their results or errors."""
    barrier = threading.Barrier(len(works))

    def run(work: Callable[[], object]) -> object:
        barrier.wait(PATIENCE_S)
        try:
            return work()
        except SignalMLError as error:
            return error

    with ThreadPoolExecutor(len(works)) as pool:
        return list(pool.map(run, works))


@pytest.mark.parametrize("attempt", range(10))
def test_threads_that_make_the_file_at_once_lose_nothing(tmp_path: Path, attempt: int) -> None:
    """Eight threads start without a file: none fails, and no verdict is lost."""
    assert _in_threads([partial(record, tmp_path, "!")] * 8) == [None] * 8
    assert numbers(tmp_path) == list(range(1, 9))


def test_one_of_several_acknowledgements_at_once_succeeds(tmp_path: Path) -> None:
    """The others are refused; verdicts recorded at the same time make nothing fail."""
    record(tmp_path, "!!!")
    for _ in range(20):
        results = _in_threads([partial(acknowledge, tmp_path)] * 6 + [partial(record, tmp_path, "!" * 5)] * 2)
        assert sorted(type(each).__name__ for each in results[:6]) == ["NothingToAcknowledge"] * 5 + ["int"]
        assert results[6:] == [None, None]
        record(tmp_path, "....!!!")


def test_a_killed_process_leaves_complete_calls(tmp_path: Path) -> None:
    """After kill -9 during a write the file is intact, and both verdicts of a call are there."""
    context = multiprocessing.get_context("spawn")
    before = 0
    for _ in range(3):
        process = context.Process(target=_write, args=(tmp_path, "fan-1", 100_000))
        process.start()
        wait_until(lambda before=before: _count(tmp_path) >= before + 20)
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


def test_a_missing_file_is_an_empty_record(tmp_path: Path) -> None:
    """Reading does not make the file."""
    assert states(tmp_path) == {}
    with Ledger(tmp_path) as ledger:
        assert ledger.summaries() == []
        with pytest.raises(MachineNotFound, match="upload its recordings"):
            ledger.health("fan-3", latest=1)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / FILE).parent.mkdir()
    (tmp_path / FILE).touch()  # the process that made it was killed
    assert states(tmp_path) == {}
    assert (tmp_path / FILE).stat().st_size == 0
    record(tmp_path, ".")
    assert states(tmp_path) == {"fan-3": "normal"}


def test_a_call_is_recorded_completely_or_not_at_all(tmp_path: Path) -> None:
    """One invalid verdict refuses the other verdicts of its call."""
    record(tmp_path, "..")
    with Ledger(tmp_path, create=True) as ledger:
        with pytest.raises(MachinesUnavailable, match=r"NOT NULL constraint failed: observations\.score"):
            ledger.record([observation("!"), observation("!"), observation("!", score=float("nan"))])
        ledger.record([observation(".")])
    assert numbers(tmp_path) == [1, 2, 3]
    assert states(tmp_path) == {"fan-3": "normal"}


@pytest.mark.parametrize("damage", [b"not a database at all" * 100, b"SQLite format 3\0" + bytes(3000)])
def test_a_damaged_file_is_reported_and_not_changed(tmp_path: Path, damage: bytes) -> None:
    """Readers and writers get its name in the home, without the path of the home."""
    (tmp_path / FILE).parent.mkdir()
    (tmp_path / FILE).write_bytes(damage)
    for create in (False, True):
        with pytest.raises(MachinesUnavailable, match=FILE) as refused, Ledger(tmp_path, create) as ledger:
            ledger.summaries()
        assert str(tmp_path) not in str(refused.value)
    assert (tmp_path / FILE).read_bytes() == damage


def test_a_file_of_a_newer_format_is_refused(tmp_path: Path) -> None:
    """A file of an unknown format is neither read nor written."""
    record(tmp_path, ".")
    with sqlite3.connect(tmp_path / FILE) as db:
        db.execute("PRAGMA user_version = 3")
    db.close()
    with pytest.raises(MachinesUnavailable, match="has the format 3; 2 was expected"):
        Ledger(tmp_path, create=True)
    with pytest.raises(MachinesUnavailable, match="has the format 3; 2 was expected"):
        Ledger(tmp_path)


def test_a_folder_that_cannot_be_made_is_reported(tmp_path: Path) -> None:
    """A file in its place is one cause."""
    (tmp_path / "machines").write_text("a file")
    with pytest.raises(MachinesUnavailable, match=FILE) as refused:
        Ledger(tmp_path, create=True)
    assert str(tmp_path) not in str(refused.value)


def test_a_removed_file_is_noticed(tmp_path: Path) -> None:
    """A ledger that has the removed file open reports it, also after a new file was made."""
    with Ledger(tmp_path, create=True) as ledger:
        ledger.record([observation()])
        assert ledger.is_current()
        (tmp_path / FILE).unlink()
        assert not ledger.is_current()
        record(tmp_path, ".")
        assert not ledger.is_current()


def test_a_full_disk_is_reported_and_the_record_is_unchanged(tmp_path: Path) -> None:
    """On a real full disk, nothing of the failed call is recorded, and recording continues when space is free."""
    with small_disk(tmp_path / "home", "512k") as home:
        ballast = home / "ballast"
        ballast.write_bytes(bytes(200 * 1024))
        with Ledger(home, create=True) as ledger:
            recorded = _fill(ledger)
            assert ledger.health("fan-0", latest=0).versions[0].observations == recorded
            ballast.unlink()
            ledger.record(_some(5))
            assert ledger.health("fan-0", latest=0).versions[0].observations == recorded + 5


def _fill(ledger: Ledger) -> int:
    """Record until the disk is full; returns the number of verdicts of each machine."""
    for recorded in range(0, 5000, 5):
        try:
            ledger.record(_some(5))
        except StorageFull as error:
            assert "the record is unchanged" in str(error)  # noqa: PT017 - it must come, and not at once
            return recorded
    pytest.fail("the disk did not fill up")


def _some(count: int) -> Sequence[Observation]:
    return [observation(machine_id=f"fan-{number}") for _ in range(count) for number in range(10)]


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM observations WHERE machine_id = 'bad'",
        "UPDATE observations SET score = 'x' WHERE machine_id = 'bad'",
    ],
)
def test_a_damaged_record_does_not_break_the_list(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is named in the log, and the other machines are listed."""
    for name in ("bad", "good"):
        record(tmp_path, "." * 60, name)
    with sqlite3.connect(tmp_path / FILE) as db:
        db.execute(damage)
    db.close()
    with Ledger(tmp_path) as ledger:
        assert "good" in [machine.machine_id for machine in ledger.summaries()]
    assert "DELETE" not in damage or "'bad' is damaged" in caplog.text
