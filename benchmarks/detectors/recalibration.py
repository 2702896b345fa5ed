"""Recalibration counted on further sessions: ``python -m benchmarks.detectors.recalibration RECORDINGS``.

A default detector learns from some sessions of normal recordings, is recalibrated with some others, and the remaining
ones are counted, with all abnormal recordings. Three calibrations are compared: as trained, the new scores alone, and
all scores together. pc_fan: every choice of sessions. Simulated fans: four fans of 12 sessions each, drawn sessions.
About two minutes on two idle cores.
"""

import argparse
import itertools
import json
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.detectors.__main__ import SEED
from cli.progress import show_progress
from ml.audio.batch import AudioFile
from ml.dataset.entries import NORMAL, Dataset, Entry
from ml.dataset.indexing.build import index
from ml.dataset.simulate.plan import SimulationPlan
from ml.dataset.simulate.simulator import simulate
from ml.detectors.calibration import Calibration
from ml.detectors.detector import Detector
from ml.detectors.engines.names import DEFAULT_ENGINES
from ml.detectors.engines.registry import engine_by_name
from ml.detectors.fitting import fit_detector
from ml.detectors.parallel_spectra import parallel_spectra
from ml.detectors.reference import NormalRecording
from ml.detectors.thresholds import calibrated_threshold
from ml.features.feature_specs import detector_spec, spec_for
from ml.features.spec import FeatureSpec
from ml.models.bundle import Bundle, BundleContent, DecisionThreshold, GoldenClip
from ml.models.labels import DETECTOR_LABELS
from ml.models.recalibration import Recalibration
from ml.system.atomic import write_atomic
from ml.system.progress import ProgressCallback
from ml.training.recalibration import RecalibrationRow, recalibration_from

RESULTS = Path(__file__).parents[1] / "results" / "recalibration.json"
RATE = 0.01
FANS = SimulationPlan(machines=4, sessions=4, recordings=6, snr_db=(6.0,), duration_s=4.0)
DRAWS = 12  # for each simulated fan
SIZES = ((2, 2), (2, 6), (4, 2), (4, 6))
"""Simulated fans: sessions to learn from, and to recalibrate with; two sessions of six recordings are the fewest."""
Choice = tuple[Sequence[str], Sequence[str]]
"""Sessions to learn from, and to recalibrate with."""


class Machine(NamedTuple):
    """Recordings of one machine."""

    spec: FeatureSpec
    normal: Sequence[NormalRecording]
    faulty: Sequence[NormalRecording]

    @property
    def sessions(self) -> list[str]:
        """Sessions of the normal recordings."""
        return sorted({recording.session for recording in self.normal})


class Counted(NamedTuple):
    """False alarms in the remaining sessions, and detected faults, as shares."""

    false_alarms: float
    detected: float


def main() -> None:
    """Measure, print a table, and write the figures."""
    parser = argparse.ArgumentParser(prog="benchmarks.detectors.recalibration", description=__doc__)
    parser.add_argument("recordings", type=Path, metavar="RECORDINGS")
    parser.add_argument("--output", type=Path, default=RESULTS)
    given = parser.parse_args()
    found: dict[str, dict[str, list[Counted]]] = {}
    with tempfile.TemporaryDirectory() as folder, show_progress(Console(stderr=True)) as report:
        fans = index(simulate(Path(folder) / "fans", plan=FANS, seed=SEED, report=report))
        for name, dataset in (("pc_fan", index(given.recordings / "pc_fan")), ("simulated", fans)):
            for machine in machines_of(dataset, report):
                choices = all_choices(machine) if name == "pc_fan" else drawn_choices(machine)
                for label, by_rule in count_all(machine, choices):
                    rows = found.setdefault(f"{name}, {label}", defaultdict(list))
                    for rule, counted in by_rule.items():
                        rows[rule].extend(counted)
    summaries = {name: {rule: summary(each) for rule, each in rows.items()} for name, rows in found.items()}
    print_table(summaries)
    write_atomic(given.output, (json.dumps(summaries, indent=2) + "\n").encode())


def machines_of(dataset: Dataset, report: ProgressCallback) -> Iterator[Machine]:
    """Yield the machines of a dataset with the spectra of their recordings."""
    cut_by = spec_for(dataset.entries, "spectrum")
    spec = detector_spec(cut_by)
    files = [AudioFile(dataset.file(entry), None, entry.path) for entry in dataset.entries]
    clips = parallel_spectra(spec, files, cut_by=cut_by, report=report)
    of_machine: defaultdict[str, list[tuple[Entry, NormalRecording]]] = defaultdict(list)
    for entry, each in zip(dataset.entries, clips, strict=True):
        recording = NormalRecording(each, entry.machine_name, entry.session, entry.path, entry.info.level_dbfs)
        of_machine[entry.machine_name].append((entry, recording))
    for recordings in of_machine.values():
        normal = [recording for entry, recording in recordings if entry.label == NORMAL]
        yield Machine(spec, normal, [recording for entry, recording in recordings if entry.label != NORMAL])


