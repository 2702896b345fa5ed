"""How long an upload waits while a model is being trained beside it: ``python -m benchmarks.jobs.yielding``.

The whole service as ``signalml run`` starts it, on one machine; one client that posts real recordings of 10 s and 8
channels to ``/v1/predict``, one after another. Rounds in turn: nothing else, then a retraining on simulated fans. What
is compared is the 99th percentile of the answers' times, as a ratio within each round.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.inference import load, samples, servers
from ml.dataset.simulate.plan import SimulationPlan
from ml.dataset.simulate.simulator import simulate

RESULTS = Path(__file__).parent.parent / "results" / "yielding.json"
PROMISED = 2.5
READY_WITHIN_S = 120.0
# Enough epochs that a round never sees the end of a training; the job is cancelled after it.
EPOCHS = 1000


def main() -> None:
    """Measure, print a table, and keep the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        epilog="Example: python -m benchmarks.jobs.yielding --rounds 3 --seconds 20",
    )
    parser.add_argument("--rounds", type=int, default=3, help="idle and busy, in turn")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each half of a round")
    parser.add_argument("--data", type=Path, default=samples.default_data(), help="folder with seed/ in it")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="signalml-yielding-") as folder:
        home = Path(folder) / "home"
        home.mkdir()
        servers.import_model(home, options.data)
        simulate(home / "datasets" / "fans", plan=SimulationPlan.demo())
        with _service(home) as port:
            rounds = [_round(port, options, number) for number in range(options.rounds)]
    ratios = [each["busy"]["p99_ms"] / each["idle"]["p99_ms"] for each in rounds]
    _print(rounds, ratios)
    RESULTS.write_text(json.dumps({"rounds": rounds, "p99_ratios": ratios}, indent=2) + "\n")
    sys.exit(statistics.median(ratios) > PROMISED)


def _round(port: int, options: argparse.Namespace, number: int) -> dict[str, Any]:
    idle = _measured(port, options)
    job = _asked(
        port, "POST", "/v1/jobs/retraining", {"dataset": "fans", "promote": "never", "epochs": EPOCHS, "seed": number}
    )
    _until(port, job["id"], "epochs")
    busy = _measured(port, options)
    state = _asked(port, "GET", f"/v1/jobs/{job['id']}")
    assert state["state"] == "running", state
    _asked(port, "DELETE", f"/v1/jobs/{job['id']}")
    _until_ended(port, job["id"])
    return {"idle": idle, "busy": busy | {"epochs": state["progress"]["done"]}}


def _measured(port: int, options: argparse.Namespace) -> dict[str, float]:
    recordings = samples.read_recordings(options.data)
    found = load.run(port, "/v1/predict", recordings, clients=1, lead_s=1.0, seconds=options.seconds)
    assert found.wrong == 0, found.first_problem
    cuts = statistics.quantiles(found.latencies_ms, n=100)
    return {"n": len(found.latencies_ms), "p50_ms": cuts[49], "p95_ms": cuts[94], "p99_ms": cuts[98]}


@contextmanager
def _service(home: Path) -> Iterator[int]:
    port = servers._free_port()
    environment = os.environ | {"SIGNALML_HOME": str(home), "SIGNALML_PORT": str(port)}
    with (home / "service.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "cli.main", "run"], env=environment, cwd=samples.REPOSITORY, stdout=log, stderr=log
        )
    try:
        give_up = time.monotonic() + READY_WITHIN_S
        while not _ready(port):
            assert time.monotonic() < give_up, (home / "service.log").read_text()[-2000:]
            time.sleep(0.2)
        yield port
    finally:
        process.terminate()
        process.wait(60)


def _ready(port: int) -> bool:
    try:
        return load.get(port, "/readyz") == 200
    except OSError:
        return False


def _until(port: int, job: str, step: str) -> None:
    while True:
        found = _asked(port, "GET", f"/v1/jobs/{job}")
        assert found["ended"] is None, found
        if found["progress"] and found["progress"]["step"] == step:
            return
        time.sleep(0.2)


def _until_ended(port: int, job: str) -> None:
    while _asked(port, "GET", f"/v1/jobs/{job}")["ended"] is None:
        time.sleep(0.2)


def _asked(port: int, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    request = urllib.request.Request(
        f"http://{load.HOST}:{port}{path}",
        data=None if body is None else json.dumps(body).encode(),
        headers={"content-type": "application/json"},
        method=method,
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def _print(rounds: list[dict[str, Any]], ratios: list[float]) -> None:
    table = Table("round", "", "answers", "p50", "p95", "p99", "epochs", "p99 busy / idle", box=None)
    for number, (each, ratio) in enumerate(zip(rounds, ratios, strict=True), 1):
        for name in ("idle", "busy"):
            found = each[name]
            times = (f"{found[key]:.1f} ms" for key in ("p50_ms", "p95_ms", "p99_ms"))
            last = f"{ratio:.2f}" if name == "busy" else ""
            table.add_row(str(number), name, str(found["n"]), *times, str(found.get("epochs", "")), last)
    Console().print(table)
    print(
        f"p99 during a retraining, median of the rounds: {statistics.median(ratios):.2f} of its idle value "
        f"(promised: {PROMISED})"
    )


if __name__ == "__main__":
    main()
