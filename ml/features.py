"""What a model hears: a frozen, fingerprinted :class:`FeatureSpec`, and the transform that it names.

The numbers are librosa's (mel filters after M. Slaney, "Auditory Toolbox", 1998; log power with a floor of 80 dB under
the maximum; orthonormal DCT-II), computed in float32, some frames at a time, as matrix products over the few FFT bins
that each group of mel bands has. Against librosa the largest difference seen is
2e-4 for the original's spec, on values up to 426, and 6e-4 for any spec; 5e-3 is what the tests hold.
"""

import hashlib
import json
import math
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any, Literal, NamedTuple, Self, get_args

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from ml.audio import Channel
from ml.errors import SpecError
from ml.resampling import FILTERS, resample

POWER_FLOOR = 1e-10  # librosa.power_to_db's ``amin``: -100 dB
# 64 frames of 2048 float32 samples are 512 KiB: window, spectrum and power stay in a core's L2 cache.
FRAMES_PER_BLOCK = 64
BANDS_PER_PRODUCT = 16
# Coefficients of cosine windows, periodic as for spectral analysis (F. J. Harris, Proc. IEEE 66(1), 1978).
WINDOWS = {"hann": (0.5, 0.5), "hamming": (0.54, 0.46), "blackman": (0.42, 0.5, 0.08)}

WHOLE_NUMBERS = (
    "sample_rate_hz",
    "channel",
    "clip_frames",
    "n_fft",
    "hop_length",
    "n_mels",
    "n_mfcc",
    "silent_frames",
)

Padding = Literal["constant", "reflect", "none"]
Fit = Literal["crop_or_repeat_tail"]
Level = Literal["as_recorded", "clip_mean"]

