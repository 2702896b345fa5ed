"""Faults of a pair of microphones, applied to finished recordings of 16 kHz.

Every function takes samples of shape ``(frames, channels)``, with the reference in the last of two or more channels,
and returns new samples.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import ndimage, signal

from ml.dataset.simulate.factory import Hall, steady_noise
from ml.dataset.simulate.plan import SAMPLE_RATE_HZ, Disturbance
from ml.dataset.simulate.signals import TAPS, Waveform, db_to_amplitude, rms, room_impulse_responses, unit_rms
from ml.errors import InvalidParameter

MAX_OFFSET_S = 0.05
MAX_PPM = 50.0


def disturb(pair: Waveform, name: Disturbance, random: Generator) -> Waveform:
    """Return a recording with a disturbance of usual size.

    Args:
        pair: samples, ``(frames, channels)``, two or more channels; the last one is the reference.
        name: name of the disturbance, one of :data:`~ml.dataset.simulate.plan.DISTURBANCES`.
        random: source of its size; one for each recording, but for each session if ``name`` is in :data:`PER_SESSION`.

    Returns:
        Samples, ``(frames, channels)``; one channel less if the reference is missing.

    Raises:
        InvalidParameter: the recording has no second channel, or there is no disturbance with this name.
    """
    if pair.ndim != 2 or pair.shape[1] < 2:
        raise InvalidParameter(f"The samples have the shape {pair.shape}; (frames, 2 or more channels) was expected.")
    if name not in _BY_NAME:
        raise InvalidParameter(f"The disturbance is {name!r}; one of {', '.join(_BY_NAME)} was expected.")
    return _BY_NAME[name](pair, random)


def gain_drift(pair: Waveform, start_db: float, end_db: float) -> Waveform:
    """Change the gain of the reference, linearly in dB from the first sample to the last."""
    return _with_reference(pair, pair[:, -1] * 10 ** (np.linspace(start_db, end_db, len(pair)) / 20))


def bleed(pair: Waveform, bleed_db: float) -> Waveform:
    """Add the first channel to the reference, at this level; the machine and the noise around it come together."""
    return _with_reference(pair, pair[:, -1] + db_to_amplitude(bleed_db) * pair[:, 0])


def clock_drift(pair: Waveform, offset_s: float, ppm: float) -> Waveform:
    """Let the reference come from a recorder that starts ``offset_s`` later and runs ``ppm`` millionths slower.

    Where the reference has no sound yet, or none any more, it is continued by its mirror image. The fifth-order spline
    changes tones below 6 kHz by less than 0.5 dB.
    """
    at = np.arange(len(pair)) * (1 + ppm * 1e-6) + offset_s * SAMPLE_RATE_HZ
    return _with_reference(pair, ndimage.map_coordinates(pair[:, -1], [at], order=5, mode="mirror"))


def moved(pair: Waveform, random: Generator) -> Waveform:
    """Move the reference: another room response, and another level, with a standard deviation of 3 dB.

    The shares of the sources stay, as they can't be changed afterwards; ``SimulationPlan.reference_moves`` does it.
    """
    response = room_impulse_responses(random, 1, TAPS)[0]
    filtered = signal.fftconvolve(pair[:, -1], response)[: len(pair)]
    return _with_reference(pair, filtered * _level_of(pair[:, -1], random.normal(0, 3)) / rms(filtered))


def reference_noise(pair: Waveform, level_db: float, random: Generator) -> Waveform:
    """Add the noise of a machine near the reference, at a level relative to the reference."""
    noise = unit_rms(steady_noise(Hall.draw(random, 1), len(pair), random))
    return _with_reference(pair, pair[:, -1] + _level_of(pair[:, -1], level_db) * noise)


def independent_noise(pair: Waveform, level_db: float, random: Generator) -> Waveform:
    """Add white noise to every channel, independent of the others, at a level relative to the channel."""
    levels = [_level_of(channel, level_db) for channel in pair.T]
    return np.asarray(pair + levels * random.standard_normal(pair.shape), pair.dtype)


def missing(pair: Waveform) -> Waveform:
    """Leave the reference out."""
    return pair[:, :-1].copy()


def dead(pair: Waveform) -> Waveform:
    """Replace the reference by zeros."""
    return _with_reference(pair, np.zeros(len(pair)))


def disconnected(pair: Waveform, level_db: float, random: Generator) -> Waveform:
    """Replace the reference by the white noise of its input, at a level relative to the reference."""
    return _with_reference(pair, _level_of(pair[:, -1], level_db) * random.standard_normal(len(pair)))


def swapped(pair: Waveform) -> Waveform:
    """Exchange the first channel and the reference."""
    order = [pair.shape[1] - 1, *range(1, pair.shape[1] - 1), 0]
    return pair[:, order]


def duplicated(pair: Waveform) -> Waveform:
    """Replace the reference by the first channel, like a recorder that writes one microphone twice."""
    return _with_reference(pair, pair[:, 0])


def _with_reference(pair: Waveform, reference: NDArray[np.floating]) -> Waveform:
    """Return the samples with another reference."""
    changed = pair.copy()
    changed[:, -1] = reference
    return changed


def _level_of(channel: Waveform, level_db: float) -> float:
    """Return the RMS that is ``level_db`` above the channel's."""
    return rms(channel) * db_to_amplitude(level_db)


def _gain(deviation_db: float) -> Callable[[Waveform, Generator], Waveform]:
    """Gain that differs between recordings, and half as much between start and end of one."""

    def change(pair: Waveform, random: Generator) -> Waveform:
        start_db = random.normal(0, deviation_db)
        return gain_drift(pair, start_db, start_db + random.normal(0, deviation_db / 2))

    return change


def _clock(pair: Waveform, random: Generator) -> Waveform:
    return clock_drift(pair, random.uniform(-MAX_OFFSET_S, MAX_OFFSET_S), random.uniform(-MAX_PPM, MAX_PPM))


def _sometimes_noise(pair: Waveform, random: Generator) -> Waveform:
    """Noise near the reference in every second recording."""
    return reference_noise(pair, random.uniform(0, 10), random) if random.uniform() < 0.5 else pair.copy()


# Disturbances that stay the same for a session.
PER_SESSION = frozenset({"moved"})
_BY_NAME: Mapping[str, Callable[[Waveform, Generator], Waveform]] = {
    "gain_1_db": _gain(1.0),
    "gain_3_db": _gain(3.0),
    "bleed_-20_db": lambda pair, _: bleed(pair, -20.0),
    "bleed_-10_db": lambda pair, _: bleed(pair, -10.0),
    "bleed_0_db": lambda pair, _: bleed(pair, 0.0),
    "clock": _clock,
    "moved": moved,
    "reference_noise": _sometimes_noise,
    "independent_noise": lambda pair, random: independent_noise(pair, random.uniform(-30, -10), random),
    "missing": lambda pair, _: missing(pair),
    "dead": lambda pair, _: dead(pair),
    "disconnected": lambda pair, random: disconnected(pair, -50.0, random),
    "swapped": lambda pair, _: swapped(pair),
    "duplicated": lambda pair, _: duplicated(pair),
}
