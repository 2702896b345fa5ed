"""Reference: summary of the normal recordings, for explanations and quality checks."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ml.detectors.deviations import BandDeviation, Deviations, ExplainedByHall, NearestNormal
from ml.detectors.engines.covariance import STEADY_DB
from ml.detectors.passband import relative_levels
from ml.detectors.spectra import Spectra
from ml.errors import BundleDamaged
from ml.features.mel import mel_edges
from ml.features.spec import FeatureSpec

# All chosen here.
EXPLANATION_BANDS = 8  # frequency bands of an explanation, of equal width in mel
MOST_KEPT = 2000  # recordings in a reference, evenly taken
NEAREST = 3  # normal recordings that an explanation names
SAME_DB = 0.02  # RMS; recordings of pc_fan differ by at least 0.28 dB, and rounding by at most 0.005 dB
UNUSUAL = 0.1  # share of normal recordings that may be damaged: unplugged, clipped, muffled, cut off
LINEAR_BANDS = 16  # bands of equal width in Hz, which show where the spectrum of a recording ends


@dataclass(frozen=True, slots=True)
class NormalRecording:
    """A normal recording that a detector learns from.

    Attributes:
        clips: spectra of its clips, in time order.
        machine: machine name; empty if not known.
        session: any name of its session.
        name: name that people find the recording by.
        level_dbfs: RMS level in dBFS; None if not known.
        clipped_share: share of samples at full scale, 0 to 1.
    """

    clips: tuple[Spectra, ...]
    machine: str
    session: str
    name: str = ""
    level_dbfs: float | None = None
    clipped_share: float = 0.0


@dataclass(frozen=True)
class Reference:
    """Summary of the normal recordings, about 2000 of them at most.

    Attributes:
        names: name of each recording.
        machine: int64 ``(recordings,)``: number of its machine, from 0.
        mel_spectra: float32 ``(recordings, bands)``: mean mel spectrum at constant power, in dB.
        level_dbfs: float64 ``(recordings,)``: level in dBFS; NaN if not known.
        clipped_share: float64 ``(recordings,)``: share of samples at full scale, 0 to 1.
        floor_db: float64 ``(LINEAR_BANDS,)``: :func:`robust_minimum` of :func:`linear_levels` of all clips, in dB.
        shortest: frames of the shortest usual clip.
        machine_floors_db: float64 ``(machines, LINEAR_BANDS)``: the same of the clips of each machine; None for a
            detector of an earlier version.
        hole_share: :func:`ml.detectors.lossy_coding.hole_share` that nine of ten normal recordings do not exceed, 0 to
            1; None for a detector of an earlier version.
        band_centres_db: float32 ``(machines, fine bands)``: mean of :func:`ml.detectors.passband.relative_levels` of
            the clips of each machine; None for a detector of an earlier version.

    Example:
        >>> spec = FeatureSpec(sample_rate_hz=16_000, fmax_hz=8000.0, clip_frames=32, n_mels=64)
        >>> rng = np.random.default_rng(0)
        >>> clips = [Spectra(rng.normal(size=(32, 64)).astype("f4"), np.ones(1025, "f4")) for _ in range(4)]
        >>> recordings = [NormalRecording((clip,), "fan", "monday", f"{i}.wav", -20.0) for i, clip in enumerate(clips)]
        >>> reference = Reference.of(recordings, ["fan"])
        >>> reference.mel_spectra.shape, reference.shortest
        ((4, 64), 32)
        >>> found = reference.deviations(spec, clips[2], machine=0, level_dbfs=-14.0)
        >>> found.level_change_db, found.nearest[0], len(found.band_deviations)
        (6.0, NearestNormal(name='2.wav', db=0.0), 8)
    """

    names: tuple[str, ...]
    machine: NDArray[np.int64]
    mel_spectra: NDArray[np.float32]
    level_dbfs: NDArray[np.float64]
    clipped_share: NDArray[np.float64]
    floor_db: NDArray[np.float64]
    shortest: int
    machine_floors_db: NDArray[np.float64] | None = None
    hole_share: float | None = None
    band_centres_db: NDArray[np.float32] | None = None

    @classmethod
    def of(cls, recordings: Sequence[NormalRecording], machines: Sequence[str]) -> Self:
        """Summarise normal recordings.

        Args:
            recordings: at least one of each machine.
            machines: machine names, in the order of their numbers.
        """
        step = math.ceil(len(recordings) / MOST_KEPT)
        by_machine = [[each for each in recordings if each.machine == name] for name in machines]
        # Taken within each machine, so that each machine keeps at least one recording.
        kept = [each for some in by_machine for each in some[::step]]
        return cls(
            names=tuple(recording.name for recording in kept),
            machine=np.array([machines.index(recording.machine) for recording in kept]),
            mel_spectra=np.stack([_mean_mel_spectrum(recording) for recording in kept]),
            level_dbfs=np.array([math.nan if r.level_dbfs is None else r.level_dbfs for r in kept]),
            clipped_share=np.array([recording.clipped_share for recording in kept]),
            floor_db=_floor_db(recordings),
            shortest=int(robust_minimum(np.array([clip.frames for each in recordings for clip in each.clips]))),
            machine_floors_db=np.stack([_floor_db(each) for each in by_machine]),
            band_centres_db=np.stack([_band_centre_db(each) for each in by_machine]),
        )

    def floor_of(self, machine: int | None) -> NDArray[np.float64]:
        """Return the floor of a machine, ``(LINEAR_BANDS,)`` in dB; of all machines together if it is not known.

        Args:
            machine: number of the machine, from 0; None if not known.
        """
        if machine is None or self.machine_floors_db is None:
            return self.floor_db
        return np.asarray(self.machine_floors_db[machine])

    @cached_property
    def centres(self) -> NDArray[np.float64]:
        """Mean spectrum of each machine at constant power, ``(machines, bands)`` in dB."""
        machines = range(int(self.machine.max()) + 1)
        return np.stack([self.mel_spectra[self.machine == each].mean(axis=0, dtype=np.float64) for each in machines])

    @cached_property
    def _spread(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Standard deviation in dB of each mel band, ``(bands,)``, and of the mean of each explanation band."""
        residuals = self.mel_spectra - self.centres[self.machine]
        degrees = max(1, len(residuals) - len(self.centres))
        parts = np.stack([part.mean(axis=1) for part in np.array_split(residuals, EXPLANATION_BANDS, axis=1)], axis=1)
        fine, coarse = (np.sqrt((np.square(r).sum(axis=0) / degrees) + STEADY_DB**2) for r in (residuals, parts))
        return fine, coarse

    def deviations(
        self,
        spec: FeatureSpec,
        spectra: Spectra,
        machine: int,
        level_dbfs: float | None,
        explained: ExplainedByHall | None = None,
    ) -> Deviations:
        """Compute the deviations of a clip from the normal recordings of a machine.

        With the clip's spectrum ``x`` and the machine's mean ``c``, both in dB, the difference is ``a = x - c``. For an
        explanation band B of neighbouring mel bands: ``db = mean of a in B``, ``sigma = db / s(B)`` and ``share =
        sum in B of (a / s)^2 / sum over all bands of (a / s)^2``. The standard deviations ``s`` of a mel band and
        ``s(B)`` of the mean of a band come from the residuals of all machines, and are at least 0.3 dB. With a
        reference channel, ``sigma`` and ``share`` are of the difference minus what the hall explains; ``db`` is not.

        Args:
            spec: feature spec that the spectra were computed with.
            spectra: spectra of the clip.
            machine: number of the machine, from 0.
            level_dbfs: level of the clip's recording in dBFS; None for silence.
            explained: what the hall explains of the spectrum; None without a reference channel.
        """
        mine = self.machine == machine
        usual = self.level_dbfs[mine]
        known = level_dbfs is not None and len(usual) > 0 and not np.isnan(usual).all()
        change = float(level_dbfs - np.nanmean(usual)) if known and level_dbfs is not None else None
        bands = self._band_deviations(spec, spectra, machine, explained)
        return Deviations(bands, change, self._nearest(spectra, mine))

    def contains(self, clips: Sequence[Spectra]) -> bool:
        """Return whether a recording is one of these normal recordings, by its mean mel spectrum.

        Stored spectra are rounded by at most 0.03 dB. Different recordings of one machine differ by far more.

        Args:
            clips: spectra of the recording's clips.
        """
        difference = self.mel_spectra - np.mean([clip.mel_spectrum for clip in clips], axis=0)
        return bool((np.sqrt(np.square(difference).mean(axis=1)) < SAME_DB).any())

    def _band_deviations(
        self, spec: FeatureSpec, spectra: Spectra, machine: int, explained: ExplainedByHall | None
    ) -> tuple[BandDeviation, ...]:
        fine, coarse = self._spread
        difference = spectra.mel_spectrum - self.centres[machine]
        hall = np.zeros(len(difference)) if explained is None else explained.rise_db
        if explained is not None:
            # The means of bands vary less without the hall, too; by as much as the bands do.
            parts = np.array_split(explained.spread_db / fine, EXPLANATION_BANDS)
            fine, coarse = explained.spread_db, coarse * [part.mean() for part in parts]
        own = difference - hall
        squares = np.square(own / fine)
        borders = np.cumsum([0, *(len(part) for part in np.array_split(difference, EXPLANATION_BANDS))])
        edges_hz = mel_edges(spec)
        found = [
            BandDeviation(
                low_hz=float(edges_hz[low]),
                high_hz=float(edges_hz[high + 1]),
                db=float(difference[low:high].mean()),
                sigma=float(own[low:high].mean() / spread),
                share=float(squares[low:high].sum() / max(squares.sum(), np.finfo(float).tiny)),
                hall_db=None if explained is None else float(hall[low:high].mean()),
            )
            for low, high, spread in zip(borders[:-1], borders[1:], coarse, strict=True)
        ]
        return tuple(sorted(found, key=lambda band: -band.share))

    def _nearest(self, spectra: Spectra, mine: NDArray[np.bool_]) -> tuple[NearestNormal, ...]:
        indices = np.flatnonzero(mine)
        distances = np.sqrt(np.square(self.mel_spectra[indices] - spectra.mel_spectrum).mean(axis=1))
        order = np.argsort(distances, kind="stable")[:NEAREST]
        return tuple(NearestNormal(self.names[indices[i]], float(distances[i])) for i in order)

    # Files

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return all fields but the names as arrays. Spectra are float16, with an error of at most 0.03 dB."""
        arrays: dict[str, NDArray[Any]] = {
            "machine": self.machine,
            "shape": self.mel_spectra.astype(np.float16),
            "level_db": self.level_dbfs,
            "clipped_share": self.clipped_share,
            "floor_db": self.floor_db,
            "shortest": np.array([self.shortest]),
        }
        if self.machine_floors_db is not None:
            arrays["machine_floors_db"] = self.machine_floors_db
        if self.band_centres_db is not None:
            arrays["band_centres_db"] = self.band_centres_db
        return arrays if self.hole_share is None else arrays | {"hole_share": np.array([self.hole_share])}

    @classmethod
    def from_arrays(cls, names: Sequence[str], arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Read a reference from its names and the arrays of :meth:`to_arrays`.

        Raises:
            BundleDamaged: the arrays do not fit each other.
            KeyError: an array is missing.
        """
        found = cls(
            names=tuple(map(str, names)),
            machine=arrays["machine"],
            mel_spectra=arrays["shape"].astype(np.float32),
            level_dbfs=arrays["level_db"],
            clipped_share=arrays["clipped_share"],
            floor_db=arrays["floor_db"],
            shortest=int(arrays["shortest"][0]),
            machine_floors_db=arrays.get("machine_floors_db"),
            hole_share=float(arrays["hole_share"][0]) if "hole_share" in arrays else None,
            band_centres_db=arrays.get("band_centres_db"),
        )
        parts = (found.machine, found.mel_spectra, found.level_dbfs, found.clipped_share)
        lengths = {len(found.names), *(len(each) for each in parts)}
        if len(lengths) > 1 or found.floor_db.shape != (LINEAR_BANDS,):
            raise BundleDamaged(
                f"The detector's reference has arrays for {sorted(lengths)} recordings and a floor of shape "
                f"{found.floor_db.shape}; one number of recordings and the shape {(LINEAR_BANDS,)} were expected."
            )
        numbers = np.unique(found.machine)
        # Before the centres are computed: they go through all numbers up to the largest.
        if not np.array_equal(numbers, np.arange(len(numbers))):
            raise BundleDamaged("The detector's reference has numbers of machines that are not 0, 1, 2 and so on.")
        floors, expected = found.machine_floors_db, (len(found.centres), LINEAR_BANDS)
        if floors is not None and floors.shape != expected:
            raise BundleDamaged(
                f"The detector's reference has floors of machines of shape {floors.shape}; {expected} was expected."
            )
        bands = found.band_centres_db
        if bands is not None and (bands.ndim != 2 or len(bands) != len(found.centres)):
            raise BundleDamaged(
                f"The detector's reference has centres of bands of shape {bands.shape}; ({len(found.centres)}, fine "
                "bands) was expected."
            )
        return found


