"""A frozen, fingerprinted description of how a sound becomes the numbers that a model takes."""

import hashlib
import json
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, Self, get_args

from ml.audio.recording import Channel
from ml.audio.resampling import FILTERS
from ml.errors import SpecError

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
LengthRule = Literal["crop_or_repeat_tail"]
Level = Literal["as_recorded", "clip_mean"]

# Fields that came after the first bundles were written, and what was done before they were there. Such a field is
# written only where it says something else, so that a spec keeps its fingerprint, and old bundles are read.
LATER_FIELD_DEFAULTS: dict[str, Any] = {"level": "as_recorded"}


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureSpec:
    """How a sound becomes the numbers that a network hears. Every size is here once or derived.

    Attributes:
        sample_rate_hz: the rate the spectrum is computed at; recordings at other rates are resampled.
        resampler: by which filter, a name of :data:`ml.audio.resampling.FILTERS`. It is part of the model: another
            filter changes the original network's answer on two of its own four samples.
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
    fit: LengthRule = "crop_or_repeat_tail"

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
        yield self.fit in get_args(LengthRule), _choice("fit", self.fit, get_args(LengthRule))
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

    def clip_spans(self, samples: int) -> list[tuple[int, int]]:
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
        return {
            name: value
            for name, value in asdict(self).items()
            if name not in LATER_FIELD_DEFAULTS or value != LATER_FIELD_DEFAULTS[name]
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The inverse of :meth:`to_dict`.

        Raises:
            SpecError: a field is missing, unknown, of the wrong type or out of range.
        """
        names = {field.name for field in fields(cls)}
        if set(values) | set(LATER_FIELD_DEFAULTS) != names:
            raise SpecError(
                f"Feature spec: the fields {sorted(set(values) ^ (names - set(LATER_FIELD_DEFAULTS)))} are unknown or missing: "
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
