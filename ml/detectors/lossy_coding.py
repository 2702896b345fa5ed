"""Holes in the spectrogram, which a codec with losses leaves: what it holds to be inaudible gets no bits.

A cell is a frame and an FFT bin. Its level is relative to its bin and its frame: with the power ``P[f, t]``, the upper
quartile ``q[f]`` over time, and the upper quartile ``s[t]`` over the bins of ``P / q``, it is ``P / (q min(1, s))``. So
neither a quiet moment nor a narrow band is a hole.
"""

from typing import NamedTuple

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from ml.features.spec import FeatureSpec

# All chosen here. In noise, a cell is below -25 dB in one of 400 cases, and four neighbours at once nearly never.
LOWEST_HZ = 500.0
CELLS = 4  # neighbouring bins of one frame
HOLE_DB, FILLED_DB = -25.0, -15.0
# The most of 640 clean recordings, healthy and faulty, is 0.0002 (decision 17).
CODED_SHARE = 0.002
MORE_HOLES = 3.0  # times the usual share, if normal recordings were coded
# What is left after the holes are filled: a recording may be so much farther from normal than the threshold.
CODED_TIMES = 1.5
FILLING = 1.5  # of the amplitude: noise loses power where frames without a hole are added
SILENT = 1e-6  # of the usual power: a frame below it has no sound
TINY = 1e-20  # added to powers, so that no quartile is 0


class _Cells(NamedTuple):
    """Cells of a clip, ``(frames, bins)``, and the level ``min(1, s)`` of each frame, ``(frames, 1)``."""

    spectrum: NDArray[np.complexfloating]
    power: NDArray[np.floating]
    level: NDArray[np.floating]
    frame: NDArray[np.floating]

    def holes(self, below_db: float) -> NDArray[np.bool_]:
        """Return which cells are among four neighbouring bins below a level, ``(frames, bins)``."""
        low = self.level < 10 ** (below_db / 10)
        begins = np.all([low[:, number : low.shape[1] - CELLS + 1 + number] for number in range(CELLS)], axis=0)
        found = np.zeros_like(low)
        for number in range(CELLS):
            found[:, number : low.shape[1] - CELLS + 1 + number] |= begins
        return found


def is_coded(share: float, usual: float) -> bool:
    """Return whether a recording was coded with losses, and normal recordings were not, or less.

    Args:
        share: result of :func:`hole_share`.
        usual: the same of normal recordings; nine of ten have no more.

    Example:
        >>> is_coded(0.01, 0.0), is_coded(0.01, 0.005)
        (True, False)
    """
    return share > max(CODED_SHARE, MORE_HOLES * usual)


def hole_share(clip: NDArray[np.float32], spec: FeatureSpec) -> float:
    """Return the share of cells above 500 Hz in holes: four neighbouring bins below -25 dB in one frame.

    Args:
        clip: ``(samples,)`` at the sample rate of the spec.
        spec: feature spec of the detector.

    Returns:
        0 to 1.

    Example:
        >>> spec = FeatureSpec(sample_rate_hz=16_000, fmax_hz=8000.0, clip_frames=64, n_fft=1024)
        >>> noise = np.random.default_rng(0).normal(size=spec.clip_samples).astype(np.float32)
        >>> hole_share(noise, spec) < 0.0001
        True
    """
    return float(_cells(clip, spec).holes(HOLE_DB)[:, _lowest(spec) :].mean())


def fill_holes(clip: NDArray[np.float32], spec: FeatureSpec) -> NDArray[np.float32]:
    """Fill holes with noise at the level of their bin and frame.

    The holes are of four neighbouring bins below -15 dB. The noise is the same for the same clip.

    Args:
        clip: ``(samples,)`` at the sample rate of the spec.
        spec: feature spec of the detector.

    Returns:
        ``(samples,)``.

    Example:
        >>> spec = FeatureSpec(sample_rate_hz=16_000, fmax_hz=8000.0, clip_frames=64, n_fft=1024)
        >>> noise = np.random.default_rng(0).normal(size=spec.clip_samples).astype(np.float32)
        >>> fill_holes(noise, spec).shape == noise.shape
        True
    """
    cells = _cells(clip, spec)
    hole = cells.holes(FILLED_DB)
    hole[:, : _lowest(spec)] = False
    usual = np.where(hole, 0, cells.power).sum(axis=0) / np.maximum((~hole).sum(axis=0), 1)
    parts = np.random.default_rng(0).normal(size=(2, *hole.shape))
    noise = FILLING * np.sqrt(usual * cells.frame / 2) * (parts[0] + 1j * parts[1])
    frames = scipy.fft.irfft(np.where(hole, noise, cells.spectrum), spec.n_fft)
    return _overlap_add(frames, spec)[spec.n_fft : spec.n_fft + len(clip)]


def _cells(clip: NDArray[np.float32], spec: FeatureSpec) -> _Cells:
    # So that every sample is in four frames.
    padded = np.pad(clip, spec.n_fft)
    frames = np.lib.stride_tricks.sliding_window_view(padded, spec.n_fft)[:: _hop(spec)]
    spectrum = scipy.fft.rfft(frames * _window(spec))
    power = np.square(spectrum.real) + np.square(spectrum.imag) + TINY
    level = power / _quartile(power, axis=0)
    # Of the bins that count: below, there may be lines.
    frame = np.minimum(1, _quartile(level[:, _lowest(spec) :], axis=1))
    # A gap is no hole.
    return _Cells(spectrum, power, np.where(frame > SILENT, level / frame, 1), frame)


def _overlap_add(frames: NDArray[np.floating], spec: FeatureSpec) -> NDArray[np.float32]:
    """Return the samples of windowed frames: the inverse of the transform in :func:`_cells`."""
    window, hop = _window(spec), _hop(spec)
    samples = np.zeros(hop * (len(frames) - 1) + spec.n_fft)
    weights = np.full_like(samples, np.finfo(np.float32).tiny)
    for number, frame in enumerate(frames * window):
        part = slice(number * hop, number * hop + spec.n_fft)
        samples[part] += frame
        weights[part] += window**2
    return np.asarray(samples / weights, np.float32)


def _window(spec: FeatureSpec) -> NDArray[np.float32]:
    return np.asarray(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(spec.n_fft) / spec.n_fft), np.float32)


def _quartile(values: NDArray[np.floating], axis: int) -> NDArray[np.floating]:
    return np.asarray(np.quantile(values, 0.75, axis=axis, keepdims=True, method="nearest"))


def _hop(spec: FeatureSpec) -> int:
    return spec.n_fft // 4


def _lowest(spec: FeatureSpec) -> int:
    """Return the number of bins below 500 Hz."""
    return round(LOWEST_HZ * spec.n_fft / spec.sample_rate_hz)
