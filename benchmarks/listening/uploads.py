"""Uploads beside live listening: ``python -m benchmarks.listening.uploads``.

One API process and one listener share a home and a detector. Sixteen sources send sound in real time through named
pipes. One client sends recordings one after another, in turns without and with the listener, so that whatever else the
computer does meets both. What is compared are the percentiles of the times of the answers.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import numpy as np
from rich.console import Console
from rich.table import Table

from listener.config.files import source_file
from listener.live.client import ListenerClient
from ml.dataset.simulate.plan import SimulationPlan
from ml.dataset.simulate.simulator import simulate
from ml.errors import ListenerNotRunning
from ml.models.registry import Registry
from ml.system.atomic import write_atomic
from ml.training.options import TrainingOptions
from ml.training.pipeline import train
from testing.servers import ServerProcess, environment, wait_until
from testing.sound_feed import RATE_HZ, NamedPipe, SoundFeed

RESULTS = Path(__file__).parents[1] / "results" / "listening_uploads.json"
FANS = SimulationPlan(machines=2, sessions=3, recordings=4, snr_db=(6.0,), duration_s=10.0)
MOST_RATIO = 1.5  # of the 99th percentiles
PAUSE_S = 0.05  # between two uploads
PERCENTILES = (50, 95, 99)


def main() -> None:
    """Measure, print a table, and write the figures."""
    parser = argparse.ArgumentParser(prog="benchmarks.listening.uploads", description=__doc__)
    parser.add_argument("--sources", type=int, default=16)
    parser.add_argument("--turns", type=int, default=4, help="with the listener, and as many without")
    parser.add_argument("--uploads", type=int, default=250, help="in each turn")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="signalml-listening-") as folder:
        home, wav = trained_home(Path(folder))
        pipes = add_sources(home, Path(folder), given.sources)
        times: dict[str, list[float]] = {"alone": [], "beside": []}
        judged = skipped = 0
        server = ServerProcess(home, Path(folder) / "server", inference_threads=1).start()
        try:
            for _ in range(given.turns):
                times["alone"] += upload_times(server, wav, given.uploads)
                with listening(home, pipes) as client:
                    times["beside"] += upload_times(server, wav, given.uploads)
                    sources = client.status().sources
                judged += sum(each.clips_judged for each in sources)
                skipped += sum(each.clips_skipped for each in sources)
        finally:
            server.stop()
    found = {name: dict(zip(map(str, PERCENTILES), percentiles_ms(each), strict=True)) for name, each in times.items()}
    ratio = found["beside"]["99"] / found["alone"]["99"]
    facts = {"sources": given.sources, "uploads": len(times["alone"]), "judged": judged, "skipped": skipped}
    print_found(found, ratio, judged, skipped)
    write_atomic(RESULTS, (json.dumps(facts | {"ms": found, "ratio_99": ratio}, indent=2) + "\n").encode())
    sys.exit(ratio > MOST_RATIO)


def trained_home(folder: Path) -> tuple[Path, bytes]:
    """Return a home whose champion is a detector of simulated fans, and one of their recordings."""
    source, home = simulate(folder / "fans", plan=FANS), folder / "home"
    trained = train(TrainingOptions(source=source, name="fans", learn="detector"), home)
    Registry(home).promote(trained.version)
    return home, next(iter(sorted(source.rglob("normal*/*.wav")))).read_bytes()


def add_sources(home: Path, folder: Path, count: int) -> list[Path]:
    """Add sources that read named pipes, and return these."""
    paths = [folder / f"pipe-{number}" for number in range(count)]
    for number, path in enumerate(paths):
        source_file(home).add({"name": f"s{number}", "kind": "pipe", "machine_id": f"fan-{number}", "path": str(path)})
    return paths


@contextmanager
def listening(home: Path, pipes: Sequence[Path]) -> Iterator[ListenerClient]:
    """Run a listener whose sources all have sound."""
    rng = np.random.default_rng(0)
    noise = (rng.normal(0, 0.05, 30 * RATE_HZ) * 2**15).astype(np.int16)
    with ExitStack() as stack:
        writers = [stack.enter_context(NamedPipe(path)) for path in pipes]
        feed = stack.enter_context(SoundFeed({"noise": noise}, *(writer.write for writer in writers)))
        command = [sys.executable, "-m", "cli.main", "listen"]
        process = subprocess.Popen(command, env=environment(home=home), stdout=subprocess.DEVNULL)
        stack.callback(process.wait)
        stack.callback(process.terminate)
        feed.play("noise")
        client = ListenerClient(home)
        wait_until(lambda: all_judged(client))
        yield client


def all_judged(client: ListenerClient) -> bool:
    """Return whether each source has a verdict."""
    try:
        sources = client.status().sources
        return len(sources) > 0 and all(each.clips_judged for each in sources)
    except ListenerNotRunning:
        return False


def upload_times(server: ServerProcess, wav: bytes, count: int) -> list[float]:
    """Return the times of answers to uploads, one after another, in seconds."""
    times = []
    with httpx.Client(base_url=server.base_url, trust_env=False) as client:
        for _ in range(count):
            began = time.perf_counter()
            client.post("/v1/predict", content=wav, headers={"content-type": "audio/wav"}).raise_for_status()
            times.append(time.perf_counter() - began)
            time.sleep(PAUSE_S)
    return times


def percentiles_ms(times: Sequence[float]) -> list[float]:
    """Return the percentiles of times, in milliseconds."""
    return [round(float(each) * 1000, 2) for each in np.percentile(times, PERCENTILES)]


def print_found(found: dict[str, dict[str, float]], ratio: float, judged: int, skipped: int) -> None:
    """Print a row for each kind of turn."""
    table = Table("uploads", *(f"{each} %, ms" for each in PERCENTILES))
    for name, each in found.items():
        table.add_row(name, *(f"{value:.1f}" for value in each.values()))
    console = Console()
    console.print(table)
    console.print(f"ratio of the 99th percentiles: {ratio:.2f}; clips judged: {judged}, skipped: {skipped}")


if __name__ == "__main__":
    main()
