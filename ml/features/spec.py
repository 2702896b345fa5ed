"""Feature spec: all settings that decide how samples become features, with a fingerprint."""

import hashlib
import json
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, Self, get_args

from ml.audio.recording import MIXED, Channel, ChannelPair, SingleChannel
from ml.audio.resampling import FILTERS
from ml.errors import SpecError

# Coefficients a of periodic cosine windows, w[n] = sum over k of (-1)^k * a[k] * cos(2 pi k n / n_fft)
# (F. J. Harris, Proc. IEEE 66(1), 1978).
WINDOWS = {"hann": (0.5, 0.5), "hamming": (0.54, 0.46), "blackman": (0.42, 0.5, 0.08)}

WHOLE_NUMBERS = (
    "sample_rate_hz",
    "channel",
    "reference_channel",
    "clip_frames",
    "n_fft",
    "hop_length",
    "n_mels",
    "n_mfcc",
    "silent_frames",
)

OPTIONAL = ("n_mfcc", "reference_channel")

Padding = Literal["constant", "reflect", "none"]
LengthRule = Literal["crop_or_repeat_tail"]
Level = Literal["as_recorded", "clip_mean"]
Offset = Literal["kept", "removed"]

# Fields that are newer than the first bundles, with the value that old bundles imply. Such a field is written only if
# its value is another one. So a spec keeps its fingerprint, and old bundles can be read.
LATER_FIELD_DEFAULTS: dict[str, Any] = {"level": "as_recorded", "offset": "kept", "reference_channel": None}


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureSpec:
    """Settings that decide how samples become features. Every size is given once or derived.

    Attributes:
        sample_rate_hz: sample rate of the features, 1000 to 192 000 Hz; other recordings are resampled.
        resampler: filter for resampling, a key of :data:`ml.audio.resampling.FILTERS`. It is part of the model:
            another filter changes the original network's answer for two of its own four samples.
        channel: ``"mean"`` of all channels, ``"intact"`` for the mean of those without a fault, or one index from 0 to
            63. With a reference channel, the means are of all others.
        reference_channel: index of the channel that records the hall, 0 to 63; None without one.
        clip_frames: frames of a clip that the network takes, 2 to 65 536.
        n_fft: samples per frame, 32 to 65 536.
        hop_length: samples from one frame to the next, 1 to ``n_fft``.
        window: a key of :data:`WINDOWS`.
        padding: samples before and after the clip, so that frame ``t`` is centred on sample ``t * hop_length``: zeros
            (``constant``) or the mirrored clip (``reflect``). With ``none``, frame ``t`` starts at that sample.
        n_mels: mel bands, 1 to 1024.
        fmin_hz, fmax_hz: frequency range of the mel bands, within 0 and half the sample rate.
        n_mfcc: number of cepstral coefficients, 1 to ``n_mels``; None for log-mel bands.
        dynamic_range_db: log-mel values more than this below a clip's maximum are raised to this limit; None for no
            limit. The default, 80 dB, is librosa's.
        level: ``as_recorded``, or ``clip_mean``: the mean of a clip's log-mel values is subtracted, so that the level
            of the recording has no influence.
        offset: ``kept``, or ``removed``: the mean over 50 ms around each sample is subtracted before the features, so
            that a constant or drifting offset of the microphone has no influence.
        silent_frames: frames of zeros that are appended before ``fit`` is applied; the original has 2.
        fit: rule that makes ``clip_frames`` frames. ``crop_or_repeat_tail`` is the original's rule: leave out
            frames at the end, or repeat the last frames. If more frames are missing than there are, the original
            crashes (clips below about 5 s); here the frames are repeated several times.

    Raises:
        SpecError: a field has the wrong type, is out of range or contradicts another field.

    Example:
        >>> spec = FeatureSpec.original()
        >>> spec.input_shape, spec.clip_samples, round(spec.clip_s, 2)
        ((1, 40, 433, 1), 221184, 10.03)
        >>> spec.clip_spans(500_000)  # start and end of each clip, in samples
        [(0, 221184), (110592, 331776), (221184, 442368), (278816, 500000)]
        >>> FeatureSpec.from_dict(spec.to_dict()).fingerprint == spec.fingerprint
        True
    """

    sample_rate_hz: int
    resampler: str = "kaiser_fast"
    channel: SingleChannel = "mean"
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
    offset: Offset = "kept"
    reference_channel: int | None = None
    silent_frames: int = 0
    fit: LengthRule = "crop_or_repeat_tail"

    def __post_init__(self) -> None:
        for name in WHOLE_NUMBERS:
            value = getattr(self, name)
            unset = (name in OPTIONAL and value is None) or (name == "channel" and value in MIXED)
            if not unset and (not isinstance(value, int) or isinstance(value, bool)):
                raise SpecError(f"Feature spec: {name} is {value!r}; a whole number was expected.")
        for holds, sentence in self._rules():
            if not holds:
                raise SpecError(f"Feature spec: {sentence}.")

    def _rules(self) -> Iterator[tuple[bool, str]]:
        """Yield each rule: whether it holds, and the error message if not."""
        nyquist = self.sample_rate_hz / 2
        yield 1000 <= self.sample_rate_hz <= 192_000, _range("sample_rate_hz", self.sample_rate_hz, 1000, 192_000)
        yield self.resampler in FILTERS, _choice("resampler", self.resampler, FILTERS)
        yield (
            self.channel in MIXED or self.channel in range(64),
            _range("channel", self.channel, "mean, intact, or 0", 63),
        )
        yield (
            self.reference_channel is None or self.reference_channel in range(64),
            _range("reference_channel", self.reference_channel, "null, or 0", 63),
        )
        yield (
            self.reference_channel is None or self.reference_channel != self.channel,
            f"channel and reference_channel are both {self.channel!r}; two channels are needed",
        )
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
        yield self.fit in get_args(LengthRule), _choice("fit", self.fit, get_args(LengthRule))
        yield self.level in get_args(Level), _choice("level", self.level, get_args(Level))
        yield self.offset in get_args(Offset), _choice("offset", self.offset, get_args(Offset))

    @classmethod
    def original(cls) -> Self:
        """Return the original project's spec: 40 MFCCs x 433 frames at 22 050 Hz.

        The other values are librosa's defaults of its time.
        """
        return cls(sample_rate_hz=22_050, fmax_hz=11_025.0, n_mfcc=40, clip_frames=433, silent_frames=2)

    @property
    def used_channels(self) -> Channel:
        """Channel that recordings are decoded to; a pair with a reference channel."""
        return self.channel if self.reference_channel is None else ChannelPair(self.channel, self.reference_channel)

    @property
    def rows(self) -> int:
        """Rows of the feature matrix: ``n_mfcc``, or ``n_mels`` for log-mel bands."""
        return self.n_mfcc or self.n_mels

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        """Shape of a network's input: one clip, rows, frames, one channel."""
        return (1, self.rows, self.clip_frames, 1)

    @property
    def clip_samples(self) -> int:
        """Length of a clip in samples at ``sample_rate_hz``: the shortest that needs no repetition.

        ``(clip_frames - 1) * hop_length``, plus ``n_fft`` without padding, or plus 1 if ``n_fft`` is odd.
        """
        edge = self.n_fft if self.padding == "none" else self.n_fft % 2
        return (self.clip_frames - 1) * self.hop_length + edge

    @property
    def clip_s(self) -> float:
        """Length of a clip in seconds: ``clip_samples / sample_rate_hz``."""
        return self.clip_samples / self.sample_rate_hz

    @property
    def fingerprint(self) -> str:
        """First 16 hexadecimal digits of the SHA-256 of the fields as JSON; another value gives other digits."""
        canonical = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    def clip_spans(self, samples: int) -> list[tuple[int, int]]:
        """Compute start and end of each clip in a recording, in samples at ``sample_rate_hz``.

        A recording shorter than ``clip_samples + hop_length`` is one clip. A longer one is cut into clips of
        ``clip_samples`` with starts half a clip apart. The last clip ends at the end of the recording, so that
        every sample is in a clip.

        Args:
            samples: length of the recording.
        """
        length = self.clip_samples
        if samples < length + self.hop_length:
            return [(0, samples)]
        return [(start, start + length) for start in [*range(0, samples - length, length // 2), samples - length]]

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values, as they are stored in a bundle."""
        return {
            name: value
            for name, value in asdict(self).items()
            if name not in LATER_FIELD_DEFAULTS or value != LATER_FIELD_DEFAULTS[name]
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Make a spec from the values of :meth:`to_dict`.

        Raises:
            SpecError: a field is missing, unknown, of the wrong type or out of range.
        """
        names = {field.name for field in fields(cls)}
        if set(values) | set(LATER_FIELD_DEFAULTS) != names:
            wrong = sorted(set(values) ^ (names - set(LATER_FIELD_DEFAULTS)))
            raise SpecError(
                f"Feature spec: the fields {wrong} are unknown or missing: was it written by another version?"
            )
        try:
            return cls(**values)
        except TypeError as error:
            raise SpecError(f"Feature spec: a field has the wrong type ({error}).") from error


def _range(name: str, value: object, low: object, high: object) -> str:
    return f"{name} is {value!r}; {low} to {high} is accepted"


def _choice(name: str, value: object, choices: Collection[str]) -> str:
    return f"{name} is {value!r}; {' or '.join(choices)} is accepted"
