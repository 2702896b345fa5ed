"""Reference channel: a second microphone for the hall, and what it says about the first one.

**Regression.** Of each band, what the hall explains is ``b * r``, with the level ``r`` of the reference channel at
constant power. The engines get the residual ``e = y - b * r`` instead of the level ``y`` of the main channel. The
coefficients ``b`` come from normal recordings of all machines, each relative to the means of its machine. A gain of
either microphone has no influence, because the spectra are at constant power.

**Without a reference.** A recording whose reference is missing or dead is judged by engines that were fitted to the
main channel alone. Their distances are translated to the scale of the residual: at each sensitivity, as many normal
recordings are above the threshold.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ml.detectors.engines.covariance import STEADY_DB
from ml.detectors.engines.engine import Engine, EngineState, machine_means
from ml.detectors.spectra import Spectra

Floats = NDArray[np.float32]
QUANTITIES = ("mel_spectrum", "fine_spectrum", "fluctuation")
# A larger coefficient would be chance: both microphones record the same hall.
MOST = 1.5
# Below this similarity of normal recordings, swapped channels cannot be recognised. Chosen here.
LEAST_SIMILARITY = 0.25


@dataclass(frozen=True, slots=True)
class Regression:
    """Regression of the main channel's spectra on those of the reference channel, band by band.

    Attributes:
        coefficients: float32 ``(bands,)`` of each quantity, 0 to 1.5.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> hall, own = rng.normal(0, 6, (2, 40, 1, 8)).astype(np.float32)
        >>> power = np.ones(17, np.float32)
        >>> clips = [Spectra(h + 0.1 * o, power, Spectra(h, power)) for h, o in zip(hall, own)]
        >>> regression = Regression.fit(clips, np.zeros(40, np.int64))
        >>> regression.coefficients["mel_spectrum"].round(1)
        array([1., 1., 1., 1., 1., 1., 1., 1.], dtype=float32)
        >>> print(round(float(np.std([regression.residual(clip).mel_spectrum for clip in clips])), 1))
        0.7
    """

    coefficients: Mapping[str, Floats]

    @classmethod
    def fit(cls, clips: Sequence[Spectra], machines: NDArray[np.int64]) -> Self:
        """Fit the coefficients to normal clips.

        ``b = sum(y r) / (sum(r^2) + 0.3^2 n)``, limited to 0 to 1.5, with ``y`` and ``r`` in dB relative to the means
        of the machine. Where the hall does not vary, nothing is explained by it.

        Args:
            clips: spectra of clips, each with those of the reference channel.
            machines: int64 ``(clips,)``: number of the machine of each clip, from 0 without a gap.
        """
        references = [reference_of(clip) for clip in clips]
        return cls(
            {
                name: _coefficients(
                    _centred(np.stack([getattr(clip, name) for clip in clips]), machines),
                    _centred(np.stack([getattr(each, name) for each in references]), machines),
                )
                for name in QUANTITIES
            }
        )

    def residual(self, clip: Spectra) -> Spectra:
        """Return the spectra of a clip without what the hall explains.

        The frames change by the same for all of a clip, because only the mean spectrum is regressed.
        """
        reference = reference_of(clip)
        explained = {name: b * getattr(reference, name) for name, b in self.coefficients.items()}
        frames = clip.log_mel - explained["mel_spectrum"]
        residual = replace(clip, log_mel=frames, reference=None)
        residual.__dict__.update({name: getattr(clip, name) - each for name, each in explained.items()})
        residual.__dict__["frames"] = clip.frames
        return residual


@dataclass(frozen=True, slots=True)
class MainChannel:
    """Engines for the main channel alone, whose distances are on the scale of the residual.

    Attributes:
        engines, states, scales: as of a :class:`~ml.detectors.detector.Detector`.
        matched: float64 ``(2, thresholds)``, above 0, ascending: relative distances of the main channel, and those of
            the residual that as many normal recordings exceed.
    """

    engines: tuple[Engine, ...]
    states: tuple[EngineState, ...]
    scales: NDArray[np.float64]
    matched: NDArray[np.float64]

    def translate(self, relative: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return relative distances on the scale of the residual.

        Between the matched distances, the logarithm is interpolated; beyond them, the ratio stays.

        Args:
            relative: relative distances of the main channel, of any shape.

        Example:
            >>> alone = MainChannel((), (), np.ones((0, 1)), matched=np.array([[1.0, 4.0], [1.0, 2.0]]))
            >>> alone.translate(np.array([0.5, 2.0, 8.0])).round(2)
            array([0.5 , 1.41, 4.  ])
        """
        own, wanted = np.log(self.matched)
        logs = np.log(np.maximum(relative, np.finfo(np.float32).tiny))
        return np.asarray(np.exp(logs + np.interp(logs, own, wanted - own)))


