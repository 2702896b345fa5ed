"""What a job costs that does nothing: from asking to the end, one at a time, and 200 at once over HTTP."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import redis

from testing.jobs import JobHarness, run_jobs
from testing.servers import ServerProcess, run_servers
from worker.jobs import DiagnosticParameters
from worker.store import PREFIX

TARGET_MS = 50.0
CHILDREN, CLIENTS = 2, 16
WITHIN_MS, WITHIN_S = 10_000, 120.0


def measure(root: Path, count: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Both, with one worker of two processes.

    Args:
        root: an empty folder.
        count: jobs, of each.
        say: told what is being done.
    """
    with run_jobs(root, root / "home") as jobs:
        jobs.start_worker(queues=("scoring",), children=CHILDREN)
        say(f"overhead: {count} empty jobs, one after another")
        watcher = jobs.broker.client()
        _seconds(jobs, watcher)
        times_ms = [1000 * _seconds(jobs, watcher) for _ in range(count)]
        say(f"overhead: {count} empty jobs at once over HTTP")
        with run_servers(root) as serve:
            server = serve(jobs.home, wait_for="/livez", redis_url=jobs.broker.url, processes=1)
            together = _at_once(server, jobs, count)
    one = {"median_ms": median(times_ms), "p95_ms": quantiles(times_ms, n=20)[-1], "most_ms": max(times_ms)}
    return {"jobs": count, "one_by_one": one | {"target_ms": TARGET_MS}, "at_once": together}


def _seconds(jobs: JobHarness, watcher: redis.Redis) -> float:
    """From asking to the last event, as a client that watches the events sees it."""
    started = time.perf_counter()
    job, after = jobs.submit(DiagnosticParameters()), "0"
    while True:
        ((_, events),) = watcher.xread({f"{PREFIX}job:{job}:events": after}, block=WITHIN_MS)
        after, last = events[-1]
        if last["event"] == "end":
            return time.perf_counter() - started


def _at_once(server: ServerProcess, jobs: JobHarness, count: int) -> dict[str, Any]:
    def ask(_: int) -> str:
        answer = server.client.post("/v1/jobs/diagnostic", json={})
        assert answer.status_code == 202, answer.content
        return str(answer.json()["id"])

    started = time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as pool:
        asked = list(pool.map(ask, range(count)))
    asked_s = time.perf_counter() - started
    states = [jobs.wait_for_end(job, within_s=WITHIN_S).state for job in asked]
    ended_s = time.perf_counter() - started
    return {"clients": CLIENTS, "succeeded": states.count("succeeded"), "asked_s": asked_s, "ended_s": ended_s}
