"""Whether a reference channel helps, from normal recordings alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ml.detectors.folds import FoldNumbers
from ml.detectors.reference_channel import Regression, reference_of
from ml.detectors.spectra import Spectra

# Of mimii_pair, 0.63 to 0.86 are explained, by machine. Chosen here.
SAME_SIGNAL = 0.98
TINY = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True, slots=True)
class ReferenceBenefit:
    """How much a reference channel helps, measured on recordings that nothing has learned from.

    Attributes:
        explained: share of the variance of the main channel's spectrum that the reference channel explains, at most 1.
            Below 0, the residual varies more than the main channel.
        main_contrast: how much farther other machines are than the own one, by the main channel alone
            (:func:`ml.detectors.engine_choice.machine_contrast`); None with one machine.
        pair_contrast: the same by the residual.

    Example:
        >>> ReferenceBenefit(0.4, 6.0, 7.0).helps, ReferenceBenefit(0.4, 6.0, 3.0).helps, ReferenceBenefit(-0.1).helps
        (True, False, False)
        >>> ReferenceBenefit(0.999).helps  # one microphone on both channels
        False
    """

    explained: float
    main_contrast: float | None = None
    pair_contrast: float | None = None

    @property
    def helps(self) -> bool:
        """Whether the reference channel is to be used.

        The residual must vary less than the main channel, but the two channels must not be the same signal. And the
        residual must tell the machines apart at least as well: a reference close to the machine explains much, but
        takes the machine's own sound away.
        """
        return self.why_not is None

    @property
    def why_not(self) -> str | None:
        """Why the reference channel is not to be used, as a clause after "because"; None if it helps."""
        if not self.explained > 0:
            return "nothing that varies in the main channel is explained by it"
        if self.explained >= SAME_SIGNAL:
            return "both channels have the same signal"
        if self.main_contrast is None or self.pair_contrast is None or self.pair_contrast >= self.main_contrast:
            return None
        return (
            "the machines are distinguished less, as if it recorded them too: without what it explains, a recording is "
            f"{self.pair_contrast:.1f} times as far from other machines as from its own, and {self.main_contrast:.1f} "
            "times by the main channel alone"
        )

    def describe(self, channel: int) -> str:
        """Return a sentence on what the reference channel explains, whether it is used, and why not.

        Args:
            channel: index of the reference channel, from 0.

        Example:
            >>> ReferenceBenefit(0.79).describe(1)
            'The reference channel 1 explains 79 % of the variation between recordings of a machine: it is used.'
        """
        used = "it is used" if self.why_not is None else f"it is not used, because {self.why_not}"
        return f"The reference channel {channel} explains {self.explained_percent}: {used}."

    @property
    def explained_percent(self) -> str:
        """The explained share in words, at least 0 %."""
        return f"{100 * max(self.explained, 0):.0f} % of the variation between recordings of a machine"


class HeldOutPairs(NamedTuple):
    """Measurements of pairs by regressions that have not learned from them.

    Attributes:
        explained: share of the variance of the main channel's fine spectrum that the reference channel explains, at
            most 1: ``1 - sum (e - mean of e)^2 / sum (y - mean of y)^2`` over all bands of all clips, with the level
            ``y`` and the residual ``e``. Below 0 if the residual varies more.
        disturbances: :meth:`Regression.disturbance` of each clip for its machine, ``(clips,)``.
    """

    explained: float
    disturbances: NDArray[np.float64]


def measure_held_out(
    clips: Sequence[Sequence[Spectra]], machines: NDArray[np.int64], folds: FoldNumbers
) -> HeldOutPairs:
    """Measure pairs of channels. Regression and means of the machine come from the other folds.

    Args:
        clips: spectra of the clips of each recording, each with those of the reference channel.
        machines: int64 ``(recordings,)``: number of the machine of each recording, from 0 without a gap.
        folds: ``(recordings,)``: fold that holds out each recording; -1 if none does. At least one is not -1.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> def recording(hall: float) -> tuple[Spectra]:
        ...     both = hall * np.linspace(0, 1, 65)
        ...     main, reference = (10 ** (both + rng.normal(0, 0.1, 65)) for _ in range(2))
        ...     frames = np.zeros((4, 8), np.float32)
        ...     return (Spectra(frames, main.astype("f4"), Spectra(frames, reference.astype("f4"))),)
        >>> clips = [recording(hall) for hall in rng.normal(size=20)]
        >>> round(measure_held_out(clips, np.zeros(20, np.int64), np.arange(20) % 5).explained, 1)
        0.9
    """
    left, whole, disturbances = 0.0, 0.0, []
    for number in range(int(folds.max()) + 1):
        learned = [
            (clip, of) for some, of, fold in zip(clips, machines, folds, strict=True) for clip in some if fold != number
        ]
        regression = Regression.fit([clip for clip, _ in learned], np.array([of for _, of in learned]))
        coefficients = regression.coefficients["fine_spectrum"]
        for some, machine, fold in zip(clips, machines, folds, strict=True):
            for clip in some if fold == number else ():
                level = clip.fine_spectrum - regression.main_centres[machine]
                change = reference_of(clip).fine_spectrum - regression.reference_centres[machine]
                whole += float(np.square(level).sum())
                left += float(np.square(level - coefficients * change).sum())
                disturbances.append(regression.disturbance(clip)[machine])
    return HeldOutPairs(1 - left / max(whole, TINY), np.array(disturbances))
