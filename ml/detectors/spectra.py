"""One clip -> the spectra that detectors of novelty compare: level-invariant by default.

Engines differ in how they measure distance; what they listen to is computed once, here. A spectrum is taken in frames
of 64 ms, half of one apart, as the classifier's: at MIMII's 16 kHz 1024 samples, 15.6 Hz a bin.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ml.features.extractor import POWER_FLOOR, FeatureExtractor

Floats = NDArray[np.float32]
# Two bins of the spectrum make a band of the fine spectrum: 31 Hz at 16 kHz. Finer was no better (decision 14).
BINS_PER_BAND = 2
# In a band of hardly any movement, the difference between 0.01 and 0.001 dB says nothing.
LEAST_FLUCTUATION_DB = 0.1
# As librosa has it; a band of a resampled recording above its spectrum holds nothing but a floor.
DYNAMIC_RANGE_DB = 80.0


@dataclass(frozen=True)
class Spectra:
    """What was heard in one clip.

    Attributes:
        log_mel: log power in mel bands in dB, ``(frames, bands)``, as recorded.
        power: mean power of each bin of the spectrum, ``(1 + n_fft // 2,)``, as recorded.
    """

    log_mel: Floats
    power: Floats

    @property
    def _floored(self) -> Floats:
        """The log-mel spectrum, a floor under its loudest value: a band without sound then moves with the others.

        Made anew each time: kept, it would double what a fit holds of every recording.
        """
        return np.asarray(np.maximum(self.log_mel, self.log_mel.max() - DYNAMIC_RANGE_DB), np.float32)

    @cached_property
    def mel_spectrum(self) -> Floats:
        """Mean log-mel spectrum at constant power, in dB, ``(bands,)``: the steady sound.

        The power is that of the mel bands, so that a gain moves both alike and drops out.
        """
        steady = self._floored.mean(axis=0)
        power = np.power(10.0, self.log_mel / 10).mean()
        return np.asarray(steady - 10 * np.log10(max(float(power), POWER_FLOOR)), np.float32)

    @cached_property
    def fine_spectrum(self) -> Floats:
        """Log of the mean power in narrow bands less its own mean, in dB, ``(bins // 2,)``: tones and knocks.

        The mean is of the power and not of its logarithm, so that what is loud for a moment counts.
        """
        bands = self.power[1:]
        bands = bands[: len(bands) // BINS_PER_BAND * BINS_PER_BAND].reshape(-1, BINS_PER_BAND).mean(axis=1)
        floor = max(float(bands.max()) * 10 ** (-DYNAMIC_RANGE_DB / 10), POWER_FLOOR)
        log = 10 * np.log10(np.maximum(bands, floor))
        return np.asarray(log - log.mean(), np.float32)

    @cached_property
    def fluctuation(self) -> Floats:
        """How much each mel band moves within the clip: its standard deviation over time in dB, in dB again."""
        return np.asarray(20 * np.log10(self._floored.std(axis=0) + LEAST_FLUCTUATION_DB), np.float32)


def compute_spectra(extractor: FeatureExtractor, clip: Floats) -> Spectra:
    """Take the spectra of one clip.

    Args:
        extractor: of the detector's spec; level and floor are left as recorded, whatever it says of them.
        clip: float32 samples at the spec's rate.
    """
    return Spectra(*extractor.log_mel_and_power(clip))
