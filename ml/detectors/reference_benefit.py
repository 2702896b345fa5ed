"""Whether a reference channel helps, from normal recordings alone."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ml.detectors.folds import FoldNumbers
from ml.detectors.reference_channel import Regression
from ml.detectors.spectra import Spectra

# Of mimii_pair, 0.63 to 0.86 are explained, by machine; of simulated pairs up to 0.983. Chosen here.
SAME_SIGNAL = 0.995
# The least gain in contrast. Useless references of mimii_pair have up to 1.03, good ones 1.5 and more (decision 22).
LEAST_GAIN = 1.1
QUANTITY = "fine_spectrum"
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

        It must explain something, but the two channels must not be the same signal. And the residual must tell the
        machines apart better, by a tenth: a reference close to the machine explains much, but has the machine's own
        sound. With one machine, this cannot be measured.
        """
        return self.why_not is None

    @property
    def why_not(self) -> str | None:
        """Why the reference channel is not to be used, as a clause after "because"; None if it helps."""
        if not self.explained > 0:
            return "nothing that varies in the main channel is explained by it"
        if self.explained >= SAME_SIGNAL:
            return "both channels have the same signal"
        if self.main_contrast is None or self.pair_contrast is None:
            return None
        if self.pair_contrast >= LEAST_GAIN * self.main_contrast:
            return None
        return (
            "the machines are not distinguished better, as if it recorded them too: without what it explains, a "
            f"recording is {self.pair_contrast:.1f} times as far from other machines as from its own, and "
            f"{self.main_contrast:.1f} times by the main channel alone"
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


def explained_share(clips: Sequence[Sequence[Spectra]], machines: NDArray[np.int64], folds: FoldNumbers) -> float:
    """Return the share of the variance of the main channel's fine spectrum that the reference channel explains.

    ``1 - sum (y - b r)^2 / sum y^2`` over all bands of all clips, with the levels ``y`` and ``r`` relative to the means
    of the machine. Coefficients and means come from the other folds.

    Args:
        clips: spectra of the clips of each recording, each with those of the reference channel.
        machines: int64 ``(recordings,)``: number of the machine of each recording, from 0 without a gap.
        folds: ``(recordings,)``: fold that holds out each recording; -1 if none does. At least one is not -1.

    Returns:
        At most 1; below 0 if the reference channel explains nothing.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> def recording(hall: float) -> tuple[Spectra]:
        ...     both = hall * np.linspace(0, 1, 65)
        ...     main, reference = (10 ** (both + rng.normal(0, 0.1, 65)) for _ in range(2))
        ...     frames = np.zeros((4, 8), np.float32)
        ...     return (Spectra(frames, main.astype("f4"), Spectra(frames, reference.astype("f4"))),)
        >>> clips = [recording(hall) for hall in rng.normal(size=20)]
        >>> round(explained_share(clips, np.zeros(20, np.int64), np.arange(20) % 5), 1)
        0.9
    """
    left, whole = 0.0, 0.0
    for number in range(int(folds.max()) + 1):
        parts = list(zip(clips, machines, folds, strict=True))
        learned = [(clip, of) for some, of, fold in parts for clip in some if fold != number]
        regression = Regression.fit([clip for clip, _ in learned], np.array([of for _, of in learned]))
        for clip, machine in ((clip, of) for some, of, fold in parts for clip in some if fold == number):
            level, change = regression.changes(clip, machine, QUANTITY)
            whole += float(np.square(level).sum())
            left += float(np.square(level - regression.coefficients[QUANTITY] * change).sum())
    return 1 - left / max(whole, TINY)