# Fields that came after the first bundles were written, and what was done before they were there. Such a field is
# written only where it says something else, so that a spec keeps its fingerprint, and old bundles are read.
ADDED: dict[str, Any] = {"level": "as_recorded"}


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureSpec:
    """How a sound becomes the numbers that a network hears. Every size is here once or derived.

    Attributes:
        sample_rate_hz: the rate the spectrum is computed at; recordings at other rates are resampled.
        resampler: by which filter, a name of :data:`ml.resampling.FILTERS`. It is part of the model: another filter
            changes the original network's answer on two of its own four samples.
        channel: ``"mean"`` of all channels, or the index of one.
        clip_frames: frames that the network takes.
        n_fft: samples per frame.
        hop_length: samples from one frame to the next.
        window: a name of :data:`WINDOWS`.
        padding: what stands before and after the sound so that frame ``t`` is centred on sample ``t * hop_length``:
            zeros (``constant``), the sound mirrored (``reflect``), or nothing (``none``: frames start at the sample).
        n_mels: mel bands.
        fmin_hz, fmax_hz: range of the mel bands.
        n_mfcc: cepstral coefficients kept, or None for log-mel bands themselves.
        dynamic_range_db: what lies further under the loudest value of a clip is raised to it; None for no floor.
        level: ``as_recorded``, or ``clip_mean``: the mean of a clip's log-mel values is taken off each, so that how
            loud it was recorded says nothing.
        silent_frames: frames of zeros put after the sound before it is fitted; the original has 2.
        fit: how the frames of a clip become ``clip_frames``. ``crop_or_repeat_tail`` is the original's: leave out what
            is too much, or repeat as many of the last frames as are missing. Where fewer are there than missing, the
            original crashes (under about 5 s); here the repetition is repeated.
    """

    sample_rate_hz: int
    resampler: str = "kaiser_fast"
    channel: Channel = "mean"
    clip_frames: int
    n_fft: int = 2048
    hop_length: int = 512
    window: str = "hann"
    padding: Padding = "constant"
    n_mels: int = 128
    fmin_hz: float = 0.0
    fmax_hz: float
    n_mfcc: int | None = None
    dynamic_range_db: float | None = 80.0
    level: Level = "as_recorded"
    silent_frames: int = 0
    fit: Fit = "crop_or_repeat_tail"

    def __post_init__(self) -> None:
        for name in WHOLE_NUMBERS:
            value = getattr(self, name)
            unset = (name == "n_mfcc" and value is None) or (name == "channel" and value == "mean")
            if not unset and (not isinstance(value, int) or isinstance(value, bool)):
                raise SpecError(f"Feature spec: {name} is {value!r}; a whole number was expected.")
        for holds, sentence in self._rules():
            if not holds:
                raise SpecError(f"Feature spec: {sentence}.")

    def _rules(self) -> Iterator[tuple[bool, str]]:
        """What must hold, and what to say where it does not."""
        nyquist = self.sample_rate_hz / 2
        yield 1000 <= self.sample_rate_hz <= 192_000, _range("sample_rate_hz", self.sample_rate_hz, 1000, 192_000)
        yield self.resampler in FILTERS, _choice("resampler", self.resampler, FILTERS)
        yield self.channel == "mean" or self.channel in range(64), _range("channel", self.channel, "mean, or 0", 63)
        yield 32 <= self.n_fft <= 65_536, _range("n_fft", self.n_fft, 32, 65_536)
        yield 1 <= self.hop_length <= self.n_fft, _range("hop_length", self.hop_length, 1, self.n_fft)
        yield 2 <= self.clip_frames <= 65_536, _range("clip_frames", self.clip_frames, 2, 65_536)
        yield self.clip_samples >= 2, f"clip_frames and hop_length make a clip of {self.clip_samples} samples"
        yield self.window in WINDOWS, _choice("window", self.window, WINDOWS)
        yield self.padding in get_args(Padding), _choice("padding", self.padding, get_args(Padding))
        yield 1 <= self.n_mels <= 1024, _range("n_mels", self.n_mels, 1, 1024)
        yield (
            0 <= self.fmin_hz < self.fmax_hz <= nyquist,
            f"the mel range is {self.fmin_hz} to {self.fmax_hz} Hz; one within 0 to {nyquist} Hz is accepted",
        )
        yield (
            self.n_mfcc is None or self.n_mfcc in range(1, self.n_mels + 1),
            _range("n_mfcc", self.n_mfcc, "null, or 1", self.n_mels),
        )
        yield (
            self.dynamic_range_db is None or self.dynamic_range_db > 0,
            f"dynamic_range_db is {self.dynamic_range_db}; null or more than 0 is accepted",
        )
        yield (
            0 <= self.silent_frames < self.clip_frames,
            _range("silent_frames", self.silent_frames, 0, self.clip_frames - 1),
        )
        yield self.fit in get_args(Fit), _choice("fit", self.fit, get_args(Fit))
        yield self.level in get_args(Level), _choice("level", self.level, get_args(Level))

    @classmethod
    def original(cls) -> Self:
        """The original project's input: 40 MFCC x 433 frames at 22 050 Hz, with librosa's defaults of its time."""
        return cls(sample_rate_hz=22_050, fmax_hz=11_025.0, n_mfcc=40, clip_frames=433, silent_frames=2)

    @property
    def rows(self) -> int:
        """Rows of the feature matrix: cepstral coefficients, or mel bands."""
        return self.n_mfcc or self.n_mels

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        """What the network takes: one clip, rows, frames, one channel."""
        return (1, self.rows, self.clip_frames, 1)

    @property
    def clip_samples(self) -> int:
        """The shortest sound, in samples at ``sample_rate_hz``, that fills a clip without repetition."""
        edge = self.n_fft if self.padding == "none" else self.n_fft % 2
        return (self.clip_frames - 1) * self.hop_length + edge

    @property
    def clip_s(self) -> float:
        """The same in seconds."""
        return self.clip_samples / self.sample_rate_hz

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that change whenever any field does."""
        canonical = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    def windows(self, samples: int) -> list[tuple[int, int]]:
        """Where each window of a recording of so many samples starts and stops.

        One that fills at most a clip is one window. A longer one is cut into windows of one clip, each half a clip
        after the last, and a final one that ends where the recording ends, so that every moment is heard. A remainder
        of less than a hop of the spectrum opens no new one.
        """
        length = self.clip_samples
        if samples < length + self.hop_length:
            return [(0, samples)]
        return [(start, start + length) for start in [*range(0, samples - length, length // 2), samples - length]]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as serialised in a bundle."""
        return {name: value for name, value in asdict(self).items() if name not in ADDED or value != ADDED[name]}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The inverse of :meth:`to_dict`.

        Raises:
            SpecError: a field is missing, unknown, of the wrong type or out of range.
        """
        names = {field.name for field in fields(cls)}
        if set(values) | set(ADDED) != names:
            raise SpecError(
                f"Feature spec: the fields {sorted(set(values) ^ (names - set(ADDED)))} are unknown or missing: "
                "was it written by another version?"
            )
        try:
            return cls(**values)
        except TypeError as error:
            raise SpecError(f"Feature spec: a field has the wrong type ({error}).") from error


def _range(name: str, value: object, low: object, high: object) -> str:
    return f"{name} is {value!r}; {low} to {high} is accepted"


def _choice(name: str, value: object, choices: Collection[str]) -> str:
    return f"{name} is {value!r}; {' or '.join(choices)} is accepted"


class _BandGroup(NamedTuple):
    bands: slice
    bins: slice
    weights: NDArray[np.float32]  # (bins, bands)


class FeatureExtractor:
    """The transform that a spec names. Holds tables only, so that any number of threads may share one."""

    def __init__(self, spec: FeatureSpec) -> None:
        self.spec = spec
        self._window = _window(spec.window, spec.n_fft)
        self._band_groups = _band_groups(mel_filters(spec))
        self._dct = None if spec.n_mfcc is None else _dct(spec.n_mfcc, spec.n_mels)

    def resample(self, samples: NDArray[np.float32], sample_rate_hz: int) -> NDArray[np.float32]:
        """Bring a whole recording to the spec's rate."""
        return resample(samples, sample_rate_hz, self.spec.sample_rate_hz, self.spec.resampler)

    def __call__(self, clip: NDArray[np.float32]) -> NDArray[np.float32]:
        """Features of one clip, fitted to the network.

        Args:
            clip: float32 samples at the spec's rate; any length from 1.

        Returns:
            float32, shape ``(rows, clip_frames)``.
        """
        return self.fit(self.coefficients(self.log_mel(clip)))

    def log_mel(self, clip: NDArray[np.float32]) -> NDArray[np.float32]:
        """Log power in mel bands, in dB relative to a power of 1.

        Returns:
            float32, shape ``(frames, n_mels)``.
        """
        return self.levelled(self.spectra(clip)[0])

    def spectra(self, clip: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Log power in mel bands as recorded, whatever the spec says of level and floor, and the mean power spectrum.

        Returns:
            float32, ``(frames, n_mels)`` in dB relative to a power of 1, and ``(1 + n_fft // 2,)``.
        """
        frames = _frames(clip, self.spec)
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

    def levelled(self, mel: NDArray[np.float32]) -> NDArray[np.float32]:
        """Log power as recorded, ``(frames, n_mels)``, with the spec's floor and level; it may be changed in place."""
        if self.spec.dynamic_range_db is not None:
            np.maximum(mel, mel.max() - self.spec.dynamic_range_db, out=mel)
        if self.spec.level == "clip_mean":
            mel -= mel.mean()
        return mel

    def coefficients(self, log_mel: NDArray[np.float32]) -> NDArray[np.float32]:
        """From ``(frames, n_mels)`` to ``(rows, frames)``: the cepstrum, or the bands as they are."""
        return log_mel.T if self._dct is None else self._dct @ log_mel.T

    def fit(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Fit ``(rows, frames)`` to ``(rows, clip_frames)`` by the spec's rule."""
        spec = self.spec
        frames = np.zeros((spec.rows, spec.clip_frames), np.float32)
        heard = min(rows.shape[1], spec.clip_frames)
        frames[:, :heard] = rows[:, :heard]
        filled = min(heard + spec.silent_frames, spec.clip_frames)
        while (missing := spec.clip_frames - filled) > 0:
            repeated = min(missing, filled)
            frames[:, filled : filled + repeated] = frames[:, filled - repeated : filled]
            filled += repeated
        return frames

    @cached_property
    def band_edges_hz(self) -> NDArray[np.float64]:
        """Corner frequencies of the mel bands, ``n_mels + 2`` of them; band ``i`` reaches from ``i`` to ``i + 2``."""
        return mel_edges(self.spec)


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


def _band_groups(filters: NDArray[np.float32]) -> tuple[_BandGroup, ...]:
    """Neighbouring bands with only the bins they need: a seventh of the dense product for 128 bands of 1025 bins."""
    groups = []
    for start in range(0, len(filters), BANDS_PER_PRODUCT):
        bands = slice(start, min(start + BANDS_PER_PRODUCT, len(filters)))
        used = np.flatnonzero(filters[bands].any(axis=0))
        # Filters narrower than one bin can be empty; one bin of weight 0 then stands for none.
        bins = slice(int(used[0]), int(used[-1]) + 1) if len(used) else slice(0, 1)
        groups.append(_BandGroup(bands, bins, np.ascontiguousarray(filters[bands, bins].T)))
    return tuple(groups)


def _dct(coefficients: int, bands: int) -> NDArray[np.float32]:
    """Rows of the orthonormal DCT-II, ``(coefficients, bands)``."""
    k, n = np.arange(coefficients)[:, None], np.arange(bands)
    rows = np.cos(np.pi * k * (2 * n + 1) / (2 * bands)) * math.sqrt(2 / bands)
    rows[0] /= math.sqrt(2)
    return np.asarray(rows, np.float32)


def _window(name: str, length: int) -> NDArray[np.float32]:
    phase = 2 * np.pi * np.arange(length) / length
    terms = [(-1) ** k * a * np.cos(k * phase) for k, a in enumerate(WINDOWS[name])]
    return np.asarray(np.sum(terms, axis=0), np.float32)


def _frames(clip: NDArray[np.float32], spec: FeatureSpec) -> NDArray[np.float32]:
    """Overlapping frames as a view, ``(frames, n_fft)``; frame count ``1 + (padded - n_fft) // hop_length``."""
    if spec.padding == "none":
        padded = np.pad(clip, (0, max(0, spec.n_fft - len(clip))))
    else:
        padded = np.pad(clip, spec.n_fft // 2, mode=spec.padding)
    return np.lib.stride_tricks.sliding_window_view(padded, spec.n_fft)[:: spec.hop_length]