def all_choices(machine: Machine) -> Iterator[Choice]:
    """Yield every choice that leaves at least one session to count."""
    for learned in (1, 2):
        for train in itertools.combinations(machine.sessions, learned):
            rest = [session for session in machine.sessions if session not in train]
            for new in range(1, len(rest)):
                for chosen in itertools.combinations(rest, new):
                    yield train, chosen


def drawn_choices(machine: Machine) -> Iterator[Choice]:
    """Yield drawn choices of each of the sizes."""
    rng = np.random.default_rng(SEED)
    for (learned, new), _ in itertools.product(SIZES, range(DRAWS)):
        order = list(map(str, rng.permutation(machine.sessions)))
        yield order[:learned], order[learned : learned + new]


def count_all(machine: Machine, choices: Iterable[Choice]) -> Iterator[tuple[str, dict[str, list[Counted]]]]:
    """Count for each choice and each rule; a detector is fitted once for the same sessions in a row."""
    fitted: tuple[Sequence[str], Detector] | None = None
    for train, new in choices:
        if fitted is None or fitted[0] != train:
            engines = [engine_by_name(name) for name in DEFAULT_ENGINES]
            learned = [recording for recording in machine.normal if recording.session in train]
            fitted = train, fit_detector(machine.spec, engines, learned)
        yield f"{len(train)} and {len(new)} sessions", count(machine, fitted[1], train, new)


def count(machine: Machine, detector: Detector, train: Sequence[str], new: Sequence[str]) -> dict[str, list[Counted]]:
    """Count false alarms in each remaining session, and detected faults, for each rule."""
    scores = {recording.name: score(detector, recording) for recording in machine.normal}
    faults = np.array([score(detector, recording) for recording in machine.faulty])
    calibrations = calibrations_of(
        detector,
        [
            RecalibrationRow(
                name=each.name,
                machine=each.machine,
                session=each.session,
                named=scores[each.name],
                unnamed=scores[each.name],
            )
            for each in machine.normal
            if each.session in new
        ],
    )
    counted = defaultdict(list)
    for session in (each for each in machine.sessions if each not in (*train, *new)):
        held_out = np.array([scores[each.name] for each in machine.normal if each.session == session])
        for rule, calibration in calibrations.items():
            threshold = calibrated_threshold(calibration, RATE)
            counted[rule].append(Counted(_share(held_out, threshold), _share(faults, threshold)))
    return counted


def calibrations_of(detector: Detector, rows: Sequence[RecalibrationRow]) -> dict[str, Calibration]:
    """Return the calibrations to compare; ``chosen`` is that of the product."""
    decision, golden = DecisionThreshold(0.5, None, ""), GoldenClip(b"", ())
    content = BundleContent(detector.spec, DETECTOR_LABELS, decision, {}, None, golden, detector)
    chosen = recalibration_from(Bundle("recalibration", "", content), "new", "", rows)

    def with_training(given: Recalibration, *, used: bool) -> Calibration:
        return replace(given, with_training=used).calibration(detector)

    return {
        "as trained": detector.calibration,
        "alone": with_training(chosen, used=False),
        "together": with_training(chosen, used=True),
        "chosen": chosen.calibration(detector),
    }


def score(detector: Detector, recording: NormalRecording) -> float:
    """Return the score of the most anomalous clip."""
    return max(detector.measure(clip, recording.machine).score for clip in recording.clips)


def summary(counted: Sequence[Counted]) -> dict[str, float]:
    """Return the number of counted sessions, mean and worst false alarms, and mean detection."""
    alarms, detected = np.array(counted).T
    shares = {"false_alarms": alarms.mean(), "worst": alarms.max(), "detected": detected.mean()}
    return {"sessions": len(counted)} | {name: round(float(share), 4) for name, share in shares.items()}


def print_table(summaries: dict[str, dict[str, dict[str, float]]]) -> None:
    """Print a row for each size: false alarms, those of the worst session, and detected faults."""
    rules = list(next(iter(summaries.values())))
    table = Table("learned and recalibrated", *rules)
    for name, by_rule in summaries.items():
        cells = ("{false_alarms:.3f} ({worst:.2f}), {detected:.3f}".format(**by_rule[rule]) for rule in rules)
        table.add_row(name, *cells)
    Console().print(table)


def _share(scores: NDArray[np.float64], threshold: float) -> float:
    return float((scores > threshold).mean())


if __name__ == "__main__":
    main()
