"""The clean sound of one fan in one state: tones that hang on the shaft, hum that hangs on the line, flow, bearing."""

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from ml.dataset.simulate.fan import Fan, FaultEffects, OperatingState
from ml.dataset.simulate.plan import SAMPLE_RATE_HZ
from ml.dataset.simulate.signals import (
    KNOTS_HZ,
    Waveform,
    coloured_noise,
    db_to_amplitude,
    fluctuation,
    make_wavetable,
    power_of,
    read_wavetable,
    unit_rms,
)

# Sound power of a fan goes with the fifth power of its speed (the fan laws: 50 dB per decade).
SPEED_EXPONENT = 5
RING_SAMPLES = 160  # 10 ms: a housing of 2 kHz and more has rung out


def fan_sound(fan: Fan, state: OperatingState, effects: FaultEffects, samples: int, random: Generator) -> Waveform:
    """What the fan radiates, before any room.

    Args:
        fan: the machine.
        state: its state in this recording.
        effects: what is wrong with it.
        samples: how many, at 16 kHz.
        random: for phases, turbulence and the slow unsteadiness of the speed.

    Returns:
        float32, ``(samples,)``; flow noise at nominal speed has RMS 1.
    """
    slip = fan.slip * state.slip_factor * effects.slip_factor
    # Load and line are never quite steady: 0.1 % of the speed within seconds.
    unsteady = 1 + 0.001 * fluctuation(random, samples, 0.7)
    speed = (1 - slip) / (1 - fan.slip)
    turns = np.cumsum(fan.synchronous_hz * (1 - slip) * unsteady, dtype=np.float64) / SAMPLE_RATE_HZ
    turns += random.uniform()
    once_a_turn = 1 + np.float32(0.02 + effects.shaft_modulation) * read_wavetable(make_wavetable(random, [1.0]), turns)
    louder = np.float32(speed ** (SPEED_EXPONENT / 2))
    aerodynamic = _flow(fan, state, effects, speed, turns, random) + _blades(fan, state, effects, turns, random)
    return (
        louder * once_a_turn * aerodynamic
        + _shaft(fan, effects, turns, random)
        + _hum(fan, state, effects, slip, turns, random)
        + _bearing(fan, state, turns, random)
    )


def _flow(
    fan: Fan, day: OperatingState, fault: FaultEffects, speed: float, turns: NDArray[np.float64], random: Generator
) -> Waveform:
    """Turbulence: broadband, a little louder as each blade goes by, never quite steady; and the rumble of stall."""
    spectrum_db = _flow_spectrum(fan, fault, speed) + day.tilt_db
    level = db_to_amplitude(day.flow_db) * np.sqrt(power_of(spectrum_db) / power_of(fan.flow_db))
    swell = 1 + np.float32(0.15) * read_wavetable(make_wavetable(random, [1.0]), turns * fan.blades)
    unsteady = np.float32(level) * (1 + np.float32(0.06) * fluctuation(random, len(turns), 3))
    return swell * unsteady * coloured_noise(random, len(turns), spectrum_db) + _stall(fault, turns, random)


def _flow_spectrum(fan: Fan, fault: FaultEffects, speed: float) -> NDArray[np.float64]:
    """All frequencies of the flow go with the speed, so its spectrum slides along a logarithmic axis."""
    slid = np.interp(np.log(KNOTS_HZ / speed), np.log(KNOTS_HZ), fan.flow_db)
    high = np.clip(np.log(KNOTS_HZ / 250) / np.log(16), 0, 1)  # 0 up to 250 Hz, 1 from 4 kHz
    return np.asarray(slid + fault.flow_low_db * (1 - high) + fault.flow_high_db * high)


def _stall(fault: FaultEffects, turns: NDArray[np.float64], random: Generator) -> Waveform:
    """Cells of separated flow that go round at about half the shaft's rate, and come and go."""
    rumble = coloured_noise(random, len(turns), -9 * np.maximum(0, np.log2(KNOTS_HZ / 90)))
    cells = 1 + np.float32(0.6) * read_wavetable(make_wavetable(random, [1.0]), turns * random.uniform(0.45, 0.65))
    gusts = np.exp(np.float32(0.35) * fluctuation(random, len(turns), 1.5))
    return np.asarray(np.float32(0.03 + fault.stall) * rumble * cells * gusts)