@dataclass(frozen=True, slots=True)
class ReferenceChannel:
    """What a detector has learned about its reference channel.

    Attributes:
        regression: regression of the main channel on it.
        centres: float32 ``(machines, bands)``: its mean mel spectrum in dB, of each machine.
        spread: float64 ``(bands,)``: standard deviation in dB of the residual of each mel band.
        least_similarity: smallest similarity of a normal recording to its machine (:meth:`similarity`).
        alone: engines for recordings without it.
    """

    regression: Regression
    centres: Floats
    spread: NDArray[np.float64]
    least_similarity: float
    alone: MainChannel

    def explained_db(self, clip: Spectra, machine: int) -> NDArray[np.float64]:
        """Return by how much the hall raises each mel band of a clip, ``(bands,)`` in dB.

        Args:
            clip: spectra of the clip, with those of the reference channel.
            machine: number of the machine, from 0.
        """
        change = reference_of(clip).mel_spectrum - self.centres[machine]
        return np.asarray(self.regression.coefficients["mel_spectrum"] * change, np.float64)

    def similarity(self, clip: Spectra, machine: int, main_centre: NDArray[np.float64]) -> float:
        """Return how similar the difference of the two channels is to that of normal recordings.

        ``<d, d_m> / <d_m, d_m>`` with the difference ``d`` of the mel spectra of main and reference channel, and its
        mean ``d_m`` for the machine: 1 as in normal recordings, -1 with swapped channels.

        Args:
            clip: spectra of the clip, with those of the reference channel.
            machine: number of the machine, from 0.
            main_centre: mean mel spectrum of the main channel of the machine, ``(bands,)``.
        """
        return channel_similarity(clip, main_centre - self.centres[machine])

    def is_swapped(self, clip: Spectra, machine: int, main_centre: NDArray[np.float64]) -> bool:
        """Whether main and reference channel seem to be swapped.

        The similarity is then as far below zero as that of normal recordings is above. If normal recordings are not
        similar enough for that, the answer is False.
        """
        if self.least_similarity < LEAST_SIMILARITY:
            return False
        return self.similarity(clip, machine, main_centre) < -self.least_similarity

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return regression, centres and spread as arrays; the engines of :attr:`alone` are stored as engines are."""
        return {
            **{f"coefficients/{name}": each for name, each in self.regression.coefficients.items()},
            "centres": self.centres,
            "spread": self.spread,
            "least_similarity": np.array(self.least_similarity),
            "alone_scales": self.alone.scales,
            "alone_matched": self.alone.matched,
        }

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, NDArray[Any]], engines: tuple[Engine, ...], states: tuple[EngineState, ...]
    ) -> Self:
        """Read what :meth:`to_arrays` has returned.

        Args:
            arrays: the arrays.
            engines: engines for the main channel alone.
            states: their states.

        Raises:
            KeyError: an array is missing.
            ValueError: the arrays do not fit each other, or are not finite.
        """
        found = cls(
            Regression({name: arrays[f"coefficients/{name}"] for name in QUANTITIES}),
            centres=arrays["centres"],
            spread=arrays["spread"],
            least_similarity=float(arrays["least_similarity"]),
            alone=MainChannel(engines, states, arrays["alone_scales"], arrays["alone_matched"]),
        )
        found._check()
        return found

    def _check(self) -> None:
        matched, scales, bands = self.alone.matched, self.alone.scales, self.centres.shape[-1]
        if scales.shape != (len(self.alone.engines), len(self.centres)) or not (scales > 0).all():
            raise ValueError(f"the scales of its main channel have shape {scales.shape}, or are not all above 0")
        ascending = matched.ndim == 2 and len(matched) == 2 and matched.shape[1] > 0 and (np.diff(matched) >= 0).all()
        if not ascending or not (matched > 0).all():
            raise ValueError("the matched distances of its main channel are not two ascending rows above 0")
        if self.spread.shape != (bands,) or self.regression.coefficients["mel_spectrum"].shape != (bands,):
            raise ValueError(f"its reference channel has centres of {bands} bands, and other arrays of other lengths")
        numbers: list[NDArray[Any]] = [self.centres, self.spread, matched, scales]
        numbers += self.regression.coefficients.values()
        if not all(np.isfinite(each).all() for each in numbers) or not (self.spread > 0).all():
            raise ValueError("a number of its reference channel is not finite")


def reference_of(clip: Spectra) -> Spectra:
    """Return the spectra of the reference channel.

    Raises:
        ValueError: the clip has none.
    """
    if clip.reference is None:
        raise ValueError("the clip has no spectra of a reference channel")
    return clip.reference


def channel_similarity(clip: Spectra, usual: NDArray[np.float64]) -> float:
    """Return the similarity of :meth:`ReferenceChannel.similarity`.

    Args:
        clip: spectra of the clip, with those of the reference channel.
        usual: mean difference of main and reference channel, ``(bands,)`` in dB.

    Example:
        >>> usual = np.array([6.0, 0.0, -6.0])
        >>> power = np.ones(17, np.float32)
        >>> main, hall = (Spectra(np.array([each], np.float32), power) for each in ([-20, -26, -32], [-30, -30, -30]))
        >>> straight, swapped = replace(main, reference=hall), replace(hall, reference=main)
        >>> [round(channel_similarity(each, usual), 1) for each in (straight, swapped)]
        [1.0, -1.0]
    """
    usual = usual - usual.mean()
    difference = clip.mel_spectrum - reference_of(clip).mel_spectrum
    return float(usual @ difference / max(float(usual @ usual), np.finfo(np.float32).tiny))


def residual_spread(residuals: NDArray[np.float64], machines: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the standard deviation of each band around the means of the machines, at least 0.3 dB.

    Args:
        residuals: ``(clips, bands)`` in dB.
        machines: int64 ``(clips,)``: number of the machine of each clip, from 0 without a gap.

    Returns:
        float64 ``(bands,)`` in dB.

    Example:
        >>> residual_spread(np.array([[1.0, 5.0], [3.0, 5.0]]), np.array([0, 0])).round(2)
        array([1.45, 0.3 ])
    """
    degrees = max(1, len(residuals) - (1 + int(machines.max())))
    return np.asarray(np.sqrt(np.square(_centred(residuals, machines)).sum(axis=0) / degrees + STEADY_DB**2))


def _coefficients(main: NDArray[np.float64], reference: NDArray[np.float64]) -> Floats:
    steady = STEADY_DB**2 * len(main)
    found = (main * reference).sum(axis=0) / (np.square(reference).sum(axis=0) + steady)
    return np.asarray(found.clip(0, MOST), np.float32)


def _centred(values: NDArray[Any], machines: NDArray[np.int64]) -> NDArray[np.float64]:
    values = values.astype(np.float64)
    return np.asarray(values - machine_means(values, machines)[machines])
