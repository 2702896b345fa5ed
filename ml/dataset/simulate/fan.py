"""Fan: its construction, its state in one recording, and the effects of a fault."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from ml.dataset.simulate.plan import Fault
from ml.dataset.simulate.signals import KNOTS_HZ, uneven_db, wander


@dataclass(frozen=True, slots=True, kw_only=True)
class Fan:
    """Properties of a fan that never change.

    Levels are in dB relative to the fan's flow noise at nominal speed.

    Attributes:
        blades: number of blades.
        line_hz: supply frequency.
        poles: number of poles of the induction motor; it turns at ``2 * line_hz / poles`` minus its slip.
        slip: lag of the rotor behind the field under nominal load, as a share.
        rotor_bars: number of bars of the rotor; they modulate the magnetic field.
        balls, ball_to_pitch: number of balls of the bearing, and ball diameter relative to the pitch circle.
        resonance_hz: resonance of the bearing's housing, which each impulse excites.
        flow_db: spectrum of the flow noise at :data:`~ml.dataset.simulate.signals.KNOTS_HZ`.
        shaft_db: levels of the first shaft harmonics (residual imbalance, misalignment).
        blade_db: levels of the blade-pass frequency and its harmonics.
        unequal_db: levels of the other shaft harmonics, up to the fourth blade harmonic; blades are never identical.
        hum_db: levels of twice the line frequency and its harmonics.
        slots_db, bearing_db: levels of the rotor-slot tones and of the bearing.
    """

    blades: int
    line_hz: float
    poles: int
    slip: float
    rotor_bars: int
    balls: int
    ball_to_pitch: float
    resonance_hz: float
    flow_db: NDArray[np.float64]
    shaft_db: NDArray[np.float64]
    blade_db: NDArray[np.float64]
    unequal_db: NDArray[np.float64]
    hum_db: NDArray[np.float64]
    slots_db: float
    bearing_db: float

    @classmethod
    def draw(cls, random: Generator, line_hz: float) -> Self:
        """Draw a fan of the size that is used in machine cabinets and halls."""
        blades = int(random.integers(5, 12))
        steps_down = np.cumsum(random.uniform(3, 8, 6)) - 4
        return cls(
            blades=blades,
            line_hz=line_hz,
            poles=int(random.choice([2, 4, 4])),
            slip=random.uniform(0.035, 0.06),
            rotor_bars=int(random.choice([22, 26, 28, 34, 40])),
            balls=int(random.integers(7, 10)),
            ball_to_pitch=random.uniform(0.2, 0.3),
            resonance_hz=random.uniform(2000, 4500),
            flow_db=_falling(random.uniform(150, 400), random.uniform(-6, -4)) + uneven_db(random, 3),
            shaft_db=np.array([-18, -22, -26]) + random.uniform(-3, 3, 3),
            blade_db=random.uniform(-5, 2) - steps_down,
            unequal_db=random.normal(-30, 4, 4 * blades),
            hum_db=random.uniform(-14, -8) - np.arange(6) * random.uniform(2, 5) + random.uniform(-3, 3, 6),
            slots_db=random.uniform(-26, -18),
            bearing_db=random.uniform(-26, -20),
        )

    @property
    def synchronous_hz(self) -> float:
        """Rotation rate of the magnetic field."""
        return 2 * self.line_hz / self.poles

    @property
    def race_orders(self) -> tuple[float, float]:
        """Impulses per turn from a defect on the outer and inner race: ``n / 2 * (1 -+ d / D)``, angle 0."""
        half = self.balls / 2
        return half * (1 - self.ball_to_pitch), half * (1 + self.ball_to_pitch)


def _falling(corner_hz: float, db_per_octave: float) -> NDArray[np.float64]:
    """Return a spectrum that is flat up to a corner and then falls linearly, like turbulence on blades."""
    return np.minimum(0, db_per_octave * np.log2(KNOTS_HZ / corner_hz))


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultEffects:
    """Effects of a fault on a fan; without a fault, the factor is 1 and every other field is 0.

    Attributes:
        slip_factor: factor of the motor's slip.
        shaft_db: change of the first shaft harmonic.
        rattle_db: change of the second to tenth shaft harmonic, which a strongly shaken frame adds.
        shaft_modulation: depth at which the shaft's rate modulates blade pass and flow noise.
        blade_db: change of the blade-pass frequency and its harmonics.
        blade_harmonics_db: further change of the harmonics of the blade-pass frequency.
        flow_low_db, flow_high_db: change of the flow noise at its low and its high end.
        stall: strength of the low rumble of a stalled rotor, relative to the flow noise.
        hum_db: change of twice the line frequency; half of it also changes the rotor-slot tones.
        hum_harmonics_db: change of the other harmonics of the hum.
        pole_modulation: depth at which the pole-pass rate (slip times poles times the field's rate) modulates the hum.
    """

    slip_factor: float = 1.0
    shaft_db: float = 0.0
    rattle_db: float = 0.0
    shaft_modulation: float = 0.0
    blade_db: float = 0.0
    blade_harmonics_db: float = 0.0
    flow_low_db: float = 0.0
    flow_high_db: float = 0.0
    stall: float = 0.0
    hum_db: float = 0.0
    hum_harmonics_db: float = 0.0
    pole_modulation: float = 0.0


def fault_effects(fault: Fault | None, severity: float) -> FaultEffects:
    """Return the effects of a fault of this severity (0 to 1).

    * imbalance: a force at the shaft's rate shakes the frame. The distance to the casing varies once a turn, and flow
      and blade noise vary with it.
    * clogging: less air flows through the rotor, and the blades run at a wider angle. Broadband noise is stronger and
      lower, separated flow rumbles, the blade tone is weaker and unsteady with stronger harmonics. The motor has less
      load.
    * voltage change: the supply is low and unequal. Torque is proportional to the square of the voltage, so the slip
      grows by its inverse and all rotation is slower. Unequal phases add to the force at twice the line frequency.
    """
    s = severity
    if fault == "imbalance":
        return FaultEffects(shaft_db=8 + 12 * s, rattle_db=8 + 12 * s, shaft_modulation=0.1 + 0.5 * s)
    if fault == "clogging":
        return FaultEffects(
            slip_factor=1 - 0.25 * s,
            blade_db=-1 - 4 * s,
            blade_harmonics_db=3 * s,
            flow_low_db=1 + 5 * s,
            flow_high_db=-1 - 4 * s,
            stall=0.15 + 0.5 * s,
        )
    if fault == "voltage_change":
        voltage = 1 - 0.3 * s
        return FaultEffects(
            slip_factor=voltage**-2 * (1 + s),
            hum_db=3 + 6 * s,
            hum_harmonics_db=-2 * s,
            pole_modulation=0.1 + 0.3 * s,
        )
    return FaultEffects()


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatingState:
    """State of a fan in one recording: the state of its session at that moment.

    Attributes:
        slip_factor: factor of the slip, from load, temperature and voltage.
        flow_db, blade_db, hum_db, bearing_db: changes of these levels.
        tilt_db: effect of the microphone's position, as a change of the spectrum at the knots.
        severity: severity of the fault, if there is one.
    """

    slip_factor: float
    flow_db: float
    blade_db: float
    hum_db: float
    bearing_db: float
    tilt_db: NDArray[np.float64]
    severity: float

    @classmethod
    def draw(cls, random: Generator, moment: float, severity: tuple[float, float]) -> Self:
        """Draw the state at a moment (0 to 1) of the session that ``random`` belongs to.

        Each session has a mean for every value, and the value moves slowly around it. So neighbouring recordings
        resemble each other.
        """
        drawn_severity = random.uniform(*severity)
        means = random.standard_normal(5) * [0.10, 0.7, 1.2, 1.2, 2.0]
        drifts = [float(wander(random, np.array([moment]))[0]) for _ in range(6)]
        slip, flow, blade, hum, bearing = means + np.array(drifts[:5]) * [0.06, 0.5, 0.6, 0.6, 1.0]
        return cls(
            slip_factor=float(np.clip(1 + slip, 0.6, 1.4)),
            flow_db=float(flow),
            blade_db=float(blade),
            hum_db=float(hum),
            bearing_db=float(bearing),
            tilt_db=uneven_db(random, 0.8),
            severity=float(np.clip(drawn_severity * (1 + 0.08 * drifts[5]), 0, 1)),
        )
