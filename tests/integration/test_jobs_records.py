"""What the records of jobs hold and refuse, shown by records alone: nobody works here."""

import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import pytest
import redis

from ml.errors import IdempotencyConflict
from testing.jobs import Broker
from testing.servers import PATIENCE_S, wait_until
from worker.jobs import (
    JOB_KINDS,
    JOB_STATES,
    DiagnosticParameters,
    ExtractionParameters,
    JobConflict,
    JobError,
    JobNotFound,
    RetrainingParameters,
)
from worker.queue import JobQueue
from worker.records import LeasedUnit, LeaseLost, Submission
from worker.store import PREFIX, connect

T = TypeVar("T")
NOTHING, FOR_LONG = DiagnosticParameters(), DiagnosticParameters(seconds=120)


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JobQueue]:
    """A queue that no worker listens to, for what records alone can show."""
    broker = Broker(tmp_path_factory.mktemp("records")).start()
    yield JobQueue(broker.url, timeout_s=PATIENCE_S)
    broker.kill()


def test_a_lease_that_lapsed_gives_no_right(records: JobQueue) -> None:
    """While another works on the unit, whatever its first holder sends is refused, and changes nothing."""
    store = records.store
    job = store.submit(ExtractionParameters(dataset="hall-3"), request_id="test").job.id
    first = taken(records)
    client_of(records).zadd(f"{PREFIX}leases", {f"{job}/{first.name}": 1})
    second = taken(records)
    assert (second.attempt, second.name, second.token > first.token) == (2, first.name, True)
    before = everything(records, job)
    for change in (
        lambda: store.pin(first, plan="theirs"),
        lambda: store.fan_out(first, [1], "features"),
        lambda: store.advance(first, 1, "part"),
        lambda: store.part_files(first),
        lambda: store.succeed(first, {}, "rows"),
        lambda: store.fail(first, JobError(code="worker_lost", detail="It was not.")),
        lambda: store.release(first),
    ):
        with pytest.raises(LeaseLost):
            change()
    store.progress(first, "features", 1, 1, "")
    store.log(first, "Still here.")
    assert store.renew(first) == "lost"
    assert everything(records, job) == before
    assert store.renew(second) == "held"
    store.succeed(second, {}, "rows")
    assert store.get(job).state == "succeeded"


def taken(records: JobQueue) -> LeasedUnit:
    """The unit of an extraction whose turn it is, once there is one; lapsed ones are given up meanwhile."""

    def there() -> LeasedUnit | None:
        records.store.sweep()
        return records.store.take("extraction", "somebody/1", uuid.uuid4().hex)

    found: LeasedUnit = wait_until(there, every_s=0.1)
    return found


def client_of(records: JobQueue) -> redis.Redis:
    """A connection for looking at its server, and for doing what no worker expects."""
    return connect(records.url, timeout_s=PATIENCE_S)


def everything(records: JobQueue, job: str) -> list[Any]:
    """All that the server holds of a job."""
    client = client_of(records)
    key = f"{PREFIX}job:{job}"
    return [client.hgetall(key), client.hgetall(f"{key}:units"), client.xrange(f"{key}:events")]


def at_once(count: int, ask: Callable[[int], Submission]) -> list[Submission]:
    """The same request from so many threads."""
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(ask, range(count)))


def test_identical_retrainings_are_one_job(records: JobQueue) -> None:
    """Five at once are one job; other words on the same dataset are refused until it ends; another dataset is not."""
    asked = RetrainingParameters(dataset="hall-3")
    answers = at_once(5, lambda n: records.submit(asked, request_id=str(n)))
    assert len({answer.job.id for answer in answers}) == 1
    assert sorted(answer.created for answer in answers) == [False] * 4 + [True]
    with pytest.raises(JobConflict, match=answers[0].job.id):
        records.submit(RetrainingParameters(dataset="hall-3", seed=1), request_id="test")
    assert records.submit(RetrainingParameters(dataset="hall-4"), request_id="test").created
    records.cancel(answers[0].job.id)
    assert records.submit(RetrainingParameters(dataset="hall-3", seed=1), request_id="test").created


