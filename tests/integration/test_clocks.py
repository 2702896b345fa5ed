"""Clocks that jump by a day: no job is done twice or lost, and the work of a dead worker is taken up in time."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

import pytest

from testing.clocks import FakeClock
from testing.jobs import JobHarness, WorkerProcess, run_jobs
from testing.servers import Serve, ServerProcess, wait_until
from tests.complete import require_program
from tests.integration.uploads import WAV_TYPE
from worker.jobs import DiagnosticParameters
from worker.store import PREFIX

Whose = Literal["queue", "worker"]
SHORT_LEASE_S = 2.0
# Promised with leases of 12 s: another worker starts the work of a dead one within 15 s (docs/jobs.md).
TAKEN_UP_WITHIN_S = 15.0
JUMPS = (1, -1)  # days
WHILE_JUMPING = DiagnosticParameters(seconds=3)
FOR_LONG = DiagnosticParameters(seconds=120)


@pytest.fixture
def clock(tmp_path: Path) -> FakeClock:
    """A clock that shows the true time first."""
    require_program("gcc")
    (folder := tmp_path / "clock").mkdir()
    return FakeClock(folder)


@pytest.fixture
def jobs(request: pytest.FixtureRequest, clock: FakeClock, tmp_path: Path) -> Iterator[JobHarness]:
    """A queue and two workers, of which the queue or the first worker has the clock that jumps."""
    whose: Whose = request.getfixturevalue("whose")
    (home := tmp_path / "home").mkdir()
    with ExitStack() as stack:
        with clock.applied() if whose == "queue" else ExitStack():
            running = stack.enter_context(run_jobs(tmp_path, home))
        with clock.applied() if whose == "worker" else ExitStack():
            running.start_worker(children=1, lease_s=SHORT_LEASE_S)
        yield running


def attempts(jobs: JobHarness, workers: list[WorkerProcess], job: str) -> int:
    """How often the workers began a job; it must have ended once, with success."""
    jobs.wait_for_state(job, "succeeded", within_s=60.0)
    begun = sum(line["message"] == "begun" and line.get("job") == job for each in workers for line in each.lines())
    assert jobs.endings(job) == [("succeeded", begun)]
    return begun


@pytest.mark.parametrize("whose", ["queue", "worker"])
def test_running_work_is_not_done_twice(jobs: JobHarness, clock: FakeClock, whose: Whose) -> None:
    """The clock jumps ahead and back while work runs: it goes on, in its first attempt; new work is taken, too."""
    workers = [*jobs.workers, jobs.start_worker(children=1, lease_s=SHORT_LEASE_S)]
    for jump in (*JUMPS, 0):
        job = jobs.submit(WHILE_JUMPING)
        jobs.wait_for_holder(job)
        time.sleep(0.3)
        clock.jump(jump)
        assert attempts(jobs, workers, job) == 1
        later = jobs.submit(DiagnosticParameters())
        jobs.wait_for_state(later, "succeeded", within_s=TAKEN_UP_WITHIN_S)
        assert attempts(jobs, workers, later) == 1


@pytest.mark.parametrize(
    ("whose", "jump", "killed_first"),
    [
        ("queue", 1, True),
        ("queue", 1, False),
        ("queue", -1, True),
        ("queue", -1, False),
        ("worker", 1, False),
        ("worker", -1, False),
    ],
)
def test_work_of_a_dead_worker_is_taken_up(
    jobs: JobHarness, clock: FakeClock, whose: Whose, jump: int, killed_first: bool
) -> None:
    """A worker is killed around the jump: another one has its work within the promised time."""
    (first,) = jobs.workers
    job = jobs.submit(FOR_LONG)
    pid = jobs.wait_for_holder(job)
    second = jobs.start_worker(children=1, lease_s=SHORT_LEASE_S)
    if killed_first:
        first.kill()
        clock.jump(jump)
    else:
        clock.jump(jump)
        first.kill()
    wait_until(lambda: jobs.holders(job) not in ([], [pid]), within_s=TAKEN_UP_WITHIN_S, every_s=0.1)
    assert jobs.store.get(job).attempt == 2
    jobs.queue.cancel(job)
    jobs.wait_for_state(job, "cancelled", within_s=TAKEN_UP_WITHIN_S)
    assert second.bugs() == []


def test_the_api_goes_on(home: Path, serve: Serve, clock: FakeClock, tmp_path: Path, healthy: bytes) -> None:
    """Its clock jumps: uploads are judged, jobs are submitted, done once, listed and shown, and events come."""
    with run_jobs(tmp_path, home) as jobs:
        worker = jobs.start_worker(children=1, lease_s=SHORT_LEASE_S)
        with clock.applied():
            server = serve(home, redis_url=jobs.broker.url)
        submitted = [submit(server)]
        for jump in JUMPS:
            clock.jump(jump)
            answer = server.client.post("/v1/predict?machine_id=fan-3", content=healthy, headers=WAV_TYPE)
            assert answer.status_code == 200
            submitted.append(submit(server))
            assert server.client.get("/readyz").json()["queue"]["status"] == "reachable"
        for job in submitted:
            assert attempts(jobs, [worker], job) == 1
            events = server.client.get(f"/v1/jobs/{job}/events").text
            assert "event: end" in events
        listed = {each["id"] for each in server.client.get("/v1/jobs").json()["jobs"]}
        assert listed == set(submitted)


def submit(server: ServerProcess) -> str:
    """Submit a job over HTTP; returns its id."""
    answer = server.client.post("/v1/jobs/diagnostic", json={})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def test_sweeps_at_once_end_a_lease_once(tmp_path: Path) -> None:
    """Twenty sweeps at the same time after a lease has ended: one attempt is lost, and one worker gets the work."""
    with run_jobs(tmp_path, tmp_path) as jobs:
        job = jobs.submit(DiagnosticParameters())
        taken = jobs.store.take("scoring", "somebody/1", "first call")
        assert taken is not None
        jobs.broker.client().zadd(f"{PREFIX}leases", {f"{job}/{taken.name}": 1})
        with ThreadPoolExecutor(20) as pool:
            list(pool.map(lambda _: jobs.store.sweep(), range(200)))
        lost = [data["message"] for _, event, data in jobs.events(job) if event == "log"]
        assert len(lost) == 1
        calls = [jobs.store.take("scoring", f"somebody/{number}", f"call {number}") for number in range(3)]
        assert [call.attempt for call in calls if call] == [2]
