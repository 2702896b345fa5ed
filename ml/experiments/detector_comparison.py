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
from threadpoolctl import threadpool_limits

from ml.dataset.entries import ABNORMAL, NORMAL, Dataset, Entry
from ml.dataset.splitting.duplicates import without_copies
from ml.detectors.detector import Detector, Novelty
from ml.detectors.engines.baseline import Baseline, as_published
from ml.detectors.engines.engine import Engine
from ml.detectors.engines.names import DEFAULT_ENGINES
from ml.detectors.engines.registry import ENGINES, by_name
from ml.detectors.fitting import fit
from ml.detectors.parallel_spectra import Source, listen
from ml.detectors.reference import Healthy
from ml.detectors.spectra import Heard
from ml.detectors.thresholds import smallest_rate, threshold_at
from ml.errors import DatasetEmpty
from ml.evaluation.intervals import DRAWS, FEWEST_GROUPS
from ml.experiments.comparison_results import (
    STATED,
    Comparison,
    Refusal,
    Rejection,
    Spectrum,
    Tried,
    What,
    machine_at,
    rows,
    shares,
)
from ml.experiments.cross_validation import Bench, Fold, benches
from ml.features.extractor import FeatureExtractor
from ml.features.feature_specs import detector_spec, spec_for
from ml.features.spec import FeatureSpec
from ml.models.judging import gain_of
from ml.models.scoring import recordings
from ml.system.progress import Progress, Report, silent

TOGETHER = "+"
BAR = Baseline.name
BEST = TOGETHER.join(DEFAULT_ENGINES)


def compare(
    dataset: Dataset,
    engines: Sequence[str] = tuple(ENGINES),
    *,
    out_of_domain: Path | None = None,
    gain_db: float = 6.0,
    seed: int = 0,
    processes: int | None = None,
    report: Report = silent,
) -> Comparison:
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
    contenders = {name: _contender(name) for name in dict.fromkeys((BEST, *engines, BAR))}
    entries, copies = without_copies(dataset.entries)
    every = benches(entries)
    usable = [bench for bench in every if bench.folds]
    if not usable:
        raise DatasetEmpty(
            f"{dataset.name} has {sum(entry.label == NORMAL for entry in entries)} healthy recordings; three that "
            "are learned from, two of them of one machine, and others to be tried were expected."
        )
    sounds = () if out_of_domain is None else recordings([out_of_domain])
    work = _Work(dataset, sounds, gain_db, seed, processes, report)
    work.total = sum(len(bench.folds) for bench in usable) * len(contenders)
    # BLAS sums in another order with more threads: the same scores, whatever the machine.
    with threadpool_limits(1):
        for bench in usable:
            work.try_all(bench, contenders)
    return Comparison(
        dataset=dataset.name,
        fingerprint=dataset.fingerprint,
        gain_db=gain_db,
        seed=seed,
        contenders=tuple(contenders),
        bar=BAR,
        rows=tuple(rows(work.tried, BAR, seed)),
        rejections=tuple(work.rejections),
        refusals=tuple(work.refusals),
        spectra=tuple(work.spectra),
        tried={name: tuple(tried) for name, tried in work.tried.items()},
        notes=tuple(_notes(dataset, len(copies), every, work.tried[BAR])),
    )


@dataclass(frozen=True, slots=True)
class _Contender:
    """Engines that are tried together, and whether they hear what the bar was published with."""

    engines: tuple[Engine, ...]
    published: bool

    def spec(self, of_bench: FeatureSpec) -> FeatureSpec:
        return as_published(of_bench) if self.published else of_bench


def _contender(name: str) -> _Contender:
    return _Contender(tuple(map(by_name, name.split(TOGETHER))), name == BAR)


