"""The mel scale and its filters (M. Slaney, "Auditory Toolbox", Interval Research, 1998), as librosa has them."""

import math

import numpy as np
from numpy.typing import NDArray

from ml.features.spec import FeatureSpec


def mel_filters(spec: FeatureSpec) -> NDArray[np.float32]:
    """Triangular filters of equal area, evenly spaced on Slaney's mel scale.

    Returns:
        float32, shape ``(n_mels, 1 + n_fft // 2)``.
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
    """Corner frequencies of the mel bands in Hz, ``n_mels + 2`` of them; band ``i`` reaches from ``i`` to ``i + 2``."""
    low, high = _hz_to_mel(spec.fmin_hz), _hz_to_mel(spec.fmax_hz)
    return _mel_to_hz(np.linspace(low, high, spec.n_mels + 2))


# Slaney's scale: linear up to 1000 Hz (15 mel), then logarithmic, 27 mel for a factor of 6.4.
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
