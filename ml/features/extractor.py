"""Transform of a feature spec: samples to log-mel bands or cepstral coefficients.

The results are those of librosa: mel filters after M. Slaney ("Auditory Toolbox", 1998), log power with a floor 80 dB
below the maximum, orthonormal DCT-II. They are computed in float32, some frames at a time, as matrix products over the
few FFT bins that each group of mel bands needs. With frame ``x[t]``, window ``w`` and mel filters ``M``::

    power[t] = |rfft(w * x[t])| ** 2
    mel[t] = 10 * log10(max(M power[t], 1e-10))       dB relative to a power of 1
    mfcc = C mel',  C[k, n] = sqrt(2 / N) * cos(pi * k * (2 n + 1) / (2 N)),  C[0] divided by sqrt(2),  N = n_mels

The largest difference from librosa that was seen is 2e-4 for the original's spec, on values up to 426, and 6e-4 for any
spec. The tests accept 5e-3.
"""

import math
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from ml.audio.resampling import resample
from ml.features.mel import mel_edges, mel_filters
from ml.features.spec import WINDOWS, FeatureSpec

POWER_FLOOR = 1e-10  # ``amin`` of librosa.power_to_db: -100 dB
# 64 frames of 2048 float32 samples are 512 KiB: windowed frames, spectrum and power stay in a core's L2 cache.
FRAMES_PER_BLOCK = 64
# Chosen here: inside a clip a drift of at most 1 Hz is reduced by 47 dB, at its ends by 22 dB; a tone of 50 Hz changes
# by less than 2 dB.
OFFSET_STEP_S, OFFSET_STEPS = 0.005, 5
BANDS_PER_PRODUCT = 16


class _BandGroup(NamedTuple):
    bands: slice
    bins: slice
    weights: NDArray[np.float32]  # (bins, bands)


