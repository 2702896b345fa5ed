"""Rate of the verdict of detector and classifier: ``python -m benchmarks.detectors.both_parts RECORDINGS``.

A model of a detector and a classifier is trained as a user trains it (``--both``), without some sessions, and judges
these. pc_fan: each normal session is held out in turn, with one of the two abnormal sessions. Simulated fans at 0 dB: a
quarter of the sessions of each class in turn. Each recording has a random gain. The false alarms of the detector alone
are those above the detector's threshold; those of the verdict count the classifier too. At 5 %, the
threshold of the detector is moved, as a user does it. Six minutes on two idle cores.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from benchmarks.detectors.__main__ import SEED
from cli.progress import show_progress
from ml.dataset.entries import NORMAL, Dataset, Entry
from ml.dataset.indexing.build import index
from ml.dataset.simulate.plan import SimulationPlan
from ml.dataset.simulate.simulator import simulate
from ml.detectors.thresholds import operating_point_at_threshold
from ml.evaluation.judged import JudgedRecording
from ml.models.judging import judge
from ml.models.predictor import Predictor
from ml.models.registry import Registry
from ml.models.thresholds import ThresholdRequest
from ml.system.atomic import write_atomic
from ml.system.progress import ProgressCallback
from ml.training.options import GAIN_DB, TrainingOptions
from ml.training.pipeline import train

RESULTS = Path(__file__).parents[1] / "results" / "both_parts.json"
FANS = SimulationPlan(machines=2, sessions=4, recordings=5, snr_db=(0.0,), duration_s=4.0)
QUARTERS = 4
RATES = (0.01, 0.05)


class HeldOut(NamedTuple):
    """Recordings that a model has not learned from.

    Attributes:
        name: name of the sessions.
        learned: the recordings that the model learns from.
        normal, abnormal: the others.
    """

    name: str
    learned: Sequence[Entry]
    normal: Sequence[Entry]
    abnormal: Sequence[Entry]

    @classmethod
    def of(cls, name: str, dataset: Dataset, sessions: Sequence[str]) -> "HeldOut":
        """Hold sessions out."""
        others = [entry for entry in dataset.entries if entry.session in sessions]
        return cls(
            name,
            [entry for entry in dataset.entries if entry.session not in sessions],
            [entry for entry in others if entry.label == NORMAL],
            [entry for entry in others if entry.label != NORMAL],
        )


@dataclass(frozen=True)
class Row:
    """Verdicts of one model on recordings of held-out sessions.

    Attributes:
        held_out: name of the sessions.
        rate, stated, low, high: requested rate, and the rate of the model with its interval.
        threshold: threshold of the classifier.
        n, by_detector, by_verdict, unusable: number of normal recordings, and how many of them are anomalous by the
            detector alone, by the verdict, and not judged.
        faults, found_by_detector, found: number of abnormal recordings, and how many are found.
    """

    held_out: str
    rate: float
    stated: float | None
    low: float | None
    high: float | None
    threshold: float
    n: int
    by_detector: int
    by_verdict: int
    unusable: int
    faults: int
    found_by_detector: int
    found: int


def main() -> None:
    """Train, judge, print a table, and write the figures."""
    parser = argparse.ArgumentParser(prog="benchmarks.detectors.both_parts", description=__doc__)
    parser.add_argument("recordings", type=Path, metavar="RECORDINGS")
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--only", choices=("pc_fan", "fans"), help="only these recordings")
    given = parser.parse_args()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder, show_progress(Console(stderr=True)) as report:
        sets: list[tuple[Dataset, Sequence[HeldOut]]] = []
        if given.only != "fans":
            dataset = index(given.recordings / "pc_fan", report=report)
            sets.append((dataset, list(each_session(dataset))))
        if given.only != "pc_fan":
            dataset = index(simulate(Path(folder) / "fans", plan=FANS, seed=SEED, report=report))
            sets.append((dataset, list(quarters(dataset))))
        for dataset, some in sets:
            for held_out in some:
                rows += judge_without(dataset, held_out, report)
                write_atomic(given.output, (json.dumps([asdict(each) for each in rows], indent=1) + "\n").encode())
    print_rows(rows)


def each_session(dataset: Dataset) -> Iterator[HeldOut]:
    """Hold out each normal session, with an abnormal one: the abnormal sessions in turn."""
    normal = sorted({entry.session for entry in dataset.entries if entry.label == NORMAL})
    abnormal = sorted({entry.session for entry in dataset.entries if entry.label != NORMAL})
    for number, session in enumerate(normal):
        fault = abnormal[(number + 1) % len(abnormal)]
        yield HeldOut.of(f"pc_fan, {session} and {fault}", dataset, [session, fault])


def quarters(dataset: Dataset) -> Iterator[HeldOut]:
    """Hold out every fourth session of each fault and of the normal recordings."""
    classes: dict[str, dict[str, None]] = {}
    for entry in dataset.entries:
        classes.setdefault(entry.annotation.fault or entry.label, {})[entry.session] = None
    for quarter in range(QUARTERS):
        sessions = [name for names in classes.values() for name in list(names)[quarter::QUARTERS]]
        yield HeldOut.of(f"simulated fans, 0 dB, quarter {quarter + 1}", dataset, sessions)


def judge_without(dataset: Dataset, held_out: HeldOut, report: ProgressCallback) -> Iterator[Row]:
    """Train without the held-out sessions, and judge them at each rate."""
    with tempfile.TemporaryDirectory() as home:
        options = TrainingOptions(source=dataset.root, name="both", learn="both")
        some = replace(dataset, entries=tuple(held_out.learned))
        registry, version = Registry(Path(home)), train(options, Path(home), dataset=some, report=report).version
        for rate in RATES:
            registry.set_threshold(version, ThresholdRequest(false_alarm_rate=rate))
            yield judge_with(registry.load_predictor(version), dataset, held_out, rate, report)


def judge_with(predictor: Predictor, dataset: Dataset, held_out: HeldOut, rate: float, report: ProgressCallback) -> Row:
    """Judge the held-out sessions at the present threshold, which is that of a rate."""
    entries, content = [*held_out.normal, *held_out.abnormal], predictor.model.bundle.content
    judged = judge(predictor, dataset, entries, gain_db=GAIN_DB, seed=SEED, report=report)
    assert content.detector is not None
    assert content.fault_rule is not None
    threshold = predictor.model.decision.threshold
    stated = operating_point_at_threshold(content.detector.calibration, threshold).expected_rate
    normal, abnormal = judged[: len(held_out.normal)], judged[len(held_out.normal) :]
    return Row(
        *(held_out.name, rate, stated.value, stated.low, stated.high, content.fault_rule.threshold),
        *(len(normal), _above(normal, threshold), _found(normal), sum(each.unusable for each in normal)),
        *(len(abnormal), _above(abnormal, threshold), _found(abnormal)),
    )


def print_rows(rows: Sequence[Row]) -> None:
    """Print a row for each model."""
    table = Table(
        *("held out", "rate", "stated", "threshold", "normal", "false alarms, detector", "verdict", "not judged"),
        *("abnormal", "found, detector", "verdict"),
    )
    for row in rows:
        stated = f"{row.stated:.3f} [{row.low:.3f}, {row.high:.3f}]"
        counts = (row.n, row.by_detector, row.by_verdict, row.unusable, row.faults, row.found_by_detector, row.found)
        table.add_row(row.held_out, f"{row.rate:.0%}", stated, f"{row.threshold:.3f}", *map(str, counts))
    Console(width=200).print(table)


def _above(judged: Sequence[JudgedRecording], threshold: float) -> int:
    return sum(each.score > threshold and not each.unusable for each in judged)


def _found(judged: Sequence[JudgedRecording]) -> int:
    return sum(each.anomaly and not each.unusable for each in judged)


if __name__ == "__main__":
    main()
