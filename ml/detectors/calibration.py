"""Calibration: scores of normal recordings by engines that have not learned from them, and those that stand apart."""

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

RateHoldsFor = Literal["new_session", "same_session"]


@dataclass(frozen=True, slots=True)
class Calibration:
    """Scores of normal recordings, by engines that have not learned from them.

    Thresholds and p-values come from these scores.

    Attributes:
        named: float64 ``(recordings,)``, 0 to 1: scores in comparison with the recording's own machine.
        unnamed: float64 ``(recordings,)``, 0 to 1: scores in comparison with the most similar machine.
        session: int64 ``(recordings,)``: number of the recording's session, from 0.
        odd: bool ``(recordings,)``: whether the recording stands apart from its session. Thresholds do not count it.
            None for a detector of an earlier version: no recording is.
        rate_holds_for: ``new_session`` if the engines have not learned from the session of each recording: a
            false-alarm rate then holds for sessions that were never recorded. ``same_session`` if they have.
        by_classifier: bool ``(recordings,)``: whether the classifier beside the detector finds the recording anomalous,
            by a network that has not learned from its session. None without a classifier, or if this was not measured.

    Example:
        >>> scores = np.array([0.4, 0.5, 0.6])
        >>> found = Calibration(scores, scores, np.zeros(3, np.int64), by_classifier=np.array([True, False, False]))
        >>> found.alarms(0.5)
        array([ True, False,  True])
    """

    named: NDArray[np.float64]
    unnamed: NDArray[np.float64]
    session: NDArray[np.int64]
    odd: NDArray[np.bool_] | None = None
    rate_holds_for: RateHoldsFor = "same_session"
    by_classifier: NDArray[np.bool_] | None = None

    def alarms(self, threshold: float) -> NDArray[np.bool_]:
        """Return which recordings the model answers as anomalous at a threshold, ``(recordings,)``."""
        above = self.named > threshold
        return above if self.by_classifier is None else above | self.by_classifier

    def of(self, chosen: NDArray[np.bool_]) -> "Calibration":
        """Return the calibration of some recordings, a mask of shape ``(recordings,)``."""
        return replace(
            self,
            named=self.named[chosen],
            unnamed=self.unnamed[chosen],
            session=self.session[chosen],
            odd=None if self.odd is None else self.odd[chosen],
            by_classifier=None if self.by_classifier is None else self.by_classifier[chosen],
        )

    @property
    def kept(self) -> NDArray[np.bool_]:
        """Which recordings count for thresholds, ``(recordings,)``."""
        return np.ones(len(self.named), bool) if self.odd is None else ~self.odd

    @property
    def n_sessions(self) -> int:
        """Number of sessions."""
        return len(np.unique(self.session))


def join_calibrations(first: Calibration, second: Calibration) -> Calibration:
    """Return the scores of two calibrations, whose sessions are different ones.

    Rates hold for new sessions if those of both do.

    Example:
        >>> one, two = (Calibration(np.full(2, x), np.full(2, x), np.array([0, 1])) for x in (0.4, 0.6))
        >>> join_calibrations(one, two).session
        array([0, 1, 2, 3])
    """
    offset = 1 + int(first.session.max(initial=-1))
    both_new = first.rate_holds_for == second.rate_holds_for == "new_session"
    measured = first.by_classifier is not None and second.by_classifier is not None
    return Calibration(
        named=np.concatenate([first.named, second.named]),
        unnamed=np.concatenate([first.unnamed, second.unnamed]),
        session=np.concatenate([first.session, second.session + offset]),
        odd=np.concatenate([~first.kept, ~second.kept]),
        rate_holds_for="new_session" if both_new else "same_session",
        by_classifier=np.concatenate([first.by_classifier, second.by_classifier]) if measured else None,
    )


class OddRecording(NamedTuple):
    """Normal recording that stands apart from its session.

    Attributes:
        name: name in the dataset.
        machine: name of its machine.
        session: name of its session.
        times: its relative distance, as a multiple of the median of its session.
    """

    name: str
    machine: str
    session: str
    times: float
