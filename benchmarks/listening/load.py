"""Many sources at real time: ``python -m benchmarks.listening.load --sources 16 64``.

Each source is a named pipe with 16 bits at 16 kHz. The delay of a verdict is the time from the end of its clip to its
record. With ``--hop-s`` and ``--clip-s`` the work can be made more than the computer can do. Then clips are skipped;
the sources must lose equally many, and no source may be behind by more than a hop.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.listening.uploads import all_judged, trained_home
from listener.config.files import source_file
from listener.live.client import ListenerClient
from ml.machines.ledger import Ledger
from ml.system.atomic import write_atomic
from testing.servers import environment, wait_until
from testing.sound_feed import RATE_HZ, NamedPipe, SoundFeed

RESULTS = Path(__file__).parents[1] / "results" / "listening_load.json"


class Load(NamedTuple):
    """Figures of one run.

    Attributes:
        sources: number of sources.
        judged, skipped: clips of all sources.
        fewest, most: clips judged of the source with the fewest and with the most.
        delay_s: largest time from the end of a clip to its record.
        median_delay_s: median of these times.
        cpu: CPU time per second of the listener, in cores.
        rss_mb: its memory at the end.
    """

    sources: int
    judged: int
    skipped: int
    fewest: int
    most: int
    delay_s: float
    median_delay_s: float
    cpu: float
    rss_mb: float


def main() -> None:
    """Measure, print a table, and write the figures."""
    parser = argparse.ArgumentParser(prog="benchmarks.listening.load", description=__doc__)
    parser.add_argument("--sources", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--clip-s", type=float, default=10.0)
    parser.add_argument("--hop-s", type=float, default=10.0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="signalml-load-") as folder:
        trained_home(Path(folder))
        found = [measure(Path(folder), count, given) for count in given.sources]
    table = Table(*Load._fields)
    for each in found:
        table.add_row(*(f"{value:.3g}" if isinstance(value, float) else str(value) for value in each))
    Console().print(table)
    settings: dict[str, Any] = {"clip_s": given.clip_s, "hop_s": given.hop_s, "seconds": given.seconds}
    earlier = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    runs = [*earlier, *(settings | each._asdict() for each in found)]
    write_atomic(RESULTS, (json.dumps(runs, indent=2) + "\n").encode())


def measure(folder: Path, count: int, given: argparse.Namespace) -> Load:
    """Listen to so many sources."""
    home, client = folder / "home", ListenerClient(folder / "home")
    file = source_file(home)
    for name in file.read().entries:
        file.remove(name)
    shutil.rmtree(home / "machines", ignore_errors=True)
    pipes = [folder / f"pipe-{count}-{number}" for number in range(count)]
    for number, path in enumerate(pipes):
        values = {"kind": "pipe", "machine_id": f"fan-{number}", "clip_s": given.clip_s, "hop_s": given.hop_s}
        file.add({"name": f"s{number}", "path": str(path), **values})
    noise = (np.random.default_rng(0).normal(0, 0.05, 30 * RATE_HZ) * 2**15).astype(np.int16)
    with ExitStack() as stack:
        writers = [stack.enter_context(NamedPipe(path)) for path in pipes]
        feed = stack.enter_context(SoundFeed({"noise": noise}, *(writer.write for writer in writers)))
        process = subprocess.Popen([sys.executable, "-m", "cli.main", "listen", "--quiet"], env=environment(home=home))
        stack.callback(process.wait)
        stack.callback(process.terminate)
        feed.play("noise")
        wait_until(lambda: all_judged(client))
        before, began = psutil.Process(process.pid).cpu_times(), time.monotonic()
        time.sleep(given.seconds)
        after, took = psutil.Process(process.pid).cpu_times(), time.monotonic() - began
        rss = psutil.Process(process.pid).memory_info().rss
        sources = client.status().sources
    delays = delays_s(home, given.clip_s)
    judged = [each.clips_judged for each in sources]
    return Load(
        sources=count,
        judged=sum(judged),
        skipped=sum(each.clips_skipped for each in sources),
        fewest=min(judged),
        most=max(judged),
        delay_s=max(delays),
        median_delay_s=float(np.median(delays)),
        cpu=(after.user + after.system - before.user - before.system) / took,
        rss_mb=rss / 2**20,
    )


def delays_s(home: Path, clip_s: float) -> list[float]:
    """Return the time from the end of each clip to its record, in seconds."""
    with Ledger(home) as ledger:
        latest = [each for machine in ledger.states() for each in ledger.health(machine, 1000).latest]
    return [seconds(each.at) - seconds(each.recorded_at) - clip_s for each in latest]


def seconds(at: str) -> float:
    """Return a time in seconds since 1970."""
    return datetime.fromisoformat(at).timestamp()


if __name__ == "__main__":
    main()
