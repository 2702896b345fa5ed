"""Time of samples: count and clock, delay and loss, drift, wrong rates, jumps of the wall clock."""

import random

import numpy as np
import pytest

from listener.capture.sound_buffer import Gap
from listener.capture.stream_clock import StreamClock
from listener.capture.timeline import Timeline, Tolerance
from listener.sound import SoundBlock

RATE = 16_000
BLOCK_S = 0.1
NOISE = np.random.default_rng(7).uniform(-0.1, 0.1, (int(RATE * BLOCK_S), 1)).astype(np.float32)


class Line:
    """A timeline whose sound begins at 100 s and whose wall clock can jump."""

    def __init__(self) -> None:
        self.offset = 1000.0
        self.timeline = Timeline(RATE, Tolerance(silent_s=2.0), lambda: self.offset)
        self.now = 100.0
        self.items: list[Gap | SoundBlock] = []

    def send(self, seconds: float, samples: np.ndarray = NOISE, pace: float = 1.0, delay_s: float = 0.0) -> None:
        """Send so much sound in blocks, each at its time, or later by ``delay_s``."""
        for _ in range(round(seconds / BLOCK_S)):
            self.now += BLOCK_S * pace
            self.items += self.timeline.add(samples, self.now + delay_s)

    @property
    def gaps(self) -> list[Gap]:
        return [item for item in self.items if isinstance(item, Gap)]

    @property
    def blocks(self) -> list[SoundBlock]:
        return [item for item in self.items if isinstance(item, SoundBlock)]

    def sound_before_gap(self) -> float:
        """Seconds of sound before the first gap."""
        number = next(place for place, item in enumerate(self.items) if isinstance(item, Gap))
        return number * BLOCK_S


@pytest.fixture
def line() -> Line:
    """A timeline."""
    return Line()


def drift_of(ppm: float, jitter_s: float, seconds: int = 600) -> float | None:
    """The drift that is measured of a source with this drift, whose blocks come late by a random time."""
    chance = random.Random(3)
    clock = StreamClock(RATE)
    for number in range(1, seconds * 10):
        clock.add(1600, number * BLOCK_S / (1 + ppm / 1e6) + chance.expovariate(1 / jitter_s))
    return clock.drift_ppm


@pytest.mark.parametrize("ppm", [-400.0, 0.0, 60.0])
def test_drift_is_measured_through_jitter(ppm: float) -> None:
    """Within 10 millionths in ten minutes, though each block comes late by 20 ms in the mean."""
    assert drift_of(ppm, 0.02) == pytest.approx(ppm, abs=10)


def test_drift_is_not_known_at_once() -> None:
    """Half a minute gives no drift."""
    assert drift_of(50.0, 0.02, seconds=30) is None


def test_drift_makes_no_gap_and_no_error_of_time(line: Line) -> None:
    """A crystal that is slow by 500 millionths: after an hour of sound the labels are still those of the clock."""
    line.send(3600, pace=1 + 500e-6)
    assert not line.gaps
    assert line.blocks[-1].ends_at == pytest.approx(line.offset + line.now, abs=0.02)


def test_sound_of_the_past_that_comes_at_once_is_labelled_as_past(line: Line) -> None:
    """Servers send the last seconds at once: they were recorded before."""
    line.send(0.1)
    line.send(4, pace=0.01)
    line.send(10)
    assert not line.gaps
    assert line.blocks[-1].ends_at == pytest.approx(line.offset + line.now, abs=0.05)
    assert line.blocks[60].at == pytest.approx(line.offset + 100 + 0.2 + 2.0, abs=0.3)


def test_delayed_sound_has_no_gap(line: Line) -> None:
    """After a pause of 3 s everything comes, quickly."""
    line.send(10)
    line.now += 3.0
    line.send(3, pace=0.05)
    line.send(10)
    assert not line.gaps
    assert len(line.blocks) == 230


def test_lost_sound_is_a_gap_where_it_was_lost(line: Line) -> None:
    """After a pause of 3 s the sound goes on, and what was between is missing."""
    line.send(10)
    line.now += 3.0
    line.send(10)
    assert [gap.seconds for gap in line.gaps] == [pytest.approx(3.0, abs=0.01)]
    assert line.sound_before_gap() == pytest.approx(10, abs=0.11)
    assert line.blocks[-1].ends_at == pytest.approx(line.offset + line.now, abs=0.01)


def test_sound_that_is_lost_little_by_little_is_a_gap(line: Line) -> None:
    """One block of ten is lost for 8 s, without any pause."""
    line.send(10)
    for _ in range(8):
        line.send(0.9)
        line.now += BLOCK_S
    line.send(20)
    assert sum(gap.seconds for gap in line.gaps) == pytest.approx(0.8, abs=0.35)


def test_the_wall_clock_may_jump(line: Line) -> None:
    """An hour forward and back: the labels follow at once, without a gap, and the drift stays."""
    line.send(120)
    for jump in (3600.0, -7200.0, 3600.0):
        line.offset += jump
        line.send(60)
        assert line.blocks[-1].ends_at == pytest.approx(line.offset + line.now, abs=0.001)
    assert not line.gaps
    assert line.timeline.clock.drift_ppm == pytest.approx(0, abs=1)


@pytest.mark.parametrize(("pace", "rate_hz"), [(16_000 / 44_100, 44_100), (16_000 / 14_500, 14_500), (0.1, 160_000)])
def test_a_wrong_rate_is_measured(line: Line, pace: float, rate_hz: float) -> None:
    """Within 30 s of its start; and the sound goes on."""
    line.send(30 / pace, pace=pace)
    assert line.timeline.clock.measured_rate_hz == pytest.approx(rate_hz, rel=0.02)
    before = len(line.gaps)
    line.send(60 / pace, pace=pace)
    assert len(line.gaps) == before
    assert line.blocks[-1].ends_at == pytest.approx(line.offset + line.now, abs=0.5)


def test_a_right_rate_is_not_wrong(line: Line) -> None:
    """A burst at the start, a pause with loss and a delay are no wrong rate."""
    line.send(6, pace=0.01)
    for _ in range(10):
        line.send(7)
        line.now += 2.0
        line.send(7)
        line.now += 2.0
        line.send(2, pace=0.01)
        assert line.timeline.clock.measured_rate_hz is None


@pytest.mark.parametrize("value", [0.0, 0.25, -1.0])
def test_one_value_only_is_silence(line: Line, value: float) -> None:
    """It is left out, wherever the level lies, and what follows comes after a gap of its length."""
    line.send(5)
    line.send(1.5, np.full_like(NOISE, value))
    assert line.timeline.silent_value is None
    line.send(4.5, np.full_like(NOISE, value))
    assert line.timeline.silent_value == value
    line.send(5)
    assert line.timeline.silent_value is None
    assert [gap.seconds for gap in line.gaps] == [pytest.approx(6.0)]
    assert line.sound_before_gap() == pytest.approx(5.0)
    assert len(line.blocks) == 100
    assert line.blocks[-1].ends_at == pytest.approx(line.offset + line.now, abs=0.001)


def test_a_short_silence_is_sound(line: Line) -> None:
    """A second of zeros is passed on, without a gap."""
    line.send(5)
    line.send(1, np.zeros_like(NOISE))
    line.send(5)
    assert not line.gaps
    assert len(line.blocks) == 110


def test_one_silent_channel_of_two_is_not_silence(line: Line) -> None:
    """A channel without a microphone does not make the source silent."""
    line.send(10, np.hstack([NOISE, np.zeros_like(NOISE)]))
    assert line.timeline.silent_value is None
    assert len(line.blocks) == 100