@dataclass(frozen=True, slots=True)
class _Sounds:
    """What is heard of a bench by one spec.

    Attributes:
        plain: healthy recordings by their paths, to be learned from.
        gained: all recordings by their paths, each with its gain, to be tried.
        others: sounds that are no machine.
    """

    plain: Mapping[str, tuple[Heard, ...]]
    gained: Mapping[str, tuple[Heard, ...]]
    others: Sequence[tuple[Heard, ...]]


class _Work:
    """What has come of the contenders so far."""

    def __init__(
        self,
        dataset: Dataset,
        sounds: Sequence[Path],
        gain_db: float,
        seed: int,
        processes: int | None,
        report: Report,
    ) -> None:
        self._dataset, self._sounds, self._gain_db, self._seed = dataset, sounds, gain_db, seed
        self._processes, self._report = processes, report
        self.total = self._done = 0
        self.tried: defaultdict[str, list[Tried]] = defaultdict(list)
        self.rejections: list[Rejection] = []
        self.refusals: list[Refusal] = []
        self.spectra: list[Spectrum] = []

    def try_all(self, bench: Bench, contenders: Mapping[str, _Contender]) -> None:
        """Every contender on one bench."""
        spec = detector_spec(spec_for(bench.entries, "spectrum"))
        heard = {each: self._listen(each, bench) for each in {one.spec(spec) for one in contenders.values()}}
        self.spectra += _spectra(bench, heard[spec].gained, spec)
        for name, contender in contenders.items():
            own = contender.spec(spec)
            detectors = [self._fit(name, contender, own, fold, heard[own]) for fold in bench.folds]
            for fold, detector in zip(bench.folds, detectors, strict=True):
                self.tried[name] += [_try(detector, entry, bench, heard[own]) for entry in fold.tried]
            if self._sounds:
                self.rejections.append(_rejected(name, bench, detectors, heard[own].others, self._seed))
            if name == BEST:
                self.refusals += _refused(bench, detectors, heard[own], self._seed)

    def _listen(self, spec: FeatureSpec, bench: Bench) -> _Sounds:
        healthy = [entry for entry in bench.entries if entry.label == NORMAL]
        sources = [
            *(self._source(entry, 0.0) for entry in healthy),
            *(self._source(entry, gain_of(entry, self._gain_db, self._seed)) for entry in bench.entries),
            *(Source(file, file.name) for file in self._sounds),
        ]
        heard = iter(listen(spec, sources, processes=self._processes, report=self._report))
        return _Sounds(
            plain={entry.path: next(heard) for entry in healthy},
            gained={entry.path: next(heard) for entry in bench.entries},
            others=list(heard),
        )

    def _source(self, entry: Entry, gain_db: float) -> Source:
        return Source(self._dataset.file(entry), entry.path, gain_db)

    def _fit(self, name: str, contender: _Contender, spec: FeatureSpec, fold: Fold, heard: _Sounds) -> Detector:
        def done(number: int, total: int) -> None:
            note = name if number == total else f"{name}, {number} of {total}"
            self._report(Progress("fitting", self._done + (number == total), self.total, note))

        healthy = [Healthy(heard.plain[entry.path], entry.machine_name, entry.group) for entry in fold.learned]
        detector = fit(spec, contender.engines, healthy, done)
        self._done += 1
        return detector


def _try(detector: Detector, entry: Entry, bench: Bench, heard: _Sounds) -> Tried:
    calibration = detector.calibration.named
    return Tried(
        entry=entry,
        bench=bench.name,
        score=_worst(detector, heard.gained[entry.path], entry.machine_name).score,
        thresholds=tuple(threshold_at(calibration, rate) for rate in STATED),
        calibrated_on=len(calibration),
    )


def _worst(detector: Detector, windows: Sequence[Heard], machine: str | None) -> Novelty:
    return max((detector.measure(window, machine) for window in windows), key=lambda novelty: novelty.times)


