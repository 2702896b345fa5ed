"""Detectors of several machines: ``python -m benchmarks.detectors.halls RECORDINGS``.

One detector learns from all machines of a hall: MIMII at -6 dB with twelve machines, with those of one type, and with
some drawn at random; and the fans at 0 dB. It learns from half of the normal recordings of each machine. The other half
and all abnormal recordings are tested, each with a random gain; and the reverse. Four ways to halve are pooled, the
first of them in time. Each engine is tested alone, and the default as it was before decision 18. The scores of all
machines are pooled; intervals come from draws of machines. Three minutes on two idle cores.
"""

import argparse
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.detectors.__main__ import SEED
from cli.progress import show_progress
from ml.audio.batch import AudioFile
from ml.dataset.entries import ABNORMAL, NORMAL, Dataset, Entry
from ml.dataset.indexing.build import index
from ml.dataset.indexing.listing import natural_key
from ml.detectors.detector import Detector
from ml.detectors.engines.names import DEFAULT_ENGINES
from ml.detectors.engines.registry import engine_by_name
from ml.detectors.fitting import fit_detector
from ml.detectors.parallel_spectra import parallel_spectra
from ml.detectors.reference import NormalRecording
from ml.detectors.spectra import Spectra
from ml.evaluation.intervals import BootstrapPlan, bootstrap_estimates
from ml.evaluation.metrics import Ranking, auc
from ml.evaluation.results import Estimate
from ml.features.feature_specs import detector_spec, spec_for
from ml.models.judging import random_gain_db
from ml.system.atomic import write_atomic
from ml.system.parallel import one_blas_thread
from ml.system.progress import ProgressCallback
from ml.training.options import GAIN_DB

RESULTS = Path(__file__).parents[1] / "results" / "halls.json"
HALVINGS = 4
BEFORE = "default before"
CONTENDERS: Mapping[str, Sequence[Sequence[str]]] = {
    "default": [DEFAULT_ENGINES],
    # Detectors of one engine each, so that no engine is left out: the larger relative distance counts.
    BEFORE: [["spectrum-gaussian"], ["distance"]],
    **{name: [[name]] for name in ("discriminant", "spectrum-gaussian", "distance", "fluctuation")},
}
DRAWN_SIZES, DRAWN_HALLS = (2, 3, 4, 6), 6


