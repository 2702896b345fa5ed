"""How much one Redis carries: its processor time and memory for a job, a part, a busy process and an idle worker.

Redis works on one core. The cost of an operation, in microseconds of that core, gives how many fit into a second.
Beside that estimate stands the most that could be driven through it: the same transitions, many in flight.
"""

import json
import multiprocessing
import time
import uuid
from collections.abc import Callable
from datetime import datetime
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any, cast

import redis

from benchmarks.jobs.homes import DATASET, add_recordings
from testing.jobs import Broker, JobHarness, run_jobs
from testing.servers import wait_until
from worker.jobs import DiagnosticParameters, ExtractionParameters
from worker.parts import RECORDINGS_PER_PART
from worker.store import PREFIX, JobStore, connect

IDLE_S, BUSY_S = 5.0, 5.0
PARTS = 64
IN_FLIGHT = 50
DRIVERS = (1, 2, 4)
WITHIN_S = 300.0
Server = dict[str, float]


def measure(root: Path, count: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Everything, with one worker of one process at a time.

    Args:
        root: an empty folder.
        count: empty jobs.
        say: told what is being done.
    """
    home = add_recordings(root / "home", PARTS * RECORDINGS_PER_PART)
    found: dict[str, Any] = {}
    with run_jobs(root / "worked", home) as jobs:
        say(f"capacity: {count} empty jobs, one process")
        found["empty_jobs"] = _empty_jobs(jobs, count)
        say("capacity: an idle worker, a busy process, parts")
        idle = _used(jobs, lambda: time.sleep(IDLE_S))
        found["idle_worker_us_per_s"] = idle["us"] / idle["seconds"]
        found["busy_process_us_per_s"] = _busy_process(jobs, found["idle_worker_us_per_s"])
        found["parts"] = _parts(jobs, found["idle_worker_us_per_s"])
    say("capacity: as much as can be driven through")
    found["driven"] = [_driven(root / f"driven-{drivers}", drivers, 5 * count) for drivers in DRIVERS]
    return found | {"full": _full(found)}


def _full(found: dict[str, Any]) -> dict[str, float]:
    """What one core of Redis is enough for, each alone."""
    empty, second = found["empty_jobs"], 1e6
    jobs_per_s = second / empty["us_per_job"]
    return {
        "empty_jobs_per_s": jobs_per_s,
        "processes_with_empty_jobs": jobs_per_s / empty["per_s"],
        "parts_per_s": second / found["parts"]["us_per_part"],
        "recordings_per_s": RECORDINGS_PER_PART * second / found["parts"]["us_per_part"],
        "busy_processes": second / found["busy_process_us_per_s"],
        "idle_workers": second / found["idle_worker_us_per_s"],
    }


def _server(client: redis.Redis) -> Server:
    """Microseconds of its one thread, commands and scripts so far (those inside of scripts are commands too), bytes."""
    cpu, memory = client.info("cpu"), client.info("memory")
    calls = {name: each["calls"] for name, each in client.info("commandstats").items()}
    return {
        "us": 1e6 * (cpu["used_cpu_sys_main_thread"] + cpu["used_cpu_user_main_thread"]),
        "commands": sum(calls.values()),
        "scripts": calls.get("cmdstat_evalsha", 0),
        "bytes": memory["used_memory_dataset"],
    }


def _used(jobs: JobHarness, what: Callable[[], object]) -> dict[str, float]:
    """What a piece of work costs the server, and how long it takes."""
    client = jobs.broker.client()
    before, started = _server(client), time.perf_counter()
    what()
    seconds, after = time.perf_counter() - started, _server(client)
    return {name: after[name] - before[name] for name in before} | {"seconds": seconds}


def _empty_jobs(jobs: JobHarness, count: int) -> dict[str, float]:
    asked: list[str] = []
    parameters = DiagnosticParameters(through="extraction")
    submitting = _used(jobs, lambda: asked.extend(jobs.submit(parameters) for _ in range(count)))
    worked = _used(jobs, lambda: (jobs.start_worker(queues=("extraction",), children=1), _ended(jobs, asked[-1])))
    started, ended = jobs.store.get(asked[0]).started, jobs.store.get(asked[-1]).ended
    assert started
    assert ended
    work_s = (datetime.fromisoformat(ended) - datetime.fromisoformat(started)).total_seconds()
    return {
        "jobs": count,
        "per_s": (count - 1) / work_s,
        "submitted_per_s": count / submitting["seconds"],
        "us_per_job": (submitting["us"] + worked["us"]) / count,
        "us_to_submit": submitting["us"] / count,
        "commands_per_job": (submitting["commands"] + worked["commands"]) / count,
        "scripts_per_job": (submitting["scripts"] + worked["scripts"]) / count,
        "bytes_per_job": (submitting["bytes"] + worked["bytes"]) / count,
    }


def _busy_process(jobs: JobHarness, idle_us_per_s: float) -> float:
    """Renewing a lease and telling of progress, without what the idle worker costs."""
    parameters = DiagnosticParameters(through="extraction", seconds=BUSY_S)
    used = _used(jobs, lambda: _ended(jobs, jobs.submit(parameters)))
    return (used["us"] - idle_us_per_s * used["seconds"]) / used["seconds"]


def _parts(jobs: JobHarness, idle_us_per_s: float) -> dict[str, float]:
    """A part more: what many cost more than few, each of recordings whose features are on disk already."""
    parameters = ExtractionParameters(dataset=DATASET)
    _ended(jobs, jobs.submit(parameters))
    job = jobs.submit(parameters)
    whole = _used(jobs, lambda: _ended(jobs, job))
    keys = [f"{PREFIX}job:{job}", f"{PREFIX}job:{job}:events"]
    used_bytes = sum(cast("int", jobs.broker.client().memory_usage(key) or 0) for key in keys)
    return {
        "parts": PARTS,
        "us_per_part": (whole["us"] - idle_us_per_s * whole["seconds"]) / PARTS,
        "commands_per_part": whole["commands"] / PARTS,
        "scripts_per_part": whole["scripts"] / PARTS,
        "seconds_per_part": whole["seconds"] / PARTS,
        "bytes_of_job": used_bytes,
    }


def _ended(jobs: JobHarness, job: str) -> None:
    """Seldom asked, since asking costs the server too."""
    wait_until(lambda: jobs.store.get(job).has_ended, WITHIN_S, every_s=0.25)


class _InFlight(JobStore):
    """A store whose calls are kept until they are sent together, so that clients cost less than the server."""

    def __init__(self, client: redis.Redis) -> None:
        super().__init__(client)
        self._waiting = client.pipeline(transaction=False)

    def _call(self, operation: str, **arguments: Any) -> Any:
        self._script(args=[operation, json.dumps(arguments)], client=self._waiting)
        return {"submit": {"job": arguments.get("job"), "created": True}, "take": {}}.get(operation, {"hold": "held"})

    def get(self, job: str) -> Any:
        """As :meth:`JobStore.submit` asks after each record."""
        self._waiting.hgetall(f"{PREFIX}job:{job}")

    def sent(self) -> list[Any]:
        """The answers."""
        return cast("list[Any]", self._waiting.execute())


def _drive(url: str, rounds: int, ready: Barrier) -> None:
    """In a process of its own: ask for empty jobs, take and end them."""
    store = _InFlight(connect(url, timeout_s=WITHIN_S))
    ready.wait()
    for _ in range(rounds):
        for _ in range(IN_FLIGHT):
            store.submit(DiagnosticParameters(), request_id="driven")
        store.sent()
        for _ in range(IN_FLIGHT):
            store.take("scoring", "driver/1", uuid.uuid4().hex)
        for answer in map(json.loads, store.sent()):
            unit = {"job": answer["job"], "unit": answer["unit"], "token": answer["unit_record"]["token"]}
            store._call("succeed", **unit, summary="{}", result="")
        store.sent()


def _driven(root: Path, drivers: int, count: int) -> dict[str, float]:
    """As many jobs as ``count`` by each of so many processes, without messages and workers."""
    spawn, rounds = multiprocessing.get_context("spawn"), count // IN_FLIGHT
    ready = spawn.Barrier(drivers + 1)
    broker = Broker(root).start()
    try:
        processes = [spawn.Process(target=_drive, args=(broker.url, rounds, ready)) for _ in range(drivers)]
        for process in processes:
            process.start()
        ready.wait()
        before, started = _server(broker.client()), time.perf_counter()
        for process in processes:
            process.join()
            assert process.exitcode == 0, "A driver failed: see above."
        seconds, after = time.perf_counter() - started, _server(broker.client())
    finally:
        broker.kill()
    done, us = drivers * rounds * IN_FLIGHT, after["us"] - before["us"]
    return {
        "processes": drivers,
        "jobs_per_s": done / seconds,
        "server_busy": us / 1e6 / seconds,
        "us_per_job": us / done,
    }
