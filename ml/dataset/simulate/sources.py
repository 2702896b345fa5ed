"""Noise of a hall at two places: independent sources, each with its own paths to the machine and to the reference."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.random import Generator

from ml.dataset.simulate.factory import Hall, clanks, steady_noise
from ml.dataset.simulate.plan import SAMPLE_RATE_HZ, CleanRecording, SimulationPlan
from ml.dataset.simulate.signals import (
    TAPS,
    Draw,
    Waveform,
    convolve_room,
    db_to_amplitude,
    generator,
    room_impulse_responses,
    uneven_db,
)

MAX_DELAY = SAMPLE_RATE_HZ // 100  # 10 ms, a path of 3.4 m
# A source's levels at the two places differ, because it is nearer to one of them.
NEARER_DB = 3.0
# Changes of a source, as standard deviations of its level and of its spectrum: between sessions, and within one.
SESSION_DB = (2.0, 2.0)
RECORDING_DB = (1.5, 0.8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Source of noise in a hall.

    Attributes:
        steady: its background noise and tones; None for a source of impacts.
        impacts_per_s: mean rate of its impacts; 0 for a steady source.
        level_db: its mean level, relative to a steady source of RMS 1.
    """

    steady: Hall | None
    impacts_per_s: float
    level_db: float

    @classmethod
    def draw(cls, random: Generator, tones: int) -> Self:
        """Draw a steady source with the tones of this number of machines; 0 for a ventilation."""
        hall = Hall.draw(random, tones)
        uneven = replace(hall, background_db=hall.background_db + uneven_db(random, 5.0))
        return cls(steady=uneven, impacts_per_s=0.0, level_db=random.uniform(-6, 0))

    @classmethod
    def draw_impacts(cls, random: Generator) -> Self:
        """Draw a source of impacts, like a press."""
        return cls(steady=None, impacts_per_s=random.uniform(0.5, 2), level_db=random.uniform(0, 6))

    def sound(self, samples: int, session: Generator, random: Generator) -> Waveform:
        """Return its sound in one recording, without a room.

        Args:
            samples: number of samples, at 16 kHz.
            session: source of the changes that last for a session.
            random: source of everything else.

        Returns:
            float32, ``(samples,)``.
        """
        (session_db, session_shape_db), (recording_db, recording_shape_db) = SESSION_DB, RECORDING_DB
        level_db = self.level_db + session.normal(0, session_db) + random.normal(0, recording_db)
        shape_db = uneven_db(session, session_shape_db) + uneven_db(random, recording_shape_db)
        if self.steady is None:
            sound = clanks(samples, random, self.impacts_per_s)
        else:
            changed = replace(self.steady, background_db=self.steady.background_db + shape_db)
            sound = steady_noise(changed, samples, random)
        return sound * np.float32(db_to_amplitude(level_db))


def draw_sources(random: Generator) -> list[Source]:
    """Draw the sources of a hall: its ventilation, two to four other machines, and one that makes impacts."""
    others = random.integers(2, 5)
    return [Source.draw(random, 0), *(Source.draw(random, 1) for _ in range(others)), Source.draw_impacts(random)]


def noise_of_sources(seed: int, plan: SimulationPlan, recording: CleanRecording, key: int) -> Waveform:
    """Return the noise of the hall at the microphones at the machine, and last at the reference.

    Args:
        seed: seed of the dataset.
        plan: a plan with a reference.
        recording: recording of the machine, which the noise is for.
        key: key of the SNR, so that each SNR has other noise.

    Returns:
        float32, ``(plan.microphones, plan.samples)``.
    """
    return np.asarray(np.sum(noise_by_source(seed, plan, recording, key), axis=0), np.float32)


def noise_by_source(seed: int, plan: SimulationPlan, recording: CleanRecording, key: int) -> list[Waveform]:
    """Return the noise of each source as :func:`noise_of_sources` does; the sources are independent."""
    random = generator(seed, Draw.SOURCES, recording.machine)
    sources = draw_sources(random)
    to_machine = [_path(random, plan.channels) for _ in sources]
    return [
        convolve_room(
            _sound_of(seed, source, plan, recording, key, number),
            np.concatenate([to_machine[number], _path_to_reference(seed, plan, recording, number + 1)]),
        )
        for number, source in enumerate(sources)
    ]


def path_of_machine(seed: int, plan: SimulationPlan, recording: CleanRecording) -> Waveform:
    """Return the impulse response from the machine to the reference, ``(1, taps)``."""
    return _path_to_reference(seed, plan, recording, 0)


def _sound_of(
    seed: int, source: Source, plan: SimulationPlan, recording: CleanRecording, key: int, number: int
) -> Waveform:
    """Return the sound of a source of the hall, without a room."""
    session = (recording.machine, number, recording.session)
    return source.sound(
        plan.samples + TAPS,
        generator(seed, Draw.SOURCE_SESSION, *session),
        generator(seed, Draw.SOURCE_NOISE, *session, recording.index, key),
    )


def _path_to_reference(seed: int, plan: SimulationPlan, recording: CleanRecording, number: int) -> Waveform:
    """Return the impulse response from a source to the reference, which may have a new place in each session."""
    place = recording.session if plan.reference_moves else 0
    random = generator(seed, Draw.PATH_TO_REFERENCE, recording.machine, number, place)
    return _path(random, 1) * np.float32(db_to_amplitude(random.uniform(-NEARER_DB, NEARER_DB)))


def _path(random: Generator, channels: int) -> Waveform:
    """Return impulse responses to neighbouring microphones, with the delay of the path; ``(channels, taps)``."""
    delay = int(random.integers(0, MAX_DELAY))
    return np.pad(room_impulse_responses(random, channels, TAPS), ((0, 0), (delay, 0)))[:, :TAPS]
