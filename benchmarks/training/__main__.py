"""``python -m benchmarks.training``: measure, print, write the results."""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.inference import machine, samples
from benchmarks.training import clips, features

OUTPUT = samples.REPOSITORY / "benchmarks" / "results" / "training.json"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.training", description="Training beside the original's way, in one run."
    )
    parser.add_argument("--recordings", type=int, default=40, help="made up, 10 s of 8 channels each (default: 40)")
    parser.add_argument("--rounds", type=int, default=5, help="how often the two take turns (default: 5)")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="the results")
    return parser.parse_args()


def measure(options: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Every measurement in turn, one key of the results each."""
    facts = {"made": machine.made(), "machine": machine.machine(), "versions": machine.versions()}
    with tempfile.TemporaryDirectory(prefix="signalml-benchmark-") as folder:
        source = Path(folder, "clips")
        clips.write(source, options.recordings)
        return facts | {"features": features.measure(source, options.rounds, console.print)}


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