def test_an_idempotency_key_makes_one_job(records: JobQueue) -> None:
    """Twenty requests under one key make one job; under the same key another request is refused by name."""

    def ask(_: int) -> Submission:
        return records.submit(NOTHING, request_id="test", idempotency_key="once")

    answers = at_once(20, ask)
    assert len({answer.job.id for answer in answers}) == 1
    assert sum(answer.created for answer in answers) == 1
    with pytest.raises(IdempotencyConflict, match=answers[0].job.id):
        records.submit(FOR_LONG, request_id="test", idempotency_key="once")
    assert not ask(0).created


def test_ten_thousand_jobs_are_listed_and_forgotten_fast(records: JobQueue) -> None:
    """A page and the figures are the work of milliseconds however many jobs there are; old ones can be forgotten."""
    store = records.store
    with ThreadPoolExecutor(4) as pool:
        ids = list(pool.map(lambda _: store.submit(NOTHING, request_id="test").job.id, range(10_000)))
    page, paged_s = worked(records, lambda: store.list_jobs(limit=50))
    assert [job.id for job in page.jobs] == sorted(ids)[:-51:-1]
    figures, counted_s = worked(records, store.stats)
    assert figures.jobs["diagnostic", "queued"] >= 10_000
    assert paged_s < 0.25
    assert counted_s < 0.1
    behind = store.list_jobs(limit=50, cursor=page.next)
    assert behind.jobs[0].id < page.jobs[-1].id
    for job in ids[:150]:
        store.cancel(job)
    forgotten: list[str] = []
    while some := store.prune(kept_s=-1):
        forgotten += some
    assert set(ids[:150]) <= set(forgotten)
    with pytest.raises(JobNotFound):
        store.get(ids[0])
    assert store.get(ids[150]).state == "queued"
    assert store.prune(kept_s=-1) == []


def test_a_repeated_kind_or_state_is_one(records: JobQueue) -> None:
    """A query of 10 KB asks for as few lists as a short one, and gets the same page."""
    records.submit(NOTHING, request_id="test")

    def commands() -> int:
        return int(client_of(records).info("stats")["total_commands_processed"])

    once, before = records.store.list_jobs(limit=5), commands()
    assert records.store.list_jobs(kinds=JOB_KINDS * 200, states=JOB_STATES * 200, limit=5) == once
    assert commands() - before < 200


def worked(records: JobQueue, ask: Callable[[], T]) -> tuple[T, float]:
    """An answer, and the CPU time that it takes here and in the server, in seconds: the mean of ten."""

    def used_s() -> float:
        of_server = client_of(records).info("cpu")
        return time.process_time() + float(of_server["used_cpu_user"]) + float(of_server["used_cpu_sys"])

    before = used_s()
    for _ in range(10):
        answer = ask()
    return answer, (used_s() - before) / 10


def test_a_unit_whose_answer_was_lost_is_given_again(records: JobQueue) -> None:
    """The same call gets the same unit under the same token, and no attempt is counted; another call does not."""
    records.submit(ExtractionParameters(dataset="any"), request_id="test")
    first, again = (records.store.take("extraction", "somebody/1", "one call") for _ in range(2))
    assert first is not None
    assert again == first
    assert records.store.take("extraction", "somebody/2", "another call") != first


def test_while_a_retraining_is_being_cancelled_another_has_to_wait(records: JobQueue) -> None:
    """It is not answered with the job that is about to end; once that has ended there is a new one."""
    asked = RetrainingParameters(dataset="cancelled-and-asked-for")
    first = records.submit(asked, request_id="test").job.id
    # Other tests have left work in this queue.
    calls = iter(range(100))
    taken = next(t for i in calls if (t := records.store.take("training", "somebody/1", str(i))) and t.job_id == first)
    assert records.cancel(first).state == "cancelling"
    with pytest.raises(JobConflict, match="being cancelled"):
        records.submit(asked, request_id="test")
    records.store.release(taken)
    assert records.store.get(first).state == "cancelled"
    assert records.submit(asked, request_id="test").created
