"""Two microphones under disturbances: ``python -m benchmarks.detectors.simulated_pairs``.

Simulated halls at -6 dB: two fans, each with 24 healthy sessions of four recordings and eight sessions of each fault.
One default detector learns from 12 healthy sessions and is tested on the other 12 and all faults; and the reverse. Each
disturbance of the pair is tested twice where it makes sense: only in the tested recordings, and in the learned ones,
too. A detector of the first channel alone gets the same recordings. At the default, 1 % false alarms of new sessions
are stated. Twelve minutes on two idle cores.
"""

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.detectors.__main__ import SEED
from cli.progress import show_progress
from ml.audio.batch import AudioFile
from ml.dataset.entries import ABNORMAL, NORMAL, Dataset, Entry
from ml.dataset.indexing.build import index
from ml.dataset.simulate.plan import DISTURBANCES, SimulationPlan
from ml.dataset.simulate.simulator import simulate
from ml.detectors.detector import Detector
from ml.detectors.engines.names import DEFAULT_ENGINES
from ml.detectors.engines.registry import engine_by_name
from ml.detectors.fitting import fit_detector
from ml.detectors.parallel_spectra import parallel_spectra
from ml.detectors.reference import NormalRecording
from ml.detectors.spectra import Spectra
from ml.detectors.thresholds import operating_point_at_rate
from ml.evaluation.intervals import wilson
from ml.evaluation.metrics import Ranking, auc
from ml.features.feature_specs import detector_spec, spec_for
from ml.system.atomic import write_atomic
from ml.system.parallel import one_blas_thread
from ml.system.progress import ProgressCallback

RESULTS = Path(__file__).parents[1] / "results" / "simulated_pairs.json"
PLAN = SimulationPlan(
    machines=2, sessions=8, recordings=4, snr_db=(-6.0,), duration_s=4.0, severity=(0.3, 1.0), reference=True
)
RATE = 0.01
# No training has such recordings: they come later, or nearly all recordings would have no reference.
LATER_ONLY = ("missing", "dead", "disconnected", "swapped", "duplicated")
SpectraByPath = dict[str, tuple[Spectra, ...]]


class Case(NamedTuple):
    """Recordings to learn from and to test, as plans that differ in the pair only."""

    name: str
    learned: SimulationPlan
    tested: SimulationPlan


class Part(NamedTuple):
    """A simulated dataset with its spectra, of the first channel alone and of the pair."""

    dataset: Dataset
    one: SpectraByPath
    pair: SpectraByPath


def cases() -> list[Case]:
    """Return all cases."""
    found = [Case("undisturbed", PLAN, PLAN), *(Case(f"{n} machine", p, p) for n, p in _few_machines())]
    for name in DISTURBANCES:
        disturbed = replace(PLAN, disturbance=name)
        found.append(Case(f"{name}, later", PLAN, disturbed))
        if name not in LATER_ONLY:
            found.append(Case(f"{name}, always", disturbed, disturbed))
    moves = replace(PLAN, reference_moves=True)
    return [*found, Case("another place in each session", moves, moves)]


def _few_machines() -> list[tuple[int, SimulationPlan]]:
    return [(1, replace(PLAN, machines=1))]


def main() -> None:
    """Measure, print a table, and write the figures."""
    parser = argparse.ArgumentParser(prog="benchmarks.detectors.simulated_pairs", description=__doc__)
    parser.add_argument("--only", nargs="+", metavar="TEXT", help="cases whose name contains one of these")
    only = parser.parse_args().only
    chosen = [case for case in cases() if not only or any(text in case.name for text in only)]
    found: dict[str, Any] = json.loads(RESULTS.read_bytes()) if only and RESULTS.exists() else {}
    parts: dict[SimulationPlan, Part] = {}
    with show_progress(Console(stderr=True)) as report, one_blas_thread(), tempfile.TemporaryDirectory() as folder:
        for case in chosen:
            for plan in (case.learned, case.tested):
                if plan not in parts:
                    parts[plan] = part_of(plan, Path(folder) / case.name / str(plan == case.tested), report)
            found[case.name] = measured(parts[case.learned], parts[case.tested])
            if case.tested != PLAN:
                parts.pop(case.tested, None)
    print_found(found)
    write_atomic(RESULTS, (json.dumps(found, indent=1) + "\n").encode())


