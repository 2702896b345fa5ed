"""Long work when everything around it fails: real workers over a real broker, killed, frozen, stopped and lied to."""

import base64
import fcntl
import json
import os
import pickle
import random
import shutil
import signal
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from ml.dataset.paths import features_folder
from ml.features.store import INCOMPLETE_FOLDER
from tests import sounds
from tests.integration.jobs import Broker, JobHarness, run_jobs
from tests.integration.servers import wait_until
from worker.jobs import (
    DiagnosticParameters,
    ExtractionParameters,
    IdempotencyConflict,
    JobConflict,
    JobError,
    JobNotFound,
    RetrainingParameters,
    ScoringParameters,
)
from worker.queue import JobQueue
from worker.records import LeasedUnit, LeaseLost, Submission
from worker.store import CELERY_PREFIX, PREFIX, connect

MANY, FEW = 800, 3
RESUMED_WITHIN_S = 30.0
SHORT_LEASE_S = 3.0
NOTHING, FOR_LONG = DiagnosticParameters(), DiagnosticParameters(seconds=120)
SCORING = ScoringParameters(dataset="many")


@pytest.fixture(scope="module")
def jobs_home(original_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a model, and datasets of many short recordings, of few, and of few of which one is a picture."""
    home = Path(shutil.copytree(original_home, tmp_path_factory.mktemp("jobs") / "home"))
    for name, count in (("many", MANY), ("few", FEW), ("flawed", FEW)):
        folder = home / "datasets" / name / "normal"
        folder.mkdir(parents=True)
        for number in range(count):
            clip = sounds.recording(sounds.noise(8_000, seed=number), rate_hz=8_000)
            (folder / f"{number:05}.wav").write_bytes(clip)
    (home / "datasets" / "flawed" / "normal" / "picture.wav").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(1000))
    return home


@pytest.fixture
def jobs(jobs_home: Path, tmp_path: Path) -> Iterator[JobHarness]:
    """A broker without a worker."""
    with run_jobs(tmp_path, jobs_home) as running:
        yield running


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JobQueue]:
    """A queue that no worker listens to, for what records alone can show."""
    broker = Broker(tmp_path_factory.mktemp("records")).start()
    yield JobQueue(broker.url)
    broker.kill()


def caught(jobs: JobHarness, job: str, unit: str = "") -> int:
    """Stop whoever works on such a unit, with SIGSTOP and while it certainly holds the unit; returns its process id."""

    def stopped() -> int | None:
        pid = jobs.busy(job, unit)
        os.kill(pid, signal.SIGSTOP)
        time.sleep(0.05)  # what it had already sent is through
        if pid in jobs.holders(job, unit):
            return pid
        os.kill(pid, signal.SIGCONT)
        return None

    return int(wait_until(stopped, within_s=20))


def is_whole(jobs: JobHarness, job: str, attempt: int) -> None:
    """Each recording has one row, the job has one end, and that end says success."""
    assert sorted(row["name"] for row in jobs.rows(job)) == [f"normal/{number:05}.wav" for number in range(MANY)]
    assert jobs.endings(job) == [("succeeded", attempt)]
    assert jobs.store.get(job).summary["recordings"] == MANY


@pytest.mark.parametrize("whole_worker", [False, True], ids=["a child", "a worker"])
def test_killed_work_is_resumed_within_30_s(jobs: JobHarness, whole_worker: bool) -> None:
    """Whether one process or its whole worker is killed: the job goes on, in its second attempt, and is whole."""
    worker = jobs.start_worker(children=1)
    job = jobs.submit(SCORING)
    pid = caught(jobs, job, "part-")
    jobs.start_worker(children=1)
    killed = time.monotonic()
    if whole_worker:
        worker.kill()
    else:
        os.kill(pid, signal.SIGKILL)
    jobs.wait_for_state(job, "succeeded", within_s=RESUMED_WITHIN_S)
    assert time.monotonic() - killed < RESUMED_WITHIN_S
    is_whole(jobs, job, attempt=2)


def test_work_that_kills_its_process_is_given_up_after_three_attempts(jobs: JobHarness) -> None:
    """A job whose process is killed each time fails by name, and other jobs are done in the meantime and after it."""
    jobs.start_worker(children=1, lease_s=SHORT_LEASE_S)
    fatal = jobs.submit(FOR_LONG)
    for attempt in (1, 2, 3):
        pid = jobs.busy(fatal)
        assert jobs.store.get(fatal).attempt == attempt
        other = jobs.submit(NOTHING)
        os.kill(pid, signal.SIGKILL)
        assert jobs.wait_for_end(other).state == "succeeded"
        wait_until(lambda pid=pid: pid not in jobs.holders(fatal), within_s=RESUMED_WITHIN_S)
    lost = jobs.wait_for_end(fatal)
    assert (lost.state, lost.attempt, lost.error.code) == ("failed", 3, "worker_lost")
    assert jobs.endings(fatal) == [("failed", 3)]
    assert jobs.wait_for_end(jobs.submit(NOTHING)).state == "succeeded"


def test_a_process_that_was_away_for_longer_than_its_lease_changes_nothing(jobs: JobHarness) -> None:
    """Paused, given up, resumed while another does its part: it is fenced off, and there is one result."""
    worker = jobs.start_worker(lease_s=SHORT_LEASE_S)
    job = jobs.submit(SCORING)
    pid = caught(jobs, job, "part-")
    wait_until(lambda: jobs.store.get(job).attempt == 2, within_s=RESUMED_WITHIN_S, every_s=0.005)
    os.kill(pid, signal.SIGCONT)
    jobs.wait_for_state(job, "succeeded")
    after = jobs.store.get(job), jobs.rows(job)
    is_whole(jobs, job, attempt=2)
    wait_until(lambda: "fenced" in worker.log() or "ended early: lost" in worker.log(), within_s=10)
    assert (jobs.store.get(job), jobs.rows(job)) == after
    assert jobs.wait_for_end(jobs.submit(NOTHING)).state == "succeeded"


def test_a_broker_that_is_away_for_four_seconds_costs_nothing_but_time(jobs: JobHarness) -> None:
    """Killed in the middle of a job and started again: the same worker goes on, in the same attempt, and then on."""
    worker = jobs.start_worker()
    job = jobs.submit(SCORING)
    jobs.at_least(job, 32)
    jobs.broker.kill()
    time.sleep(4)
    with pytest.raises(redis.ConnectionError):
        jobs.submit(NOTHING)
    jobs.broker.start()
    jobs.wait_for_state(job, "succeeded")
    is_whole(jobs, job, attempt=1)
    two = [jobs.submit(FOR_LONG), jobs.submit(FOR_LONG)]
    assert {jobs.busy(job) for job in two} == set(worker.children())
    worker.stop()


def test_a_broker_that_stumbles_costs_no_process(jobs: JobHarness) -> None:
    """Killed and started at once, again and again between short jobs: the one process there is does all of them."""
    waiting = [jobs.submit(NOTHING) for _ in range(200)]
    assert jobs.broker.client().waitaof(1, 0, 5000)[0] == 1
    jobs.start_worker(children=1)
    for job in waiting[::40]:
        jobs.wait_for_end(job)
        jobs.broker.kill()
        jobs.broker.start()
    assert {jobs.wait_for_end(job).state for job in waiting} == {"succeeded"}
    assert {len(jobs.endings(job)) for job in waiting} == {1}


def test_fifty_waiting_jobs_outlive_the_broker(jobs: JobHarness) -> None:
    """Killed and started again from its append-only file with nobody at work: later each job is done, and once."""
    waiting = [jobs.submit(NOTHING) for _ in range(50)]
    assert jobs.broker.client().waitaof(1, 0, 5000)[0] == 1
    jobs.broker.kill()
    jobs.broker.start()
    worker = jobs.start_worker()
    assert {jobs.wait_for_end(job).state for job in waiting} == {"succeeded"}
    assert [jobs.endings(job) for job in waiting] == [[("succeeded", 1)]] * 50
    begun = Counter(line["job"] for line in worker.lines() if line["message"] == "begun")
    assert begun == Counter(waiting)


def cancelled_within(jobs: JobHarness, job: str, seconds: float) -> None:
    """Ask for the end of a job: it must come within so many seconds, be told once, and say that it was cancelled."""
    assert jobs.queue.cancel(job).state in ("cancelling", "cancelled")
    jobs.wait_for_state(job, "cancelled", within_s=seconds)
    assert [state for state, _ in jobs.endings(job)] == ["cancelled"]


def test_a_job_is_cancelled_in_whatever_state_it_is(jobs: JobHarness) -> None:
    """Waiting: within 2 s; under way: within 5 s; ended: nothing changes. The worker takes the next job."""
    worker = jobs.start_worker(children=1)
    running = jobs.submit(FOR_LONG)
    jobs.busy(running)
    waiting = jobs.submit(NOTHING)
    cancelled_within(jobs, waiting, 2)
    cancelled_within(jobs, running, 5)
    done = jobs.submit(NOTHING)
    jobs.wait_for_state(done, "succeeded")
    for job in (waiting, running, done):
        before = jobs.store.get(job), jobs.events(job)
        assert jobs.queue.cancel(job) == before[0]
        assert (jobs.store.get(job), jobs.events(job)) == before
    assert waiting not in [line.get("job") for line in worker.lines()]


def test_work_that_hangs_is_cancelled_too(jobs: JobHarness) -> None:
    """A part that waits for a lock and reports nothing: its process is ended, and a new one takes the next job."""
    worker = jobs.start_worker(children=1)
    with held(features_folder(jobs.home) / INCOMPLETE_FOLDER):
        job = jobs.submit(ExtractionParameters(dataset="few"))
        pid = jobs.busy(job, "part-")
        cancelled_within(jobs, job, 5)
        wait_until(lambda: pid not in worker.children(), within_s=5)
        assert jobs.wait_for_end(jobs.submit(NOTHING)).state == "succeeded"


def test_a_job_whose_process_does_not_run_at_all_is_cancelled(jobs: JobHarness) -> None:
    """Stopped by SIGSTOP, it can say nothing: the job ends without its word, and it is harmless when it comes back."""
    worker = jobs.start_worker(children=1)
    job = jobs.submit(FOR_LONG)
    pid = caught(jobs, job)
    cancelled_within(jobs, job, 5)
    ended = jobs.store.get(job)
    os.kill(pid, signal.SIGCONT)
    wait_until(lambda: "ended early: lost" in worker.log(), within_s=10)
    assert jobs.wait_for_end(jobs.submit(NOTHING)).state == "succeeded"
    assert jobs.store.get(job) == ended


def test_cancelling_races_with_the_end(jobs: JobHarness) -> None:
    """Cancelled at any moment between beginning and end, 100 times: each job ends once, in a state that stays."""
    jobs.start_worker()
    parameters = [NOTHING, NOTHING, NOTHING, ScoringParameters(dataset="few")]
    usual_s = [took(jobs, each) for each in parameters]
    states = []
    for number in range(100):
        kind = number % len(parameters)
        job = jobs.submit(parameters[kind])
        time.sleep(random.uniform(0, 1.5 * usual_s[kind]))
        jobs.queue.cancel(job)
        ended = jobs.wait_for_end(job, within_s=5)
        states.append((job, ended))
    for job, ended in states:
        assert jobs.store.get(job) == ended
        assert jobs.endings(job) == [(ended.state, ended.attempt)]
    assert {ended.state for _, ended in states} == {"succeeded", "cancelled"}
    assert jobs.store.stats().waiting["scoring"] == 0
    assert not jobs.broker.client().exists(f"{PREFIX}leases", f"{PREFIX}cancelling")


def took(jobs: JobHarness, parameters: Any) -> float:
    """Seconds from asking to the end, the better of two: the first may load a model."""
    seconds = []
    for _ in range(2):
        start = time.monotonic()
        jobs.wait_for_end(jobs.submit(parameters))
        seconds.append(time.monotonic() - start)
    return min(seconds)


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold a folder's lock, which the feature store waits for."""
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def test_a_worker_that_is_told_to_stop_loses_nothing(jobs: JobHarness) -> None:
    """SIGTERM in the middle of a scoring, and a new worker: as many rows as recordings, and none was judged twice."""
    first = jobs.start_worker(log_level="debug")
    job = jobs.submit(SCORING)
    jobs.at_least(job, 64)
    pid = caught(jobs, job, "part-")
    first.tell_to_stop()
    time.sleep(0.5)  # whoever was caught hears of it in the middle of its part
    os.kill(pid, signal.SIGCONT)
    first.ends_well()
    assert not jobs.store.get(job).has_ended
    assert 0 < judged(first).total() < MANY
    second = jobs.start_worker(log_level="debug")
    jobs.wait_for_state(job, "succeeded")
    is_whole(jobs, job, attempt=1)
    assert judged(first) + judged(second) == Counter(f"normal/{number:05}.wav" for number in range(MANY))


def judged(worker: Any) -> Counter[str]:
    """How often it began to judge each recording."""
    return Counter(line["path"] for line in worker.lines() if line["message"] == "scoring")


def test_messages_that_nobody_here_sends_are_thrown_away(jobs: JobHarness) -> None:
    """Pickle, an unknown task, half a message or noise in Celery's list: the worker goes on, with the next job."""
    worker = jobs.start_worker(children=1)
    pid, connection = worker.pid, jobs.broker.client()
    foreign = list(foreign_messages(own_message(jobs)))
    for message in foreign:
        connection.lpush(f"{CELERY_PREFIX}scoring", message)
        assert jobs.wait_for_end(jobs.submit(NOTHING), within_s=5).state == "succeeded"
    assert worker.pid == pid
    assert worker.log().count("a message was thrown away") == len(foreign)
    assert not Path("/tmp/unpickled").exists()
    wait_until(lambda: not connection.exists(f"{CELERY_PREFIX}unacked", f"{CELERY_PREFIX}scoring"), within_s=5)


def own_message(jobs: JobHarness) -> dict[str, Any]:
    """What is sent to a queue, taken from one that nobody listens to."""
    jobs.queue.submit(DiagnosticParameters(through="training"), request_id="test")
    return dict(json.loads(jobs.broker.client().lindex(f"{CELERY_PREFIX}training", 0)))


class _Unpickled:
    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str, str]]:
        return open, ("/tmp/unpickled", "w")


