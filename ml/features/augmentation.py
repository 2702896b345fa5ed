"""Recordings as they might have been: louder, noisier, begun at another moment, running a little slower.

For the training side only. The original project's three (white noise, roll, stretch) and a gain. Each copy of a
recording draws its values from (seed, the recording's hash, the copy's number), so that neither the order of the work
nor the number of processes changes them.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from ml.errors import InvalidParameter

Range = tuple[float, float]
MOST_COPIES = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """What is drawn for each copy.

    Attributes:
        copies: of each recording, besides itself.
        gain_db: louder or softer by this much, from and to; None for as recorded.
        noise_snr_db: white noise, so far below the recording's own power, from and to; None for none.
        roll: whether the recording begins at another moment, its beginning put behind its end.
        stretch: rate of time, from and to, its pitch kept; over 1 is faster; None for none. Linear interpolation of
            the spectrum's frames, in dB, which keeps a steady sound's mean spectrum. librosa's phase vocoder loses
            level where there is noise: measured at rates of 0.9 to 1.1 on recordings of machines, its mean spectrum
            was 3.4 to 3.6 dB below this one's, and most bands between 2.7 and 4.2. Bands of clean tones differed by
            less than 0.1 dB at 1.05 and 1.1, by 0.8 at 0.9 and 0.95. Interpolating
            magnitudes or power instead was no nearer.
        seed: of every draw.
    """

    copies: int
    gain_db: Range | None = None
    noise_snr_db: Range | None = None
    roll: bool = False
    stretch: Range | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.copies <= MOST_COPIES:
            raise InvalidParameter(f"Augmentation: {self.copies} copies; 1 to {MOST_COPIES} were expected.")
        for name, bounds in (("gain_db", self.gain_db), ("noise_snr_db", self.noise_snr_db), ("stretch", self.stretch)):
            if bounds is not None and not bounds[0] <= bounds[1]:
                raise InvalidParameter(f"Augmentation: {name} from {bounds[0]} to {bounds[1]}; the lower comes first.")
        if self.stretch is not None and not self.stretch[0] > 0:
            raise InvalidParameter(f"Augmentation: a stretch of {self.stretch[0]}; more than 0 was expected.")

    @classmethod
    def original(cls, seed: int = 0) -> tuple[Self, Self, Self]:
        """The original project's three copies; its stretch had the rate 1, which changes nothing: here it varies."""
        return (
            cls(copies=1, noise_snr_db=(20.0, 40.0), seed=seed),
            cls(copies=1, roll=True, seed=seed),
            cls(copies=1, stretch=(0.9, 1.1), seed=seed),
        )

    @classmethod
    def everything(cls, copies: int = 3, seed: int = 0) -> Self:
        """All four at once, in each copy."""
        return cls(
            copies=copies, gain_db=(-6.0, 6.0), noise_snr_db=(15.0, 40.0), roll=True, stretch=(0.9, 1.1), seed=seed
        )

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that change with whatever changes a copy; not with how many there are."""
        values = {name: value for name, value in asdict(self).items() if name != "copies"}
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for the card."""
        return asdict(self)

    def draw(self, audio_hash: str, copy: int) -> "AugmentationDraw":
        """The values of one copy, counted from 1."""
        rng = np.random.Generator(np.random.PCG64([self.seed, int(audio_hash, 16), copy]))
        gain_db, noise_snr_db, stretch = (
            None if bounds is None else float(rng.uniform(*bounds))
            for bounds in (self.gain_db, self.noise_snr_db, self.stretch)
        )
        roll_share = float(rng.uniform()) if self.roll else None
        return AugmentationDraw(gain_db, noise_snr_db, roll_share, stretch, rng)


@dataclass(frozen=True, slots=True)
class AugmentationDraw:
    """What was drawn for one copy; None is left as it is. ``rng`` goes on to draw the noise."""

    gain_db: float | None
    noise_snr_db: float | None
    roll_share: float | None
    stretch: float | None
    rng: Generator

    @property
    def changes_waveform(self) -> bool:
        """Whether :meth:`augment_waveform` does anything."""
        return any(value is not None for value in (self.gain_db, self.noise_snr_db, self.roll_share))

    def augment_waveform(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Gain, noise and roll, of float32 samples ``(n,)`` at the rate that is listened to; once for each draw."""
        gain = 1.0 if self.gain_db is None else 10 ** (self.gain_db / 20)
        changed = samples * np.float32(gain)
        if self.noise_snr_db is not None:
            rms = float(np.sqrt(np.dot(changed, changed) / len(changed))) * 10 ** (-self.noise_snr_db / 20)
            changed += self.rng.standard_normal(len(changed), dtype=np.float32) * np.float32(rms)
        if self.roll_share is not None:
            changed = np.roll(changed, int(self.roll_share * len(changed)))
        return changed

    def stretch_frames(self, log_mel: NDArray[np.float32]) -> NDArray[np.float32]:
        """Stretch, of log-mel frames ``(frames, n_mels)``; there are more of them where time is slower."""
        if self.stretch is None or len(log_mel) < 2:
            return log_mel
        position = np.arange(0, len(log_mel) - 1, self.stretch, dtype=np.float32)
        before = position.astype(np.intp)
        share = (position - before)[:, None]
        return np.asarray(log_mel[before] * (1 - share) + log_mel[before + 1] * share, np.float32)