def _rejected(
    name: str, bench: Bench, detectors: Sequence[Detector], sounds: Sequence[tuple[Heard, ...]], seed: int
) -> Rejection:
    scores = np.array([[_worst(detector, sound, None).score for sound in sounds] for detector in detectors])
    thresholds = np.array(
        [[threshold_at(detector.calibration.named, rate) for rate in STATED] for detector in detectors]
    )
    above = scores[:, :, None] > thresholds[:, None]
    foreign = np.array([[detector.foreign(sound) is not None for sound in sounds] for detector in detectors])
    return Rejection(
        contender=name,
        bench=bench.name,
        n=len(sounds),
        alarmed=shares(above.mean(axis=0), seed),
        rejected=shares((above | foreign[:, :, None]).mean(axis=0), seed),
    )


def _refused(bench: Bench, detectors: Sequence[Detector], heard: _Sounds, seed: int) -> Iterator[Refusal]:
    """What the detectors of a bench do not judge: of the recordings that they are tried on, and of other sounds."""
    found: defaultdict[What, defaultdict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    for fold, detector in zip(bench.folds, detectors, strict=True):
        for entry in fold.tried:
            refused = detector.foreign(heard.gained[entry.path], entry.machine_name) is not None
            found[entry.label][entry.path].append(refused)
        for number, sound in enumerate(heard.others):
            found["no machine"][str(number)].append(detector.foreign(sound) is not None)
    for what, flags in found.items():
        (share,) = shares(np.array([[np.mean(each)] for each in flags.values()]), seed)
        yield Refusal(bench=bench.name, what=what, n=len(flags), refused=share)


def _spectra(bench: Bench, heard: Mapping[str, tuple[Heard, ...]], spec: FeatureSpec) -> Iterator[Spectrum]:
    """Of each machine of a bench."""
    centres_hz = FeatureExtractor(spec).band_edges_hz[1:-1]
    for machine in dict.fromkeys(entry.machine_name for entry in bench.entries):
        mine = [entry for entry in bench.entries if entry.machine_name == machine]
        shapes = {
            label: np.stack([window.mel_shape for entry in some for window in heard[entry.path]])
            for label in (NORMAL, ABNORMAL)
            if (some := [entry for entry in mine if entry.label == label])
        }
        yield Spectrum(
            name=machine_at(mine[0]),
            centres_hz=centres_hz,
            mean_db={label: shape.mean(axis=0) for label, shape in shapes.items()},
            deviation_db={label: shape.std(axis=0) for label, shape in shapes.items()},
            n={label: sum(entry.label == label for entry in mine) for label in shapes},
        )


def _notes(dataset: Dataset, copies: int, every: Sequence[Bench], tried: Sequence[Tried]) -> Iterator[str]:
    yield (
        "Healthy recordings were held out in turn, by session where a machine has several and else by halves in time; "
        "abnormal recordings were tried by each fold's detector, and learned from by none."
    )
    yield (
        f"Intervals are 95 %, percentiles of {DRAWS} bootstrap draws of sessions within each class; a class of fewer "
        f"than {FEWEST_GROUPS} sessions was drawn recording by recording, and its intervals are too narrow."
    )
    for bench in every:
        fewest = min((each.calibrated_on for each in tried if each.bench == bench.name), default=0)
        if fewest and smallest_rate(fewest) > min(STATED):
            yield (
                f"{bench.name}: thresholds rest on as few as {fewest} healthy recordings, which bear out no "
                f"false-alarm rate below {100 * smallest_rate(fewest):.2g} %; for less it is the highest score of them."
            )
        heard = {entry.path for fold in bench.folds for entry in (*fold.learned, *fold.tried)}
        if unheard := sum(entry.path not in heard for entry in bench.entries):
            yield f"{bench.name}: left out, since their machines have too few healthy recordings: {unheard}."
    if copies:
        yield f"Left out as copies of other recordings: {copies}."
    if dataset.refusals:
        yield f"Files that could not be read: {len(dataset.refusals)}; signalml inspect lists them."
