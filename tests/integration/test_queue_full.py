"""A full server of the queue: jobs are refused with the reason, none is lost, and all goes on when it has space."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from testing.jobs import JobHarness, run_jobs
from testing.servers import Serve, ServerProcess, assert_problem, wait_until
from tests.disks import fill, small_disk
from tests.integration.uploads import WAV_TYPE
from worker.jobs import DiagnosticParameters

WORK = DiagnosticParameters(seconds=3)


@contextmanager
def full_memory(jobs: JobHarness) -> Iterator[None]:
    """Set the limit of the server's memory below what it has."""
    client = jobs.broker.client()
    client.config_set("maxmemory", "1mb")
    yield
    client.config_set("maxmemory", 0)


@contextmanager
def full_disk(disk: Path) -> Iterator[None]:
    """Fill the disk of the server's append-only file."""
    with suppress(OSError):  # the server writes too: the disk is full a little earlier
        fill(disk)
    yield
    (disk / "ballast").unlink()


@pytest.mark.parametrize("what", ["memory", "disk"])
def test_a_full_queue_refuses_jobs_and_loses_none(
    home: Path, tmp_path: Path, serve: Serve, healthy: bytes, what: str
) -> None:
    """A running and a waiting job are done once; a job meanwhile is refused by name; uploads are judged."""
    with small_disk(tmp_path / "broker", "8m") as disk, run_jobs(tmp_path, home) as jobs:
        server = serve(home, redis_url=jobs.broker.url)
        worker = jobs.start_worker(children=1)
        running, waiting = jobs.submit(WORK), jobs.submit(DiagnosticParameters())
        jobs.wait_for_holder(running)
        with full_memory(jobs) if what == "memory" else full_disk(disk):
            wait_until(lambda: refused(server), within_s=10.0)
            answer = server.client.post("/v1/jobs/diagnostic", json={})
            detail = assert_problem(answer, 503, "queue_unavailable")["detail"]
            assert what in detail
            assert "is full" in detail
            assert server.client.get(f"/v1/jobs/{running}").status_code == 200
            assert server.client.post("/v1/predict", content=healthy, headers=WAV_TYPE).status_code == 200
            if what == "disk":  # with a full memory, the end of a job can still be recorded, because it frees some
                wait_until(lambda: "trying again" in worker.log(), within_s=10.0)
            before = len(server.client.get("/v1/jobs").json()["jobs"])
        later = wait_until(lambda: submitted(server), within_s=10.0)
        for job in (running, waiting, later):
            jobs.wait_for_state(job, "succeeded", within_s=60.0)
            assert jobs.endings(job) == [("succeeded", 1)]
        assert len(server.client.get("/v1/jobs").json()["jobs"]) == before + 1


def refused(server: ServerProcess) -> bool:
    """A job is refused; the server of the queue notices a full disk with the next write of its file."""
    return server.client.post("/v1/jobs/diagnostic", json={}).status_code == 503


def submitted(server: ServerProcess) -> str | None:
    """The id of a job, as soon as one is accepted."""
    answer = server.client.post("/v1/jobs/diagnostic", json={})
    return str(answer.json()["id"]) if answer.status_code == 202 else None
