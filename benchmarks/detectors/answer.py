"""What a detector costs an answer: ``python -m benchmarks.detectors.answer``.

Two models of the same simulated fans, a classifier alone and with a detector, each behind a server of one process. One
client asks both in turn, so that whatever else the machine does meets both; what is compared are medians.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
from rich.console import Console
from rich.table import Table

from benchmarks.inference import servers
from ml.dataset.simulate.plan import SimulationPlan
from ml.dataset.simulate.simulator import simulate
from ml.models.registry import Registry
from ml.training.choices import Learn
from ml.training.options import TrainingOptions
from ml.training.pipeline import train

RESULTS = Path(__file__).parents[1] / "results" / "answer.json"
PROMISED = 1.6
FANS = SimulationPlan(machines=2, sessions=2, recordings=4, snr_db=(6.0,), duration_s=10.0)
EPOCHS = 3  # a better network takes as long
WAV_TYPE = {"content-type": "audio/wav"}
ASKED = {
    "classifier alone": ("classifier", {}),
    "detector beside it": ("both", {}),
    "the same, machine named, with reasons": ("both", {"machine_id": "id_00", "explain": "true"}),
}


def main() -> None:
    """Measure, print a table, and keep the figures."""
    parser = argparse.ArgumentParser(prog="benchmarks.detectors.answer", description="What a detector costs an answer.")
    parser.add_argument("--answers", type=int, default=300, help="of each kind")
    answers = parser.parse_args().answers
    with tempfile.TemporaryDirectory(prefix="signalml-answer-") as folder:
        source = simulate(Path(folder) / "fans", plan=FANS)
        wav = next(iter(sorted(source.rglob("*.wav")))).read_bytes()
        homes = {learn: _trained(source, Path(folder) / learn, learn) for learn in ("classifier", "both")}
        with _served(homes["classifier"]) as one, _served(homes["both"]) as two:
            times_ms = _asked({"classifier": one, "both": two}, wav, answers)
    _print(times_ms)
    RESULTS.write_text(json.dumps({name: _figures(times) for name, times in times_ms.items()}, indent=2) + "\n")
    sys.exit(max(_ratios(times_ms).values()) > PROMISED)


def _trained(source: Path, home: Path, learn: Learn) -> Path:
    trained = train(TrainingOptions(source=source, name="fans", learn=learn, epochs=EPOCHS, refit=False), home)
    Registry(home).promote(trained.version)
    return home


@contextmanager
def _served(home: Path) -> Iterator[str]:
    """The address of a server of one process, ready."""
    server = servers.signalml(home)
    alone = replace(server, environment=server.environment | {"SIGNALML_PROCESSES": "1"})
    with servers.run_server(alone, home / "server.log") as running:
        yield f"http://127.0.0.1:{running.port}"


def _asked(addresses: dict[str, str], wav: bytes, answers: int) -> dict[str, list[float]]:
    times_ms: dict[str, list[float]] = {name: [] for name in ASKED}
    with httpx.Client(trust_env=False) as client:
        for number in range(answers + 20):
            for name, (learn, query) in ASKED.items():
                began = time.perf_counter()
                answer = client.post(
                    f"{addresses[learn]}/v1/predict", content=wav, headers=WAV_TYPE, params=query
                ).raise_for_status()
                took_ms = 1e3 * (time.perf_counter() - began)
                if (answer.json()["reasons"] is None) == ("explain" in query):
                    raise RuntimeError(f"{name}: {answer.text}")
                if number >= 20:  # the first ones warm both servers
                    times_ms[name].append(took_ms)
    return times_ms


def _figures(times_ms: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(times_ms, n=100)
    return {"n": len(times_ms), "p50_ms": cuts[49], "p95_ms": cuts[94], "p99_ms": cuts[98]}


def _ratios(times_ms: dict[str, list[float]]) -> dict[str, float]:
    alone = statistics.median(times_ms["classifier alone"])
    return {name: statistics.median(times) / alone for name, times in times_ms.items()}


def _print(times_ms: dict[str, list[float]]) -> None:
    table = Table("one 10 s recording, one client", "n", "median ms", "95 %", "times the classifier's", "promised")
    ratios = _ratios(times_ms)
    for name, times in times_ms.items():
        found = _figures(times)
        table.add_row(
            name,
            str(len(times)),
            f"{found['p50_ms']:.2f}",
            f"{found['p95_ms']:.2f}",
            f"{ratios[name]:.2f}",
            f"{PROMISED}",
        )
    Console().print(table)


if __name__ == "__main__":
    main()
