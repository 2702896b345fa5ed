"""Factory noise: coloured background noise, hum of other machines, and metallic clanks."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import scipy.fft
from numpy.random import Generator
from numpy.typing import NDArray

from ml.dataset.simulate.plan import SAMPLE_RATE_HZ
from ml.dataset.simulate.signals import (
    KNOTS_HZ,
    Waveform,
    amplitudes_at,
    db_to_amplitude,
    fluctuation,
    frequencies,
    uneven_db,
    unit_rms,
    white_spectrum,
)

OFF_SHARE = 0.25
CLANKS_PER_S = 0.15
CLANK_SAMPLES = SAMPLE_RATE_HZ // 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Hall:
    """Hall around a machine. Its noise is similar in all recordings, but never identical.

    Attributes:
        background_db: spectrum of the background noise at :data:`~ml.dataset.simulate.signals.KNOTS_HZ`.
        tones_hz, prominences_db: lowest tone of each other machine, and its level above the background.
        harmonics: number of tones of each other machine.
    """

    background_db: NDArray[np.float64]
    tones_hz: NDArray[np.float64]
    prominences_db: NDArray[np.float64]
    harmonics: NDArray[np.int64]

    @classmethod
    def draw(cls, random: Generator, others: int | None = None) -> Self:
        """Draw a hall with three to six other machines, or with ``others`` of them."""
        others = int(random.integers(3, 7)) if others is None else others
        corner_hz, slope = random.uniform(100, 300), random.uniform(-5.5, -3.5)
        falling = np.minimum(0, slope * np.log2(KNOTS_HZ / corner_hz))
        return cls(
            background_db=falling + uneven_db(random, 2.0),
            tones_hz=random.uniform(40, 500, others),
            prominences_db=random.uniform(6, 18, others),
            harmonics=random.integers(2, 8, others),
        )


def factory_noise(hall: Hall, samples: int, random: Generator) -> Waveform:
    """Return the noise of the hall without the machine, independent of the machine's state.

    Returns:
        float32, ``(samples,)``, RMS 1.
    """
    return unit_rms(steady_noise(hall, samples, random) + clanks(samples, random))


def steady_noise(hall: Hall, samples: int, random: Generator) -> Waveform:
    """Return the background noise and the other machines of the hall.

    Returns:
        float32, ``(samples,)``, RMS about 1.
    """
    hz = frequencies(samples)
    amplitudes = amplitudes_at(hz, hall.background_db + uneven_db(random, 0.8)) * _other_machines(hall, hz, random)
    spectrum = white_spectrum(random, len(hz)) * amplitudes
    background = unit_rms(np.asarray(scipy.fft.irfft(spectrum, samples), np.float32))
    slow_changes = np.exp(np.float32(0.15) * fluctuation(random, samples, 1.0))
    return np.asarray(background * slow_changes)


def clanks(samples: int, random: Generator, per_s: float = CLANKS_PER_S) -> Waveform:
    """Return metallic clanks at random times: a few modes that ring for some tens of milliseconds."""
    sound = np.zeros(samples + CLANK_SAMPLES, np.float32)
    t = (np.arange(CLANK_SAMPLES) / SAMPLE_RATE_HZ).astype(np.float32)
    for _ in range(random.poisson(per_s * samples / SAMPLE_RATE_HZ)):
        start = random.integers(0, samples)
        for _ in range(3):
            decay, mode_hz = random.uniform(15, 60), random.uniform(500, 5000)
            ring = np.exp(-np.float32(decay) * t) * np.sin(np.float32(2 * np.pi * mode_hz) * t)
            sound[start : start + CLANK_SAMPLES] += np.float32(random.uniform(0.3, 2.0)) * ring
    return sound[:samples]


def _other_machines(hall: Hall, hz: NDArray[np.float32], random: Generator) -> Waveform:
    """Return the other machines as narrow peaks above the background.

    Each machine is off in some recordings, and its speed varies a little.

    Returns:
        A factor for the amplitude of each bin.
    """
    factors = np.ones(len(hz), np.float32)
    for tone_hz, prominence_db, harmonics in zip(hall.tones_hz, hall.prominences_db, hall.harmonics, strict=True):
        is_off = random.uniform() < OFF_SHARE
        base_hz, width_hz = tone_hz * random.normal(1, 0.01), random.uniform(0.2, 1.5)
        peak_db = prominence_db + random.normal(0, 2)
        for harmonic in range(1, 1 if is_off else harmonics + 1):
            centre = harmonic * base_hz
            band = slice(*np.searchsorted(hz, [centre - 4 * width_hz, centre + 4 * width_hz]))
            bump = np.exp(-0.5 * ((hz[band] - centre) / width_hz) ** 2)
            factors[band] += np.float32(db_to_amplitude(peak_db - 2 * harmonic)) * bump
    return factors
