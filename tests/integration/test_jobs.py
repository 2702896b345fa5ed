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
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from ml.dataset.paths import features_folder
from ml.features.store import INCOMPLETE_FOLDER
from testing.jobs import JobHarness, run_jobs
from testing.servers import PATIENCE_S, wait_until
from tests import sounds
from worker.jobs import DiagnosticParameters, ExtractionParameters, ScoringParameters
from worker.store import CELERY_PREFIX, PREFIX

MANY, FEW = 800, 3
SHORT_LEASE_S = 3.0
ON_DISK_MS = int(1000 * PATIENCE_S)
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


def caught(jobs: JobHarness, job: str, unit: str = "") -> int:
    """Stop whoever works on such a unit, with SIGSTOP and while it certainly holds the unit; returns its process id."""

    def stopped() -> int | None:
        pid = jobs.wait_for_holder(job, unit)
        os.kill(pid, signal.SIGSTOP)
        time.sleep(0.05)  # what it had already sent is through
        if pid in jobs.holders(job, unit):
            return pid
        os.kill(pid, signal.SIGCONT)
        return None

    return int(wait_until(stopped))


def is_whole(jobs: JobHarness, job: str, attempt: int) -> None:
    """Each recording has one row, the job has one end, and that end is success."""
    assert sorted(row["name"] for row in jobs.rows(job)) == [f"normal/{number:05}.wav" for number in range(MANY)]
    assert jobs.endings(job) == [("succeeded", attempt)]
    assert jobs.store.get(job).summary["recordings"] == MANY


@pytest.mark.parametrize("whole_worker", [False, True], ids=["a child", "a worker"])
def test_killed_work_is_resumed(jobs: JobHarness, whole_worker: bool) -> None:
    """Whether one process or its whole worker is killed: the job goes on, in its second attempt, and is whole."""
    worker = jobs.start_worker(children=1, lease_s=SHORT_LEASE_S)
    job = jobs.submit(SCORING)
    pid = caught(jobs, job, "part-")
    jobs.start_worker(children=1, lease_s=SHORT_LEASE_S)
    if whole_worker:
        worker.kill()
    else:
        os.kill(pid, signal.SIGKILL)
    jobs.wait_for_state(job, "succeeded")
    is_whole(jobs, job, attempt=2)


def test_work_that_kills_its_process_is_given_up_after_three_attempts(jobs: JobHarness) -> None:
    """A job whose process is killed each time fails by name, and other jobs are done in the meantime and after it."""
    jobs.start_worker(children=1, lease_s=SHORT_LEASE_S)
    fatal = jobs.submit(FOR_LONG)
    for attempt in (1, 2, 3):
        pid = jobs.wait_for_holder(fatal)
        assert jobs.store.get(fatal).attempt == attempt
        other = jobs.submit(NOTHING)
        os.kill(pid, signal.SIGKILL)
        assert jobs.wait_for_end(other).state == "succeeded"
        wait_until(lambda pid=pid: pid not in jobs.holders(fatal))
    lost = jobs.wait_for_end(fatal)
    assert (lost.state, lost.attempt, lost.error.code) == ("failed", 3, "worker_lost")
    assert jobs.endings(fatal) == [("failed", 3)]
    assert jobs.wait_for_end(jobs.submit(NOTHING)).state == "succeeded"


def test_a_process_that_was_away_for_longer_than_its_lease_changes_nothing(jobs: JobHarness) -> None:
    """Paused, given up, resumed while another does its part: its writes are refused, and there is one result."""
    worker = jobs.start_worker(lease_s=SHORT_LEASE_S)
    job = jobs.submit(SCORING)
    pid = caught(jobs, job, "part-")
    wait_until(lambda: jobs.store.get(job).attempt == 2, every_s=0.005)
    os.kill(pid, signal.SIGCONT)
    jobs.wait_for_state(job, "succeeded")
    after = jobs.store.get(job), jobs.rows(job)
    is_whole(jobs, job, attempt=2)
    wait_until(lambda: "lease lost" in worker.log() or "ended early: lost" in worker.log())
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
    assert {jobs.wait_for_holder(job) for job in two} == set(worker.children())
    worker.stop()


