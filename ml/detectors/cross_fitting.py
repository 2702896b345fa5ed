"""Cross-fit: normal recordings, and fits of the engines to parts of them.

Each recording is measured by engines that have not learned from it (after cross-conformal prediction: V. Vovk,
"Cross-conformal predictors", Ann. Math. Artif. Intell. 74, 2015).
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ml.detectors.calibration import OddRecording, RateHoldsFor
from ml.detectors.detector import measure_residual_distances
from ml.detectors.engines.engine import Engine, EngineState
from ml.detectors.folds import FoldNumbers, session_folds, time_folds
from ml.detectors.reference import NormalRecording
from ml.detectors.reference_channel import Regression
from ml.detectors.spectra import Spectra

RecordingDistances = NDArray[np.float64]
"""Distances of a recording: ``(clips, engines, machines)``."""


class FitProgress:
    """Number of the fits that are done, of those of all parts.

    Args:
        on_fit: called after each fit with its number, from 1, and the number of fits.
        parts: number of parts with equally many fits.
    """

    def __init__(self, on_fit: Callable[[int, int], None], parts: int) -> None:
        self._on_fit, self._parts, self._total, self._done = on_fit, parts, 0, 0

    def begin(self, fits: int) -> None:
        """Begin a part with this number of fits."""
        self._total = fits * self._parts

    def fitted(self) -> None:
        """Report a fit."""
        self._done += 1
        self._on_fit(self._done, self._total)


class Fitted(NamedTuple):
    """Engines that were fitted, to the main channel or to the residual.

    Attributes:
        states: what each engine has learned.
        regression: regression on the reference channel; None for the main channel.
    """

    states: tuple[EngineState, ...]
    regression: Regression | None

    def distances(self, engines: Sequence[Engine], clip: Spectra) -> NDArray[np.float64]:
        """Return the distances of a clip, ``(engines, machines)``."""
        return measure_residual_distances(engines, self.states, clip, self.regression)


class CrossFit:
    """Normal recordings, and fits of the engines to parts of them."""

    def __init__(
        self,
        engines: Sequence[Engine],
        recordings: Sequence[NormalRecording],
        machines: Sequence[str],
        progress: FitProgress,
        *,
        paired: bool = False,
    ) -> None:
        self.engines, self._recordings, self._progress, self._paired = tuple(engines), recordings, progress, paired
        self._machines = [recording.machine for recording in recordings]
        self._sessions = [recording.session for recording in recordings]
        self.machine_index = np.array([machines.index(name) for name in self._machines])
        # By the session's name alone: machines that were recorded in one session share its conditions.
        names = list(dict.fromkeys(recording.session for recording in recordings))
        self.session = np.array([names.index(recording.session) for recording in recordings])

    def fit(self, chosen: NDArray[np.bool_]) -> Fitted:
        """Fit each engine to the chosen recordings, a mask of shape ``(recordings,)``."""
        some = [(r, of) for r, of, take in zip(self._recordings, self.machine_index, chosen, strict=True) if take]
        clips = [clip for recording, _ in some for clip in recording.clips]
        of = np.array([machine for recording, machine in some for _ in recording.clips])
        regression = Regression.fit(clips, of) if self._paired else None
        if regression is not None:
            clips = [regression.residual(clip, machine) for clip, machine in zip(clips, of.tolist(), strict=True)]
        states = tuple(engine.fit(clips, of) for engine in self.engines)
        self._progress.fitted()
        return Fitted(states, regression)

    def out_of_fold_distances(self, fold: FoldNumbers) -> list[RecordingDistances | None]:
        """Distances of each recording by engines that have not learned from its fold; None without a fold."""
        distances: list[RecordingDistances | None] = [None] * len(self._recordings)
        for number in range(int(fold.max()) + 1):
            fitted = self.fit(fold != number)
            for index in np.flatnonzero(fold == number):
                clips = self._recordings[int(index)].clips
                distances[index] = np.stack([fitted.distances(self.engines, clip) for clip in clips])
        return distances

    def keep_engines(
        self, distances: Sequence[RecordingDistances | None], kept: NDArray[np.bool_]
    ) -> list[RecordingDistances | None]:
        """Leave out the other engines, for later fits and in the distances, which are returned.

        Args:
            distances: result of :meth:`out_of_fold_distances`.
            kept: which engines to keep, ``(engines,)``.
        """
        self.engines = tuple(engine for engine, keep in zip(self.engines, kept, strict=True) if keep)
        return [None if each is None else each[:, kept] for each in distances]

    def blocks(self) -> FoldNumbers:
        """Folds of recordings that are neighbours in time."""
        return time_folds(self._machines)

    def folds(self) -> FoldNumbers:
        """Folds of whole sessions, and blocks for machines with one session."""
        sessions = self._session_folds()
        return np.where(sessions < 0, self.blocks(), sessions)

    def _session_folds(self) -> FoldNumbers:
        """Folds of whole sessions. A session of several machines is in one fold, if each machine keeps another one."""
        by_machine = session_folds(self._machines, self._sessions)
        together = session_folds([""] * len(self._sessions), self._sessions)
        shared = not _is_function(self.session, by_machine)
        keeps_one = all(len(set(together[self.machine_index == each])) > 1 for each in np.unique(self.machine_index))
        return together if shared and keeps_one else by_machine

    @property
    def rate_holds_for(self) -> RateHoldsFor:
        """Whether :meth:`folds` hold out each session as a whole, of every machine."""
        folds = self._session_folds()
        return "new_session" if (folds >= 0).all() and _is_function(self.session, folds) else "same_session"

    def odd_recording(self, index: int, times: float) -> OddRecording:
        """Return the facts of an odd recording."""
        recording = self._recordings[index]
        return OddRecording(recording.name, recording.machine, recording.session, round(times, 2))


def _is_function(session: NDArray[np.int64], fold: FoldNumbers) -> bool:
    """Return whether each session is in one fold."""
    return len(np.unique(np.stack([session, fold]), axis=1).T) == len(np.unique(session))
