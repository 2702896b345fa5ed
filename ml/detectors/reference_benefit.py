"""Whether a reference channel helps, from normal recordings alone."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ml.detectors.engines.engine import machine_means
from ml.detectors.folds import FoldNumbers
from ml.detectors.reference_channel import Regression
from ml.detectors.spectra import Spectra

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
    """

    explained: float
    main_contrast: float | None = None
    pair_contrast: float | None = None

    @property
    def helps(self) -> bool:
        """Whether the reference channel is to be used.

        The residual must vary less than the main channel, and must tell the machines apart at least as well. A
        reference close to the machine explains much, but takes the machine's own sound away.
        """
        if self.explained <= 0:
            return False
        return self.main_contrast is None or self.pair_contrast is None or self.pair_contrast >= self.main_contrast


def explained_share(clips: Sequence[Sequence[Spectra]], machines: NDArray[np.int64], folds: FoldNumbers) -> float:
    """Return the share of the variance of the main channel's fine spectrum that the reference channel explains.

    ``1 - sum (e - mean of e)^2 / sum (y - mean of y)^2`` over all bands of the recordings, with the level ``y`` and the
    residual ``e``. Regression and means of the machine come from the other folds.

    Args:
        clips: spectra of the clips of each recording, each with those of the reference channel.
        machines: int64 ``(recordings,)``: number of the machine of each recording, from 0 without a gap.
        folds: ``(recordings,)``: fold that holds out each recording; -1 if none does. At least one is not -1.

    Returns:
        At most 1; below 0 if the reference channel explains nothing.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> def recording(hall: float) -> tuple[Spectra]:
        ...     power = rng.normal(size=65) ** 2
        ...     main, reference = (10 ** (level * rng.normal(size=65) / 10) for level in (0.1, 0.1))
        ...     both = 10 ** (hall * np.linspace(0, 1, 65))
        ...     frames = np.zeros((4, 8), np.float32)
        ...     return (Spectra(frames, (main * both).astype("f4"), Spectra(frames, (reference * both).astype("f4"))),)
        >>> clips = [recording(hall) for hall in rng.normal(size=20)]
        >>> round(explained_share(clips, np.zeros(20, np.int64), np.arange(20) % 5), 1)
        1.0
    """
    left, whole = 0.0, 0.0
    for number in range(int(folds.max()) + 1):
        others, held_out = folds != number, folds == number
        learned = [(clip, of) for some, of, take in zip(clips, machines, others, strict=True) if take for clip in some]
        of = np.array([machine for _, machine in learned])
        regression = Regression.fit([clip for clip, _ in learned], of)
        main = machine_means(np.stack([_main(clip) for clip, _ in learned]).astype(np.float64), of)
        residual = machine_means(np.stack([_residual(regression, clip) for clip, _ in learned]).astype(np.float64), of)
        for some, machine, take in zip(clips, machines, held_out, strict=True):
            for clip in some if take else ():
                whole += float(np.square(_main(clip) - main[machine]).sum())
                left += float(np.square(_residual(regression, clip) - residual[machine]).sum())
    return 1 - left / max(whole, TINY)


def _main(clip: Spectra) -> NDArray[np.float32]:
    return np.asarray(getattr(clip, QUANTITY), np.float32)


def _residual(regression: Regression, clip: Spectra) -> NDArray[np.float32]:
    return np.asarray(getattr(regression.residual(clip), QUANTITY), np.float32)
