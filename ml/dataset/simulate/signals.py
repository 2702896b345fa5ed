"""Components of simulated sound: seeded draws, slow changes, coloured noise, shaft tones and rooms."""

from collections.abc import Sequence
from enum import IntEnum

import numpy as np
import scipy.fft
from numpy.random import PCG64, Generator, SeedSequence
from numpy.typing import NDArray

from ml.dataset.simulate.plan import SAMPLE_RATE_HZ

Waveform = NDArray[np.float32]
# Points of one turn. With linear interpolation, the error of harmonic 100 is -75 dB.
POINTS_PER_TURN = 16_384
KNOTS_HZ = np.geomspace(31.25, 8000, 17)  # half octaves
REFLECTIONS = 6
TAPS = SAMPLE_RATE_HZ // 4  # length of a room's impulse response


class Draw(IntEnum):
    """Second element of each key, after the seed, so that no two kinds of draw share a random stream."""

    SITE = 0
    FAN = 1
    HALL = 2
    SESSION = 3
    RECORDING = 4
    NOISE = 5
    LEVEL = 6
    SOURCES = 7
    PATH_TO_REFERENCE = 8
    SOURCE_SESSION = 9
    SOURCE_NOISE = 10
    DISTURBANCE = 11


def generator(*key: int) -> Generator:
    """Return a random generator that depends on ``key`` alone, not on processes or order of work."""
    return Generator(PCG64(SeedSequence(key)))


def db_to_amplitude(db: float) -> float:
    """Return the amplitude ratio of a level in dB."""
    return float(10 ** (db / 20))


def wander(random: Generator, t: NDArray[np.float64], terms: int = 3) -> NDArray[np.float64]:
    """Return a slow, smooth change between -1 and 1: a sum of sines of up to ``terms`` turns per span.

    Args:
        random: source of frequencies, phases and shares.
        t: times, in units of the whole span.
        terms: number of sines.
    """
    turns = random.uniform(0.2, 1.0, terms) + np.arange(terms)
    shares = random.dirichlet(np.ones(terms))
    phases = random.uniform(0, 2 * np.pi, terms)
    return np.asarray(shares @ np.sin(2 * np.pi * turns[:, None] * t + phases[:, None]))


def fluctuation(random: Generator, samples: int, rate_hz: float) -> Waveform:
    """Return random noise of standard deviation 1 with a correlation time of about ``1 / rate_hz`` s."""
    knots = max(4, int(samples / SAMPLE_RATE_HZ * rate_hz) + 2)
    values = random.standard_normal(knots)
    at = np.arange(samples) * ((knots - 1) / samples)
    # A straight line between two independent values has 2/3 of their mean square.
    return np.asarray(np.interp(at, np.arange(knots), values / np.sqrt(2 / 3)), np.float32)


def uneven_db(random: Generator, spread_db: float) -> NDArray[np.float64]:
    """Return a smooth random deviation of a spectrum, in dB at each of :data:`KNOTS_HZ`."""
    steps = random.standard_normal(len(KNOTS_HZ) + 2)
    return np.asarray(spread_db * np.convolve(steps, [0.25, 0.5, 0.25], "valid") / np.sqrt(0.375))


def amplitudes_at(frequencies_hz: NDArray[np.float32], shape_db: NDArray[np.float64]) -> Waveform:
    """Return amplitudes that follow ``shape_db`` (dB at :data:`KNOTS_HZ`), linearly over log frequency."""
    logarithms = np.log(np.maximum(frequencies_hz, 1.0))
    return np.power(np.float32(10), np.interp(logarithms, np.log(KNOTS_HZ), shape_db / 20).astype(np.float32))


def power_of(shape_db: NDArray[np.float64]) -> float:
    """Return the power of noise with this spectrum, up to a constant; each knot represents half an octave."""
    return float(np.sum(10 ** (shape_db / 10) * KNOTS_HZ))


def white_spectrum(random: Generator, bins: int) -> NDArray[np.complex64]:
    """Return the spectrum of white Gaussian noise, one independent complex value for each bin."""
    return random.standard_normal(2 * bins, np.float32).view(np.complex64)