def robust_minimum(values: NDArray[Any]) -> NDArray[np.float64]:
    """Return the value that about nine of ten normal recordings reach or exceed. One in ten may be damaged.

    The quantile 0.1 along the first axis, rounded up to a value that occurs.

    Args:
        values: ``(recordings, ...)``, at least one recording.

    Returns:
        ``(...)``.

    Example:
        >>> float(robust_minimum(np.array([-90.0, -21.0, -20.0, -20.0, -19.0])))
        -21.0
    """
    return np.asarray(np.quantile(values, UNUSUAL, axis=0, method="higher"))


def linear_levels(spectra: Spectra) -> NDArray[np.float64]:
    """Compute the level of each of 16 bands of equal width in Hz, relative to their mean.

    ``10 log10(p[b] / mean of p)`` with the mean power ``p[b]`` of the FFT bins of band ``b``.

    Returns:
        float64 ``(LINEAR_BANDS,)`` in dB, lowest band first.

    Example:
        >>> power = np.where(np.arange(513) < 257, 1.0, 0.001).astype(np.float32)  # low-pass at half of the range
        >>> linear_levels(Spectra(np.zeros((4, 8), np.float32), power))[[0, -1]].round(1)
        array([  3., -27.])
    """
    powers = np.array([part.mean(dtype=np.float64) for part in np.array_split(spectra.power, LINEAR_BANDS)])
    tiny = np.finfo(np.float32).tiny
    return np.asarray(10 * np.log10(np.maximum(powers, tiny) / max(float(powers.mean()), tiny)))


def _floor_db(recordings: Sequence[NormalRecording]) -> NDArray[np.float64]:
    return robust_minimum(np.array([linear_levels(clip) for each in recordings for clip in each.clips]))


def _band_centre_db(recordings: Sequence[NormalRecording]) -> NDArray[np.float32]:
    levels_db = [relative_levels(clip) for each in recordings for clip in each.clips]
    return np.asarray(np.mean(levels_db, axis=0, dtype=np.float64), np.float32)


def _mean_mel_spectrum(recording: NormalRecording) -> NDArray[np.float32]:
    return np.asarray(np.mean([clip.mel_spectrum for clip in recording.clips], axis=0), np.float32)
