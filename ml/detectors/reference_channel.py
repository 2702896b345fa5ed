"""Reference channel: a second microphone for the hall, and what it explains of the first one.

**Residual.** Of each band, the hall explains ``b * r``, with the level ``r`` of the reference channel at constant
power. The engines get the residual, the level of the main channel without this. The coefficients ``b`` come from normal
recordings of all machines; levels are relative to the means of the machine. A gain of either microphone has no
influence, because the spectra are at constant power.

**Limit.** The hall explains at most what the main channel has: with the level ``y`` of the main channel, between 0 and
``y``. So a sound that only the reference records, and the machine's own sound in the reference, do little harm.

**Without a reference.** A recording whose reference is missing or dead is judged by engines that were fitted to the
main channel alone. Their distances are translated to the scale of the residual: at each sensitivity, as many normal
recordings are above the threshold. The same holds for a recording that is farther from normal with what its reference
explains than without: its reference has sounds that the main channel does not have.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ml.detectors.engines.covariance import STEADY_DB, whitening
from ml.detectors.engines.engine import Engine, EngineState, machine_means
from ml.detectors.spectra import Spectra

Floats = NDArray[np.float32]
QUANTITIES = ("mel_spectrum", "fine_spectrum", "fluctuation")
# A larger coefficient would be chance: both microphones record the same hall.
MOST = 1.5
# Of mimii_pair, no recording seems to be swapped with this limit, healthy or faulty; of the swapped ones, nearly all
# healthy and half of the faulty ones are recognised (decision 22).
SWAPPED = 0.2


@dataclass(frozen=True, slots=True)
class Regression:
    """Regression of the main channel's spectra on those of the reference channel, band by band.

    Attributes:
        coefficients: float32 ``(bands,)`` of each quantity, 0 to 1.5.
        main_centres: float32 ``(machines, bands)`` of each quantity: means of the main channel in dB.
        reference_centres: the same of the reference channel.
        main_spread: float64 ``(fine bands,)``, above 0: standard deviation of the main channel's fine spectrum in dB.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> hall, own = rng.normal(0, 6, (2, 40, 1, 8)).astype(np.float32)
        >>> power = np.ones(17, np.float32)
        >>> clips = [Spectra(h + 0.1 * o, power, Spectra(h, power)) for h, o in zip(hall, own)]
        >>> regression = Regression.fit(clips, np.zeros(40, np.int64))
        >>> regression.coefficients["mel_spectrum"].round(1)
        array([1., 1., 1., 1., 1., 1., 1., 1.], dtype=float32)
        >>> residuals = [regression.residual(clip, machine=0).mel_spectrum for clip in clips]
        >>> print(round(float(np.std([clip.mel_spectrum for clip in clips])), 1), round(float(np.std(residuals)), 1))
        5.9 1.1
    """

    coefficients: Mapping[str, Floats]
    main_centres: Mapping[str, Floats]
    reference_centres: Mapping[str, Floats]
    main_spread: NDArray[np.float64]

    @classmethod
    def fit(cls, clips: Sequence[Spectra], machines: NDArray[np.int64]) -> Self:
        """Fit the coefficients to normal clips.

        ``b = sum(y r) / (sum(r^2) + 0.3^2 n)``, limited to 0 to 1.5, with ``y`` and ``r`` in dB relative to the means
        of the machine. Where the hall does not vary, nothing is explained by it.

        Args:
            clips: spectra of clips, each with those of the reference channel.
            machines: int64 ``(clips,)``: number of the machine of each clip, from 0 without a gap.
        """
        main = {name: _stacked(clips, name) for name in QUANTITIES}
        reference = {name: _stacked([reference_of(clip) for clip in clips], name) for name in QUANTITIES}
        return cls(
            {name: _coefficients(main[name], reference[name], machines) for name in QUANTITIES},
            {name: machine_means(each, machines).astype(np.float32) for name, each in main.items()},
            {name: machine_means(each, machines).astype(np.float32) for name, each in reference.items()},
            band_spread(main["fine_spectrum"], machines),
        )

    def explained(self, clip: Spectra, machine: int, name: str) -> Floats:
        """Return what the hall explains of a clip's level, ``(bands,)`` in dB.

        ``b r``, but between 0 and ``y``, with the levels ``y`` and ``r`` relative to the means of the machine.

        Args:
            clip: spectra of the clip, with those of the reference channel.
            machine: number of the machine, from 0.
            name: ``mel_spectrum``, ``fine_spectrum`` or ``fluctuation``.
        """
        level, change = self.changes(clip, machine, name)
        return np.asarray(np.clip(self.coefficients[name] * change, np.minimum(level, 0), np.maximum(level, 0)))

    def residual(self, clip: Spectra, machine: int) -> Spectra:
        """Return the spectra of a clip without what the hall explains.

        The frames change by the same for all of a clip, because only the mean spectrum is regressed.

        Args:
            clip: spectra of the clip, with those of the reference channel.
            machine: number of the machine that the clip is compared with, from 0.
        """
        explained = {name: self.explained(clip, machine, name) for name in QUANTITIES}
        residual = replace(clip, log_mel=clip.log_mel - explained["mel_spectrum"], reference=None)
        residual.__dict__.update({name: getattr(clip, name) - each for name, each in explained.items()})
        residual.__dict__["frames"] = clip.frames
        return residual

    def is_disturbed(self, clip: Spectra, machine: int) -> bool:
        """Whether a clip is farther from normal with all that its reference explains than without.

        With the fine spectra, each band in standard deviations of the main channel: ``sum (y - b r)^2 > sum y^2``. A
        sound of the hall raises both channels. A sound that only the reference records makes ``b r`` large.

        Args:
            clip: spectra of the clip, with those of the reference channel.
            machine: number of the machine, from 0.
        """
        level, change = self.changes(clip, machine, "fine_spectrum")
        without = level - self.coefficients["fine_spectrum"] * change
        return bool(np.square(without / self.main_spread).sum() > np.square(level / self.main_spread).sum())

    def changes(self, clip: Spectra, machine: int, name: str) -> tuple[Floats, Floats]:
        """Return the levels of main and reference channel relative to the means of a machine, ``(bands,)`` in dB.

        Args:
            clip: spectra of the clip, with those of the reference channel.
            machine: number of the machine, from 0.
            name: ``mel_spectrum``, ``fine_spectrum`` or ``fluctuation``.
        """
        level = getattr(clip, name) - self.main_centres[name][machine]
        return level, getattr(reference_of(clip), name) - self.reference_centres[name][machine]


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
        spread: float64 ``(bands,)``: standard deviation in dB of the residual of each mel band.
        whitening: float32 ``(fine bands, fine bands)``, in 1/dB: whitening of the difference of the two channels.
        alone: engines for recordings without it.
    """

    regression: Regression
    spread: NDArray[np.float64]
    whitening: Floats
    alone: MainChannel

    def is_swapped(self, clip: Spectra, machine: int) -> bool:
        """Whether main and reference channel seem to be swapped.

        ``d`` is the fine spectrum of the main channel minus that of the reference channel, and ``c`` its mean for the
        machine, both whitened (:func:`ml.detectors.engines.covariance.whitening`). The channels are swapped if ``2 <d,
        c> / (<d, d> + <c, c>)`` is below -0.2. It is 1 for a typical recording, -1 with swapped channels, and about 0
        if both microphones record the same.

        Args:
            clip: spectra of the clip, with those of the reference channel.
            machine: number of the machine, from 0.
        """
        main, reference = (
            each["fine_spectrum"][machine] for each in (self.regression.main_centres, self.regression.reference_centres)
        )
        usual = (main - reference) @ self.whitening
        found = (clip.fine_spectrum - reference_of(clip).fine_spectrum) @ self.whitening
        return bool(2 * (found @ usual) < -SWAPPED * (found @ found + usual @ usual))

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return all but the engines of :attr:`alone` as arrays."""
        regression = self.regression
        return {
            **{f"coefficients/{name}": each for name, each in regression.coefficients.items()},
            **{f"main_centres/{name}": each for name, each in regression.main_centres.items()},
            **{f"reference_centres/{name}": each for name, each in regression.reference_centres.items()},
            "main_spread": regression.main_spread,
            "spread": self.spread,
            "whitening": self.whitening,
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
        coefficients, main, reference = (
            {name: arrays[f"{of}/{name}"] for name in QUANTITIES}
            for of in ("coefficients", "main_centres", "reference_centres")
        )
        found = cls(
            Regression(coefficients, main, reference, arrays["main_spread"]),
            spread=arrays["spread"],
            whitening=arrays["whitening"],
            alone=MainChannel(engines, states, arrays["alone_scales"], arrays["alone_matched"]),
        )
        found._check()
        return found

    def _check(self) -> None:
        regression, matched, scales = self.regression, self.alone.matched, self.alone.scales
        machines = scales.shape[-1]
        if scales.shape != (len(self.alone.engines), machines) or not (scales > 0).all():
            raise ValueError(f"the scales of its main channel have shape {scales.shape}, or are not all above 0")
        ascending = matched.ndim == 2 and len(matched) == 2 and matched.shape[1] > 0 and (np.diff(matched) >= 0).all()
        if not ascending or not (matched > 0).all():
            raise ValueError("the matched distances of its main channel are not two ascending rows above 0")
        for name, coefficients in regression.coefficients.items():
            shapes = {regression.main_centres[name].shape, regression.reference_centres[name].shape}
            if shapes != {(machines, *coefficients.shape)}:
                raise ValueError(f"the {name} of its channels has shapes {sorted(shapes)}")
        fine = regression.coefficients["fine_spectrum"].shape
        shapes = {self.whitening.shape, (*regression.main_spread.shape, *fine)}
        if shapes != {(*fine, *fine)} or self.spread.shape != regression.coefficients["mel_spectrum"].shape:
            raise ValueError(f"the arrays of its reference channel have other lengths than its {fine} fine bands")
        if not all(np.isfinite(each).all() for each in self.to_arrays().values()):
            raise ValueError("a number of its reference channel is not finite")
        if not all((each > 0).all() for each in (self.spread, regression.main_spread)):
            raise ValueError("a standard deviation of its reference channel is not above 0")


def reference_of(clip: Spectra) -> Spectra:
    """Return the spectra of the reference channel.

    Raises:
        ValueError: the clip has none.

    Example:
        >>> hall = Spectra(np.zeros((4, 8), np.float32), np.ones(17, np.float32))
        >>> reference_of(replace(hall, reference=hall)) is hall
        True
    """
    if clip.reference is None:
        raise ValueError("the clip has no spectra of a reference channel")
    return clip.reference


def difference_whitening(clips: Sequence[Spectra], machines: NDArray[np.int64]) -> Floats:
    """Return the whitening of the difference of main and reference channel, ``(fine bands, fine bands)`` in 1/dB.

    Args:
        clips: spectra of clips, each with those of the reference channel.
        machines: int64 ``(clips,)``: number of the machine of each clip, from 0 without a gap.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> some = [Spectra(np.zeros((4, 8), np.float32), rng.chisquare(9, 17).astype(np.float32)) for _ in range(9)]
        >>> clips = [replace(main, reference=reference) for main, reference in zip(some[:-1], some[1:])]
        >>> difference_whitening(clips, np.zeros(8, np.int64)).shape
        (8, 8)
    """
    differences = np.stack([clip.fine_spectrum - reference_of(clip).fine_spectrum for clip in clips])
    degrees = max(1, len(clips) - (1 + int(machines.max())))
    return whitening(_centred(differences, machines), degrees).astype(np.float32)


def band_spread(levels: NDArray[np.float64], machines: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the standard deviation of each band around the means of the machines, at least 0.3 dB.

    Args:
        levels: ``(clips, bands)`` in dB.
        machines: int64 ``(clips,)``: number of the machine of each clip, from 0 without a gap.

    Returns:
        float64 ``(bands,)`` in dB.

    Example:
        >>> band_spread(np.array([[1.0, 5.0], [3.0, 5.0]]), np.array([0, 0])).round(2)
        array([1.45, 0.3 ])
    """
    degrees = max(1, len(levels) - (1 + int(machines.max())))
    return np.asarray(np.sqrt(np.square(_centred(levels, machines)).sum(axis=0) / degrees + STEADY_DB**2))


def _stacked(clips: Sequence[Spectra], name: str) -> NDArray[np.float64]:
    return np.stack([getattr(clip, name) for clip in clips]).astype(np.float64)


def _coefficients(main: NDArray[np.float64], reference: NDArray[np.float64], machines: NDArray[np.int64]) -> Floats:
    level, change = _centred(main, machines), _centred(reference, machines)
    found = (level * change).sum(axis=0) / (np.square(change).sum(axis=0) + STEADY_DB**2 * len(change))
    return np.asarray(found.clip(0, MOST), np.float32)


def _centred(values: NDArray[Any], machines: NDArray[np.int64]) -> NDArray[np.float64]:
    values = values.astype(np.float64)
    return np.asarray(values - machine_means(values, machines)[machines])
