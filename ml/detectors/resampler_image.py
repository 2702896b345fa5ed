"""Mirror image that a resampler leaves: above half of a lower sample rate, there is the sound from below, mirrored.

A recorder that samples at a lower rate has no sound of the machine above half of that rate. A resampler with a short
filter fills the bands above it with an image: what is at ``c + d`` Hz varies in time exactly as what is at ``c - d``
Hz. So it is found without a comparison of levels, also where normal recordings are quiet.
"""

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from ml.detectors.slices import slice_medians
from ml.features.spec import FeatureSpec

# All chosen here. The largest of 640 clean recordings is 0.30; a polyphase resampler leaves 0.44 or more (decision 17).
IMAGE_CORRELATION = 0.35
NEAREST, FEWEST_PAIRS, MOST_PAIRS = 3, 8, 64  # FFT bins from the centre: nearer ones share the same window lobes
BESIDE = 16  # half bins beside a centre: a sound that varies in all bands at once is no image
SILENT = 1e-20  # added to powers, so that none is 0


def find_image(clip: NDArray[np.float32], spec: FeatureSpec) -> float | None:
    """Find the frequency at which an image of a resampler begins: half of the lower sample rate, in Hz.

    With the log power ``z[f, t]`` of bin ``f`` and frame ``t``, without the mean of its bin and its frame, and with a
    variance of 1 in each bin: ``r(c)`` is the mean of ``z[c + d, t] z[c - d, t]`` over frames and over 8 to 64
    distances ``d`` from 3 bins on. It is an image if ``r(c)`` exceeds its median over 33 neighbouring centres by 0.35.

    Args:
        clip: ``(samples,)`` at the sample rate of the spec.
        spec: feature spec of the detector.

    Returns:
        The frequency, in steps of half an FFT bin, in the upper half of the range; None if there is no image.

    Example:
        >>> from scipy import signal
        >>> spec = FeatureSpec(sample_rate_hz=16_000, fmax_hz=8000.0, clip_frames=128, n_fft=1024)
        >>> noise = np.random.default_rng(0).normal(size=64_000)
        >>> resampled = signal.resample_poly(signal.resample_poly(noise, 7, 8), 8, 7)
        >>> find_image(resampled.astype(np.float32), spec)
        7000.0
        >>> find_image(noise.astype(np.float32), spec)
    """
    varying = _varying_levels(clip, spec.n_fft)
    bins = varying.shape[1]
    # In half bins. The last bin, at half of the sample rate, does not count.
    centres = np.arange(bins - 1, 2 * (bins - 1 - NEAREST - FEWEST_PAIRS))
    if len(centres) == 0:
        return None
    correlation, places = _mirror_correlations(varying, centres), np.arange(len(centres))
    begins, ends = np.maximum(0, places - BESIDE), np.minimum(len(places), places + BESIDE + 1)
    excess = correlation - slice_medians(correlation, begins, ends)
    if excess.max() <= IMAGE_CORRELATION:
        return None
    return float(centres[excess.argmax()] / 2 * spec.sample_rate_hz / spec.n_fft)


def _varying_levels(clip: NDArray[np.float32], n_fft: int) -> NDArray[np.float32]:
    """Return the log power without the means of bins and frames, of variance 1 in each bin, ``(frames, bins)``."""
    padded = np.pad(clip, (0, max(0, n_fft - len(clip))))
    frames = np.lib.stride_tricks.sliding_window_view(padded, n_fft)[:: n_fft // 2]
    spectrum = scipy.fft.rfft(frames * np.hanning(n_fft).astype(np.float32))
    levels = np.log(np.square(spectrum.real) + np.square(spectrum.imag) + SILENT)
    levels -= levels.mean(axis=0)
    levels -= levels.mean(axis=1, keepdims=True)
    return np.asarray(levels / np.maximum(levels.std(axis=0), np.finfo(np.float32).tiny), np.float32)


def _mirror_correlations(varying: NDArray[np.float32], centres: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the mean correlation of bins at equal distances from each centre, which is in half bins."""
    below = centres // 2 - NEAREST
    above = centres - below
    pairs = np.minimum(MOST_PAIRS, varying.shape[1] - 1 - above)
    # All products of two bins as one product of matrices; those of a centre are on an antidiagonal.
    lowest = int((below - pairs).min()) + 1
    products = varying[:, lowest:].T @ varying[:, lowest:]
    distance = np.arange(MOST_PAIRS)
    used = distance < pairs[:, None]
    distance = np.where(used, distance, 0)
    on_antidiagonal = products[below[:, None] - distance - lowest, above[:, None] + distance - lowest]
    return np.asarray((on_antidiagonal * used).sum(axis=1, dtype=np.float64) / (pairs * len(varying)))
