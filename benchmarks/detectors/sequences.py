"""Sequences of scores of held-out recordings, in the order in which they were made; for ``alarm_rules``."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.detectors.__main__ import SEED
from benchmarks.detectors.rates import fit_context
from ml.audio.batch import AudioFile
from ml.dataset.entries import ABNORMAL, NORMAL, Dataset, Entry
from ml.dataset.indexing.build import index
from ml.dataset.simulate.plan import SimulationPlan
from ml.dataset.simulate.simulator import simulate
from ml.detectors.calibration import Calibration
from ml.detectors.detector import Detector
from ml.detectors.engines.registry import engine_by_name
from ml.detectors.fitting import fit_detector
from ml.detectors.parallel_spectra import parallel_spectra
from ml.detectors.reference import NormalRecording
from ml.features.feature_specs import detector_spec
from ml.system.progress import ProgressCallback
from ml.training.detector_stage import in_recording_order

FANS = SimulationPlan(machines=2, sessions=4, recordings=20, snr_db=(6.0,), duration_s=4.0)
LENGTH = 10
DRAWN_SEQUENCES = 30
Scores = NDArray[np.float64]


class ScoredSequence(NamedTuple):
    """Scores of one machine in their order, up to ten, by the detector of a fold; ``unit`` is drawn for intervals."""

    fold: int
    unit: str
    scores: Scores


@dataclass
class Measured:
    """Scores of one dataset.

    Attributes:
        calibrations: calibration of the detector of each fold.
        normal, abnormal: sequences of held-out normal recordings, and of abnormal ones.
    """

    calibrations: list[Calibration]
    normal: list[ScoredSequence]
    abnormal: list[ScoredSequence]


def measure_all(recordings: Path, folder: Path, report: ProgressCallback) -> Iterator[tuple[str, Measured]]:
    """Yield each dataset by name."""
    pc_fan = index(recordings / "pc_fan", report=report)
    yield "pc_fan", measure(pc_fan, number_of({entry.path: entry.session for entry in normal_of(pc_fan)}), report)
    for snr_db in (6.0, 0.0):
        plan = replace(FANS, snr_db=(snr_db,))
        fans = index(simulate(folder / f"fans{snr_db:g}", plan=plan, seed=SEED, report=report), report=report)
        yield f"simulated fans, {snr_db:g} dB", measure(fans, session_numbers(fans), report)
    mimii = index(recordings / "mimii", snr_db=-6.0, report=report)
    yield "MIMII, -6 dB", drawn(measure(mimii, halves(mimii), report))


def normal_of(dataset: Dataset) -> list[Entry]:
    """Normal recordings in their order."""
    return in_recording_order(entry for entry in dataset.entries if entry.label == NORMAL)


def number_of(names: Mapping[str, str]) -> dict[str, int]:
    """Number the names, from 0."""
    order = list(dict.fromkeys(names.values()))
    return {path: order.index(name) for path, name in names.items()}


def session_numbers(dataset: Dataset) -> dict[str, int]:
    """Number the sessions of each machine, from 0."""
    sessions: defaultdict[str, list[str]] = defaultdict(list)
    for entry in normal_of(dataset):
        if entry.session not in sessions[entry.machine_name]:
            sessions[entry.machine_name].append(entry.session)
    return {entry.path: sessions[entry.machine_name].index(entry.session) for entry in normal_of(dataset)}


def halves(dataset: Dataset) -> dict[str, int]:
    """0 for the first half of the normal recordings of each machine, 1 for the second."""
    paths: defaultdict[str, list[str]] = defaultdict(list)
    for entry in normal_of(dataset):
        paths[entry.machine_name].append(entry.path)
    return {path: place * 2 // len(some) for some in paths.values() for place, path in enumerate(some)}


def measure(dataset: Dataset, fold: Mapping[str, int], report: ProgressCallback) -> Measured:
    """Score each fold, and all abnormal recordings, by a detector that has not learned from the fold."""
    normal, abnormal = normal_of(dataset), in_recording_order(e for e in dataset.entries if e.label == ABNORMAL)
    context = fit_context(replace(dataset, entries=tuple(normal)), report)
    spec, engines = detector_spec(context.spec), [engine_by_name(name) for name in context.options.engine_names]
    entries = [*normal, *abnormal]
    files = [AudioFile(dataset.file(entry), None, entry.path) for entry in entries]
    recordings = {
        entry.path: NormalRecording(clips, entry.machine_name, entry.session, entry.path)
        for entry, clips in zip(entries, parallel_spectra(spec, files, cut_by=context.spec, report=report), strict=True)
    }
    measured = Measured([], [], [])
    for number in sorted(set(fold.values())):
        detector = fit_detector(spec, engines, [recordings[e.path] for e in normal if fold[e.path] != number])
        measured.calibrations.append(detector.calibration)
        held_out = [recordings[entry.path] for entry in normal if fold[entry.path] == number]
        measured.normal += sequences(detector, held_out, number)
        measured.abnormal += sequences(detector, [recordings[entry.path] for entry in abnormal], number)
    return measured


def sequences(detector: Detector, recordings: Sequence[NormalRecording], fold: int) -> Iterator[ScoredSequence]:
    """Score recordings, and cut those of each machine and session into sequences of ten."""
    scores: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    for each in recordings:
        score = max(detector.measure(clip, each.machine).score for clip in each.clips)
        scores[each.machine, each.session].append(score)
    for (machine, session), some in scores.items():
        for start in range(0, max(1, len(some) - LENGTH + 1), LENGTH):
            yield ScoredSequence(fold, f"{machine} {session}", np.array(some[start : start + LENGTH]))


def drawn(measured: Measured) -> Measured:
    """Draw longer sequences, with replacement: MIMII has three or four recordings of a machine in each half."""
    rng = np.random.Generator(np.random.PCG64(SEED))

    def longer(some: Sequence[ScoredSequence]) -> list[ScoredSequence]:
        return [each._replace(scores=rng.choice(each.scores, LENGTH)) for each in some for _ in range(DRAWN_SEQUENCES)]

    return Measured(measured.calibrations, longer(measured.normal), longer(measured.abnormal))
