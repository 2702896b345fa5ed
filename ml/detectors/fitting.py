"""Healthy recordings -> a detector, its scales and its calibration, every score of a recording not learned from."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ml.detectors.detector import Calibration, Detector, measure_distances
from ml.detectors.engines.engine import Engine, EngineState
from ml.detectors.folds import FoldNumbers, session_folds, time_folds
from ml.detectors.out_of_domain import NORMAL_QUANTILE, OutOfDomainCheck
from ml.detectors.reference import NormalRecording, Reference
from ml.errors import TooFewRecordings
from ml.features.spec import FeatureSpec

RecordingDistances = NDArray[np.float64]
"""Distances of a recording: ``(windows, engines, machines)``."""
FEWEST_RECORDINGS = 3  # of healthy sound: one is left out at a time, and two show how recordings differ


def fit_detector(
    spec: FeatureSpec,
    engines: Sequence[Engine],
    recordings: Sequence[NormalRecording],
    on_fit: Callable[[int, int], None] = lambda _number, _total: None,
) -> Detector:
    """Fit engines to healthy recordings.

    Args:
        spec: what the clips were heard by.
        engines: which.
        recordings: in the order they were made in: neighbours in time are left out together.
        on_fit: told after each fit which one of how many it was.

    Raises:
        TooFewRecordings: fewer than three, or one of each machine.
    """
    if not has_enough_recordings([recording.machine for recording in recordings]):
        raise TooFewRecordings(
            f"{len(recordings)} healthy recordings; a detector learns from {FEWEST_RECORDINGS} at least, two of them "
            "of one machine, and from a few dozen of each machine well."
        )
    machines = tuple(sorted({recording.machine for recording in recordings}))
    work = _CrossFit(engines, recordings, machines, on_fit)
    blocks, sessions = work.blocks(), work.sessions()
    work.fits = 1 + int(blocks.max()) + 1 + (0 if sessions is None else int(sessions.max()) + 1)
    within = work.out_of_fold_distances(blocks)
    # How much a healthy machine differs from one session to the next is part of what is normal, where it can be known.
    scales = _scales(
        within if sessions is None else work.out_of_fold_distances(sessions), work.machine_index, len(machines)
    )
    states = work.fit(np.ones(len(recordings), bool))
    calibration = _calibration(within, work, scales)
    guard = _fit_out_of_domain(recordings, machines)
    reference = Reference.of(recordings, machines)
    return Detector(spec, tuple(engines), states, machines, scales, calibration, reference, guard)


def has_enough_recordings(machines: Sequence[str]) -> bool:
    """Whether recordings of these machines can be learned from: with one left out its machine must still be known."""
    return len(machines) >= FEWEST_RECORDINGS and len(set(machines)) < len(machines)


class _CrossFit:
    """Recordings, and fits to some of them."""

    def __init__(
        self,
        engines: Sequence[Engine],
        recordings: Sequence[NormalRecording],
        machines: Sequence[str],
        done: Callable[[int, int], None],
    ) -> None:
        self._engines, self._recordings, self._done = engines, recordings, done
        self._machines = [recording.machine for recording in recordings]
        self.machine_index = np.array([machines.index(name) for name in self._machines])
        # By name alone: machines that were recorded on one day share what that day was like.
        names = list(dict.fromkeys(recording.session for recording in recordings))
        self.session = np.array([names.index(recording.session) for recording in recordings])
        self.fits = self._fitted = 0

    def fit(self, chosen: NDArray[np.bool_]) -> tuple[EngineState, ...]:
        """Fit every engine to the chosen recordings."""
        some = [(r, of) for r, of, take in zip(self._recordings, self.machine_index, chosen, strict=True) if take]
        clips = [clip for recording, _ in some for clip in recording.clips]
        of = np.array([machine for recording, machine in some for _ in recording.clips])
        states = tuple(engine.fit(clips, of) for engine in self._engines)
        self._fitted += 1
        self._done(self._fitted, self.fits)
        return states

    def out_of_fold_distances(self, fold: FoldNumbers) -> list[RecordingDistances | None]:
        """What is measured of each recording by engines that have not learned from its fold."""
        found: list[RecordingDistances | None] = [None] * len(self._recordings)
        for number in range(int(fold.max()) + 1):
            states = self.fit(fold != number)
            for index in np.flatnonzero(fold == number):
                clips = self._recordings[int(index)].clips
                found[index] = np.stack([measure_distances(self._engines, states, clip) for clip in clips])
        return found

    def blocks(self) -> FoldNumbers:
        """Folds contiguous in time."""
        return time_folds(self._machines)

    def sessions(self) -> FoldNumbers | None:
        """Folds of whole sessions for machines that have several, else contiguous in time; None where none has."""
        folds = session_folds(self._machines, [recording.session for recording in self._recordings])
        return np.where(folds < 0, self.blocks(), folds) if (folds >= 0).any() else None


def _fit_out_of_domain(recordings: Sequence[NormalRecording], machines: Sequence[str]) -> OutOfDomainCheck:
    work = _CrossFit([OutOfDomainCheck.engine], recordings, machines, lambda _number, _total: None)
    found = work.out_of_fold_distances(work.blocks())
    scales = _scales(found, work.machine_index, len(machines))
    calibration = _calibration(found, work, scales)
    scores = np.stack([calibration.named, calibration.unnamed])
    times = scores / np.maximum(1 - scores, np.finfo(np.float32).tiny)
    (state,) = work.fit(np.ones(len(recordings), bool))
    # At least what is typical: of recordings that are all alike, any other one would be foreign.
    return OutOfDomainCheck(state, scales[0], np.maximum(np.quantile(times, NORMAL_QUANTILE, axis=1), 1.0))


def _scales(found: Sequence[RecordingDistances | None], of: NDArray[np.int64], machines: int) -> NDArray[np.float64]:
    """What each engine measures on a healthy recording of each machine, half its own and half that of all."""
    own: list[list[NDArray[np.float64]]] = [[] for _ in range(machines)]
    for measures, machine in zip(found, of, strict=True):
        if measures is not None:
            own[machine].append(measures[:, :, machine].mean(axis=0))
    pooled = np.concatenate([each for each in own if each]).mean(axis=0)
    scales = np.stack([np.sqrt(np.mean(each, axis=0) * pooled) if each else pooled for each in own], axis=1)
    # Recordings that are all alike measure nothing; what differs from them at all is then infinitely far.
    return np.asarray(np.maximum(scales, np.finfo(np.float32).tiny))


def _calibration(
    found: Sequence[RecordingDistances | None], work: _CrossFit, scales: NDArray[np.float64]
) -> Calibration:
    """The worst window's score of each recording, as the detector will give it."""
    named, unnamed, session = [], [], []
    for measures, machine, number in zip(found, work.machine_index, work.session, strict=True):
        if measures is None:
            continue
        times = (measures / scales).max(axis=1)  # (windows, machines)
        named.append(times[:, machine].max())
        unnamed.append(times.min(axis=1).max())
        session.append(number)
    by_name, by_likeness = (np.array(values) / (1 + np.array(values)) for values in (named, unnamed))
    return Calibration(by_name, by_likeness, np.array(session))
