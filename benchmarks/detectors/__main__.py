"""``python -m benchmarks.detectors RECORDINGS``: detectors beside the published baseline.

It uses real recordings and simulated fans.

RECORDINGS holds ``mimii``, ``pc_fan``, ``uav_propeller`` and ``esc50`` (sounds that are no machine). What is compared
how is in docs/comparing.md. Half an hour on two idle cores; ``--only`` does one of the four and leaves the others'
results alone.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from cli.compare import print_comparison
from cli.progress import show_progress
from ml.dataset.entries import Dataset
from ml.dataset.indexing.build import index
from ml.dataset.simulate.plan import FAULTS, SimulationPlan
from ml.dataset.simulate.simulator import simulate
from ml.detectors.engines.registry import ENGINES
from ml.experiments.comparison_results import DetectorComparison, comparison_rows
from ml.experiments.detector_comparison import compare_detectors
from ml.system.atomic import write_atomic
from ml.system.native import quiet_native_stderr

RESULTS = Path(__file__).parents[1] / "results" / "detectors.json"
COMBINATIONS = (
    "spectrum-gaussian+fluctuation",
    "spectrum-gaussian+distance+neighbours",
    "spectrum-gaussian+distance+fluctuation",
)
SETS = ("mimii", "pc_fan", "uav_propeller", "simulated")
FANS = SimulationPlan(machines=2, sessions=2, recordings=5, snr_db=(0.0,), duration_s=5.0)
SEED = 7


def main() -> None:
    """Compare, print and write down."""
    parser = argparse.ArgumentParser(prog="benchmarks.detectors")
    parser.add_argument("recordings", type=Path, metavar="RECORDINGS")
    parser.add_argument("--only", choices=SETS)
    given = parser.parse_args()
    for name in SETS if given.only is None else (given.only,):
        with tempfile.TemporaryDirectory() as folder:
            source = simulated(Path(folder)) if name == "simulated" else given.recordings / name
            comparison = compared(index(source), given.recordings / "esc50")
        for title, part in by_fault(name, comparison):
            print(f"\n{title}\n")
            print_comparison(part)
            keep(title, part)


def simulated(folder: Path) -> Path:
    """Two fans that never existed, in five folds of twelve healthy sessions."""
    return simulate(folder / "fans", plan=FANS, seed=SEED)


def compared(dataset: Dataset, no_machines: Path) -> DetectorComparison:
    """Every engine alone, and some together."""
    with quiet_native_stderr() as stderr, show_progress(Console(file=stderr)) as report:
        return compare_detectors(dataset, (*ENGINES, *COMBINATIONS), out_of_domain=no_machines, report=report)


def by_fault(name: str, comparison: DetectorComparison) -> Iterator[tuple[str, DetectorComparison]]:
    """Each fault that is known by itself, beside the same healthy recordings; else all as it is."""
    there = {each.entry.annotation.fault for each in comparison.trials[comparison.baseline]}
    faults = [fault for fault in FAULTS if fault in there]
    for fault in faults:
        trials = {
            contender: tuple(each for each in every if each.entry.annotation.fault in (None, fault))
            for contender, every in comparison.trials.items()
        }
        of_fault = tuple(comparison_rows(trials, comparison.baseline, comparison.seed))
        yield f"{name}, {fault}", replace(comparison, rows=of_fault, trials=trials)
    if not faults:
        yield name, comparison


def keep(title: str, comparison: DetectorComparison) -> None:
    """Put a comparison among the results, the others as they are; estimates as ``[value, low, high]``."""
    known = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    known[title] = short(comparison.to_dict())
    lines = (f"{json.dumps(name)}: {by_line(facts)}" for name, facts in known.items())
    write_atomic(RESULTS, ("{\n" + ",\n".join(lines) + "\n}\n").encode())


def short(facts: Any) -> Any:
    """The same with estimates as lists, of three decimals."""
    if isinstance(facts, dict) and facts.keys() == {"value", "low", "high"}:
        return [None if each is None else round(each, 3) for each in facts.values()]
    if isinstance(facts, dict):
        return {name: short(each) for name, each in facts.items()}
    return [short(each) for each in facts] if isinstance(facts, list | tuple) else facts


def by_line(facts: Mapping[str, Any]) -> str:
    """JSON with a line for each fact, and for each row of a table."""
    fields = (f"  {json.dumps(name)}: {_rows(value)}" for name, value in facts.items())
    return "{\n" + ",\n".join(fields) + "\n}"


def _rows(value: Any) -> str:
    if not (isinstance(value, list) and value and isinstance(value[0], dict)):
        return json.dumps(value)
    return "[\n" + ",\n".join(f"    {json.dumps(row)}" for row in value) + "\n  ]"


if __name__ == "__main__":
    main()
