"""Fitting of a detector: scales and calibration from cross-fitting, then a fit to all recordings."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ml.detectors.calibration import Calibration, OddRecording
from ml.detectors.cross_fitting import CrossFit, FitProgress, RecordingDistances
from ml.detectors.detector import Detector
from ml.detectors.engine_choice import LEAST_SHARE, choose_engines, machine_contrast
from ml.detectors.engines.engine import Engine, EngineState
from ml.detectors.folds import FoldNumbers
from ml.detectors.out_of_domain import NORMAL_QUANTILE, OutOfDomainCheck, SpectrumCheck
from ml.detectors.reference import NormalRecording, Reference
from ml.detectors.reference_benefit import ReferenceBenefit, explained_share
from ml.detectors.reference_channel import (
    MainChannel,
    ReferenceChannel,
    Regression,
    band_spread,
    difference_whitening,
)
from ml.detectors.sessions import find_odd, session_bound
from ml.detectors.thresholds import SENSITIVITIES, operating_point_at_rate
from ml.errors import TooFewRecordings
from ml.features.spec import FeatureSpec

# Scores are limited to this and one minus this before they become distances: a score of 1 has no finite one.
LEAST_SCORE = 1e-9
FEWEST_RECORDINGS = 3  # chosen here: one is held out at a time, and two others are needed to see differences


def fit_detector(
    spec: FeatureSpec,
    engines: Sequence[Engine],
    recordings: Sequence[NormalRecording],
    on_fit: Callable[[int, int], None] = lambda _number, _total: None,
) -> Detector:
    """Fit a detector to normal recordings.

    1. Whole sessions of a machine are held out in turn (:func:`session_folds`). For a machine with one session, blocks
       of recordings that are neighbours in time are held out (:func:`time_folds`).
    2. Of several engines, those count that tell the machines apart (:mod:`ml.detectors.engine_choice`).
    3. Scales: with the mean distances ``own`` (recordings of the machine) and ``pooled`` (all), ``scale = sqrt(own *
       pooled)``. The scale of a machine with one recording is ``pooled``.
    4. Calibration: the score of each recording, with scales that do not count its fold. If every machine has several
       sessions, the engines of a score have not learned from its session, and rates hold for new sessions. Recordings
       that stand apart from their session are marked (:func:`~ml.detectors.sessions.find_odd`).
    5. The engines of the detector are fitted to all recordings.

    The engines are chosen once, from all recordings, and not again without each fold.

    With a reference channel, all this is done for the main channel alone, and then for the residual
    (:mod:`ml.detectors.reference_channel`), with a regression that is fitted together with the engines. If the
    reference channel helps (:class:`~ml.detectors.reference_benefit.ReferenceBenefit`), the detector measures the
    residual. Otherwise it is that of the main channel.

    Args:
        spec: feature spec that the spectra were computed with.
        engines: engines to choose from.
        recordings: normal recordings, in the order in which they were made. If the spec has a reference channel, all
            have its spectra.
        on_fit: called after each fit with its number, from 1, and the number of fits.

    Raises:
        TooFewRecordings: fewer than three recordings, or no machine with two.
        MissingExtra: an engine needs Keras, and it is not installed.

    Example:
        >>> from ml.detectors.engines.registry import engine_by_name
        >>> from ml.detectors.spectra import Spectra
        >>> spec = FeatureSpec(sample_rate_hz=16_000, fmax_hz=8000.0, clip_frames=32, n_mels=64)
        >>> rng = np.random.default_rng(0)
        >>> clips = [Spectra(*(rng.uniform(1, 2, n).astype(np.float32) for n in ((32, 64), 1025))) for _ in range(6)]
        >>> recordings = [NormalRecording((clip,), "fan/id_00", "monday") for clip in clips]
        >>> detector = fit_detector(spec, [engine_by_name("distance")], recordings)
        >>> detector.scales.shape, detector.calibration.named.shape
        ((1, 1), (6,))
    """
    if not has_enough_recordings([recording.machine for recording in recordings]):
        raise TooFewRecordings(
            f"{len(recordings)} normal recordings; a detector needs at least {FEWEST_RECORDINGS}, two of them of one "
            "machine. A few dozen of each machine make a good detector."
        )
    paired = spec.reference_channel is not None
    progress = FitProgress(on_fit, parts=2 if paired else 1)
    alone, _ = _fit_channel(spec, engines, recordings, progress, paired=False)
    if not paired:
        return alone
    pair, cross_fit = _fit_channel(spec, engines, recordings, progress, paired=True)
    clips = [recording.clips for recording in recordings]
    benefit = ReferenceBenefit(
        explained_share(clips, cross_fit.machine_index, cross_fit.folds()),
        max(alone.contrast.values(), default=None),
        max(pair.contrast.values(), default=None),
    )
    if not benefit.helps:
        return replace(alone, benefit=benefit)
    return replace(pair, pair=_reference_channel(cross_fit, recordings, alone, pair), benefit=benefit)


def _fit_channel(
    spec: FeatureSpec,
    engines: Sequence[Engine],
    recordings: Sequence[NormalRecording],
    progress: FitProgress,
    *,
    paired: bool,
) -> tuple[Detector, CrossFit]:
    """Fit a detector to the main channel, or to the residual, whose regression is then in the last fit."""
    machines = tuple(sorted({recording.machine for recording in recordings}))
    cross_fit = CrossFit(engines, recordings, machines, progress, paired=paired)
    folds = cross_fit.folds()
    progress.begin(int(folds.max()) + 1 + 1)
    distances = cross_fit.out_of_fold_distances(folds)
    contrast = machine_contrast(distances, cross_fit.machine_index)
    chosen = choose_engines(contrast, LEAST_SHARE if paired else 0.0)
    distances = cross_fit.keep_engines(distances, chosen)
    scales = _scales(distances, cross_fit.machine_index, len(machines))
    calibration, odd = _calibration(distances, cross_fit, folds)
    detector = Detector(
        spec=spec,
        engines=cross_fit.engines,
        states=cross_fit.fit(np.ones(len(recordings), bool)).states,
        machines=machines,
        scales=scales,
        calibration=calibration,
        reference=Reference.of(recordings, machines),
        out_of_domain=_fit_out_of_domain(recordings, machines, left_out=set(engines) - set(cross_fit.engines)),
        odd_recordings=odd,
        contrast={engine.name: float(each) for engine, each in zip(engines, contrast, strict=True) if each < np.inf},
    )
    return detector, cross_fit


def _reference_channel(
    cross_fit: CrossFit,
    recordings: Sequence[NormalRecording],
    alone: Detector,
    pair: Detector,
) -> ReferenceChannel:
    """Return what a detector knows about its reference channel.

    Args:
        cross_fit: cross-fit of the residual.
        recordings: normal recordings.
        alone: detector of the main channel.
        pair: detector of the residual.
    """
    clips = [clip for recording in recordings for clip in recording.clips]
    machines = np.repeat(cross_fit.machine_index, [len(recording.clips) for recording in recordings])
    regression = Regression.fit(clips, machines)
    residuals = [regression.residual(clip, of).mel_spectrum for clip, of in zip(clips, machines.tolist(), strict=True)]
    return ReferenceChannel(
        regression=regression,
        spread=band_spread(np.stack(residuals).astype(np.float64), machines),
        whitening=difference_whitening(clips, machines),
        alone=MainChannel(alone.engines, alone.states, alone.scales, _match(alone.calibration, pair.calibration)),
    )


def _match(alone: Calibration, pair: Calibration) -> NDArray[np.float64]:
    """Return relative distances that as many normal recordings exceed in both calibrations, ``(2, thresholds)``."""
    rates = sorted((0.5, *SENSITIVITIES.values()), reverse=True)
    scores = [[operating_point_at_rate(each, rate).threshold for rate in rates] for each in (alone, pair)]
    matched = np.maximum.accumulate(np.clip(scores, LEAST_SCORE, 1 - LEAST_SCORE), axis=1)
    return np.asarray(matched / (1 - matched))


def has_enough_recordings(machines: Sequence[str]) -> bool:
    """Return whether there are enough recordings for a detector: at least three, two of one machine.

    Otherwise no recording could be held out whose machine stays known.

    Args:
        machines: machine name of each recording.

    Example:
        >>> has_enough_recordings(["fan", "fan", "pump"]), has_enough_recordings(["fan", "pump", "valve"])
        (True, False)
    """
    return len(machines) >= FEWEST_RECORDINGS and len(set(machines)) < len(machines)


def _fit_out_of_domain(
    recordings: Sequence[NormalRecording], machines: Sequence[str], left_out: Collection[Engine]
) -> OutOfDomainCheck:
    """Fit the check, with that of the spectrum if the score leaves out its engine."""
    state, scales, most = _fit_check(OutOfDomainCheck.engine, recordings, machines)
    spectrum = None
    if any(engine.name == SpectrumCheck.engine.name for engine in left_out):
        centres, typical, limits = _fit_check(SpectrumCheck.engine, recordings, machines)
        spectrum = SpectrumCheck(centres, typical, float(limits[1]))
    return OutOfDomainCheck(state, scales, most, spectrum)


def _fit_check(
    engine: Engine, recordings: Sequence[NormalRecording], machines: Sequence[str]
) -> tuple[EngineState, NDArray[np.float64], NDArray[np.float64]]:
    """Return state, scales and limits of a check. A limit is a bound of the 95 % quantiles of the sessions.

    Blocks in time are held out, and not sessions: with sessions, the larger scales excused more sounds of ESC-50.

    Returns:
        The state; scales, ``(machines,)``; and limits of the relative distance from the own and from the most similar
        machine.
    """
    cross_fit = CrossFit([engine], recordings, machines, FitProgress(lambda _number, _total: None, parts=1))
    distances = cross_fit.out_of_fold_distances(cross_fit.blocks())
    scales = _scales(distances, cross_fit.machine_index, len(machines))
    measured = [index for index, each in enumerate(distances) if each is not None]
    named, unnamed = _relative_distances(distances, cross_fit.machine_index, [scales] * len(distances))
    session = cross_fit.session[measured]
    (state,) = cross_fit.fit(np.ones(len(recordings), bool)).states
    # At least 1, the typical value: if all normal recordings were equal, every other one would be out of domain.
    most = [max(1.0, session_bound(each, session, _normal_quantile)) for each in (named, unnamed)]
    return state, scales[0], np.array(most)


def _normal_quantile(values: NDArray[np.float64]) -> float:
    return float(np.quantile(values, NORMAL_QUANTILE))


def _scales(
    distances: Sequence[RecordingDistances | None],
    machine_index: NDArray[np.int64],
    machines: int,
    counted: NDArray[np.bool_] | None = None,
) -> NDArray[np.float64]:
    """Typical distances, ``(engines, machines)``: ``sqrt(own mean * mean of all recordings)``.

    Args:
        distances: distances of each recording; None if it was not measured.
        machine_index: number of the machine of each recording.
        machines: number of machines.
        counted: which recordings count; None for all. If none of them was measured, all count.
    """
    if counted is None or not any(each is not None for each, count in zip(distances, counted, strict=True) if count):
        counted = np.ones(len(distances), bool)
    own: list[list[NDArray[np.float64]]] = [[] for _ in range(machines)]
    for measured, machine, count in zip(distances, machine_index, counted, strict=True):
        if measured is not None and count:
            own[machine].append(measured[:, :, machine].mean(axis=0))
    pooled = np.concatenate([each for each in own if each]).mean(axis=0)
    scales = np.stack([np.sqrt(np.mean(each, axis=0) * pooled) if each else pooled for each in own], axis=1)
    # If all recordings are equal, their distances are 0; any other recording is then extremely far.
    return np.asarray(np.maximum(scales, np.finfo(np.float32).tiny))


def _calibration(
    distances: Sequence[RecordingDistances | None], cross_fit: CrossFit, folds: FoldNumbers
) -> tuple[Calibration, tuple[OddRecording, ...]]:
    """Score the most anomalous clip of each recording, and find the recordings that stand apart."""
    machines = 1 + int(cross_fit.machine_index.max())
    of_fold = {
        int(number): _scales(distances, cross_fit.machine_index, machines, folds != number)
        for number in np.unique(folds)
    }
    scales = [of_fold[int(number)] for number in folds]
    named, unnamed = _relative_distances(distances, cross_fit.machine_index, scales)
    measured = np.array([index for index, each in enumerate(distances) if each is not None])
    session = cross_fit.session[measured]
    unit = np.unique(np.stack([session, cross_fit.machine_index[measured]]), axis=1, return_inverse=True)[1].ravel()
    odd = find_odd(named, unit)
    calibration = Calibration(named / (1 + named), unnamed / (1 + unnamed), session, odd, cross_fit.rate_holds_for)
    found = [
        cross_fit.odd_recording(int(measured[index]), float(named[index] / np.median(named[unit == unit[index]])))
        for index in np.flatnonzero(odd)
    ]
    return calibration, tuple(sorted(found, key=lambda each: -each.times))


def _relative_distances(
    distances: Sequence[RecordingDistances | None],
    machine_index: NDArray[np.int64],
    scales: Sequence[NDArray[np.float64]],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Relative distances of the measured recordings: from their own machine, and from the most similar machine."""
    named, unnamed = [], []
    for measured, machine, scale in zip(distances, machine_index, scales, strict=True):
        if measured is not None:
            relative = (measured / scale).max(axis=1)  # (clips, machines)
            named.append(relative[:, machine].max())
            unnamed.append(relative.min(axis=1).max())
    return np.array(named), np.array(unnamed)