def _blades(
    fan: Fan, day: OperatingState, fault: FaultEffects, turns: NDArray[np.float64], random: Generator
) -> Waveform:
    """Harmonics of the blade-pass frequency, and, as no two blades are alike, of the shaft between them."""
    changes = np.full(len(fan.blade_db), fault.blade_db)
    changes[1:] += fault.blade_harmonics_db
    amplitudes = np.zeros(fan.blades * len(fan.blade_db))
    amplitudes[: len(fan.unequal_db)] = 10 ** (fan.unequal_db / 20)
    amplitudes[fan.blades - 1 :: fan.blades] = 10 ** ((fan.blade_db + changes + day.blade_db) / 20)
    tones = read_wavetable(make_wavetable(random, amplitudes), turns)
    # A rotor in stalled flow does not hold its tone.
    return tones * (1 + np.float32(0.05 + 0.4 * fault.stall) * fluctuation(random, len(turns), 4))


def _shaft(fan: Fan, fault: FaultEffects, turns: NDArray[np.float64], random: Generator) -> Waveform:
    """The rotor's own force on the frame, once a turn, and what the frame makes of it."""
    levels = np.append(fan.shaft_db, fan.shaft_db[-1] - 2.0 * np.arange(1, 8))
    levels[0] += fault.shaft_db
    levels[1:] += fault.rattle_db
    return read_wavetable(make_wavetable(random, 10 ** (levels / 20)), turns)


def _hum(
    fan: Fan, day: OperatingState, fault: FaultEffects, slip: float, turns: NDArray[np.float64], random: Generator
) -> Waveform:
    """Magnetic pull at twice the line frequency, and where the rotor's bars sweep it."""
    samples = len(turns)
    line = np.cumsum(fan.line_hz * (1 + 0.0003 * fluctuation(random, samples, 0.2)), dtype=np.float64) / SAMPLE_RATE_HZ
    levels = fan.hum_db + day.hum_db + np.where(np.arange(len(fan.hum_db)) == 0, fault.hum_db, fault.hum_harmonics_db)
    pole_pass = line * 2 * slip
    beat = 1 + np.float32(0.02 + fault.pole_modulation) * read_wavetable(make_wavetable(random, [1.0]), pole_pass)
    slots = np.float32(db_to_amplitude(fan.slots_db + day.hum_db + fault.hum_db / 2)) * (
        read_wavetable(make_wavetable(random, [1.0]), turns * fan.rotor_bars)
        * read_wavetable(make_wavetable(random, [1.0]), line * 2)
    )
    return beat * read_wavetable(make_wavetable(random, 10 ** (levels / 20)), line * 2) + slots


def _bearing(fan: Fan, day: OperatingState, turns: NDArray[np.float64], random: Generator) -> Waveform:
    """Small impulses whenever a ball passes a spot of the outer or of the inner race; each rings the housing."""
    impulses = np.zeros(len(turns), np.float32)
    for order, strength in zip(fan.race_orders, (1.0, 0.6), strict=True):
        passes = np.arange(turns[0] * order, turns[-1] * order)
        # Balls slip in their cage: the train is not quite regular (1 to 2 % of a period is typical).
        at = np.searchsorted(turns, (passes + random.normal(0, 0.015, len(passes))) / order)
        np.add.at(impulses, np.minimum(at, len(turns) - 1), strength * random.uniform(0.5, 1.0, len(at)))
    t = np.arange(RING_SAMPLES) / SAMPLE_RATE_HZ
    ring = (np.exp(-t * 600) * np.sin(2 * np.pi * fan.resonance_hz * t)).astype(np.float32)
    rung = np.convolve(impulses, ring)[: len(turns)]
    return np.float32(db_to_amplitude(fan.bearing_db + day.bearing_db)) * unit_rms(rung)