def foreign_messages(own: dict[str, Any]) -> Iterator[str | bytes]:
    """Everything but what is sent here."""
    own = json.loads(json.dumps(own).replace("training", "scoring"))
    pickled = base64.b64encode(pickle.dumps(((_Unpickled(),), {}, {}))).decode()
    yield pickle.dumps(_Unpickled())
    yield from (b"\xff\x00\x80", b"", b"hello", b"5", b"null", b"[]", b"{}")
    for name in own:
        yield json.dumps({key: value for key, value in own.items() if key != name})
    for change in (
        {"body": pickled, "content-type": "application/x-python-serialize", "content-encoding": "binary"},
        {"body": "%%%"},
        {"body": base64.b64encode(b'[["an argument"], {}, {}]').decode()},
        {"headers": own["headers"] | {"task": "os.system"}},
        {"headers": own["headers"] | {"eta": "soon"}},
        {"headers": {}},
        {"properties": {}},
    ):
        yield json.dumps(own | change)


def test_what_cannot_be_read_is_a_row_and_events_have_no_gap(jobs: JobHarness) -> None:
    """A picture among the recordings is a row with its error; events that are read in pieces are all there."""
    jobs.start_worker()
    job = jobs.submit(ScoringParameters(dataset="flawed"))
    assert jobs.wait_for_end(job).summary["errors_by_code"] == {"audio_not_recognised": 1}
    rows = jobs.rows(job)
    assert len(rows) == FEW + 1
    (bad,) = (row for row in rows if row["error"])
    assert (bad["name"], bad["score"]) == ("normal/picture.wav", None)
    assert all(row["score"] is not None for row in rows if row is not bad)
    pieces, after = [], "-"
    while piece := jobs.events(job, after, count=2):
        pieces += piece
        after = piece[-1][0]
    assert pieces == jobs.events(job)
    kinds = [event for _, event, _ in pieces]
    assert (kinds[0], kinds[-1], kinds.count("end")) == ("state", "end", 1)
    planned = kinds.index("log")  # how the recordings are read, before that, is a progress of its own
    done = [data["done"] for _, event, data in pieces[planned:] if event == "progress"]
    assert (done[0], done[-1]) == (0, FEW + 1)
    assert done == sorted(done)


