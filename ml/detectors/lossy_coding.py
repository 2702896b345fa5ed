"""Holes in the spectrogram, which a codec with losses leaves: what it holds to be inaudible gets no bits.

A cell is a frame and an FFT bin. Its level is relative to its bin and its frame: with the power ``P[f, t]``, the upper
quartile ``q[f]`` over time, and the upper quartile ``s[t]`` over the bins of ``P / q``, it is ``P / (q min(1, s))``. So
neither a quiet moment nor a narrow band is a hole.
"""

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
    level, _ = _levels(_power(_spectrum(clip, spec)), spec)
    return float(_holes(level, HOLE_DB)[:, _lowest(spec) :].mean())


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
    spectrum = _spectrum(clip, spec)
    power = _power(spectrum)
    level, of_frame = _levels(power.copy(), spec)
    hole = _holes(level, FILLED_DB)
    hole[:, : _lowest(spec)] = False
    usual = np.where(hole, 0, power).sum(axis=0) / np.maximum((~hole).sum(axis=0), 1)
    parts = np.random.default_rng(0).normal(size=(2, *hole.shape))
    noise = FILLING * np.sqrt(usual * of_frame / 2) * (parts[0] + 1j * parts[1])
    frames = scipy.fft.irfft(np.where(hole, noise, spectrum), spec.n_fft)
    return _overlap_add(frames, spec)[spec.n_fft : spec.n_fft + len(clip)]


def _spectrum(clip: NDArray[np.float32], spec: FeatureSpec) -> NDArray[np.complexfloating]:
    """Return the spectrum of each frame, ``(frames, bins)``; every sample is in four frames."""
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(clip, spec.n_fft), spec.n_fft)[:: _hop(spec)]
    return np.asarray(scipy.fft.rfft(frames * _window(spec)))


def _power(spectrum: NDArray[np.complexfloating]) -> NDArray[np.floating]:
    return np.asarray(np.square(spectrum.real) + np.square(spectrum.imag) + TINY)


def _levels(power: NDArray[np.floating], spec: FeatureSpec) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Return the levels of cells, ``(frames, bins)``, and ``min(1, s)`` of each frame, ``(frames, 1)``.

    The levels take the place of the powers, because new memory takes time.
    """
    power /= _quartile(power.T)[:, 0]
    # Of the bins that count: below, there may be lines.
    of_frame = np.minimum(1, _quartile(power[:, _lowest(spec) :]))
    power /= of_frame
    # A gap is no hole.
    power[of_frame[:, 0] <= SILENT] = 1
    return power, of_frame


def _holes(level: NDArray[np.floating], below_db: float) -> NDArray[np.bool_]:
    """Return which cells are among four neighbouring bins below a level, ``(frames, bins)``."""
    low = level < 10 ** (below_db / 10)
    parts = [slice(number, low.shape[1] - CELLS + 1 + number) for number in range(CELLS)]
    begins = np.logical_and.reduce([low[:, part] for part in parts])
    found = np.zeros_like(low)
    for part in parts:
        found[:, part] |= begins
    return found


def _overlap_add(frames: NDArray[np.floating], spec: FeatureSpec) -> NDArray[np.float32]:
    """Return the samples of windowed frames: the inverse of the transform in :func:`_spectrum`."""
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


def _quartile(rows: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return the value nearest to the upper quartile of each row, as a column.

    A sort takes a fourth of the time of :func:`numpy.quantile`.
    """
    nearest = round(0.75 * (rows.shape[1] - 1))
    return np.sort(rows, axis=1)[:, [nearest]]


def _hop(spec: FeatureSpec) -> int:
    return spec.n_fft // 4


def _lowest(spec: FeatureSpec) -> int:
    """Return the number of bins below 500 Hz."""
    return round(LOWEST_HZ * spec.n_fft / spec.sample_rate_hz)
