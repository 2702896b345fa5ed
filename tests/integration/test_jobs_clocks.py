"""Leases and workers while the clock of the job queue is set back or forward, and records that somebody has damaged.

The clock of the server is that of the computer, so the store here adds a difference, and a second passes when a test
lets it.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from ml.errors import InvalidName
from testing.jobs import Broker
from testing.servers import PATIENCE_S
from worker import store as store_module
from worker.jobs import DiagnosticParameters, ExtractionParameters, Job, JobRecordDamaged
from worker.queue import JobQueue
from worker.records import LeasedUnit
from worker.recovery import Recovery
from worker.results import JobFolder
from worker.store import PREFIX, JobStore

DAY_S = 86_400
OFFSET = "test:offset_ms"
JUMPS = pytest.mark.parametrize("jump_s", [-DAY_S, DAY_S, -3, 5, -400 * DAY_S], ids=lambda s: f"{s:+d}s")


class ClockedStore(JobStore):
    """A store whose server's clock differs from that of the computer."""

    def __init__(self, client: redis.Redis) -> None:
        super().__init__(client)
        now = "local now = "
        assert now in store_module.SCRIPT
        shifted = store_module.SCRIPT.replace(now, f"{now}tonumber(redis.call('GET', '{OFFSET}') or 0) + ", 1)
        self._script = client.register_script(shifted)
        self.client = client

    def _now_s(self) -> float:
        return super()._now_s() + int(self.client.get(OFFSET) or 0) / 1000  # type: ignore[arg-type]  # text

    def jump(self, seconds: float) -> None:
        """Set the clock."""
        self.client.incrby(OFFSET, round(seconds * 1000))

    def pass_time(self, seconds: int, *renewed: LeasedUnit) -> None:
        """Let time pass, with a sweep each second, as workers do it."""
        for _ in range(seconds):
            self.jump(1)
            self.sweep()
            for unit in renewed:
                assert self.renew(unit) == "held"

    def submitted(self) -> str:
        """Submit an extraction; return its id."""
        return self.submit(ExtractionParameters(dataset="hall-3"), request_id="test").job.id

    def taken(self) -> LeasedUnit | None:
        """Take the next extraction."""
        return self.take("extraction", "somebody/1", f"call-{self.client.incr('test:calls')}")


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A server without workers."""
    started = Broker(tmp_path_factory.mktemp("clocks")).start()
    yield started
    started.kill()


@pytest.fixture
def store(broker: Broker) -> ClockedStore:
    """An empty store."""
    client = broker.client()
    client.flushall()
    return ClockedStore(client)


@JUMPS
def test_the_work_of_a_dead_worker_continues(store: ClockedStore, jump_s: float) -> None:
    """Its lease ends within the time of a lease of a training and some seconds, wherever the clock is set."""
    job = store.submitted()
    store.pass_time(3)
    first = store.taken()
    store.jump(jump_s)
    store.pass_time(30)
    second = store.taken()
    assert first is not None
    assert second is not None
    assert (second.job_id, second.attempt, store.renew(first)) == (job, 2, "lost")


@JUMPS
def test_the_work_of_a_healthy_worker_is_not_taken_away(store: ClockedStore, jump_s: float) -> None:
    """A lease that is renewed each second lives on, also if the first sweep after the jump comes before its renewal."""
    store.submitted()
    store.pass_time(3)
    unit = store.taken()
    assert unit is not None
    store.pass_time(3, unit)
    store.jump(jump_s)
    store.pass_time(30, unit)
    store.jump(-jump_s)
    store.pass_time(30, unit)
    assert store.taken() is None
    assert store.get(unit.job_id).attempt == 1


def test_a_clock_that_jumps_all_the_time_takes_no_work_away(store: ClockedStore) -> None:
    """Back and forward by a day, each second; after that, a dead worker is still found."""
    store.submitted()
    unit = store.taken()
    assert unit is not None
    for second in range(40):
        store.jump(DAY_S * (-1) ** second)
        store.pass_time(1, unit)
    store.pass_time(40)
    assert store.renew(unit) == "lost"


@JUMPS
def test_a_cancelled_job_ends_though_its_worker_is_dead(store: ClockedStore, jump_s: float) -> None:
    """After the patience of a cancellation or, with a jump, the end of the lease."""
    job = store.submitted()
    store.pass_time(2)
    assert store.taken() is not None
    assert store.cancel(job).state == "cancelling"
    store.jump(jump_s)
    store.pass_time(6)
    assert store.get(job).state == "cancelled"


@JUMPS
def test_jobs_are_done_in_the_order_of_their_submission(store: ClockedStore, jump_s: float) -> None:
    """The clock decides no order."""
    jobs = [store.submitted()]
    for jump in (jump_s, -jump_s, -jump_s, jump_s):
        store.jump(jump)
        jobs.append(store.submitted())
    assert [unit.job_id for _ in jobs if (unit := store.taken()) is not None] == jobs


@JUMPS
def test_workers_are_alive_if_they_report(store: ClockedStore, jump_s: float) -> None:
    """After a jump of more than some seconds a dead worker is not alive, and a healthy one is with its next report."""
    for name in ("dead", "healthy"):
        store.heartbeat(name, ("extraction",), 1, "1")
    store.jump(jump_s)
    store.heartbeat("healthy", ("extraction",), 1, "1")
    alive = {worker.name: worker.alive for worker in store.workers()}
    assert alive["healthy"]
    assert abs(jump_s) < 10 or not alive.get("dead")


def test_times_are_never_negative(store: ClockedStore) -> None:
    """The remaining time of a job, and the measured times, after the clock was set back."""
    store.submitted()
    store.jump(-DAY_S)
    unit = store.taken()
    assert unit is not None
    store.progress(unit, "recordings", 0, 4, "")
    store.jump(-DAY_S)
    store.progress(unit, "recordings", 2, 4, "")
    progress = store.get(unit.job_id).progress
    assert progress is not None
    assert progress.eta_s == 0
    assert store.stats().seconds["wait", "feature-extraction"]["sum"] == 0


# Damaged records


def damage(store: ClockedStore, job: str, **fields: str) -> None:
    """Change fields of a record."""
    store.client.hset(f"{PREFIX}job:{job}", mapping=fields)


def plant(store: ClockedStore, job: str, state: str = "queued") -> None:
    """Copy a record under another id, and list it."""
    record: Any = store.client.hgetall(f"{PREFIX}job:{store.submitted()}")
    store.client.hset(f"{PREFIX}job:{job}", mapping=record | {"id": job, "state": state, "ended_ms": "1"})
    store.client.zadd(f"{PREFIX}index:feature-extraction:{state}", {job: 0})


@pytest.mark.parametrize(
    "fields",
    [
        {"id": "../../outside"},
        {"id": "0" * 24},
        {"parameters": "{"},
        {"kind": "unknown"},
        {"state": "lost"},
        {"created_ms": "yesterday"},
        {"created_ms": "9" * 30},
        {"revision": ""},
        {"summary": "[" * 5000},
        {"step": "s", "done": "many", "total": "1", "message": ""},
    ],
    ids=lambda fields: "-".join(fields),
)
def test_a_damaged_record_does_not_break_the_list(store: ClockedStore, fields: dict[str, str]) -> None:
    """It is named, the others are listed; asked for alone it is refused by name."""
    good, bad = store.submitted(), store.submitted()
    damage(store, bad, **fields)
    page = store.list_jobs()
    assert ([job.id for job in page.jobs], page.unreadable) == ([good], [bad])
    with pytest.raises(JobRecordDamaged, match=bad):
        store.get(bad)


@pytest.mark.parametrize("job", ["../../outside", "..", "a/b", "\x1b[31m", "0" * 23, "A" * 24])
def test_a_record_under_an_id_that_no_job_has_is_named(store: ClockedStore, job: str) -> None:
    """Its name is printed without control characters."""
    good = store.submitted()
    plant(store, job)
    page = store.list_jobs()
    assert good in [each.id for each in page.jobs]
    assert [name.replace("\\x1b", "\x1b") for name in page.unreadable] == [job]


def test_a_key_of_another_type_does_not_break_the_list(store: ClockedStore) -> None:
    """A text where a record was expected."""
    good, bad = store.submitted(), store.submitted()
    store.client.set(f"{PREFIX}job:{bad}", "a text")
    page = store.list_jobs()
    assert ([job.id for job in page.jobs], page.unreadable) == ([good], [bad])


def test_bytes_that_are_no_text_do_not_break_the_list(store: ClockedStore) -> None:
    """In a record, in a name, and in a heartbeat."""
    good, bad = store.submitted(), store.submitted()
    store.client.hset(f"{PREFIX}job:{bad}", "kind", b"\xff\xfe")
    store.client.zadd(f"{PREFIX}index:feature-extraction:queued", {b"\xff": 0})
    store.client.hset(f"{PREFIX}job:".encode() + b"\xff", "id", "x")
    store.client.hset(f"{PREFIX}workers", b"\xff", b"\xff")
    page = store.list_jobs()
    assert [job.id for job in page.jobs] == [good]
    assert bad in page.unreadable
    assert store.workers() == ()


def test_damaged_leases_do_not_stop_a_sweep(store: ClockedStore) -> None:
    """They are removed, and the lease of a dead worker ends as usual."""
    for _ in range(3):
        store.submitted()
    units = [unit for _ in range(3) if (unit := store.taken()) is not None]
    store.client.hset(f"{PREFIX}job:{units[0].job_id}:units", "begin", "{")
    store.client.set(f"{PREFIX}job:{units[1].job_id}:units", "a text")
    store.client.zadd(f"{PREFIX}leases", {"no-slash": 1, "/": 1, f"{'0' * 24}/begin": 1})
    store.client.zadd(f"{PREFIX}cancelling", {"nothing": 1})
    store.pass_time(20)
    assert store.client.zcard(f"{PREFIX}leases") == 0
    again = store.taken()
    assert again is not None
    assert (again.job_id, again.attempt) == (units[2].job_id, 2)


def test_a_damaged_unit_is_passed_over(store: ClockedStore) -> None:
    """The next one is taken."""
    bad, good = store.submitted(), store.submitted()
    store.client.hset(f"{PREFIX}job:{bad}:units", "begin", "{")
    store.client.zadd(f"{PREFIX}ready:extraction", {"no-slash": 1})
    unit = store.taken()
    assert unit is not None
    assert unit.job_id == good


def test_old_records_are_deleted_and_nothing_outside(store: ClockedStore, broker: Broker, tmp_path: Path) -> None:
    """A record whose id leads out of the folder of jobs deletes no folder; a damaged one does not stop the others."""
    home, outside = tmp_path / "home", tmp_path / "outside"
    (outside / "precious").mkdir(parents=True)
    old = store.submitted()
    (home / "jobs" / old).mkdir(parents=True)
    store.cancel(old)
    damage(store, old, ended_ms="1")
    plant(store, "../../outside", "succeeded")
    plant(store, "000", "succeeded")
    damage(store, "000", ended_ms="never")
    Recovery(JobQueue(broker.url, timeout_s=PATIENCE_S), home, ("extraction",), 1, 3600.0, None).tick()
    assert (outside / "precious").is_dir()
    assert not (home / "jobs" / old).exists()
    assert not store.client.exists(f"{PREFIX}job:{old}")


def test_a_damaged_heartbeat_does_not_break_the_list_of_workers(store: ClockedStore) -> None:
    """The others are listed."""
    store.heartbeat("good", ("extraction",), 1, "1")
    store.client.hset(f"{PREFIX}workers", mapping={"bad": "{", "worse": "[]", "worst": '{"at": "x"}'})
    assert [worker.name for worker in store.workers()] == ["good"]


def test_ids_and_names_are_no_paths(tmp_path: Path) -> None:
    """A folder of a job has only ids, and files in it have only names."""
    for job in ("../x", "", ".", "0" * 23, f"{'0' * 23}/", f"{'0' * 24}\n", "A" * 24):
        with pytest.raises(InvalidName):
            JobFolder(tmp_path, job)
    folder = JobFolder(tmp_path, "0" * 24)
    (tmp_path / "secret").write_text("{}")
    for name in ("../../secret", "/etc/passwd", "", "..", "a\0b", ".hidden"):
        assert not folder.has(name)
        with pytest.raises(InvalidName):
            next(folder.rows(name))
        with pytest.raises(InvalidName):
            folder.planned(name, "part-00000")


def test_a_job_is_unchanged_by_a_second_submission(store: ClockedStore) -> None:
    """The clock does not decide about repeated requests within a day."""
    first = store.submit(DiagnosticParameters(), request_id="test", idempotency_key="once").job
    store.jump(-DAY_S)
    again: Job = store.submit(DiagnosticParameters(), request_id="test", idempotency_key="once").job
    assert again == first
