"""Reference channel: a second microphone for the hall, and what it explains of the first one.

**Regression.** Of each band, what the hall explains is ``b * r``, with the level ``r`` of the reference channel at
constant power. The engines get the residual ``e = y - b * r`` instead of the level ``y`` of the main channel. The
coefficients ``b`` come from normal recordings of all machines, each relative to the means of its machine. A gain of
either microphone has no influence, because the spectra are at constant power.

**Without a reference.** A recording whose reference is missing or dead is judged by engines that were fitted to the
main channel alone. Their distances are translated to the scale of the residual: at each sensitivity, as many normal
recordings are above the threshold. The same holds for a recording whose reference has sounds that the main channel does
not have, such as a tool beside the second microphone: the residual would be far from normal because of them.
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
# Of mimii_pair, no recording seems to be swapped with this limit, healthy or faulty; of the swapped ones, 0.9 of the
# healthy and half of the faulty ones are recognised (decision 22).
SWAPPED = 0.3


@dataclass(frozen=True, slots=True)
class Regression:
    """Regression of the main channel's spectra on those of the reference channel, band by band.

    Attributes:
        coefficients: float32 ``(bands,)`` of each quantity, 0 to 1.5.
        main_centres: float32 ``(machines, fine bands)``: mean fine spectrum of the main channel of each machine, in dB.
        reference_centres: the same of the reference channel.
        reference_spread: float64 ``(fine bands,)``, above 0: standard deviation of the reference's fine spectrum in dB.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> hall, own = rng.normal(0, 6, (2, 40, 1, 8)).astype(np.float32)
        >>> power = np.ones(17, np.float32)
        >>> clips = [Spectra(h + 0.1 * o, power, Spectra(h, power)) for h, o in zip(hall, own)]
        >>> regression = Regression.fit(clips, np.zeros(40, np.int64))
        >>> regression.coefficients["mel_spectrum"].round(1)
        array([1., 1., 1., 1., 1., 1., 1., 1.], dtype=float32)
        >>> print(round(float(np.std([regression.residual(clip).mel_spectrum for clip in clips])), 1))
        0.6
    """

    coefficients: Mapping[str, Floats]
    main_centres: Floats
    reference_centres: Floats
    reference_spread: NDArray[np.float64]

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
        coefficients = {
            name: _coefficients(
                _centred(np.stack([getattr(clip, name) for clip in clips]), machines),
                _centred(np.stack([getattr(each, name) for each in references]), machines),
            )
            for name in QUANTITIES
        }
        main, reference = (
            np.stack([each.fine_spectrum for each in some]).astype(float) for some in (clips, references)
        )
        return cls(
            coefficients,
            machine_means(main, machines).astype(np.float32),
            machine_means(reference, machines).astype(np.float32),
            band_spread(reference, machines),
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

    def disturbance(self, clip: Spectra) -> NDArray[np.float64]:
        """Return how much of the reference channel's change is missing in the main channel, ``(machines,)``.

        ``-mean of e r / s^2`` over the fine bands, with the residual ``e`` and the reference ``r`` relative to the
        means of the machine, and the standard deviation ``s`` of the reference. A sound of the hall raises both
        channels, so it leaves no residual, and the mean is about 0. A sound that only the reference records lowers the
        residual where it raises the reference.

        Args:
            clip: spectra of the clip, with those of the reference channel.
        """
        change = reference_of(clip).fine_spectrum - self.reference_centres
        residual = clip.fine_spectrum - self.main_centres - self.coefficients["fine_spectrum"] * change
        return np.asarray(-(residual * change / np.square(self.reference_spread)).mean(axis=1), np.float64)


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
        difference_spread: float64 ``(fine bands,)``, above 0: standard deviation of :func:`difference_of` in dB.
        most_disturbed: :meth:`Regression.disturbance` that 95 % of the normal recordings stay below.
        alone: engines for recordings without it.
    """

    regression: Regression
    centres: Floats
    spread: NDArray[np.float64]
    difference_spread: NDArray[np.float64]
    most_disturbed: float
    alone: MainChannel

    def explained_db(self, clip: Spectra, machine: int) -> NDArray[np.float64]:
        """Return by how much the hall raises each mel band of a clip, ``(bands,)`` in dB.

        Args:
            clip: spectra of the clip, with those of the reference channel.
            machine: number of the machine, from 0.
        """
        change = reference_of(clip).mel_spectrum - self.centres[machine]
        return np.asarray(self.regression.coefficients["mel_spectrum"] * change, np.float64)

    def is_swapped(self, clip: Spectra, machine: int) -> bool:
        """Whether main and reference channel seem to be swapped.

        ``d`` is the fine spectrum of the main channel minus that of the reference channel, and ``d_m`` its mean for the
        machine. The distances ``straight = sum (d - d_m)^2 / s^2`` and ``swapped = sum (-d - d_m)^2 / s^2`` are
        compared: the channels are swapped if ``(swapped - straight) / (swapped + straight)`` is below -0.3. If both
        microphones record the same, this is about 0.

        Args:
            clip: spectra of the clip, with those of the reference channel.
            machine: number of the machine, from 0.
        """
        usual = self.regression.main_centres[machine] - self.regression.reference_centres[machine]
        found = difference_of(clip)
        straight, swapped = (float(np.square((d - usual) / self.difference_spread).sum()) for d in (found, -found))
        return swapped - straight < -SWAPPED * (swapped + straight)

    def is_disturbed(self, clip: Spectra, machine: int | None) -> bool:
        """Whether the reference channel has sounds that the main channel does not have.

        Of normal recordings, 5 % seem to; they are then judged by the main channel, which costs little.

        Args:
            clip: spectra of the clip, with those of the reference channel.
            machine: number of the machine, from 0; None if not known: the most similar one counts.
        """
        found = self.regression.disturbance(clip)
        return float(found.min() if machine is None else found[machine]) > self.most_disturbed

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return regression, centres and spread as arrays; the engines of :attr:`alone` are stored as engines are."""
        return {
            **{f"coefficients/{name}": each for name, each in self.regression.coefficients.items()},
            "centres": self.centres,
            "spread": self.spread,
            "main_centres": self.regression.main_centres,
            "reference_centres": self.regression.reference_centres,
            "reference_spread": self.regression.reference_spread,
            "difference_spread": self.difference_spread,
            "most_disturbed": np.array(self.most_disturbed),
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
            Regression(
                {name: arrays[f"coefficients/{name}"] for name in QUANTITIES},
                arrays["main_centres"],
                arrays["reference_centres"],
                arrays["reference_spread"],
            ),
            centres=arrays["centres"],
            spread=arrays["spread"],
            difference_spread=arrays["difference_spread"],
            most_disturbed=float(arrays["most_disturbed"]),
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
        regression, fine = self.regression, (len(self.centres), *self.difference_spread.shape)
        shapes = {each.shape for each in (regression.main_centres, regression.reference_centres)}
        if shapes != {fine} or regression.reference_spread.shape != fine[1:]:
            raise ValueError(f"the fine spectra of its channels have shapes {sorted(shapes)}; {fine} was expected")
        numbers: list[NDArray[Any]] = [self.centres, self.spread, matched, scales, np.array(self.most_disturbed)]
        numbers += [regression.main_centres, regression.reference_centres, *regression.coefficients.values()]
        if not all(np.isfinite(each).all() for each in numbers):
            raise ValueError("a number of its reference channel is not finite")
        if not all((each > 0).all() for each in (self.spread, self.difference_spread, regression.reference_spread)):
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


def difference_of(clip: Spectra) -> NDArray[np.float64]:
    """Return the fine spectrum of the main channel minus that of the reference channel, ``(bands,)`` in dB.

    Args:
        clip: spectra of the clip, with those of the reference channel.

    Example:
        >>> hall = Spectra(np.zeros((4, 8), np.float32), np.ones(5, np.float32))
        >>> difference_of(replace(hall, power=np.array([0, 1, 1, 100, 100], np.float32), reference=hall)).round(1)
        array([-10.,  10.])
    """
    return np.asarray(clip.fine_spectrum - reference_of(clip).fine_spectrum, np.float64)


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


def _coefficients(main: NDArray[np.float64], reference: NDArray[np.float64]) -> Floats:
    steady = STEADY_DB**2 * len(main)
    found = (main * reference).sum(axis=0) / (np.square(reference).sum(axis=0) + steady)
    return np.asarray(found.clip(0, MOST), np.float32)


def _centred(values: NDArray[Any], machines: NDArray[np.int64]) -> NDArray[np.float64]:
    values = values.astype(np.float64)
    return np.asarray(values - machine_means(values, machines)[machines])
