"""A fan: what is built into it, how it runs on one day, and what a fault does to it."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from ml.dataset.simulate.plan import Fault
from ml.dataset.simulate.signals import KNOTS_HZ, uneven_db, wander


@dataclass(frozen=True, slots=True, kw_only=True)
class Fan:
    """What does not change as long as the machine stands where it stands.

    Levels are in dB relative to its own flow noise at nominal speed.

    Attributes:
        blades: of the rotor.
        line_hz: frequency of the supply.
        poles: of the induction motor; it turns at ``2 * line_hz / poles`` less its slip.
        slip: how far the rotor lags behind the field under nominal load, a share.
        rotor_bars: of the motor; they sweep the field's harmonics.
        balls, ball_to_pitch: of the bearing: number, and diameter relative to the pitch circle.
        resonance_hz: of the bearing's housing, which each impulse rings.
        flow_db: spectrum of the flow noise at :data:`~ml.dataset.simulate.signals.KNOTS_HZ`.
        shaft_db: of the first harmonics of the shaft (residual imbalance, misalignment).
        blade_db: of the blade-pass frequency and its harmonics.
        unequal_db: of the other harmonics of the shaft, up to the fourth of the blades: no two blades are alike.
        hum_db: of twice the line frequency and its harmonics.
        slots_db, bearing_db: of the rotor-slot tones and of the bearing.
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
        """A fan of the size that hangs in machine cabinets and halls."""
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
        """How fast the field turns."""
        return 2 * self.line_hz / self.poles

    @property
    def race_orders(self) -> tuple[float, float]:
        """Impulses per turn from a spot on the outer and on the inner race: ``n / 2 * (1 -+ d / D)``, angle 0."""
        half = self.balls / 2
        return half * (1 - self.ball_to_pitch), half * (1 + self.ball_to_pitch)


def _falling(corner_hz: float, db_per_octave: float) -> NDArray[np.float64]:
    """Level up to a corner, a straight fall above: how the noise of turbulence on blades goes down."""
    return np.minimum(0, db_per_octave * np.log2(KNOTS_HZ / corner_hz))


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultEffects:
    """What is wrong with a fan, as changes of its parts; every field is 0, or 1 where it is a factor, if nothing is.

    Attributes:
        slip_factor: on the motor's slip.
        shaft_db: on the first harmonic of the shaft.
        rattle_db: on its second to tenth, which a frame that is shaken hard adds.
        shaft_modulation: depth at which the shaft's rate modulates blade pass and flow noise.
        blade_db: on the blade-pass frequency; its harmonics get as much of ``blade_harmonics_db``.
        blade_harmonics_db: see there.
        flow_low_db, flow_high_db: on the flow noise, at its low and its high end.
        stall: strength of the low rumble of a stalled rotor, relative to the flow noise.
        hum_db: on twice the line frequency; every other harmonic of it gets ``hum_harmonics_db``.
        hum_harmonics_db: see there.
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
    """What a fault of this severity (0 to 1) does.

    * imbalance: a force at the shaft's rate, which shakes the frame, and makes the distance to the casing, with it
      flow and blade noise, go up and down once a turn.
    * clogging: less air through the rotor. The blades run at a wider angle: more and lower broadband noise, a rumble
      where the flow separates, a weaker and unsteady blade tone with sharper harmonics; and less work for the motor.
    * voltage change: a low and unequal supply. Torque goes with the square of the voltage, so slip grows by its
      inverse, and everything that turns turns slower; unequal phases add to the pull at twice the line frequency.
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
    """How a fan runs while one recording is made: its session's state, at that moment of the session.

    Attributes:
        slip_factor: from load, temperature and voltage.
        flow_db, blade_db, hum_db, bearing_db: on the levels of these.
        tilt_db: the microphone's place, as a change of the spectrum at the knots.
        severity: of the fault, if there is one.
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
        """The state at a moment (0 to 1) of the session that ``random`` stands for.

        The session has its own place for everything and moves slowly about it, so that neighbours resemble each other.
        """
        grave = random.uniform(*severity)
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
            severity=float(np.clip(grave * (1 + 0.08 * drifts[5]), 0, 1)),
        )
