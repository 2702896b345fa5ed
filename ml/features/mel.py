"""Mel scale and mel filters of M. Slaney ("Auditory Toolbox", Interval Research, 1998), as in librosa.

The scale is linear up to 1000 Hz and logarithmic above, with 27 mel for a factor of 6.4::

    mel = 3 * hz / 200                                hz < 1000
    mel = 15 + 27 * log(hz / 1000) / log(6.4)         hz >= 1000
"""

import math

import numpy as np
from numpy.typing import NDArray

from ml.features.spec import FeatureSpec


def mel_filters(spec: FeatureSpec) -> NDArray[np.float32]:
    """Compute triangular filters of area 1 (over Hz), evenly spaced on Slaney's mel scale.

    Weight of band ``i`` at frequency ``f``, with the edges ``e`` of :func:`mel_edges`::

        2 / (e[i+2] - e[i]) * max(0, min((f - e[i]) / (e[i+1] - e[i]), (e[i+2] - f) / (e[i+2] - e[i+1])))

    Args:
        spec: gives sample rate, ``n_fft``, ``n_mels`` and frequency range.

    Returns:
        float32, shape ``(n_mels, 1 + n_fft // 2)``, in 1/Hz; column ``k`` is the frequency
        ``k * sample_rate_hz / n_fft``. A filter narrower than one FFT bin can be all zeros.

    Example:
        >>> spec = FeatureSpec(sample_rate_hz=16_000, clip_frames=32, n_fft=1024, n_mels=64, fmax_hz=8_000)
        >>> filters = mel_filters(spec)
        >>> filters.shape, filters.dtype
        ((64, 513), dtype('float32'))
        >>> area = filters[-1].sum() * 16_000 / 1024  # of the widest filter
        >>> round(area.item(), 2)
        1.0
    """
    edges = mel_edges(spec)
    bins = np.fft.rfftfreq(spec.n_fft, 1 / spec.sample_rate_hz)
    widths = np.diff(edges)
    slopes = edges[:, None] - bins
    rising = -slopes[:-2] / widths[:-1, None]
    falling = slopes[2:] / widths[1:, None]
    triangles = np.maximum(0, np.minimum(rising, falling))
    return (triangles * (2 / (edges[2:] - edges[:-2]))[:, None]).astype(np.float32)


def mel_edges(spec: FeatureSpec) -> NDArray[np.float64]:
    """Compute the corner frequencies of the mel bands, evenly spaced on Slaney's mel scale.

    Returns:
        float64, shape ``(n_mels + 2,)``, in Hz, from ``fmin_hz`` to ``fmax_hz``. Band ``i`` extends from edge ``i`` to
        edge ``i + 2`` and has its maximum at edge ``i + 1``.

    Example:
        >>> spec = FeatureSpec(sample_rate_hz=16_000, clip_frames=32, n_mels=4, fmax_hz=8_000)
        >>> mel_edges(spec).round(1).tolist()
        [0.0, 603.3, 1237.4, 2305.2, 4294.3, 8000.0]
    """
    low, high = _hz_to_mel(spec.fmin_hz), _hz_to_mel(spec.fmax_hz)
    return _mel_to_hz(np.linspace(low, high, spec.n_mels + 2))


# 1000 Hz are 15 mel.
_LINEAR_HZ_PER_MEL = 200.0 / 3
_CORNER_HZ, _CORNER_MEL = 1000.0, 15.0
_LOG_STEP = math.log(6.4) / 27.0


def _hz_to_mel(hz: float) -> float:
    if hz < _CORNER_HZ:
        return hz / _LINEAR_HZ_PER_MEL
    return _CORNER_MEL + math.log(hz / _CORNER_HZ) / _LOG_STEP


def _mel_to_hz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    logarithmic = _CORNER_HZ * np.exp(_LOG_STEP * (mel - _CORNER_MEL))
    return np.where(mel < _CORNER_MEL, mel * _LINEAR_HZ_PER_MEL, logarithmic)
