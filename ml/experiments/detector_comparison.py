"""A dataset -> every detector side by side, each judged on recordings that it has not learned from.

**Split.** Each kind of machine at each SNR is a bench of its own. Healthy recordings are held out in turn, by session
where a machine has several, else by halves in time; each fold's detector learns from the other healthy ones, and is
tried on those held out and on all abnormal ones, each with a random gain. No abnormal recording is ever learned from,
nor is a threshold taken from one.

**Bar.** The autoencoder published with MIMII, with its own features.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ml.audio.batch import AudioFile
from ml.dataset.entries import ABNORMAL, NORMAL, Dataset, Entry
from ml.dataset.splitting.duplicates import drop_duplicates
from ml.detectors.detector import Detector, Novelty
from ml.detectors.engines.baseline import Baseline, baseline_spec
from ml.detectors.engines.engine import Engine
from ml.detectors.engines.names import DEFAULT_ENGINES
from ml.detectors.engines.registry import ENGINES, engine_by_name
from ml.detectors.fitting import fit_detector
from ml.detectors.parallel_spectra import parallel_spectra
from ml.detectors.reference import NormalRecording
from ml.detectors.spectra import Spectra
from ml.detectors.thresholds import smallest_rate, threshold_at
from ml.errors import DatasetEmpty
from ml.evaluation.intervals import DRAWS, MIN_SESSIONS
from ml.experiments.comparison_results import (
    FALSE_ALARM_RATES,
    DetectorComparison,
    MeanSpectrum,
    OutOfDomainRejection,
    Trial,
    UnusableShare,
    What,
    comparison_rows,
    estimate_shares,
    machine_at,
)
from ml.experiments.cross_validation import Fold, Subset, split_subsets
from ml.features.extractor import FeatureExtractor
from ml.features.feature_specs import detector_spec, spec_for
from ml.features.spec import FeatureSpec
from ml.models.judging import random_gain_db
from ml.models.scoring import find_recordings
from ml.system.parallel import one_blas_thread
from ml.system.progress import Progress, ProgressCallback, ignore_progress

TOGETHER = "+"
BASELINE = Baseline.name
DEFAULT_CONTENDER = TOGETHER.join(DEFAULT_ENGINES)


def compare_detectors(
    dataset: Dataset,
    engines: Sequence[str] = tuple(ENGINES),
    *,
    out_of_domain: Path | None = None,
    gain_db: float = 6.0,
    seed: int = 0,
    processes: int | None = None,
    report: ProgressCallback = ignore_progress,
) -> DetectorComparison:
    """Try detectors on a dataset.

    Args:
        dataset: healthy recordings, and abnormal ones if there are any.
        engines: names of engines, each of which is tried alone; ``distance+neighbours`` are tried together, the one
            that is farther out speaking. The default and the bar are always tried.
        out_of_domain: a folder of sounds that are no machine, at any depth.
        gain_db: each recording that is tried is made louder or softer by up to so many dB.
        seed: of gains and intervals.
        processes: how many listen; None decides by cores and recordings.
        report: told after each recording that was listened to, and after each fit.

    Raises:
        InvalidParameter: an engine that there is not.
        DatasetEmpty: too few healthy recordings, or a folder without sounds.
        MissingExtra: Keras is not installed, which the bar is fitted with.
        AudioError: a recording cannot be read.
    """
    contenders = {name: _contender(name) for name in dict.fromkeys((DEFAULT_CONTENDER, *engines, BASELINE))}
    entries, copies = drop_duplicates(dataset.entries)
    every = split_subsets(entries)
    usable = [bench for bench in every if bench.folds]
    if not usable:
        raise DatasetEmpty(
            f"{dataset.name} has {sum(entry.label == NORMAL for entry in entries)} healthy recordings; three that "
            "are learned from, two of them of one machine, and others to be tried were expected."
        )
    sounds = () if out_of_domain is None else find_recordings([out_of_domain])
    work = _ComparisonRun(dataset, sounds, gain_db, seed, processes, report)
    work.total = sum(len(bench.folds) for bench in usable) * len(contenders)
    # BLAS sums in another order with more threads: the same scores, whatever the machine.
    with one_blas_thread():
        for bench in usable:
            work.run_subset(bench, contenders)
    return DetectorComparison(
        dataset=dataset.name,
        fingerprint=dataset.fingerprint,
        gain_db=gain_db,
        seed=seed,
        contenders=tuple(contenders),
        baseline=BASELINE,
        rows=tuple(comparison_rows(work.trials, BASELINE, seed)),
        rejections=tuple(work.rejections),
        refusals=tuple(work.refusals),
        spectra=tuple(work.spectra),
        trials={name: tuple(tried) for name, tried in work.trials.items()},
        notes=tuple(_notes(dataset, len(copies), every, work.trials[BASELINE])),
    )


@dataclass(frozen=True, slots=True)
class _Contender:
    """Engines that are tried together, and whether they hear what the bar was published with."""

    engines: tuple[Engine, ...]
    published: bool

    def spec(self, of_bench: FeatureSpec) -> FeatureSpec:
        return baseline_spec(of_bench) if self.published else of_bench


def _contender(name: str) -> _Contender:
    return _Contender(tuple(map(engine_by_name, name.split(TOGETHER))), name == BASELINE)


@dataclass(frozen=True, slots=True)
class _SubsetSpectra:
    """What is heard of a bench by one spec.

    Attributes:
        plain: healthy recordings by their paths, to be learned from.
        gained: all recordings by their paths, each with its gain, to be tried.
        others: sounds that are no machine.
    """

    plain: Mapping[str, tuple[Spectra, ...]]
    gained: Mapping[str, tuple[Spectra, ...]]
    others: Sequence[tuple[Spectra, ...]]


class _ComparisonRun:
    """What has come of the contenders so far."""

    def __init__(
        self,
        dataset: Dataset,
        sounds: Sequence[Path],
        gain_db: float,
        seed: int,
        processes: int | None,
        report: ProgressCallback,
    ) -> None:
        self._dataset, self._sounds, self._gain_db, self._seed = dataset, sounds, gain_db, seed
        self._processes, self._report = processes, report
        self.total = self._done = 0
        self.trials: defaultdict[str, list[Trial]] = defaultdict(list)
        self.rejections: list[OutOfDomainRejection] = []
        self.refusals: list[UnusableShare] = []
        self.spectra: list[MeanSpectrum] = []

    def run_subset(self, bench: Subset, contenders: Mapping[str, _Contender]) -> None:
        """Every contender on one bench."""
        spec = detector_spec(spec_for(bench.entries, "spectrum"))
        heard = {each: self._compute_spectra(each, bench) for each in {one.spec(spec) for one in contenders.values()}}
        self.spectra += _spectra(bench, heard[spec].gained, spec)
        for name, contender in contenders.items():
            own = contender.spec(spec)
            detectors = [self._fit(name, contender, own, fold, heard[own]) for fold in bench.folds]
            for fold, detector in zip(bench.folds, detectors, strict=True):
                self.trials[name] += [_run_trial(detector, entry, bench, heard[own]) for entry in fold.test]
            if self._sounds:
                self.rejections.append(_out_of_domain_rejection(name, bench, detectors, heard[own].others, self._seed))
            if name == DEFAULT_CONTENDER:
                self.refusals += _unusable_shares(bench, detectors, heard[own], self._seed)

    def _compute_spectra(self, spec: FeatureSpec, bench: Subset) -> _SubsetSpectra:
        healthy = [entry for entry in bench.entries if entry.label == NORMAL]
        sources = [
            *(self._source(entry, 0.0) for entry in healthy),
            *(self._source(entry, random_gain_db(entry, self._gain_db, self._seed)) for entry in bench.entries),
            *(AudioFile(file, None, file.name) for file in self._sounds),
        ]
        heard = iter(parallel_spectra(spec, sources, processes=self._processes, report=self._report))
        return _SubsetSpectra(
            plain={entry.path: next(heard) for entry in healthy},
            gained={entry.path: next(heard) for entry in bench.entries},
            others=list(heard),
        )

    def _source(self, entry: Entry, gain_db: float) -> AudioFile[None]:
        return AudioFile(self._dataset.file(entry), None, entry.path, gain_db)

    def _fit(self, name: str, contender: _Contender, spec: FeatureSpec, fold: Fold, heard: _SubsetSpectra) -> Detector:
        def done(number: int, total: int) -> None:
            note = name if number == total else f"{name}, {number} of {total}"
            self._report(Progress("fitting", self._done + (number == total), self.total, note))

        healthy = [NormalRecording(heard.plain[entry.path], entry.machine_name, entry.session) for entry in fold.train]
        detector = fit_detector(spec, contender.engines, healthy, done)
        self._done += 1
        return detector


def _run_trial(detector: Detector, entry: Entry, bench: Subset, heard: _SubsetSpectra) -> Trial:
    calibration = detector.calibration.named
    return Trial(
        entry=entry,
        subset=bench.name,
        score=_worst(detector, heard.gained[entry.path], entry.machine_name).score,
        thresholds=tuple(threshold_at(calibration, rate) for rate in FALSE_ALARM_RATES),
        calibrated_on=len(calibration),
    )


def _worst(detector: Detector, windows: Sequence[Spectra], machine: str | None) -> Novelty:
    return max((detector.measure(window, machine) for window in windows), key=lambda novelty: novelty.relative_distance)


def _out_of_domain_rejection(
    name: str, bench: Subset, detectors: Sequence[Detector], sounds: Sequence[tuple[Spectra, ...]], seed: int
) -> OutOfDomainRejection:
    scores = np.array([[_worst(detector, sound, None).score for sound in sounds] for detector in detectors])
    thresholds = np.array(
        [[threshold_at(detector.calibration.named, rate) for rate in FALSE_ALARM_RATES] for detector in detectors]
    )
    above = scores[:, :, None] > thresholds[:, None]
    foreign = np.array(
        [[detector.check_out_of_domain(sound) is not None for sound in sounds] for detector in detectors]
    )
    return OutOfDomainRejection(
        contender=name,
        subset=bench.name,
        n=len(sounds),
        alarmed=estimate_shares(above.mean(axis=0), seed),
        rejected=estimate_shares((above | foreign[:, :, None]).mean(axis=0), seed),
    )


def _unusable_shares(
    bench: Subset, detectors: Sequence[Detector], heard: _SubsetSpectra, seed: int
) -> Iterator[UnusableShare]:
    """What the detectors of a bench do not judge: of the recordings that they are tried on, and of other sounds."""
    found: defaultdict[What, defaultdict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    for fold, detector in zip(bench.folds, detectors, strict=True):
        for entry in fold.test:
            refused = detector.check_out_of_domain(heard.gained[entry.path], entry.machine_name) is not None
            found[entry.label][entry.path].append(refused)
        for number, sound in enumerate(heard.others):
            found["no machine"][str(number)].append(detector.check_out_of_domain(sound) is not None)
    for what, flags in found.items():
        (share,) = estimate_shares(np.array([[np.mean(each)] for each in flags.values()]), seed)
        yield UnusableShare(subset=bench.name, what=what, n=len(flags), refused=share)


def _spectra(bench: Subset, heard: Mapping[str, tuple[Spectra, ...]], spec: FeatureSpec) -> Iterator[MeanSpectrum]:
    """Of each machine of a bench."""
    centres_hz = FeatureExtractor(spec).band_edges_hz[1:-1]
    for machine in dict.fromkeys(entry.machine_name for entry in bench.entries):
        mine = [entry for entry in bench.entries if entry.machine_name == machine]
        shapes = {
            label: np.stack([window.mel_spectrum for entry in some for window in heard[entry.path]])
            for label in (NORMAL, ABNORMAL)
            if (some := [entry for entry in mine if entry.label == label])
        }
        yield MeanSpectrum(
            name=machine_at(mine[0]),
            centres_hz=centres_hz,
            mean_db={label: shape.mean(axis=0) for label, shape in shapes.items()},
            deviation_db={label: shape.std(axis=0) for label, shape in shapes.items()},
            n={label: sum(entry.label == label for entry in mine) for label in shapes},
        )


def _notes(dataset: Dataset, copies: int, every: Sequence[Subset], tried: Sequence[Trial]) -> Iterator[str]:
    yield (
        "Healthy recordings were held out in turn, by session where a machine has several and else by halves in time; "
        "abnormal recordings were tried by each fold's detector, and learned from by none."
    )
    yield (
        f"Intervals are 95 %, percentiles of {DRAWS} bootstrap draws of sessions within each class; a class of fewer "
        f"than {MIN_SESSIONS} sessions was drawn recording by recording, and its intervals are too narrow."
    )
    for bench in every:
        fewest = min((each.calibrated_on for each in tried if each.subset == bench.name), default=0)
        if fewest and smallest_rate(fewest) > min(FALSE_ALARM_RATES):
            yield (
                f"{bench.name}: thresholds rest on as few as {fewest} healthy recordings, which bear out no "
                f"false-alarm rate below {100 * smallest_rate(fewest):.2g} %; for less it is the highest score of them."
            )
        heard = {entry.path for fold in bench.folds for entry in (*fold.train, *fold.test)}
        if unheard := sum(entry.path not in heard for entry in bench.entries):
            yield f"{bench.name}: left out, since their machines have too few healthy recordings: {unheard}."
    if copies:
        yield f"Left out as copies of other recordings: {copies}."
    if dataset.refusals:
        yield f"Files that could not be read: {len(dataset.refusals)}; signalml inspect lists them."