def part_of(plan: SimulationPlan, folder: Path, report: ProgressCallback) -> Part:
    """Simulate a dataset, and compute its spectra."""
    folder.parent.mkdir(exist_ok=True)
    dataset = index(simulate(folder, plan=plan, seed=SEED, report=report), report=report)
    files = [AudioFile(dataset.file(entry), None, entry.path) for entry in dataset.entries]
    paths = [entry.path for entry in dataset.entries]
    both = (
        dict(zip(paths, parallel_spectra(spec_of(dataset, pair), files, with_frames=False, report=report), strict=True))
        for pair in (False, True)
    )
    return Part(dataset, *both)


def spec_of(dataset: Dataset, pair: bool) -> Any:
    """Return the detector's spec for the first channel alone or for the pair."""
    reference = 1 if pair else None
    return detector_spec(spec_for(dataset.entries, "spectrum", main_channel=0, reference_channel=reference))


def measured(learned: Part, tested: Part) -> dict[str, Any]:
    """Return the figures of one microphone and of the pair."""
    rows: dict[str, list[tuple[bool, float, str]]] = {"one": [], "pair": []}
    used = []
    for half in range(2):
        normal = [e for e in learned.dataset.entries if e.label == NORMAL and _half(e) == half]
        others = [e for e in tested.dataset.entries if e.label == ABNORMAL or _half(e) != half]
        for name, of, to in (("one", learned.one, tested.one), ("pair", learned.pair, tested.pair)):
            detector = _fit(spec_of(learned.dataset, name == "pair"), normal, of)
            threshold = operating_point_at_rate(detector.calibration, RATE).threshold
            rows[name] += [(e.label == ABNORMAL, *_answer(detector, to[e.path], e, threshold)) for e in others]
            if name == "pair":
                used.append(detector.pair is not None)
    return {name: _figures(each) for name, each in rows.items()} | {"used": used}


def _fit(spec: Any, normal: Sequence[Entry], spectra: SpectraByPath) -> Detector:
    recordings = [NormalRecording(spectra[e.path], e.machine_name, e.session, e.path) for e in normal]
    return fit_detector(spec, list(map(engine_by_name, DEFAULT_ENGINES)), recordings)


def _half(entry: Entry) -> int:
    """Return the half of a session: even and odd ones, by the number at the end of its name."""
    return int(entry.session.rpartition("s")[2]) % 2


def _answer(detector: Detector, clips: Sequence[Spectra], entry: Entry, threshold: float) -> tuple[float, str]:
    score = max(detector.measure(clip, entry.machine_name).score for clip in clips)
    if detector.is_swapped(clips, entry.machine_name):
        return score, "unusable"
    return score, "anomalous" if score > threshold else "normal"


def _figures(rows: Sequence[tuple[bool, float, str]]) -> dict[str, Any]:
    abnormal, score = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    verdict = np.array([row[2] for row in rows])
    shares = {}
    for name, label in (("detected", True), ("false alarms", False)):
        count, n = int((verdict[abnormal == label] == "anomalous").sum()), int((abnormal == label).sum())
        shares[name] = [round(each, 4) for each in (count / n, *wilson(count / n, n))]
    area = float(auc(*Ranking(score, abnormal).roc(np.ones((1, len(rows)))))[0])
    return {
        "n": len(rows),
        "auc": round(area, 4),
        **shares,
        "not judged": round(float((verdict == "unusable").mean()), 4),
    }


def print_found(found: dict[str, Any]) -> None:
    """Print a row for each case."""
    table = Table(
        "case", "AUC one", "AUC pair", "detected one", "detected pair", "false one", "false pair", "not judged", "used"
    )
    for name, each in found.items():
        one, pair = each["one"], each["pair"]
        table.add_row(
            name,
            f"{one['auc']:.3f}",
            f"{pair['auc']:.3f}",
            *(f"{of[key][0]:.3f}" for key in ("detected", "false alarms") for of in (one, pair)),
            f"{pair['not judged']:.3f}",
            "yes" if all(each["used"]) else "no" if not any(each["used"]) else "in part",
        )
    Console(width=160).print(table)


if __name__ == "__main__":
    main()