class FeatureExtractor:
    """Transform of a spec. It has only tables, so that any number of threads can share it.

    Example:
        >>> spec = FeatureSpec(
        ...     sample_rate_hz=16_000, clip_frames=32, n_fft=1024, hop_length=512, n_mels=64, n_mfcc=20, fmax_hz=8_000
        ... )
        >>> extractor = FeatureExtractor(spec)
        >>> tone = np.sin(2 * np.pi * 1_000 * np.arange(8_000) / 16_000).astype(np.float32)  # 1 kHz, 0.5 s
        >>> extractor.log_mel(tone).shape, extractor(tone).shape
        ((16, 64), (20, 32))
        >>> loudest = int(extractor.log_mel(tone).mean(axis=0).argmax())
        >>> extractor.band_edges_hz[[loudest, loudest + 2]].round().tolist()
        [975.0, 1072.0]
    """

    def __init__(self, spec: FeatureSpec) -> None:
        self.spec = spec
        self._window = _window(spec.window, spec.n_fft)
        self._band_groups = _band_groups(mel_filters(spec))
        self._dct = None if spec.n_mfcc is None else _dct(spec.n_mfcc, spec.n_mels)

    def resample(self, samples: NDArray[np.float32], sample_rate_hz: int) -> NDArray[np.float32]:
        """Resample a whole recording to the spec's sample rate, by :func:`ml.audio.resampling.resample`.

        Args:
            samples: float32, shape ``(n,)``.
            sample_rate_hz: their sample rate.
        """
        return resample(samples, sample_rate_hz, self.spec.sample_rate_hz, self.spec.resampler)

    def __call__(self, clip: NDArray[np.float32]) -> NDArray[np.float32]:
        """Compute the features of one clip, as the network takes them.

        Args:
            clip: float32, shape ``(n,)``, at the spec's sample rate; at least one sample.

        Returns:
            float32, shape ``(rows, clip_frames)``.
        """
        return self.pad_or_crop(self.coefficients(self.log_mel(clip)))

    def log_mel(self, clip: NDArray[np.float32]) -> NDArray[np.float32]:
        """Compute the log power in mel bands, with the spec's floor and level.

        Args:
            clip: float32, shape ``(n,)``, at the spec's sample rate.

        Returns:
            float32, shape ``(frames, n_mels)``, in dB relative to a power of 1 (or to the clip's mean, for the level
            ``clip_mean``). With padding, ``frames = 1 + n // hop_length`` for an even ``n_fft``.
        """
        return self.apply_floor_and_level(self.log_mel_and_power(clip)[0])

    def log_mel_and_power(
        self, clip: NDArray[np.float32], kept: NDArray[np.bool_] | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Compute the log power in mel bands without the spec's floor and level, and the mean power spectrum.

        Args:
            clip: float32, shape ``(n,)``, at the spec's sample rate.
            kept: which samples count, shape ``(n,)``: a frame that contains another one is left out, unless no frame
                would remain. None for all.

        Returns:
            ``mel``, float32, shape ``(frames, n_mels)``, in dB relative to a power of 1, at least -100. ``power``,
            float32, shape ``(1 + n_fft // 2,)``: mean over the frames of ``|rfft(w * x)| ** 2``, not in dB.
        """
        if self.spec.offset == "removed":
            clip = remove_offset(clip, self.spec.sample_rate_hz)
        frames = _frames(clip, self.spec)
        if kept is not None and (whole := self.whole_frames(kept)).any():
            frames = frames[whole]
        mel = np.empty((len(frames), self.spec.n_mels), np.float32)
        total = np.zeros(1 + self.spec.n_fft // 2, np.float32)
        for start in range(0, len(frames), FRAMES_PER_BLOCK):
            block = slice(start, start + FRAMES_PER_BLOCK)
            spectrum = scipy.fft.rfft(frames[block] * self._window, overwrite_x=True)
            power = np.square(spectrum.real)
            power += np.square(spectrum.imag)
            total += power.sum(axis=0)
            for bands, bins, weights in self._band_groups:
                np.matmul(power[:, bins], weights, out=mel[block, bands])
        np.maximum(mel, POWER_FLOOR, out=mel)
        np.log10(mel, out=mel)
        mel *= 10.0
        return mel, total / np.float32(len(frames))

    def whole_frames(self, kept: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return which frames of a clip contain kept samples only, ``(frames,)``.

        Args:
            kept: which samples count, shape ``(n,)``.
        """
        spec, n = self.spec, len(kept)
        before = 0 if spec.padding == "none" else spec.n_fft // 2
        frames = 1 + (max(n + 2 * before, spec.n_fft) - spec.n_fft) // spec.hop_length
        left_out = np.concatenate([[0], np.cumsum(~kept)])
        first = np.arange(frames) * spec.hop_length - before
        start, stop = (np.clip(edge, 0, n) for edge in (first, first + spec.n_fft))
        return np.asarray(left_out[stop] == left_out[start])

    def apply_floor_and_level(self, mel: NDArray[np.float32]) -> NDArray[np.float32]:
        """Apply the floor and the level of the spec, in place.

        Floor: ``max(mel, max(mel) - dynamic_range_db)``. Level ``clip_mean``: ``mel - mean(mel)``.

        Args:
            mel: float32, shape ``(frames, n_mels)``, in dB; changed.

        Returns:
            ``mel``.
        """
        if self.spec.dynamic_range_db is not None:
            np.maximum(mel, mel.max() - self.spec.dynamic_range_db, out=mel)
        if self.spec.level == "clip_mean":
            mel -= mel.mean()
        return mel

    def coefficients(self, log_mel: NDArray[np.float32]) -> NDArray[np.float32]:
        """Compute feature rows from log-mel frames: the DCT-II of the bands, or the bands without ``n_mfcc``.

        Args:
            log_mel: float32, shape ``(frames, n_mels)``.

        Returns:
            float32, shape ``(rows, frames)``.
        """
        return log_mel.T if self._dct is None else self._dct @ log_mel.T

    def pad_or_crop(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Crop or repeat frames by the rule ``fit`` of the spec.

        Args:
            rows: float32, shape ``(rows, frames)``, with at least one frame.

        Returns:
            float32, shape ``(rows, clip_frames)``, in a new array: the first frames of ``rows``, then up to
            ``silent_frames`` of zeros, then repetitions of the last frames.
        """
        spec = self.spec
        frames = np.zeros((spec.rows, spec.clip_frames), np.float32)
        copied = min(rows.shape[1], spec.clip_frames)
        frames[:, :copied] = rows[:, :copied]
        filled = min(copied + spec.silent_frames, spec.clip_frames)
        while (missing := spec.clip_frames - filled) > 0:
            repeated = min(missing, filled)
            frames[:, filled : filled + repeated] = frames[:, filled - repeated : filled]
            filled += repeated
        return frames

    @cached_property
    def band_edges_hz(self) -> NDArray[np.float64]:
        """Corner frequencies of the mel bands in Hz, from :func:`ml.features.mel.mel_edges`."""
        return mel_edges(self.spec)


# Training and scoring use one or two specs at a time.
@lru_cache(maxsize=4)
def cached_extractor(spec: FeatureSpec) -> FeatureExtractor:
    """Return the extractor of a spec, made once in each process: its tables take longer than one clip.

    Example:
        >>> cached_extractor(FeatureSpec.original()) is cached_extractor(FeatureSpec.original())
        True
    """
    return FeatureExtractor(spec)


def _band_groups(filters: NDArray[np.float32]) -> tuple[_BandGroup, ...]:
    """Group neighbouring bands with the bins they need: a seventh of the dense product for 128 x 1025."""
    groups = []
    for start in range(0, len(filters), BANDS_PER_PRODUCT):
        bands = slice(start, min(start + BANDS_PER_PRODUCT, len(filters)))
        used = np.flatnonzero(filters[bands].any(axis=0))
        # Filters narrower than one bin can be empty. Such a group has one bin of weight 0.
        bins = slice(int(used[0]), int(used[-1]) + 1) if len(used) else slice(0, 1)
        groups.append(_BandGroup(bands, bins, np.ascontiguousarray(filters[bands, bins].T)))
    return tuple(groups)


def _dct(coefficients: int, bands: int) -> NDArray[np.float32]:
    """Return the first rows of the orthonormal DCT-II, shape ``(coefficients, bands)``."""
    k, n = np.arange(coefficients)[:, None], np.arange(bands)
    rows = np.cos(np.pi * k * (2 * n + 1) / (2 * bands)) * math.sqrt(2 / bands)
    rows[0] /= math.sqrt(2)
    return np.asarray(rows, np.float32)


def _window(name: str, length: int) -> NDArray[np.float32]:
    phase = 2 * np.pi * np.arange(length) / length
    terms = [(-1) ** k * a * np.cos(k * phase) for k, a in enumerate(WINDOWS[name])]
    return np.asarray(np.sum(terms, axis=0), np.float32)


def remove_offset(clip: NDArray[np.float32], sample_rate_hz: int) -> NDArray[np.float32]:
    """Subtract the mean over the 50 ms around each sample, which removes an offset and its drift.

    The mean is computed every 5 ms and interpolated linearly. Near the ends of the clip, it is of fewer samples.

    Args:
        clip: float32, shape ``(n,)``, at least one sample.
        sample_rate_hz: samples per second.

    Example:
        >>> remove_offset(np.full(800, 0.25, np.float32), 16_000).any().item()
        False
    """
    length = max(1, round(OFFSET_STEP_S * sample_rate_hz))
    edges = np.append(np.arange(0, len(clip), length), len(clip))
    # Products with matrices: three times as fast as sums over the steps and interpolation in several passes.
    whole = clip[: len(clip) // length * length].reshape(-1, length) @ np.ones(length, np.float32)
    total = np.concatenate([[0.0], np.cumsum(np.append(whole, clip[len(whole) * length :].sum()), dtype=np.float64)])
    border = np.arange(len(edges))  # of the steps: the mean is of five steps before and five after it
    first, last = np.maximum(border - OFFSET_STEPS, 0), np.minimum(border + OFFSET_STEPS, len(edges) - 1)
    mean = ((total[last] - total[first]) / (edges[last] - edges[first])).astype(np.float32)
    ramp = np.arange(length, dtype=np.float32) / np.float32(length)
    offset = (np.stack([mean[:-1], np.diff(mean)], axis=1) @ np.stack([np.ones_like(ramp), ramp])).ravel()[: len(clip)]
    return np.asarray(np.subtract(clip, offset, out=offset))


def _frames(clip: NDArray[np.float32], spec: FeatureSpec) -> NDArray[np.float32]:
    """Return a view of ``1 + (padded - n_fft) // hop_length`` overlapping frames, ``(frames, n_fft)``."""
    if spec.padding == "none":
        padded = np.pad(clip, (0, max(0, spec.n_fft - len(clip))))
    else:
        padded = np.pad(clip, spec.n_fft // 2, mode=spec.padding)
    return np.lib.stride_tricks.sliding_window_view(padded, spec.n_fft)[:: spec.hop_length]
