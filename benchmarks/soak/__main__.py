"""``python -m benchmarks.soak``: use a service for long, measure it in between, and print whether anything grows."""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from unittest.mock import patch

import psutil
from rich.console import Console

from benchmarks.inference import machine, samples
from benchmarks.jobs.faults import Service
from benchmarks.jobs.homes import add_model
from benchmarks.soak.measurement import API, QUEUE, WORKER, Measurement, measure
from benchmarks.soak.slopes import print_slopes, slope
from ml.dataset.simulate.plan import SimulationPlan
from ml.dataset.simulate.simulator import simulate
from testing.servers import wait_until

OUTPUT = samples.REPOSITORY / "benchmarks" / "results" / "soak.json"
DATASET = "fans"
SMALL = SimulationPlan(machines=1, sessions=3, recordings=2, snr_db=(6.0,), duration_s=1.0, severity=(0.6, 1.0))
MACHINES = 5
ENDED_WITHIN_S = 900.0
SETTLE_S, SETTLED_AFTER = 3.0, 10
EXAMPLES = """examples:
  python -m benchmarks.soak                                                            about 30 minutes
  python -m benchmarks.soak --predicts 600 --jobs 24 --retrainings 6 --rounds 12 --output soak.json
                                                                                       to see that it works
"""
# Largest growth over a whole run. Memory: what fragmentation and caches of three processes may add. Threads: a pool
# starts a thread when all of its threads are busy; one more in the last third is a line that grows by 1.9 (1.5 to 2.3).
BOUNDS = {
    f"memory of {API}, MB": 20.0,
    f"memory of {WORKER}, MB": 60.0,
    f"memory of {QUEUE}, MB": 20.0,
    "open descriptors": 2.0,
    "threads": 3.0,
    "processes": 0.5,
    "temporary files": 0.5,
    "files in the home": 2.0,
    "hidden files in the home": 0.5,
}


def series(measurements: Sequence[Measurement]) -> dict[str, list[float]]:
    """Return each measured value over time, by the names of :data:`BOUNDS`."""
    return {
        **{f"memory of {kind}, MB": [each.memory_mb[kind] for each in measurements] for kind in (API, WORKER, QUEUE)},
        "open descriptors": [each.descriptors for each in measurements],
        "threads": [each.threads for each in measurements],
        "processes": [each.processes for each in measurements],
        "temporary files": [each.temporary for each in measurements],
        "files in the home": [each.files for each in measurements],
        "hidden files in the home": [each.hidden for each in measurements],
    }


class Use:
    """What clients do with a service."""

    def __init__(self, service: Service, home: Path) -> None:
        self._service = service
        self._sounds = [path.read_bytes() for path in sorted((home / "datasets" / DATASET).rglob("*.wav"))]
        self._predicts = self._retrainings = 0

    def predict(self) -> None:
        """Judge one recording of a machine."""
        self._predicts += 1
        self._service.client.post(
            "/v1/predict",
            params={"machine_id": f"fan-{self._predicts % MACHINES}", "explain": self._predicts % 10 == 0},
            content=self._sounds[self._predicts % len(self._sounds)],
            headers={"content-type": "audio/wav"},
        ).raise_for_status()

    def job(self, number: int) -> None:
        """Submit a job, and wait for its end."""
        kind, body = (
            ("scoring", {"dataset": DATASET}),
            ("diagnostic", {}),
            ("feature-extraction", {"dataset": DATASET}),
        )[number % 3]
        self._finish(kind, body)

    def retrain(self) -> None:
        """Train another version, and wait for its end."""
        self._retrainings += 1
        body = {"dataset": DATASET, "promote": "never", "epochs": 1, "refit": False, "seed": self._retrainings}
        self._finish("retraining", body)

    def _finish(self, kind: str, body: dict[str, object]) -> None:
        client = self._service.client
        job = client.post(f"/v1/jobs/{kind}", json=body).raise_for_status().json()["id"]
        wait_until(lambda: self._service.job(job).has_ended, ENDED_WITHIN_S, every_s=0.1)
        ended = self._service.job(job)
        assert ended.state == "succeeded", ended
        if kind != "diagnostic":
            client.get(f"/v1/jobs/{job}/result", params={"format": "csv"})


def soak(options: argparse.Namespace, root: Path, console: Console) -> list[Measurement]:
    """Use a service in rounds, and measure it after each."""
    home, temporary = add_model(root / "home"), root / "tmp"
    simulate(home / "datasets" / DATASET, plan=SMALL, processes=1)
    temporary.mkdir()
    with patch.dict(os.environ, {"TMPDIR": str(temporary)}):
        service = Service(home, root / "service.log")
    service.client.timeout = ENDED_WITHIN_S
    parent, use, found = psutil.Process(service.pid), Use(service, home), []
    try:
        for number in range(options.rounds):
            for _ in range(_share(options.predicts, options.rounds, number)):
                use.predict()
            for each in range(_share(options.jobs, options.rounds, number)):
                use.job(number + each)
            for _ in range(_share(options.retrainings, options.rounds, number)):
                use.retrain()
            found.append(settled(parent, home, temporary))
            console.print(f"round {number + 1} of {options.rounds}: {_short(found[-1])}", highlight=False)
        assert service.stop() == 0
    finally:
        service.kill()
    return found


def settled(parent: psutil.Process, home: Path, temporary: Path) -> Measurement:
    """Measure once the number of processes and descriptors stays: after a training, its process is replaced."""
    before = measure(parent, home, temporary)
    for _ in range(SETTLED_AFTER):
        time.sleep(SETTLE_S)
        now = measure(parent, home, temporary)
        if (now.processes, now.descriptors) == (before.processes, before.descriptors):
            return now
        before = now
    return before


def _share(total: int, rounds: int, number: int) -> int:
    """Return the part of a total that is due in a round."""
    return total * (number + 1) // rounds - total * number // rounds


def _short(found: Measurement) -> str:
    memory = ", ".join(f"{kind} {mb:.0f} MB" for kind, mb in found.memory_mb.items())
    return f"{memory}, {found.descriptors} descriptors, {found.threads} threads, {found.files} files"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.soak",
        description="Whether memory, descriptors, threads or files of a service grow with use.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--predicts", type=int, default=10_000, help="uploads to judge (default: 10000)")
    parser.add_argument("--jobs", type=int, default=200, help="scorings and others (default: 200)")
    parser.add_argument("--retrainings", type=int, default=50, help="of a small dataset (default: 50)")
    parser.add_argument("--rounds", type=int, default=50, help="measurements, at least 6 (default: 50)")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="the results")
    return parser.parse_args()


def main() -> int:
    """Use, measure, print, write; the exit status is 1 if something grows."""
    options, console = _options(), Console()
    with tempfile.TemporaryDirectory(prefix="signalml-soak-") as folder:
        measurements = soak(options, Path(folder), console)
    slopes = {name: slope(values) for name, values in series(measurements).items()}
    bounded = print_slopes(slopes, BOUNDS, console)
    done = {"predicts": options.predicts, "jobs": options.jobs, "retrainings": options.retrainings}
    facts = {
        "made": machine.made(),
        "machine": machine.machine(),
        "done": done,
        "bounds": BOUNDS,
        "slopes": {name: found._asdict() for name, found in slopes.items()},
        "measurements": [asdict(each) for each in measurements],
    }
    options.output.write_text(json.dumps(facts, indent=1) + "\n")
    return int(not bounded)


if __name__ == "__main__":
    sys.exit(main())
