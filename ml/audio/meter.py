"""What is measured on coded samples while they pass: their range, full scale, and whether they are numbers at all."""

import numpy as np
from numpy.typing import NDArray

from ml.audio.limits import Header
from ml.errors import NotFinite

# Some tools write integers as floats, so a full scale of 2**31 is taken; beyond it squares would overflow float32.
LARGEST_FLOAT = 2.0**31


class Meter:
    """Range and clipping of one recording, from its blocks as they are coded.

    Attributes:
        full_scale: the coded value that is -1; 24-bit samples lie in the upper three bytes of int32.
        highest: the largest coded value.
        low, high: of the samples so far, of any channel.
        clipped_samples: how many samples so far lie at full scale.
    """

    def __init__(self, header: Header) -> None:
        container_bits = 32 if header.bits == 24 else header.bits
        self.full_scale = 1.0 if header.floating else 2.0 ** (container_bits - 1)
        self.highest = 1.0 if header.floating else self.full_scale - 2.0 ** (container_bits - header.bits)
        self.low, self.high, self.clipped_samples = np.inf, -np.inf, 0
        self._floating = header.floating

    def read(self, block: NDArray[np.generic]) -> None:
        """Measure one block, ``(frames, channels)``.

        Raises:
            NotFinite: a sample is NaN, infinite or beyond any plausible full scale.
        """
        low, high = float(block.min()), float(block.max())
        if self._floating:
            _check_finite(low, high)
        if high >= self.highest or low <= -self.full_scale:
            at_full_scale = (block >= self.highest) | (block <= -self.full_scale)  # type: ignore[operator]  # numpy's types know no order of generic
            self.clipped_samples += int(np.count_nonzero(at_full_scale))
        self.low, self.high = min(self.low, low), max(self.high, high)


def _check_finite(low: float, high: float) -> None:
    """NaN survives min and max, so two numbers tell of a whole block."""
    if not (np.isfinite(low) and np.isfinite(high)):
        raise NotFinite("The recording holds samples that are NaN or infinite; finite numbers were expected.")
    if max(-low, high) > LARGEST_FLOAT:
        raise NotFinite(f"A sample has the value {max(-low, high):.3g}; full scale is 1 for floating-point recordings.")
