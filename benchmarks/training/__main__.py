"""``python -m benchmarks.training``: measure, print, write the results."""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.inference import machine, samples
from benchmarks.training import clips, epoch, features

# The original's way holds about 0.6 MB for each as lists of numbers: 20 000 would not fit everywhere.
THEIR_CLIPS = 2000
OUTPUT = samples.REPOSITORY / "benchmarks" / "results" / "training.json"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.training", description="Training beside the original's way, in one run."
    )
    parser.add_argument("--recordings", type=int, default=40, help="made up, 10 s of 8 channels each (default: 40)")
    parser.add_argument("--rounds", type=int, default=5, help="how often the ways take turns (default: 5)")
    parser.add_argument("--windows", type=int, default=2048, help="of an epoch (default: 2048)")
    parser.add_argument("--clips", type=int, default=20_000, help="whose fit's memory is measured (default: 20000)")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="the results")
    return parser.parse_args()


def measure(options: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Every measurement in turn, one key of the results each."""
    facts = {"made": machine.made(), "machine": machine.machine(), "versions": machine.versions()}
    with tempfile.TemporaryDirectory(prefix="signalml-benchmark-") as folder:
        source = Path(folder, "clips")
        clips.write_recordings(source, options.recordings)
        facts["features"] = features.measure(source, options.rounds, console.print)
    facts["epoch"] = epoch.measure(options.windows, options.rounds, console.print)
    facts["memory"] = {"signalml": _memory("signalml", options.clips), "original": _memory("original", THEIR_CLIPS)}
    return facts


def _memory(way: str, count: int) -> dict[str, Any]:
    """In a process of its own: memory is what it measures."""
    command = [sys.executable, "-m", "benchmarks.training.fit_memory", "--way", way, "--clips", str(count)]
    done = subprocess.run([*command, "--epochs", "1"], stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def show(results: dict[str, Any], console: Console) -> None:
    """One row for each measurement."""
    table = Table("", "original's way", "signalml", "better by (rounds)", "target", box=None)
    measured = results["features"]
    theirs, ours = (
        f"{1000 * min(measured['seconds'][way]) / measured['recordings']:.1f} ms" for way in ("original", "signalml")
    )
    ratio = measured["ratio"]
    spread = f"{ratio['median']:.1f} ({ratio['worst']:.1f} to {ratio['best']:.1f})"
    table.add_row("features of a recording and 3 copies, best round", theirs, ours, spread, f"{measured['target']:g}")
    measured = results["epoch"]
    theirs, ours = (f"{min(measured['seconds'][way]):.2f} s" for way in ("original", "signalml"))
    ratio, over = measured["ratio"], measured["over_floor"]
    spread = f"{ratio['median']:.2f} ({ratio['lowest']:.2f} to {ratio['highest']:.2f})"
    table.add_row(
        f"an epoch of {measured['windows']} windows, best round", theirs, ours, spread, f"{measured['target']:g}"
    )
    table.add_row("  its time over that of its steps alone", "", f"{over['median']:.2f}", "", f"{epoch.NEAR_FLOOR:g}")
    memory = results["memory"]
    theirs, ours = (
        f"{memory[way]['together_mb']} MB at {memory[way]['clips']} clips" for way in ("original", "signalml")
    )
    table.add_row("memory of a fit, all processes", theirs, ours, "", "1500 MB at 20000")
    console.print(table)


def main() -> None:
    """Measure, print, write. A missed target is a result, not an error."""
    options, console = _options(), Console()
    results = measure(options, console)
    show(results, console)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
