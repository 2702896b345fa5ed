"""What comes of a stated false-alarm rate: ``python -m benchmarks.detectors.rates RECORDINGS``.

Healthy recordings of each real set by the default detector, through the model as it would answer: every session is cut
into five blocks in time, and each is judged by a detector of the other four at thresholds for the stated rates, with a
random gain. So what is held out is of the same sessions as what is learned from. A session's only recording is left
out. MIMII's SNRs are apart: their versions are of the same recordings. A minute on two idle cores.
"""

import argparse
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.detectors.__main__ import SEED
from cli.progress import show_progress
from ml.dataset.entries import NORMAL, Dataset, Entry
from ml.dataset.indexing.build import index
from ml.dataset.indexing.listing import natural_key
from ml.dataset.splitting.sides import Split
from ml.detectors.thresholds import operating_point_at_rate
from ml.evaluation.intervals import wilson
from ml.evaluation.judged import JudgedRecording
from ml.features.feature_specs import spec_for
from ml.models.bundle import Bundle, BundleContent, GoldenClip
from ml.models.golden import make_golden_clip
from ml.models.judging import judge
from ml.models.labels import DETECTOR_LABELS
from ml.models.predictor import Predictor
from ml.models.served import ServedModel
from ml.models.thresholds import decision_at
from ml.system.atomic import write_atomic
from ml.system.progress import ProgressCallback
from ml.training.context import TrainingContext
from ml.training.detector_stage import learn_detector
from ml.training.options import GAIN_DB, TrainingOptions

RESULTS = Path(__file__).parents[1] / "results" / "rates.json"
SETS: tuple[tuple[str, float | None], ...] = (("pc_fan", None), ("mimii", 0.0), ("mimii", -6.0))
STATED = (0.05, 0.01)
BLOCKS = 5


def main() -> None:
    """Measure, print a table, and keep the figures."""
    parser = argparse.ArgumentParser(prog="benchmarks.detectors.rates")
    parser.add_argument("recordings", type=Path, metavar="RECORDINGS")
    given = parser.parse_args()
    table = Table("recordings", "healthy", *(f"false alarms at {rate:.0%}" for rate in STATED))
    found = {}
    with show_progress(Console(stderr=True)) as report:
        for name, snr_db in SETS:
            dataset = index(given.recordings / name, snr_db=snr_db)
            title = name if snr_db is None else f"{name}, {snr_db:g} dB"
            judged = {rate: list(judged_at(dataset, rate, report)) for rate in STATED}
            found[title] = {f"{rate:g}": rated(each) for rate, each in judged.items()}
            table.add_row(title, str(len(judged[STATED[0]])), *map(_shown, found[title].values()))
    Console().print(table)
    write_atomic(RESULTS, (json.dumps(found, indent=2) + "\n").encode())


def judged_at(dataset: Dataset, rate: float, report: ProgressCallback) -> Iterator[JudgedRecording]:
    """Verdicts on each healthy recording, by a detector that has not learned from its block."""
    healthy = sorted((e for e in dataset.entries if e.label == NORMAL), key=lambda entry: natural_key(entry.path))
    of = Counter(entry.session for entry in healthy)
    healthy = [entry for entry in healthy if of[entry.session] > 1]
    context = fit_context(replace(dataset, entries=tuple(healthy)), report)
    fold = blocks(healthy)
    for number in range(BLOCKS):
        detector = learn_detector(context, [entry for entry in healthy if fold[entry.path] != number])
        decision = decision_at(operating_point_at_rate(detector.calibration, rate))
        content = BundleContent(
            context.spec, DETECTOR_LABELS, decision, {}, None, GoldenClip(make_golden_clip(context.spec), ()), detector
        )
        held_out = [entry for entry in healthy if fold[entry.path] == number]
        yield from judge(
            Predictor(ServedModel.as_written(Bundle("rates", "", content))),
            dataset,
            held_out,
            gain_db=GAIN_DB,
            seed=SEED,
        )


def fit_context(dataset: Dataset, report: ProgressCallback) -> TrainingContext:
    """Context of the fit of a default detector. The split is not used: the recordings are chosen for each fit."""
    options = TrainingOptions(source=dataset.root, name="rates", learn="detector")
    return TrainingContext(
        options=options,
        home=dataset.root,
        dataset=dataset,
        split=Split("blocks", SEED, dataset.entries, (), (), ()),
        spec=spec_for(dataset.entries, options.training_kind),
        work=dataset.root,
        notes=(),
        processes=None,
        report=report,
        started=0.0,
    )


def blocks(healthy: Sequence[Entry]) -> dict[str, int]:
    """Which block of its session each recording is in, by its path."""
    within = {
        session: [entry for entry in healthy if entry.session == session] for session in {e.session for e in healthy}
    }
    return {
        entry.path: place * BLOCKS // len(entries) for entries in within.values() for place, entry in enumerate(entries)
    }


def rated(judged: Sequence[JudgedRecording]) -> list[float]:
    """The share of false alarms, with its interval: of recordings one by one, so too narrow for sessions to come."""
    share = sum(each.anomaly for each in judged) / len(judged)
    return [round(figure, 3) for figure in (share, *wilson(share, len(judged)))]


def _shown(figures: Sequence[float]) -> str:
    return "{:.3f} [{:.2f}, {:.2f}]".format(*figures)


if __name__ == "__main__":
    main()
