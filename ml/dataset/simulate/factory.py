"""What else is heard where machines stand: a coloured murmur, other machines' hum, and something that is dropped."""

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

REST_SHARE = 0.25
CLANKS_PER_S = 0.15
CLANK_SAMPLES = SAMPLE_RATE_HZ // 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Hall:
    """Where a machine stands. It sounds alike every day, and never the same.

    Attributes:
        murmur_db: spectrum of all that cannot be told apart, at :data:`~ml.dataset.simulate.signals.KNOTS_HZ`.
        tones_hz, prominences_db: of each other machine, the lowest tone, and how far it stands out.
        harmonics: of each, how many tones it has.
    """

    murmur_db: NDArray[np.float64]
    tones_hz: NDArray[np.float64]
    prominences_db: NDArray[np.float64]
    harmonics: NDArray[np.int64]

    @classmethod
    def draw(cls, random: Generator) -> Self:
        """A hall with three to six other machines."""
        others = random.integers(3, 7)
        corner_hz, slope = random.uniform(100, 300), random.uniform(-5.5, -3.5)
        falling = np.minimum(0, slope * np.log2(KNOTS_HZ / corner_hz))
        return cls(
            murmur_db=falling + uneven_db(random, 2.0),
            tones_hz=random.uniform(40, 500, others),
            prominences_db=random.uniform(6, 18, others),
            harmonics=random.integers(2, 8, others),
        )


def factory_noise(hall: Hall, samples: int, random: Generator) -> Waveform:
    """What the hall sounds like without the machine, whatever state that is in.

    Returns:
        float32, ``(samples,)``, RMS 1.
    """
    hz = frequencies(samples)
    amplitudes = amplitudes_at(hz, hall.murmur_db + uneven_db(random, 0.8)) * _others(hall, hz, random)
    murmur = unit_rms(np.asarray(scipy.fft.irfft(white_spectrum(random, len(hz)) * amplitudes, samples), np.float32))
    coming_and_going = np.exp(np.float32(0.15) * fluctuation(random, samples, 1.0))
    return unit_rms(murmur * coming_and_going + _clanks(samples, random))


def _others(hall: Hall, hz: NDArray[np.float32], random: Generator) -> Waveform:
    """The other machines, as narrow peaks over the murmur. Each rests now and then, and turns as its load lets it.

    Returns:
        a factor for the amplitude of each bin.
    """
    factors = np.ones(len(hz), np.float32)
    for tone_hz, prominence_db, harmonics in zip(hall.tones_hz, hall.prominences_db, hall.harmonics, strict=True):
        rests = random.uniform() < REST_SHARE
        base_hz, width_hz = tone_hz * random.normal(1, 0.01), random.uniform(0.2, 1.5)
        peak_db = prominence_db + random.normal(0, 2)
        for harmonic in range(1, 1 if rests else harmonics + 1):
            centre = harmonic * base_hz
            near = slice(*np.searchsorted(hz, [centre - 4 * width_hz, centre + 4 * width_hz]))
            bump = np.exp(-0.5 * ((hz[near] - centre) / width_hz) ** 2)
            factors[near] += np.float32(db_to_amplitude(peak_db - 2 * harmonic)) * bump
    return factors


def _clanks(samples: int, random: Generator) -> Waveform:
    """Metal on metal, now and then: a few modes that ring for some tens of milliseconds."""
    sound = np.zeros(samples + CLANK_SAMPLES, np.float32)
    t = (np.arange(CLANK_SAMPLES) / SAMPLE_RATE_HZ).astype(np.float32)
    for _ in range(random.poisson(CLANKS_PER_S * samples / SAMPLE_RATE_HZ)):
        start = random.integers(0, samples)
        for _ in range(3):
            decay, mode_hz = random.uniform(15, 60), random.uniform(500, 5000)
            ring = np.exp(-np.float32(decay) * t) * np.sin(np.float32(2 * np.pi * mode_hz) * t)
            sound[start : start + CLANK_SAMPLES] += np.float32(random.uniform(0.3, 2.0)) * ring
    return sound[:samples]
