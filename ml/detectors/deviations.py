"""Deviations of a clip from the normal recordings of a machine: the explanation of its score."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

LEAST_HALL_DB = 1.0  # chosen here: smaller changes of the hall are not put into words


@dataclass(frozen=True, slots=True)
class BandDeviation:
    """Deviation of one frequency band from the normal recordings, at the same loudness.

    Attributes:
        low_hz, high_hz: limits of the band in Hz.
        db: level minus the machine's mean in dB; above 0 is louder.
        sigma: the deviation in standard deviations of normal recordings.
        share: share in the sum of the squared deviations of all mel bands, each in standard deviations, 0 to 1.
        hall_db: part of ``db`` that the reference channel has too, so that it does not count for ``sigma`` and
            ``share``; None without a reference channel.
    """

    low_hz: float
    high_hz: float
    db: float
    sigma: float
    share: float
    hall_db: float | None = None

    @property
    def in_the_hall(self) -> str | None:
        """The part of the deviation that is in the hall too, in words; None below 1 dB or without a reference channel.

        Example:
            >>> BandDeviation(413, 851, db=6.2, sigma=2.1, share=0.4, hall_db=4.1).in_the_hall
            '6.2 dB louder at 413 to 851 Hz; 4.1 dB of it are in the hall too and do not count.'
            >>> BandDeviation(413, 851, db=-1.0, sigma=-5.0, share=0.4, hall_db=4.1).in_the_hall
            'The hall is 4.1 dB louder at 413 to 851 Hz, which does not count; the recording is 1.0 dB softer there.'
        """
        if self.hall_db is None or abs(self.hall_db) < LEAST_HALL_DB:
            return None
        place = f"at {self.low_hz:.0f} to {self.high_hz:.0f} Hz"
        if self.hall_db * self.db > 0 and abs(self.hall_db) <= abs(self.db):
            return f"{_change(self.db)} {place}; {abs(self.hall_db):.1f} dB of it are in the hall too and do not count."
        return (
            f"The hall is {_change(self.hall_db)} {place}, which does not count; the recording is {_change(self.db)} "
            "there."
        )


class ExplainedByHall(NamedTuple):
    """What the hall explains of a clip's spectrum, by the reference channel.

    Attributes:
        rise_db: float64 ``(bands,)``: by how much the hall raises each mel band, in dB.
        spread_db: float64 ``(bands,)``, above 0: standard deviation of normal recordings without this, in dB.
    """

    rise_db: NDArray[np.float64]
    spread_db: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class NearestNormal:
    """A normal recording with a spectrum similar to that of a clip.

    Attributes:
        name: name of the recording.
        db: RMS difference of the mean mel spectra in dB.
    """

    name: str
    db: float


@dataclass(frozen=True, slots=True)
class Deviations:
    """Explanation of a clip's score.

    Attributes:
        band_deviations: all bands, the largest share first.
        level_change_db: level minus the mean level of the machine's normal recordings, in dB; it changes no score. None
            if a level is not known.
        nearest: most similar normal recordings of the machine, the nearest first, at most three.
    """

    band_deviations: tuple[BandDeviation, ...]
    level_change_db: float | None
    nearest: tuple[NearestNormal, ...]

    @property
    def in_the_hall(self) -> str | None:
        """:attr:`BandDeviation.in_the_hall` of the band in which the hall has changed most; None if it has not."""
        most = max(self.band_deviations, key=lambda band: abs(band.hall_db or 0.0))
        return most.in_the_hall


def _change(db: float) -> str:
    return f"{abs(db):.1f} dB {'softer' if db < 0 else 'louder'}"