def test_a_lease_that_lapsed_gives_no_right(records: JobQueue) -> None:
    """While another works on the unit, whatever its first holder says is refused, and changes nothing."""
    store = records.store
    job = store.submit(ExtractionParameters(dataset="hall-3"), request_id="test").job.id
    first = taken(records)
    connect(records.url).zadd(f"{PREFIX}leases", {f"{job}/{first.name}": 1})
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

    found: LeasedUnit = wait_until(there, within_s=5, every_s=0.1)
    return found


def everything(records: JobQueue, job: str) -> list[Any]:
    """All that the server holds of a job."""
    client = connect(records.url)
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


def test_ten_thousand_jobs_are_listed_and_forgotten_fast(records: JobQueue, record_property: Any) -> None:
    """A page and the figures take milliseconds however many jobs there are; what ended long ago can be forgotten."""
    store = records.store
    with ThreadPoolExecutor(4) as pool:
        ids = list(pool.map(lambda _: store.submit(NOTHING, request_id="test").job.id, range(10_000)))
    begun = time.monotonic()
    page = store.list_jobs(limit=50)
    paged_s = time.monotonic() - begun
    assert [job.id for job in page.jobs] == sorted(ids)[:-51:-1]
    begun = time.monotonic()
    figures = store.stats()
    counted_s = time.monotonic() - begun
    assert figures.jobs["diagnostic", "queued"] >= 10_000
    record_property("page_ms", 1000 * paged_s)
    record_property("figures_ms", 1000 * counted_s)
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
