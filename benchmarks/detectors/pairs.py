"""Two microphones: ``python -m benchmarks.detectors.pairs RECORDINGS``.

``mimii_pair`` has two opposite microphones of the array, at -6 dB. One default detector learns from half of the normal
recordings of each machine. The other half and all abnormal recordings are tested, each with a random gain of both
channels; and the reverse. Four ways to halve are pooled, the first of them in time. Three ways to use the channels are
compared: the mean of both, channel 0 alone, and channel 0 with channel 1 as reference. Intervals come from draws of
machines. Two minutes on two idle cores.
"""

import argparse
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.detectors.__main__ import SEED
from benchmarks.detectors.halls import HALVINGS, Hall
from cli.progress import show_progress
from ml.audio.batch import AudioFile
from ml.dataset.entries import ABNORMAL, Dataset, Entry
from ml.dataset.indexing.build import index
from ml.detectors.engines.names import DEFAULT_ENGINES
from ml.detectors.engines.registry import engine_by_name
from ml.detectors.fitting import fit_detector
from ml.detectors.parallel_spectra import parallel_spectra
from ml.detectors.reference import NormalRecording
from ml.detectors.spectra import Spectra
from ml.detectors.thresholds import operating_point_at_rate
from ml.evaluation.intervals import BootstrapPlan, bootstrap_estimates
from ml.evaluation.metrics import Ranking, auc, divide_or_nan
from ml.evaluation.results import Estimate
from ml.features.feature_specs import detector_spec, spec_for
from ml.features.spec import FeatureSpec
from ml.models.judging import random_gain_db
from ml.system.atomic import write_atomic
from ml.system.parallel import one_blas_thread
from ml.system.progress import ProgressCallback
from ml.training.options import GAIN_DB

RESULTS = Path(__file__).parents[1] / "results" / "pairs.json"
MEAN, MAIN, PAIR = "mean of both", "channel 0", "channel 0 with reference 1"
CHANNELS: Mapping[str, Mapping[str, int | None]] = {
    MEAN: {},
    MAIN: {"main_channel": 0},
    PAIR: {"main_channel": 0, "reference_channel": 1},
}
RATE = 0.01
SpectraByPath = Mapping[str, tuple[Spectra, ...]]


class Answers(NamedTuple):
    """Answers to tested recordings, each array ``(recordings,)``."""

    machine: NDArray[np.str_]
    abnormal: NDArray[np.bool_]
    score: NDArray[np.float64]
    alarm: NDArray[np.bool_]


def main() -> None:
    """Measure, print a table, and write the figures."""
    parser = argparse.ArgumentParser(prog="benchmarks.detectors.pairs", description=__doc__)
    parser.add_argument("recordings", type=Path, metavar="RECORDINGS")
    dataset = index(parser.parse_args().recordings / "mimii_pair")
    hall = Hall.of(dataset, sorted({entry.machine_name for entry in dataset.entries}))
    with show_progress(Console(stderr=True)) as report, one_blas_thread():
        answers = {name: answers_of(hall, dataset, spec_of(dataset, name), report) for name in CHANNELS}
    found = figures(answers)
    print_found(found)
    plain = {name: {of: asdict(each) for of, each in some.items()} for name, some in found.items()}
    write_atomic(RESULTS, (json.dumps(plain, indent=1) + "\n").encode())


def spec_of(dataset: Dataset, name: str) -> FeatureSpec:
    """Return the detector's spec for a way to use the channels."""
    return detector_spec(spec_for(dataset.entries, "spectrum", **CHANNELS[name]))


def answers_of(hall: Hall, dataset: Dataset, spec: FeatureSpec, report: ProgressCallback) -> Answers:
    """Return the answers of the default detector, of all ways to halve."""
    normal, gained = (spectra_of(dataset, spec, gain_db, report) for gain_db in (0.0, GAIN_DB))
    rows: list[tuple[str, bool, float, bool]] = []
    for number in range(HALVINGS):
        for learned, tested in hall.halves(number):
            recordings = [NormalRecording(normal[e.path], e.machine_name, e.session, e.path) for e in learned]
            detector = fit_detector(spec, list(map(engine_by_name, DEFAULT_ENGINES)), recordings)
            threshold = operating_point_at_rate(detector.calibration, RATE).threshold
            for entry in tested:
                score = max(detector.measure(clip, entry.machine_name).score for clip in gained[entry.path])
                rows.append((entry.machine_name, entry.label == ABNORMAL, score, score > threshold))
    return Answers(*map(np.array, zip(*rows, strict=True)))


def spectra_of(dataset: Dataset, spec: FeatureSpec, gain_db: float, report: ProgressCallback) -> SpectraByPath:
    """Return the spectra of each recording by path, with a random gain of at most ``gain_db``."""

    def gain_of(entry: Entry) -> float:
        return random_gain_db(entry, gain_db, SEED) if gain_db else 0.0

    files = [AudioFile(dataset.file(entry), None, entry.path, gain_of(entry)) for entry in dataset.entries]
    found = parallel_spectra(spec, files, with_frames=False, report=report)
    return dict(zip([entry.path for entry in dataset.entries], found, strict=True))


def figures(answers: Mapping[str, Answers]) -> dict[str, dict[str, Estimate]]:
    """Return AUC, that of each machine type, difference to the mean of both, detected, and false alarms."""
    first = answers[MEAN]
    machines = sorted(set(first.machine.tolist()))
    of = np.array([machines.index(name) for name in first.machine])
    types = np.array([name.partition("/")[0] for name in machines])[of]
    plan = BootstrapPlan.of(
        np.array([sorted(set(types)).index(each.partition("/")[0]) for each in machines]),
        np.arange(len(machines)),
        SEED,
    )
    names = ["AUC", *(f"AUC {kind}" for kind in sorted(set(types))), "AUC difference", "detected", "false alarms"]

    def area(some: Answers, weights: NDArray[np.float64], chosen: NDArray[np.bool_]) -> NDArray[np.float64]:
        return np.asarray(auc(*Ranking(some.score[chosen], some.abnormal[chosen]).roc(weights[:, of[chosen]])))

    def row(some: Answers, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        everything, each = np.ones(len(of), bool), weights[:, of]
        return np.stack(
            [
                area(some, weights, everything),
                *(area(some, weights, types == kind) for kind in sorted(set(types))),
                area(some, weights, everything) - area(first, weights, everything),
                *(
                    divide_or_nan(each @ (some.alarm & of_label), each @ of_label)
                    for of_label in (some.abnormal, ~some.abnormal)
                ),
            ],
            axis=1,
        )

    return {
        name: dict(
            zip(
                names,
                bootstrap_estimates(lambda w, some=some: row(some, w), plan, [len(machines)] * len(names)),
                strict=True,
            )
        )
        for name, some in answers.items()
    }


def print_found(found: Mapping[str, Mapping[str, Estimate]]) -> None:
    """Print a row for each way to use the channels."""
    table = Table("channels", *found[MEAN])
    for name, some in found.items():
        table.add_row(name, *map(_shown, some.values()))
    Console(width=200).print(table)


def _shown(figure: Estimate) -> str:
    return "-" if figure.value is None else f"{figure.value:.3f} [{figure.low:.2f}, {figure.high:.2f}]"


if __name__ == "__main__":
    main()
