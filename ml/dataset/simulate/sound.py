"""Clean sound of one fan in one state: tones of the shaft, hum of the supply, flow noise and bearing."""

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

# Sound power of a fan is proportional to the fifth power of its speed (fan laws: 50 dB per decade).
SPEED_EXPONENT = 5
RING_SAMPLES = 160  # 10 ms: a housing of 2 kHz or more no longer rings


def fan_sound(fan: Fan, state: OperatingState, effects: FaultEffects, samples: int, random: Generator) -> Waveform:
    """Return the sound that the fan radiates, without a room.

    Args:
        fan: the machine.
        state: its state in this recording.
        effects: effects of its fault.
        samples: number of samples, at 16 kHz.
        random: source of phases, turbulence and slow changes of speed.

    Returns:
        float32, ``(samples,)``; flow noise at nominal speed has RMS 1.
    """
    slip = fan.slip * state.slip_factor * effects.slip_factor
    # Load and supply vary a little: 0.1 % of the speed within seconds.
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
    fan: Fan, state: OperatingState, fault: FaultEffects, speed: float, turns: NDArray[np.float64], random: Generator
) -> Waveform:
    """Return unsteady broadband turbulence, a little louder at each blade pass, plus the stall rumble."""
    spectrum_db = _flow_spectrum(fan, fault, speed) + state.tilt_db
    level = db_to_amplitude(state.flow_db) * np.sqrt(power_of(spectrum_db) / power_of(fan.flow_db))
    swell = 1 + np.float32(0.15) * read_wavetable(make_wavetable(random, [1.0]), turns * fan.blades)
    unsteady = np.float32(level) * (1 + np.float32(0.06) * fluctuation(random, len(turns), 3))
    return swell * unsteady * coloured_noise(random, len(turns), spectrum_db) + _stall(fault, turns, random)


def _flow_spectrum(fan: Fan, fault: FaultEffects, speed: float) -> NDArray[np.float64]:
    """Return the flow spectrum, shifted on a logarithmic axis: its frequencies are proportional to speed."""
    slid = np.interp(np.log(KNOTS_HZ / speed), np.log(KNOTS_HZ), fan.flow_db)
    high = np.clip(np.log(KNOTS_HZ / 250) / np.log(16), 0, 1)  # 0 up to 250 Hz, 1 from 4 kHz
    return np.asarray(slid + fault.flow_low_db * (1 - high) + fault.flow_high_db * high)


def _stall(fault: FaultEffects, turns: NDArray[np.float64], random: Generator) -> Waveform:
    """Return the rumble of stall: cells of separated flow rotate at about half the shaft's rate."""
    rumble = coloured_noise(random, len(turns), -9 * np.maximum(0, np.log2(KNOTS_HZ / 90)))
    cells = 1 + np.float32(0.6) * read_wavetable(make_wavetable(random, [1.0]), turns * random.uniform(0.45, 0.65))
    gusts = np.exp(np.float32(0.35) * fluctuation(random, len(turns), 1.5))
    return np.asarray(np.float32(0.03 + fault.stall) * rumble * cells * gusts)


def _blades(
    fan: Fan, state: OperatingState, fault: FaultEffects, turns: NDArray[np.float64], random: Generator
) -> Waveform:
    """Return harmonics of the blade-pass frequency and, as blades are never identical, of the shaft."""
    changes = np.full(len(fan.blade_db), fault.blade_db)
    changes[1:] += fault.blade_harmonics_db
    amplitudes = np.zeros(fan.blades * len(fan.blade_db))
    amplitudes[: len(fan.unequal_db)] = 10 ** (fan.unequal_db / 20)
    amplitudes[fan.blades - 1 :: fan.blades] = 10 ** ((fan.blade_db + changes + state.blade_db) / 20)
    tones = read_wavetable(make_wavetable(random, amplitudes), turns)
    # The tone of a rotor in stalled flow is unsteady.
    return tones * (1 + np.float32(0.05 + 0.4 * fault.stall) * fluctuation(random, len(turns), 4))


def _shaft(fan: Fan, fault: FaultEffects, turns: NDArray[np.float64], random: Generator) -> Waveform:
    """Return the rotor's force on the frame once a turn, and its harmonics from the frame."""
    levels = np.append(fan.shaft_db, fan.shaft_db[-1] - 2.0 * np.arange(1, 8))
    levels[0] += fault.shaft_db
    levels[1:] += fault.rattle_db
    return read_wavetable(make_wavetable(random, 10 ** (levels / 20)), turns)


def _hum(
    fan: Fan, state: OperatingState, fault: FaultEffects, slip: float, turns: NDArray[np.float64], random: Generator
) -> Waveform:
    """Return the magnetic force at twice the line frequency, and its modulation by the rotor's bars."""
    samples = len(turns)
    line = np.cumsum(fan.line_hz * (1 + 0.0003 * fluctuation(random, samples, 0.2)), dtype=np.float64) / SAMPLE_RATE_HZ
    levels = fan.hum_db + state.hum_db + np.where(np.arange(len(fan.hum_db)) == 0, fault.hum_db, fault.hum_harmonics_db)
    pole_pass = line * 2 * slip
    beat = 1 + np.float32(0.02 + fault.pole_modulation) * read_wavetable(make_wavetable(random, [1.0]), pole_pass)
    slots = np.float32(db_to_amplitude(fan.slots_db + state.hum_db + fault.hum_db / 2)) * (
        read_wavetable(make_wavetable(random, [1.0]), turns * fan.rotor_bars)
        * read_wavetable(make_wavetable(random, [1.0]), line * 2)
    )
    return beat * read_wavetable(make_wavetable(random, 10 ** (levels / 20)), line * 2) + slots


def _bearing(fan: Fan, state: OperatingState, turns: NDArray[np.float64], random: Generator) -> Waveform:
    """Return impulses of balls that pass a defect on the outer or inner race; each excites the housing."""
    impulses = np.zeros(len(turns), np.float32)
    for order, strength in zip(fan.race_orders, (1.0, 0.6), strict=True):
        passes = np.arange(turns[0] * order, turns[-1] * order)
        # Balls slip in their cage, so the impulses are not quite regular (1 to 2 % of a period is typical).
        at = np.searchsorted(turns, (passes + random.normal(0, 0.015, len(passes))) / order)
        np.add.at(impulses, np.minimum(at, len(turns) - 1), strength * random.uniform(0.5, 1.0, len(at)))
    t = np.arange(RING_SAMPLES) / SAMPLE_RATE_HZ
    ring = (np.exp(-t * 600) * np.sin(2 * np.pi * fan.resonance_hz * t)).astype(np.float32)
    rung = np.convolve(impulses, ring)[: len(turns)]
    return np.float32(db_to_amplitude(fan.bearing_db + state.bearing_db)) * unit_rms(rung)
