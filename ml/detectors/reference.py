"""What healthy recordings sounded like, kept so that a detector can give reasons and refuse what it cannot judge."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ml.detectors.engines.covariance import STEADY_DB
from ml.detectors.spectra import Spectra
from ml.errors import BundleDamaged
from ml.features.mel import mel_edges
from ml.features.spec import FeatureSpec

EXPLANATION_BANDS = 8  # bands of frequencies that are told apart, of equal width in mel
MOST_KEPT = 2000  # recordings, evenly taken
NEAREST = 3
UNUSUAL = 0.1  # share of healthy recordings that may be spoilt themselves: unplugged, clipped, muffled, cut off
LINEAR_BANDS = 16  # bands of equal width in Hz, by which it is seen where a recording's spectrum ends


@dataclass(frozen=True, slots=True)
class NormalRecording:
    """A recording of healthy sound.

    Attributes:
        clips: the spectra of its windows, in time order.
        machine: the name of the machine, empty where none is named.
        session: when it was recorded, by any name.
        name: what a person finds it by.
        level_dbfs: RMS of the recording; None where it is not known.
        clipped_share: share of its samples at full scale.
    """

    clips: tuple[Spectra, ...]
    machine: str
    session: str
    name: str = ""
    level_dbfs: float | None = None
    clipped_share: float = 0.0


@dataclass(frozen=True, slots=True)
class BandDeviation:
    """A band of frequencies, and how it departs from healthy sound at the same loudness.

    Attributes:
        low_hz, high_hz: the band.
        db: louder (above 0) or softer than the machine's mean.
        sigma: the same in standard deviations of healthy recordings.
        share: of the whole departure, in squared standard deviations, 0 to 1.
    """

    low_hz: float
    high_hz: float
    db: float
    sigma: float
    share: float


@dataclass(frozen=True, slots=True)
class NearestNormal:
    """A healthy recording that a clip is like: its name, and how far its mean spectrum is, in dB RMS."""

    name: str
    db: float


@dataclass(frozen=True, slots=True)
class Deviations:
    """Why a clip was judged as it was.

    Attributes:
        band_deviations: every band, the largest share first.
        level_change_db: louder (above 0) or softer than the machine's healthy recordings are on average; it moves no
            score. None where their levels are not known.
        nearest: the healthy recordings of the machine that it is most like, the nearest first.
    """

    band_deviations: tuple[BandDeviation, ...]
    level_change_db: float | None
    nearest: tuple[NearestNormal, ...]


@dataclass(frozen=True)
class Reference:
    """Healthy recordings in short.

    Attributes:
        names: of the recordings.
        machine: of each, counted from 0: ``(recordings,)``.
        mel_spectra: mean spectrum of each at constant power, dB: ``(recordings, mel bands)``.
        level_dbfs: level of each, dB relative to full scale; NaN where it is not known.
        clipped_share: of each.
        floor_db: the lowest usual level of each band of equal width in Hz against the whole, dB: ``(LINEAR_BANDS,)``.
        shortest: frames of the shortest usual window.
    """

    names: tuple[str, ...]
    machine: NDArray[np.int64]
    mel_spectra: NDArray[np.float32]
    level_dbfs: NDArray[np.float64]
    clipped_share: NDArray[np.float64]
    floor_db: NDArray[np.float64]
    shortest: int

    @classmethod
    def of(cls, recordings: Sequence[NormalRecording], machines: Sequence[str]) -> Self:
        """Keep in short what the recordings sounded like."""
        step = math.ceil(len(recordings) / MOST_KEPT)
        # Within each machine, so that none is left without a recording.
        kept = [each for name in machines for each in [r for r in recordings if r.machine == name][::step]]
        return cls(
            names=tuple(recording.name for recording in kept),
            machine=np.array([machines.index(recording.machine) for recording in kept]),
            mel_spectra=np.stack([_mean_mel_spectrum(recording) for recording in kept]),
            level_dbfs=np.array([math.nan if r.level_dbfs is None else r.level_dbfs for r in kept]),
            clipped_share=np.array([recording.clipped_share for recording in kept]),
            floor_db=robust_minimum(np.array([linear_levels(clip) for each in recordings for clip in each.clips])),
            shortest=int(robust_minimum(np.array([len(clip.log_mel) for each in recordings for clip in each.clips]))),
        )

    @cached_property
    def _centres(self) -> NDArray[np.float64]:
        machines = range(int(self.machine.max()) + 1)
        return np.stack([self.mel_spectra[self.machine == each].mean(axis=0, dtype=np.float64) for each in machines])

    @cached_property
    def _spread(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Standard deviation, in dB, of each mel band, and of the mean of each band that reasons are given for."""
        residuals = self.mel_spectra - self._centres[self.machine]
        degrees = max(1, len(residuals) - len(self._centres))
        parts = np.stack([part.mean(axis=1) for part in np.array_split(residuals, EXPLANATION_BANDS, axis=1)], axis=1)
        fine, coarse = (np.sqrt((np.square(r).sum(axis=0) / degrees) + STEADY_DB**2) for r in (residuals, parts))
        return fine, coarse

    def deviations(self, spec: FeatureSpec, spectra: Spectra, machine: int, level_dbfs: float | None) -> Deviations:
        """Hold a clip against one machine's healthy recordings.

        Args:
            spec: what the clip was heard by.
            spectra: the clip.
            machine: which machine, counted from 0.
            level_dbfs: of the clip's recording; None for silence.
        """
        mine = self.machine == machine
        usual = self.level_dbfs[mine]
        known = level_dbfs is not None and len(usual) > 0 and not np.isnan(usual).all()
        change = float(level_dbfs - np.nanmean(usual)) if known and level_dbfs is not None else None
        return Deviations(self._band_deviations(spec, spectra, machine), change, self._nearest(spectra, mine))

    def _band_deviations(self, spec: FeatureSpec, heard: Spectra, machine: int) -> tuple[BandDeviation, ...]:
        fine, coarse = self._spread
        away = heard.mel_spectrum - self._centres[machine]
        squares = np.square(away / fine)
        borders = np.cumsum([0, *(len(part) for part in np.array_split(away, EXPLANATION_BANDS))])
        edges_hz = mel_edges(spec)
        found = [
            BandDeviation(
                low_hz=float(edges_hz[low]),
                high_hz=float(edges_hz[high + 1]),
                db=float(away[low:high].mean()),
                sigma=float(away[low:high].mean() / spread),
                share=float(squares[low:high].sum() / max(squares.sum(), np.finfo(float).tiny)),
            )
            for low, high, spread in zip(borders[:-1], borders[1:], coarse, strict=True)
        ]
        return tuple(sorted(found, key=lambda band: -band.share))

    def _nearest(self, heard: Spectra, mine: NDArray[np.bool_]) -> tuple[NearestNormal, ...]:
        indices = np.flatnonzero(mine)
        distances = np.sqrt(np.square(self.mel_spectra[indices] - heard.mel_spectrum).mean(axis=1))
        order = np.argsort(distances, kind="stable")[:NEAREST]
        return tuple(NearestNormal(self.names[indices[i]], float(distances[i])) for i in order)

    # Files

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """All but the names, as plain arrays; spectra in half precision, 0.03 dB at most."""
        return {
            "machine": self.machine,
            "shape": self.mel_spectra.astype(np.float16),
            "level_db": self.level_dbfs,
            "clipped_share": self.clipped_share,
            "floor_db": self.floor_db,
            "shortest": np.array([self.shortest]),
        }

    @classmethod
    def from_arrays(cls, names: Sequence[str], arrays: Mapping[str, NDArray[Any]]) -> Self:
        """The inverse of :meth:`to_arrays`.

        Raises:
            BundleDamaged: arrays that do not fit each other.
            KeyError: one is missing.
        """
        found = cls(
            names=tuple(map(str, names)),
            machine=arrays["machine"],
            mel_spectra=arrays["shape"].astype(np.float32),
            level_dbfs=arrays["level_db"],
            clipped_share=arrays["clipped_share"],
            floor_db=arrays["floor_db"],
            shortest=int(arrays["shortest"][0]),
        )
        parts = (found.machine, found.mel_spectra, found.level_dbfs, found.clipped_share)
        lengths = {len(found.names), *(len(each) for each in parts)}
        if len(lengths) > 1 or found.floor_db.shape != (LINEAR_BANDS,):
            raise BundleDamaged(
                f"The detector's reference has parts of {sorted(lengths)} recordings; one was expected."
            )
        return found


def robust_minimum(of_healthy: NDArray[Any]) -> NDArray[np.float64]:
    """The least that is usual, ``(recordings, ...)`` to ``(...)``: one of ten healthy recordings may be spoilt."""
    return np.asarray(np.quantile(of_healthy, UNUSUAL, axis=0, method="higher"))


def linear_levels(spectra: Spectra) -> NDArray[np.float64]:
    """Level of each band of equal width in Hz against the whole, dB: ``(LINEAR_BANDS,)``."""
    powers = np.array([part.mean(dtype=np.float64) for part in np.array_split(spectra.power, LINEAR_BANDS)])
    tiny = np.finfo(np.float32).tiny
    return np.asarray(10 * np.log10(np.maximum(powers, tiny) / max(float(powers.mean()), tiny)))


def _mean_mel_spectrum(recording: NormalRecording) -> NDArray[np.float32]:
    return np.asarray(np.mean([clip.mel_spectrum for clip in recording.clips], axis=0), np.float32)
