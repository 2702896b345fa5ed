"""Measurements on coded samples, block by block: range, clipped samples, finite numbers."""

import numpy as np
from numpy.typing import NDArray

from ml.audio.limits import Header
from ml.errors import NotFinite

# Some tools write 32-bit integers as floats. Larger values are no samples, and their power could overflow float32.
LARGEST_FLOAT = 2.0**31


class Meter:
    """Range and clipped samples of one recording, measured on its coded blocks.

    Attributes:
        full_scale: divisor of coded samples: ``-full_scale`` is -1.
        lowest, highest: smallest and largest value that the coding can hold: full scale.
        low, high: smallest and largest coded value of all channels until now.
        clipped: number of samples of each channel until now that are at ``lowest`` or below, or ``highest`` or
            above, ``(channels,)``.

    Example:
        >>> meter = Meter(Header("wav", sample_rate_hz=16_000, channels=2, frames=3, bits=16))
        >>> meter.read(np.array([[0, 5], [32_767, -7], [-32_768, 1]], np.int16))
        >>> meter.low, meter.high, meter.full_scale, meter.clipped.tolist(), meter.clipped_samples
        (-32768.0, 32767.0, 32768.0, [2, 0], 2)
    """

    def __init__(self, header: Header) -> None:
        self.full_scale, self.lowest, self.highest = header.full_scale, header.lowest, header.highest
        self.low, self.high, self.clipped = np.inf, -np.inf, np.zeros(header.channels, np.int64)
        self._floating = header.encoding == "float"

    @property
    def clipped_samples(self) -> int:
        """Number of samples of all channels until now that are at full scale."""
        return int(self.clipped.sum())

    def read(self, block: NDArray[np.generic]) -> None:
        """Measure one block of coded samples, shape ``(frames, channels)``.

        Raises:
            NotFinite: a sample is NaN, infinite or larger than 2**31.
        """
        low, high = float(block.min()), float(block.max())
        if self._floating:
            _check_finite(low, high)
        if high >= self.highest or low <= self.lowest:
            # numpy's types define no order of np.generic
            at_full_scale = (block >= self.highest) | (block <= self.lowest)  # type: ignore[operator]  # np.generic has no order
            self.clipped += np.count_nonzero(at_full_scale, axis=0)
        self.low, self.high = min(self.low, low), max(self.high, high)


def _check_finite(low: float, high: float) -> None:
    """Check a block by its minimum and maximum: both are NaN if any sample is."""
    if not (np.isfinite(low) and np.isfinite(high)):
        raise NotFinite(
            "The recording has samples that are NaN or infinite; finite numbers were expected. "
            "Export it as integers (ffmpeg -i in.wav -c:a pcm_s24le out.wav)."
        )
    if max(-low, high) > LARGEST_FLOAT:
        raise NotFinite(
            f"A sample has the absolute value {max(-low, high):.3g}; full scale is 1 for floating-point recordings. "
            "Divide the samples by full scale, or export them as integers."
        )
