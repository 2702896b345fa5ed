"""The parts that sounds are made of: seeded draws, slow changes, coloured noise, tones of a turning shaft, rooms."""

from collections.abc import Sequence

import numpy as np
import scipy.fft
from numpy.random import PCG64, Generator, SeedSequence
from numpy.typing import NDArray

from ml.dataset.simulate.plan import SAMPLE_RATE_HZ

Waveform = NDArray[np.float32]
# One turn in so many points, read by linear interpolation: harmonic 100 comes out with an error of -75 dB.
POINTS_PER_TURN = 16_384
KNOTS_HZ = np.geomspace(31.25, 8000, 17)  # half octaves
REFLECTIONS = 6


def generator(*key: int) -> Generator:
    """A stream of random numbers that depends on ``key`` alone: on no other stream, process or order of work."""
    return Generator(PCG64(SeedSequence(key)))


def db_to_amplitude(db: float) -> float:
    """An amplitude ratio from decibels."""
    return float(10 ** (db / 20))


def wander(random: Generator, t: NDArray[np.float64], terms: int = 3) -> NDArray[np.float64]:
    """A slow, smooth change of about 1 at most, as a sum of sines that complete up to ``terms`` turns in unit time.

    Args:
        random: draws the phases and shares.
        t: where to look, in units of the whole span.
        terms: how many sines.
    """
    turns = random.uniform(0.2, 1.0, terms) + np.arange(terms)
    shares = random.dirichlet(np.ones(terms))
    phases = random.uniform(0, 2 * np.pi, terms)
    return np.asarray(shares @ np.sin(2 * np.pi * turns[:, None] * t + phases[:, None]))


def fluctuation(random: Generator, samples: int, rate_hz: float) -> Waveform:
    """A random change of standard deviation 1 that forgets itself within about ``1 / rate_hz`` seconds."""
    knots = max(4, int(samples / SAMPLE_RATE_HZ * rate_hz) + 2)
    values = random.standard_normal(knots)
    at = np.arange(samples) * ((knots - 1) / samples)
    # The mean square of a straight line between two independent values is 2/3 of theirs.
    return np.asarray(np.interp(at, np.arange(knots), values / np.sqrt(2 / 3)), np.float32)


def uneven_db(random: Generator, spread_db: float) -> NDArray[np.float64]:
    """A smooth random deviation from a straight spectrum, dB at each of :data:`KNOTS_HZ`."""
    steps = random.standard_normal(len(KNOTS_HZ) + 2)
    return np.asarray(spread_db * np.convolve(steps, [0.25, 0.5, 0.25], "valid") / np.sqrt(0.375))


def amplitudes_at(frequencies_hz: NDArray[np.float32], shape_db: NDArray[np.float64]) -> Waveform:
    """Amplitudes that follow ``shape_db`` (dB at :data:`KNOTS_HZ`), straight over log frequency."""
    logarithms = np.log(np.maximum(frequencies_hz, 1.0))
    return np.power(np.float32(10), np.interp(logarithms, np.log(KNOTS_HZ), shape_db / 20).astype(np.float32))


def power_of(shape_db: NDArray[np.float64]) -> float:
    """Power of noise with this spectrum, up to a constant: each knot stands for half an octave about it."""
    return float(np.sum(10 ** (shape_db / 10) * KNOTS_HZ))


def white_spectrum(random: Generator, bins: int) -> NDArray[np.complex64]:
    """Spectrum of white Gaussian noise, one independent complex value for each bin."""
    return random.standard_normal(2 * bins, np.float32).view(np.complex64)


def frequencies(samples: int) -> NDArray[np.float32]:
    """Of the bins of a real spectrum of so many samples, Hz."""
    return np.asarray(scipy.fft.rfftfreq(samples, 1 / SAMPLE_RATE_HZ), np.float32)


def coloured_noise(random: Generator, samples: int, shape_db: NDArray[np.float64]) -> Waveform:
    """Gaussian noise with this spectrum, RMS 1."""
    spectrum = white_spectrum(random, samples // 2 + 1) * amplitudes_at(frequencies(samples), shape_db)
    return unit_rms(np.asarray(scipy.fft.irfft(spectrum, samples), np.float32))


def unit_rms(sound: Waveform) -> Waveform:
    """The same at RMS 1."""
    return sound / np.float32(rms(sound))


def rms(sound: Waveform) -> float:
    """Root of the mean square, over all channels."""
    return float(np.sqrt(np.mean(np.square(sound), dtype=np.float64)))


def make_wavetable(random: Generator, amplitudes: Sequence[float] | NDArray[np.float64]) -> Waveform:
    """One turn of a periodic sound: harmonic ``k + 1`` has ``amplitudes[k]`` (peak), at a random phase.

    Returns:
        float32, ``POINTS_PER_TURN + 1`` points; the last is the first again.
    """
    spectrum = np.zeros(POINTS_PER_TURN // 2 + 1, np.complex128)
    phases = random.uniform(0, 2 * np.pi, len(amplitudes))
    spectrum[1 : len(amplitudes) + 1] = np.asarray(amplitudes) * np.exp(1j * phases) * (POINTS_PER_TURN / 2)
    turn = scipy.fft.irfft(spectrum, POINTS_PER_TURN)
    return np.append(turn, turn[0]).astype(np.float32)


def read_wavetable(turn: Waveform, revolutions: NDArray[np.float64]) -> Waveform:
    """Read one turn along a path of revolutions: tones that follow every change of speed."""
    at = (revolutions - np.floor(revolutions)) * POINTS_PER_TURN
    whole = at.astype(np.int32)
    part = (at - whole).astype(np.float32)
    return np.asarray(turn[whole] * (1 - part) + turn[whole + 1] * part)


def room_impulse_responses(random: Generator, channels: int, samples: int) -> Waveform:
    """From one source to each microphone of a small array: direct sound, early reflections, a decaying tail.

    The tail is Gaussian noise under an exponential (J. D. Polack, 1988), reverberation time 0.15 to 0.4 s. The
    microphones hear the same reflections within a fraction of a millisecond, and tails of their own.

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
    """What each microphone hears, once the room has filled.

    Args:
        source: sound, longer than the responses by as much as is wanted.
        responses: ``(channels, taps)``.

    Returns:
        float32, shape ``(channels, len(source) - taps)``.
    """
    # A product of spectra folds the end onto the first samples, which are dropped while the room fills.
    spectrum = scipy.fft.rfft(source)
    reverberant = scipy.fft.irfft(spectrum * scipy.fft.rfft(responses, len(source)), len(source))
    return np.asarray(reverberant[:, responses.shape[1] :], np.float32)