def test_a_broker_that_stumbles_costs_no_process(jobs: JobHarness) -> None:
    """Killed and started at once, again and again between short jobs: the one process there is does all of them."""
    waiting = [jobs.submit(NOTHING) for _ in range(200)]
    assert jobs.broker.client().waitaof(1, 0, ON_DISK_MS)[0] == 1
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
    assert jobs.broker.client().waitaof(1, 0, ON_DISK_MS)[0] == 1
    jobs.broker.kill()
    jobs.broker.start()
    worker = jobs.start_worker()
    assert {jobs.wait_for_end(job).state for job in waiting} == {"succeeded"}
    assert [jobs.endings(job) for job in waiting] == [[("succeeded", 1)]] * 50
    begun = Counter(line["job"] for line in worker.lines() if line["message"] == "begun")
    assert begun == Counter(waiting)


def is_cancelled(jobs: JobHarness, job: str) -> None:
    """Ask for the end of a job: it must come, be told once, and say that it was cancelled."""
    assert jobs.queue.cancel(job).state in ("cancelling", "cancelled")
    jobs.wait_for_state(job, "cancelled")
    assert [state for state, _ in jobs.endings(job)] == ["cancelled"]


def test_a_job_is_cancelled_in_whatever_state_it_is(jobs: JobHarness) -> None:
    """Waiting or under way, it ends; once it has ended nothing changes. The worker takes the next job."""
    worker = jobs.start_worker(children=1)
    running = jobs.submit(FOR_LONG)
    jobs.wait_for_holder(running)
    waiting = jobs.submit(NOTHING)
    is_cancelled(jobs, waiting)
    is_cancelled(jobs, running)
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
        pid = jobs.wait_for_holder(job, "part-")
        is_cancelled(jobs, job)
        wait_until(lambda: pid not in worker.children())
        assert jobs.wait_for_end(jobs.submit(NOTHING)).state == "succeeded"


def test_a_job_whose_process_does_not_run_at_all_is_cancelled(jobs: JobHarness) -> None:
    """Stopped by SIGSTOP, it can say nothing: the job ends without its word, and it is harmless when it comes back."""
    worker = jobs.start_worker(children=1)
    job = jobs.submit(FOR_LONG)
    pid = caught(jobs, job)
    is_cancelled(jobs, job)
    ended = jobs.store.get(job)
    os.kill(pid, signal.SIGCONT)
    wait_until(lambda: "ended early: lost" in worker.log())
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
        ended = jobs.wait_for_end(job)
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


def test_a_worker_that_gets_sigterm_loses_nothing(jobs: JobHarness) -> None:
    """SIGTERM in the middle of a scoring, and a new worker: as many rows as recordings, and none was judged twice."""
    first = jobs.start_worker(log_level="debug")
    job = jobs.submit(SCORING)
    jobs.at_least(job, 64)
    pid = caught(jobs, job, "part-")
    first.request_stop()
    time.sleep(0.5)  # the client that lost its place learns of it during its part
    os.kill(pid, signal.SIGCONT)
    first.wait_for_clean_end()
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
    foreign = list(other_messages(own_message(jobs)))
    for message in foreign:
        connection.lpush(f"{CELERY_PREFIX}scoring", message)
        assert jobs.wait_for_end(jobs.submit(NOTHING)).state == "succeeded"
    assert worker.pid == pid
    assert worker.log().count("a message was discarded") == len(foreign)
    assert not Path("/tmp/unpickled").exists()
    wait_until(lambda: not connection.exists(f"{CELERY_PREFIX}unacked", f"{CELERY_PREFIX}scoring"))


def own_message(jobs: JobHarness) -> dict[str, Any]:
    """What is sent to a queue, taken from one that nobody listens to."""
    jobs.queue.submit(DiagnosticParameters(through="training"), request_id="test")
    return dict(json.loads(jobs.broker.client().lindex(f"{CELERY_PREFIX}training", 0)))


class _Unpickled:
    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str, str]]:
        return open, ("/tmp/unpickled", "w")


def other_messages(own: dict[str, Any]) -> Iterator[str | bytes]:
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