class Hall(NamedTuple):
    """Machines that one detector learns from.

    Attributes:
        recordings: all recordings, normal ones in the order of their names.
        tested: names of the machines whose recordings are tested. All normal recordings of the others are learned from.
    """

    recordings: Sequence[Entry]
    tested: Collection[str]

    @classmethod
    def of(cls, dataset: Dataset, machines: Collection[str]) -> "Hall":
        """Return a hall of these machines. Those with a single normal recording are only learned from."""
        some = [entry for entry in dataset.entries if entry.machine_name in machines]
        normal = [entry.machine_name for entry in some if entry.label == NORMAL]
        return cls(
            sorted(some, key=lambda entry: natural_key(entry.path)),
            [name for name in machines if normal.count(name) > 1],
        )

    def halves(self, number: int) -> Iterator[tuple[list[Entry], list[Entry]]]:
        """Yield recordings to learn from and to test, for a way to halve; 0 is in time."""
        rng, first = np.random.default_rng([SEED, number]), set()
        for machine in self.tested:
            mine = [each.path for each in self.recordings if each.machine_name == machine and each.label == NORMAL]
            first |= set(mine if number == 0 else rng.permutation(mine)[: len(mine) // 2].tolist())
            first -= set(mine[len(mine) // 2 :]) if number == 0 else set()
        for flip in (False, True):
            normal = [each for each in self.recordings if each.label == NORMAL]
            alone = [each for each in normal if each.machine_name not in self.tested]
            learned = [each for each in normal if each not in alone and (each.path in first) != flip]
            others = [each for each in normal if each not in alone and (each.path in first) == flip]
            abnormal = [e for e in self.recordings if e.label == ABNORMAL and e.machine_name in self.tested]
            yield learned + alone, others + abnormal


class Scores(NamedTuple):
    """Scores of tested recordings, each array ``(recordings,)``."""

    machine: NDArray[np.str_]
    abnormal: NDArray[np.bool_]
    score: NDArray[np.float64]


def main() -> None:
    """Measure, print a table, and write the figures."""
    parser = argparse.ArgumentParser(prog="benchmarks.detectors.halls", description=__doc__)
    parser.add_argument("recordings", type=Path, metavar="RECORDINGS")
    source = parser.parse_args().recordings / "mimii"
    found = {}
    with show_progress(Console(stderr=True)) as report, one_blas_thread():
        for snr_db, name_halls in ((-6.0, noisy_halls), (0.0, fan_halls)):
            dataset = index(source, snr_db=snr_db)
            normal, gained = spectra_of(dataset, report)
            for name, halls in name_halls(dataset).items():
                found[name] = compared([scores_of(hall, normal, gained) for hall in halls])
    print_found(found)
    plain = {name: {of: asdict(each) for of, each in figures.items()} for name, figures in found.items()}
    write_atomic(RESULTS, (json.dumps(plain, indent=1) + "\n").encode())


def noisy_halls(dataset: Dataset) -> dict[str, list[Hall]]:
    """All machines, those of one type among all and alone, and machines that are drawn."""
    names = sorted({entry.machine_name for entry in dataset.entries})
    types = sorted({name.partition("/")[0] for name in names})
    rng = np.random.default_rng(SEED)
    drawn = {
        f"-6 dB, {size} machines drawn {DRAWN_HALLS} times": [
            Hall.of(dataset, rng.choice(names, size, replace=False).tolist()) for _ in range(DRAWN_HALLS)
        ]
        for size in DRAWN_SIZES
    }
    everywhere = Hall.of(dataset, names)
    one_type = {kind: [name for name in names if name.startswith(kind)] for kind in types}
    among = {f"-6 dB, {kind} among 12 machines": [everywhere._replace(tested=some)] for kind, some in one_type.items()}
    alone = {f"-6 dB, 3 machines: {kind}": [Hall.of(dataset, some)] for kind, some in one_type.items()}
    return {"-6 dB, 12 machines": [everywhere]} | among | alone | drawn


def fan_halls(dataset: Dataset) -> dict[str, list[Hall]]:
    """The fans alone, and among all machines, most of which have one normal recording."""
    names = sorted({entry.machine_name for entry in dataset.entries})
    everywhere = Hall.of(dataset, names)
    fans = Hall.of(dataset, [name for name in names if name.startswith("fan")])
    return {"0 dB, 3 machines: fan": [fans], "0 dB, fan among 12 machines": [everywhere._replace(tested=fans.tested)]}


def spectra_of(
    dataset: Dataset, report: ProgressCallback
) -> tuple[dict[str, tuple[Spectra, ...]], dict[str, tuple[Spectra, ...]]]:
    """Return the spectra of each recording by path: as recorded, and with a random gain."""
    spec = detector_spec(spec_for(dataset.entries, "spectrum"))
    files = [AudioFile(dataset.file(entry), None, entry.path) for entry in dataset.entries]
    gained = [
        AudioFile(dataset.file(entry), None, entry.path, random_gain_db(entry, GAIN_DB, SEED))
        for entry in dataset.entries
    ]
    paths = [entry.path for entry in dataset.entries]
    both = [parallel_spectra(spec, each, with_frames=False, report=report) for each in (files, gained)]
    return dict(zip(paths, both[0], strict=True)), dict(zip(paths, both[1], strict=True))


def scores_of(
    hall: Hall, normal: Mapping[str, tuple[Spectra, ...]], gained: Mapping[str, tuple[Spectra, ...]]
) -> dict[str, Scores]:
    """Return the scores of each contender, of all ways to halve."""
    spec = detector_spec(spec_for(hall.recordings, "spectrum"))
    rows: dict[str, list[tuple[str, bool, float]]] = {name: [] for name in CONTENDERS}
    for number in range(HALVINGS):
        for learned, tested in hall.halves(number):
            recordings = [NormalRecording(normal[e.path], e.machine_name, e.session, e.path) for e in learned]
            for name, detectors in CONTENDERS.items():
                fitted = [fit_detector(spec, list(map(engine_by_name, each)), recordings) for each in detectors]
                rows[name] += [
                    (entry.machine_name, entry.label == ABNORMAL, farthest(fitted, gained[entry.path], entry))
                    for entry in tested
                ]
    return {name: Scores(*map(np.array, zip(*each, strict=True))) for name, each in rows.items()}


def farthest(detectors: Sequence[Detector], clips: Sequence[Spectra], entry: Entry) -> float:
    """Return the largest score of the clips by any of the detectors."""
    return max(detector.measure(clip, entry.machine_name).score for detector in detectors for clip in clips)


def compared(halls: Sequence[Mapping[str, Scores]]) -> dict[str, Estimate]:
    """Return the AUC of each contender, and the difference of the default to the one before: means of the halls."""
    names = list(CONTENDERS)
    machines = sorted({machine for hall in halls for machine in hall[names[0]].machine.tolist()})
    plan = BootstrapPlan.of(np.zeros(len(machines), np.int64), np.arange(len(machines)), SEED)
    number = [np.array([machines.index(name) for name in hall[names[0]].machine]) for hall in halls]

    def figures(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        with np.errstate(invalid="ignore"):
            areas = np.array(
                [
                    [auc(*Ranking(hall[name].score, hall[name].abnormal).roc(weights[:, of])) for name in names]
                    for hall, of in zip(halls, number, strict=True)
                ]
            )
        mean = np.nanmean(areas, axis=0)  # a draw can leave out every machine of a hall
        return np.vstack([mean, mean[0] - mean[names.index(BEFORE)]]).T

    estimates = bootstrap_estimates(figures, plan, [len(machines)] * (len(names) + 1))
    return dict(zip([*names, "difference"], estimates, strict=True))


def print_found(found: Mapping[str, Mapping[str, Estimate]]) -> None:
    """Print a row for each hall."""
    table = Table("hall", *CONTENDERS, "difference")
    for name, figures in found.items():
        table.add_row(name, *map(_shown, figures.values()))
    Console(width=200).print(table)


def _shown(figure: Estimate) -> str:
    return "-" if figure.value is None else f"{figure.value:.2f} [{figure.low:.2f}, {figure.high:.2f}]"


if __name__ == "__main__":
    main()
