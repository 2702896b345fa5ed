"""Faults that take long, in the middle of a scoring: ``python -m benchmarks.jobs.faults``.

The quick ones are tests (``tests/integration/test_jobs.py``). Prints what was done, how long the work then took to go
on, how often it was begun, and what came of it; the exit status is 1 where a promise was broken.
"""

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

from benchmarks.inference import machine, samples
from benchmarks.jobs.homes import DATASET, add_model, add_recordings
from testing.jobs import Broker, WorkerProcess, run_jobs
from testing.servers import environment, free_port, wait_until
from worker.jobs import Job, ScoringParameters

OUTPUT = samples.REPOSITORY / "benchmarks" / "results" / "jobs-faults.json"
RESUMED_WITHIN_S = 30.0
CLIP_S = 10.0
ENDED_WITHIN_S, STARTED_WITHIN_S, STOPPED_WITHIN_S = 300.0, 60.0, 60.0
UNDER_WAY = 100
EXAMPLES = """examples:
  python -m benchmarks.jobs.faults                              about 3 minutes
  python -m benchmarks.jobs.faults --killed 10 --frozen 10      about 1 minute
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultOutcome:
    """What became of a job.

    Attributes:
        fault: what was done to it.
        away_s: for how long nothing could be done.
        resumed_s: from the end of the fault until every process had begun something new.
        state, attempt: at its end.
        rows, expected: of its result.
        twice: recordings that were judged more than once; None where nobody counted.
        status: of the service that got SIGTERM; None where none was.
    """

    fault: str
    away_s: float
    resumed_s: float
    state: str
    attempt: int
    rows: int
    expected: int
    twice: int | None = None
    status: int | None = None

    def broken(self) -> list[str]:
        """The promises that were not kept."""
        kept = {
            "the job succeeds": self.state == "succeeded",
            "in its first attempt": self.attempt == 1,
            f"it goes on within {RESUMED_WITHIN_S:g} s": self.resumed_s <= RESUMED_WITHIN_S,
            "one row for each recording": self.rows == self.expected,
            "none judged twice": not self.twice,
            "an end in good order": not self.status,
        }
        return [promise for promise, is_kept in kept.items() if not is_kept]


def broker_killed(home: Path, root: Path, recordings: int, away_s: float) -> FaultOutcome:
    """Redis killed and started again later from its append-only file; the workers are left alone."""
    return _through(f"Redis killed for {away_s:g} s", Broker.kill, Broker.start, home, root, recordings, away_s)


def broker_frozen(home: Path, root: Path, recordings: int, away_s: float) -> FaultOutcome:
    """Redis accepts connections and answers nothing, then goes on."""
    return _through(f"Redis frozen for {away_s:g} s", Broker.freeze, Broker.thaw, home, root, recordings, away_s)


def _through(
    name: str,
    begin: Callable[[Broker], object],
    end: Callable[[Broker], object],
    home: Path,
    root: Path,
    recordings: int,
    away_s: float,
) -> FaultOutcome:
    with run_jobs(root, home) as jobs:
        worker = jobs.start_worker(queues=("scoring",), log_level="debug")
        job = jobs.submit(ScoringParameters(dataset=DATASET))
        jobs.at_least(job, UNDER_WAY)
        children = set(worker.children())
        begin(jobs.broker)
        time.sleep(away_s)
        over = datetime.now(UTC)
        end(jobs.broker)
        ended = jobs.wait_for_end(job, within_s=ENDED_WITHIN_S)
        assert set(worker.children()) == children, "A process was started anew."
        return FaultOutcome(
            fault=name,
            away_s=away_s,
            resumed_s=_all_busy_after(worker, over),
            state=ended.state,
            attempt=ended.attempt,
            rows=len({row["name"] for row in jobs.rows(job)}),
            expected=recordings,
            twice=_twice(worker.lines()),
        )


def _all_busy_after(worker: WorkerProcess, moment: datetime) -> float:
    """Seconds until as many parts were begun as there are processes."""
    begun = (datetime.fromisoformat(line["time"]) for line in worker.lines() if line["message"] == "begun")
    return sorted((at - moment).total_seconds() for at in begun if at >= moment)[len(worker.children()) - 1]


def _done(job: Job) -> int:
    return job.progress.done if job.progress else 0


def _twice(lines: Sequence[dict[str, Any]]) -> int:
    judged = Counter(line["path"] for line in lines if line["message"] == "scoring")
    return sum(count > 1 for count in judged.values())


class Service:
    """Everything that ``signalml run`` starts, on a free port.

    Args:
        home: its SIGNALML_HOME.
        log: what all its processes write.
    """

    def __init__(self, home: Path, log: Path) -> None:
        self._log = log
        settings = environment(home=home, port=free_port(), worker_processes=1, worker_niceness=0, log_level="debug")
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{settings['SIGNALML_PORT']}", trust_env=False)
        with log.open("wb") as lines:
            command = [sys.executable, "-m", "cli.main", "run"]
            self._process = subprocess.Popen(command, cwd=log.parent, env=settings, stdout=lines, stderr=lines)
        wait_until(self._answers, STARTED_WITHIN_S)

    @property
    def pid(self) -> int:
        """Process id of the parent of all its processes."""
        return self._process.pid

    def job(self, job: str) -> Job:
        """As the API tells it."""
        return Job.model_validate(self.client.get(f"/v1/jobs/{job}").raise_for_status().json())

    def lines(self) -> list[dict[str, Any]]:
        """The log lines that are JSON."""
        return [json.loads(line) for line in self._log.read_text().splitlines() if line.startswith("{")]

    def stop(self) -> int:
        """Send SIGTERM and wait; returns the exit status."""
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(STOPPED_WITHIN_S)

    def kill(self) -> None:
        """End it whatever it does; its processes end with it."""
        self._process.kill()
        self._process.wait()

    def _answers(self) -> bool:
        assert self._process.poll() is None, self._log.read_text()[-2000:]
        try:
            return self.client.get("/readyz").json()["queue"]["status"] == "reachable"
        except httpx.TransportError:
            return False


def all_stopped(home: Path, root: Path, recordings: int, _: float) -> FaultOutcome:
    """SIGTERM to everything, queue and API included, and a new start in the same home."""
    root.mkdir()
    first = Service(home, root / "first.log")
    try:
        asked = first.client.post("/v1/jobs/scoring", json={"dataset": DATASET}).raise_for_status().json()["id"]
        wait_until(lambda: first.job(asked).model_version and _done(first.job(asked)) >= UNDER_WAY, ENDED_WITHIN_S)
        status = first.stop()
    finally:
        first.kill()
    before, started = len(_judged(first)), time.monotonic()
    assert before < recordings, "All was done before everything had stopped: try more --recordings."
    second = Service(home, root / "second.log")
    try:
        wait_until(lambda: _judged(second) or second.job(asked).has_ended, ENDED_WITHIN_S)
        resumed_s = time.monotonic() - started
        ended = wait_until(lambda: (found := second.job(asked)).has_ended and found, ENDED_WITHIN_S)
        rows = second.client.get(f"/v1/jobs/{asked}/result").raise_for_status().json()
        second.stop()
    finally:
        second.kill()
    return FaultOutcome(
        fault=f"SIGTERM to everything after {before} of {recordings}, started again",
        away_s=0.0,
        resumed_s=resumed_s,
        state=ended.state,
        attempt=ended.attempt,
        rows=len({row["name"] for row in rows}),
        expected=recordings,
        twice=_twice(first.lines() + second.lines()),
        status=status,
    )


def _judged(service: Service) -> list[dict[str, Any]]:
    return [line for line in service.lines() if line["message"] == "scoring"]


def show(outcomes: Sequence[FaultOutcome], console: Console) -> None:
    """One row for each fault."""
    table = Table("fault", "went on after", "attempts", "rows", "judged twice", "", box=None)
    for each in outcomes:
        broken = each.broken()
        table.add_row(
            each.fault,
            f"{each.resumed_s:.1f} s",
            str(each.attempt),
            f"{each.rows} of {each.expected}",
            str(each.twice),
            f"[red]not kept: {', '.join(broken)}" if broken else "kept",
        )
    console.print(table)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.jobs.faults",
        description="Faults that take long, in the middle of a scoring.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--recordings", type=int, default=1000, help="of 10 s, to be judged (default: 1000)")
    parser.add_argument("--killed", type=float, default=60.0, help="seconds without Redis (default: 60)")
    parser.add_argument("--frozen", type=float, default=30.0, help="seconds with a frozen Redis (default: 30)")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="the results")
    return parser.parse_args()


def main() -> int:
    """Do all of it, print, write; returns the exit status."""
    options, console = _options(), Console()
    faults = ((broker_killed, options.killed), (broker_frozen, options.frozen), (all_stopped, 0.0))
    outcomes = []
    with tempfile.TemporaryDirectory(prefix="signalml-faults-") as folder:
        home = add_recordings(add_model(Path(folder) / "home"), options.recordings, CLIP_S)
        for inflict, seconds in faults:
            console.print((inflict.__doc__ or "").partition("\n")[0])
            outcomes.append(inflict(home, Path(folder) / inflict.__name__, options.recordings, seconds))
    show(outcomes, console)
    facts = {"made": machine.made(), "machine": machine.machine(), "faults": [asdict(each) for each in outcomes]}
    options.output.write_text(json.dumps(facts, indent=1) + "\n")
    return int(any(each.broken() for each in outcomes))


if __name__ == "__main__":
    sys.exit(main())
