"""Comparison of detectors on a dataset, each tested on recordings that it has not learned from.

**Split.** Each machine kind at each SNR is a separate subset. Normal recordings are held out in turn: whole sessions if
a machine has several, else halves in time. In each fold a detector learns from the other normal recordings. It is
tested on the held-out recordings and on all abnormal ones, each with a random gain. No detector learns from an abnormal
recording, and no threshold comes from one.

**Baseline.** The autoencoder published with MIMII, with its own features.
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
from ml.detectors.thresholds import calibrated_threshold, smallest_rate
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

SEPARATOR = "+"
BASELINE = Baseline.name
DEFAULT_CONTENDER = SEPARATOR.join(DEFAULT_ENGINES)


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
    """Compare detectors on a dataset.

    Args:
        dataset: normal recordings, and abnormal ones if there are any.
        engines: names of engines, each tested alone. ``distance+neighbours`` tests two engines together: the larger
            relative distance counts. The default and the baseline are always included.
        out_of_domain: folder of sounds that do not come from a known machine, with subfolders.
        gain_db: largest random gain of a tested recording, up or down, in dB.
        seed: seed of gains and intervals.
        processes: number of processes that compute spectra; None chooses it from the cores and the recordings.
        report: called after each recording and after each fit.

    Raises:
        InvalidParameter: an engine does not exist.
        DatasetEmpty: too few normal recordings, or a folder without sounds.
        MissingExtra: Keras, which fits the baseline, is not installed.
        AudioError: a recording cannot be read.
    """
    contenders = {name: _contender(name) for name in dict.fromkeys((DEFAULT_CONTENDER, *engines, BASELINE))}
    entries, copies = drop_duplicates(dataset.entries)
    every = split_subsets(entries)
    usable = [subset for subset in every if subset.folds]
    if not usable:
        raise DatasetEmpty(
            f"{dataset.name} has {sum(entry.label == NORMAL for entry in entries)} normal recordings. A comparison "
            "needs three to learn from, two of them of one machine, and others to test on."
        )
    sounds = () if out_of_domain is None else find_recordings([out_of_domain])
    run = _ComparisonRun(dataset, sounds, gain_db, seed, processes, report)
    run.total = sum(len(subset.folds) for subset in usable) * len(contenders)
    # With more threads, BLAS adds in another order. One thread gives the same scores on every computer.
    with one_blas_thread():
        for subset in usable:
            run.run_subset(subset, contenders)
    return DetectorComparison(
        dataset=dataset.name,
        fingerprint=dataset.fingerprint,
        gain_db=gain_db,
        seed=seed,
        contenders=tuple(contenders),
        baseline=BASELINE,
        rows=tuple(comparison_rows(run.trials, BASELINE, seed)),
        rejections=tuple(run.rejections),
        refusals=tuple(run.refusals),
        spectra=tuple(run.spectra),
        trials={name: tuple(trials) for name, trials in run.trials.items()},
        notes=tuple(_notes(dataset, len(copies), every, run.trials[BASELINE])),
    )


@dataclass(frozen=True, slots=True)
class _Contender:
    """Engines that are tested together, and whether they are the baseline, which has its own feature spec."""

    engines: tuple[Engine, ...]
    is_baseline: bool

    def spec(self, subset_spec: FeatureSpec) -> FeatureSpec:
        return baseline_spec(subset_spec) if self.is_baseline else subset_spec


def _contender(name: str) -> _Contender:
    return _Contender(tuple(map(engine_by_name, name.split(SEPARATOR))), name == BASELINE)


@dataclass(frozen=True, slots=True)
class _SubsetSpectra:
    """Spectra of a subset under one feature spec.

    Attributes:
        plain: spectra of the normal recordings by path, to learn from.
        gained: spectra of all recordings by path, each with its random gain, to test on.
        others: spectra of the out-of-domain sounds.
    """

    plain: Mapping[str, tuple[Spectra, ...]]
    gained: Mapping[str, tuple[Spectra, ...]]
    others: Sequence[tuple[Spectra, ...]]


class _ComparisonRun:
    """State of a comparison: results of the subsets so far."""

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

    def run_subset(self, subset: Subset, contenders: Mapping[str, _Contender]) -> None:
        """Test every contender on one subset."""
        subset_spec = detector_spec(spec_for(subset.entries, "spectrum"))
        specs = {contender.spec(subset_spec) for contender in contenders.values()}
        spectra = {spec: self._compute_spectra(spec, subset) for spec in specs}
        self.spectra += _mean_spectra(subset, spectra[subset_spec].gained, subset_spec)
        for name, contender in contenders.items():
            spec = contender.spec(subset_spec)
            detectors = [self._fit(name, contender, spec, fold, spectra[spec]) for fold in subset.folds]
            for fold, detector in zip(subset.folds, detectors, strict=True):
                self.trials[name] += [_run_trial(detector, entry, subset, spectra[spec]) for entry in fold.test]
            if self._sounds:
                others = spectra[spec].others
                self.rejections.append(_out_of_domain_rejection(name, subset, detectors, others, self._seed))
            if name == DEFAULT_CONTENDER:
                self.refusals += _unusable_shares(subset, detectors, spectra[spec], self._seed)

    def _compute_spectra(self, spec: FeatureSpec, subset: Subset) -> _SubsetSpectra:
        normal = [entry for entry in subset.entries if entry.label == NORMAL]
        sources = [
            *(self._source(entry, 0.0) for entry in normal),
            *(self._source(entry, random_gain_db(entry, self._gain_db, self._seed)) for entry in subset.entries),
            *(AudioFile(file, None, file.name) for file in self._sounds),
        ]
        spectra = iter(parallel_spectra(spec, sources, processes=self._processes, report=self._report))
        return _SubsetSpectra(
            plain={entry.path: next(spectra) for entry in normal},
            gained={entry.path: next(spectra) for entry in subset.entries},
            others=list(spectra),
        )

    def _source(self, entry: Entry, gain_db: float) -> AudioFile[None]:
        return AudioFile(self._dataset.file(entry), None, entry.path, gain_db)

    def _fit(
        self, name: str, contender: _Contender, spec: FeatureSpec, fold: Fold, spectra: _SubsetSpectra
    ) -> Detector:
        def done(number: int, total: int) -> None:
            note = name if number == total else f"{name}, {number} of {total}"
            self._report(Progress("fitting", self._done + (number == total), self.total, note))

        normal = [NormalRecording(spectra.plain[entry.path], entry.machine_name, entry.session) for entry in fold.train]
        detector = fit_detector(spec, contender.engines, normal, done)
        self._done += 1
        return detector


def _run_trial(detector: Detector, entry: Entry, subset: Subset, spectra: _SubsetSpectra) -> Trial:
    return Trial(
        entry=entry,
        subset=subset.name,
        score=_most_distant(detector, spectra.gained[entry.path], entry.machine_name).score,
        thresholds=tuple(calibrated_threshold(detector.calibration, rate) for rate in FALSE_ALARM_RATES),
        calibrated_on=int(detector.calibration.kept.sum()),
    )


def _most_distant(detector: Detector, clips: Sequence[Spectra], machine: str | None) -> Novelty:
    """Return the result of the clip that is farthest from normal."""
    return max((detector.measure(clip, machine) for clip in clips), key=lambda novelty: novelty.relative_distance)


def _out_of_domain_rejection(
    name: str, subset: Subset, detectors: Sequence[Detector], sounds: Sequence[tuple[Spectra, ...]], seed: int
) -> OutOfDomainRejection:
    scores = np.array([[_most_distant(detector, sound, None).score for sound in sounds] for detector in detectors])
    thresholds = np.array(
        [[calibrated_threshold(detector.calibration, rate) for rate in FALSE_ALARM_RATES] for detector in detectors]
    )
    above = scores[:, :, None] > thresholds[:, None]
    out_of_domain = np.array(
        [[detector.check_out_of_domain(sound) is not None for sound in sounds] for detector in detectors]
    )
    return OutOfDomainRejection(
        contender=name,
        subset=subset.name,
        n=len(sounds),
        alarmed=estimate_shares(above.mean(axis=0), seed),
        rejected=estimate_shares((above | out_of_domain[:, :, None]).mean(axis=0), seed),
    )


def _unusable_shares(
    subset: Subset, detectors: Sequence[Detector], spectra: _SubsetSpectra, seed: int
) -> Iterator[UnusableShare]:
    """Yield the shares that the detectors reject as out of domain, of test recordings and other sounds."""
    rejected: defaultdict[What, defaultdict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    for fold, detector in zip(subset.folds, detectors, strict=True):
        for entry in fold.test:
            reason = detector.check_out_of_domain(spectra.gained[entry.path], entry.machine_name)
            rejected[entry.label][entry.path].append(reason is not None)
        for number, sound in enumerate(spectra.others):
            rejected["no machine"][str(number)].append(detector.check_out_of_domain(sound) is not None)
    for what, flags in rejected.items():
        (share,) = estimate_shares(np.array([[np.mean(each)] for each in flags.values()]), seed)
        yield UnusableShare(subset=subset.name, what=what, n=len(flags), refused=share)


def _mean_spectra(
    subset: Subset, spectra: Mapping[str, tuple[Spectra, ...]], spec: FeatureSpec
) -> Iterator[MeanSpectrum]:
    """Yield the mean spectrum of each machine of a subset."""
    centres_hz = FeatureExtractor(spec).band_edges_hz[1:-1]
    for machine in dict.fromkeys(entry.machine_name for entry in subset.entries):
        entries = [entry for entry in subset.entries if entry.machine_name == machine]
        levels_db = {
            label: np.stack([clip.mel_spectrum for entry in some for clip in spectra[entry.path]])
            for label in (NORMAL, ABNORMAL)
            if (some := [entry for entry in entries if entry.label == label])
        }
        yield MeanSpectrum(
            name=machine_at(entries[0]),
            centres_hz=centres_hz,
            mean_db={label: levels.mean(axis=0) for label, levels in levels_db.items()},
            deviation_db={label: levels.std(axis=0) for label, levels in levels_db.items()},
            n={label: sum(entry.label == label for entry in entries) for label in levels_db},
        )


def _notes(dataset: Dataset, copies: int, every: Sequence[Subset], trials: Sequence[Trial]) -> Iterator[str]:
    yield (
        "Normal recordings were held out in turn: whole sessions if a machine has several, else halves in time. "
        "Abnormal recordings were tested in each fold, and no detector learned from them."
    )
    yield (
        f"Intervals are 95 %, from {DRAWS} bootstrap draws of sessions within each class. A class with fewer than "
        f"{MIN_SESSIONS} sessions was drawn recording by recording, and its intervals are too narrow."
    )
    for subset in every:
        fewest = min((each.calibrated_on for each in trials if each.subset == subset.name), default=0)
        if fewest and smallest_rate(fewest) > min(FALSE_ALARM_RATES):
            yield (
                f"{subset.name}: some thresholds come from only {fewest} normal recordings. The lowest false-alarm "
                f"rate that they support is {100 * smallest_rate(fewest):.2g} %. For a lower rate, the threshold is "
                "their highest score."
            )
        used = {entry.path for fold in subset.folds for entry in (*fold.train, *fold.test)}
        if left_out := sum(entry.path not in used for entry in subset.entries):
            yield f"{subset.name}: left out, because their machines have too few normal recordings: {left_out}."
    if copies:
        yield f"Left out as copies of other recordings: {copies}."
    if dataset.refusals:
        yield f"Files that could not be read: {len(dataset.refusals)}; signalml inspect lists them."
