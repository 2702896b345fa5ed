"""Augmentation: random changes of training recordings in gain, noise, start and speed.

For the training side only. The changes are the original project's three (white noise, roll, stretch) and a gain. The
values of a copy are drawn from (seed, hash of the recording, number of the copy). So neither the order of the work nor
the number of processes changes them.
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
    """Ranges of the random values of each copy. Values are uniform in their range.

    Attributes:
        copies: copies of each recording, in addition to the recording, 1 to 100.
        gain_db: range of the change of level in dB; None for no change.
        noise_snr_db: range of the power of the recording over the power of added white noise, in dB; None for no noise.
        roll: move a random share of the recording from its end to its beginning.
        stretch: range of the speed; above 1 is faster; None for no change. The pitch is kept: frames of the log-mel
            spectrum are interpolated linearly, in dB, which keeps the mean spectrum of a steady sound. librosa's phase
            vocoder loses level in noise: at speeds of 0.9 to 1.1, on recordings of machines, its mean spectrum
            was 3.4 to 3.6 dB below this one, in most bands 2.7 to 4.2. In bands of clean tones the two differed by
            less than 0.1 dB at 1.05 and 1.1, by 0.8 dB at 0.9 and 0.95. Interpolated magnitude or power was no
            nearer to librosa's result.
        seed: start of every random sequence.

    Raises:
        InvalidParameter: a number is out of range, or the upper end of a range comes first.

    Example:
        >>> augmentation = Augmentation(copies=2, gain_db=(-6.0, 6.0), seed=1)
        >>> first, again, second = (augmentation.draw("00ff", copy) for copy in (1, 1, 2))
        >>> first.gain_db == again.gain_db, first.gain_db == second.gain_db, -6 <= first.gain_db <= 6
        (True, False, True)
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
        """Return the original project's three copies: noise, roll and stretch, one in each copy.

        Noise has an SNR of 20 to 40 dB, stretch a speed of 0.9 to 1.1. The original stretched by 1, which changes
        nothing.
        """
        return (
            cls(copies=1, noise_snr_db=(20.0, 40.0), seed=seed),
            cls(copies=1, roll=True, seed=seed),
            cls(copies=1, stretch=(0.9, 1.1), seed=seed),
        )

    @classmethod
    def everything(cls, copies: int = 3, seed: int = 0) -> Self:
        """Return an augmentation that makes all four changes in each copy.

        Gain is -6 to 6 dB, SNR 15 to 40 dB, speed 0.9 to 1.1.
        """
        return cls(
            copies=copies, gain_db=(-6.0, 6.0), noise_snr_db=(15.0, 40.0), roll=True, stretch=(0.9, 1.1), seed=seed
        )

    @property
    def fingerprint(self) -> str:
        """First 16 hexadecimal digits of the SHA-256 of the fields without ``copies``."""
        values = {name: value for name, value in asdict(self).items() if name != "copies"}
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values, for the model card."""
        return asdict(self)

    def draw(self, audio_hash: str, copy: int) -> "AugmentationDraw":
        """Draw the values of one copy.

        Args:
            audio_hash: hash of the recording, in hexadecimal digits.
            copy: number of the copy, from 1.

        Raises:
            ValueError: the hash is not hexadecimal.
        """
        rng = np.random.Generator(np.random.PCG64([self.seed, int(audio_hash, 16), copy]))
        gain_db, noise_snr_db, stretch = (
            None if bounds is None else float(rng.uniform(*bounds))
            for bounds in (self.gain_db, self.noise_snr_db, self.stretch)
        )
        roll_share = float(rng.uniform()) if self.roll else None
        return AugmentationDraw(gain_db, noise_snr_db, roll_share, stretch, rng)


@dataclass(frozen=True, slots=True)
class AugmentationDraw:
    """Random values of one copy.

    Attributes:
        gain_db: change of level in dB; None for no change.
        noise_snr_db: power of the recording over power of the noise, in dB; None for no noise.
        roll_share: share of the recording that moves from its end to its beginning, 0 to 1; None for no change.
        stretch: speed; above 1 is faster; None for no change.
        rng: generator of the noise, after the values above were drawn from it.

    Example:
        >>> draw = Augmentation(copies=1, gain_db=(6.0, 6.0), stretch=(0.5, 0.5)).draw("00ff", 1)
        >>> draw.augment_waveform(np.ones(4, np.float32)).round(1).tolist()
        [2.0, 2.0, 2.0, 2.0]
        >>> draw.stretch_frames(np.array([[0.0], [10.0], [20.0]], np.float32)).ravel().tolist()
        [0.0, 5.0, 10.0, 15.0]
    """

    gain_db: float | None
    noise_snr_db: float | None
    roll_share: float | None
    stretch: float | None
    rng: Generator

    @property
    def changes_waveform(self) -> bool:
        """Whether :meth:`augment_waveform` changes anything."""
        return any(value is not None for value in (self.gain_db, self.noise_snr_db, self.roll_share))

    def augment_waveform(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Apply gain, noise and roll, in this order.

        Call it once for each draw: another call adds other noise.
        Gain: ``x * 10 ** (gain_db / 20)``. Noise: normal, with the RMS of ``x`` times ``10 ** (-noise_snr_db / 20)``.

        Args:
            samples: float32, shape ``(n,)``, at the sample rate of the features.

        Returns:
            float32, shape ``(n,)``, in a new array.
        """
        gain = 1.0 if self.gain_db is None else 10 ** (self.gain_db / 20)
        changed = samples * np.float32(gain)
        if self.noise_snr_db is not None:
            rms = float(np.sqrt(np.dot(changed, changed) / len(changed))) * 10 ** (-self.noise_snr_db / 20)
            changed += self.rng.standard_normal(len(changed), dtype=np.float32) * np.float32(rms)
        if self.roll_share is not None:
            changed = np.roll(changed, int(self.roll_share * len(changed)))
        return changed

    def stretch_frames(self, log_mel: NDArray[np.float32]) -> NDArray[np.float32]:
        """Change the speed: interpolate frames linearly at the positions 0, ``stretch``, 2 ``stretch``, ...

        Args:
            log_mel: float32, shape ``(frames, n_mels)``, in dB.

        Returns:
            float32, shape ``(ceil((frames - 1) / stretch), n_mels)``; the input itself without a stretch, or with fewer
            than two frames.
        """
        if self.stretch is None or len(log_mel) < 2:
            return log_mel
        position = np.arange(0, len(log_mel) - 1, self.stretch, dtype=np.float32)
        before = position.astype(np.intp)
        share = (position - before)[:, None]
        return np.asarray(log_mel[before] * (1 - share) + log_mel[before + 1] * share, np.float32)
