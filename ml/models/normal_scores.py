"""Scores of normal recordings that belong to a classifier: its threshold can then be set by a false-alarm rate.

A detector has such scores in its calibration.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self, get_args

import numpy as np

from ml.detectors.calibration import Calibration, RateHoldsFor
from ml.errors import BundleDamaged


@dataclass(frozen=True, slots=True)
class NormalScores:
    """Scores of normal recordings by a network that was not fitted to them.

    Attributes:
        scores: ``(recordings,)``, 0 to 1.
        sessions: ``(recordings,)``: number of the recording's session, from 0.
        rate_holds_for: ``new_session`` if the network was not fitted to any recording of these sessions.

    Raises:
        BundleDamaged: the values do not fit together.
    """

    scores: tuple[float, ...]
    sessions: tuple[int, ...]
    rate_holds_for: RateHoldsFor

    def __post_init__(self) -> None:
        count = len(self.scores)
        fits = count == len(self.sessions) > 0 and self.rate_holds_for in get_args(RateHoldsFor)
        valid = all(0 <= score <= 1 for score in self.scores) and all(0 <= each < count for each in self.sessions)
        if not fits or not valid:
            raise BundleDamaged(
                "Normal scores: a score from 0 to 1 and a session for each recording, and what the rate holds for, "
                "were expected."
            )

    @classmethod
    def of(cls, calibration: Calibration) -> Self:
        """Return the scores of a calibration."""
        scores, sessions = calibration.named.tolist(), calibration.session.tolist()
        return cls(tuple(scores), tuple(sessions), calibration.rate_holds_for)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Create scores from the values of :meth:`to_dict`.

        Raises:
            BundleDamaged, KeyError, TypeError, ValueError: the values are invalid.
        """
        return cls(tuple(map(float, values["scores"])), tuple(map(int, values["sessions"])), values["rate_holds_for"])

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for serialisation."""
        return asdict(self)

    @property
    def calibration(self) -> Calibration:
        """The scores as a calibration. A classifier does not compare machines, so both kinds of scores are equal."""
        scores, sessions = np.array(self.scores), np.array(self.sessions, np.int64)
        return Calibration(scores, scores, sessions, rate_holds_for=self.rate_holds_for)