def frequencies(samples: int) -> NDArray[np.float32]:
    """Return the frequencies of the bins of a real spectrum, in Hz."""
    return np.asarray(scipy.fft.rfftfreq(samples, 1 / SAMPLE_RATE_HZ), np.float32)


def coloured_noise(random: Generator, samples: int, shape_db: NDArray[np.float64]) -> Waveform:
    """Return Gaussian noise with this spectrum, RMS 1."""
    spectrum = white_spectrum(random, samples // 2 + 1) * amplitudes_at(frequencies(samples), shape_db)
    return unit_rms(np.asarray(scipy.fft.irfft(spectrum, samples), np.float32))


def unit_rms(sound: Waveform) -> Waveform:
    """Scale a sound to RMS 1."""
    return sound / np.float32(rms(sound))


def rms(sound: Waveform) -> float:
    """Return the root of the mean square over all channels."""
    return float(np.sqrt(np.mean(np.square(sound), dtype=np.float64)))


def make_wavetable(random: Generator, amplitudes: Sequence[float] | NDArray[np.float64]) -> Waveform:
    """Return one turn of a periodic sound, with random phases.

    Harmonic ``k + 1`` has the peak amplitude ``amplitudes[k]``.

    Returns:
        float32, ``POINTS_PER_TURN + 1`` points; the last point repeats the first.
    """
    spectrum = np.zeros(POINTS_PER_TURN // 2 + 1, np.complex128)
    phases = random.uniform(0, 2 * np.pi, len(amplitudes))
    spectrum[1 : len(amplitudes) + 1] = np.asarray(amplitudes) * np.exp(1j * phases) * (POINTS_PER_TURN / 2)
    turn = scipy.fft.irfft(spectrum, POINTS_PER_TURN)
    return np.append(turn, turn[0]).astype(np.float32)


def read_wavetable(turn: Waveform, revolutions: NDArray[np.float64]) -> Waveform:
    """Read one turn at a sequence of revolutions, which gives tones that follow every change of speed."""
    at = (revolutions - np.floor(revolutions)) * POINTS_PER_TURN
    whole = at.astype(np.int32)
    part = (at - whole).astype(np.float32)
    return np.asarray(turn[whole] * (1 - part) + turn[whole + 1] * part)


def room_impulse_responses(random: Generator, channels: int, samples: int) -> Waveform:
    """Return the impulse responses from one source to each microphone of a small array.

    A response has direct sound, early reflections and a tail: Gaussian noise with exponential decay (J. D. Polack,
    1988), reverberation time 0.15 to 0.4 s. The reflections reach all microphones within a fraction of a millisecond;
    the tails differ.

    Returns:
        float32, shape ``(channels, samples)``.
    """
    reverberation_s = random.uniform(0.15, 0.4)
    decay = np.exp(-np.log(1000) * np.arange(samples) / (reverberation_s * SAMPLE_RATE_HZ))
    tail = (random.uniform(0.01, 0.02) * decay).astype(np.float32)
    responses: Waveform = random.standard_normal((channels, samples), np.float32) * tail
    arrivals = np.append(0, random.integers(15, 400, REFLECTIONS))
    strengths = np.append(1.0, random.uniform(0.15, 0.5, REFLECTIONS) * random.choice([-1, 1], REFLECTIONS))
    for response in responses:
        late = random.integers(0, 4, len(arrivals))
        response[arrivals + late] += strengths.astype(np.float32)
    return responses


def convolve_room(source: Waveform, responses: Waveform) -> Waveform:
    """Return the sound at each microphone, after the start-up of the room.

    Args:
        source: sound, longer than the responses by the wanted number of samples.
        responses: impulse responses, ``(channels, taps)``.

    Returns:
        float32, shape ``(channels, len(source) - taps)``.
    """
    # A product of spectra folds the end onto the first samples. They are dropped, as the start-up of the room.
    spectrum = scipy.fft.rfft(source)
    reverberant = scipy.fft.irfft(spectrum * scipy.fft.rfft(responses, len(source)), len(source))
    return np.asarray(reverberant[:, responses.shape[1] :], np.float32)
