"""Ring buffer of a source: what it keeps, gaps, times, and its bound."""

import numpy as np
import pytest
from numpy.typing import NDArray

from listener.sound import SoundBlock
from listener.sources.ring import Ring, split

RATE_HZ = 1000


def block(at: float, values: NDArray[np.float32]) -> SoundBlock:
    """One channel of sound."""
    return SoundBlock(values.astype(np.float32)[:, None], RATE_HZ, at)


def ramp(start: int, frames: int) -> NDArray[np.float32]:
    """Samples that state their own number, exact in 16 bits."""
    return (np.arange(start, start + frames) % 30_000 / 32_768).astype(np.float32)


def filled(seconds: int, kept_s: float = 100.0) -> Ring:
    """A ring with so many seconds from time 0, a tenth of a second at a time."""
    ring = Ring(kept_s, 1.0)
    for part in range(seconds * 10):
        ring.append(block(part / 10, ramp(part * 100, 100)))
    return ring


def test_frames_are_returned_to_the_bit_and_with_their_time() -> None:
    """A clip has the samples of its frames as 16-bit integers, and the time of its first one."""
    found = filled(3).frames(1250, 2250)
    assert found is not None
    assert found.samples.dtype == np.int16
    assert found.samples[:, 0].tolist() == list(range(1250, 2250))
    assert (found.at, found.ends_at) == pytest.approx((1.25, 2.25))


def test_floats_of_more_than_16_bits_stay_floats() -> None:
    """A sample that no 16-bit integer has is kept as it is, also beside samples that are integers."""
    ring = Ring(10.0, 1.0)
    fine = np.array([0.1, 1.0, -1.0, 1e-9, 1.5], np.float32)
    ring.append(block(0.0, ramp(0, 5)))
    ring.append(block(0.005, fine))
    found = ring.frames(0, 10)
    assert found is not None
    assert found.samples.dtype == np.float32
    assert found.samples[:, 0].tolist() == [*ramp(0, 5), *fine]


def test_no_frames_cross_a_gap() -> None:
    """Frames on both sides of the begin of a segment are not returned; those of one side are."""
    ring = filled(2)
    ring.begin_segment()
    ring.append(block(5.0, ramp(0, 1000)))
    assert ring.frames(1500, 2500) is None
    found = ring.frames(2000, 3000)
    assert found is not None
    assert found.at == 5.0


def test_sound_between_two_times_is_the_longest_part_at_the_end() -> None:
    """What was forgotten or lies before a gap is left out; times outside of all sound give None."""
    ring = filled(4)
    whole = ring.between(1.0, 2.5)
    assert whole is not None
    assert (len(whole.samples), whole.at) == (1500, pytest.approx(1.0))
    early = ring.between(-5.0, 0.5)
    assert early is not None
    assert (len(early.samples), early.at) == (500, pytest.approx(0.0))
    assert ring.between(4.0, 9.0) is None
    ring.begin_segment()
    ring.append(block(6.0, ramp(0, 1000)))
    late = ring.between(3.0, 6.5)
    assert late is not None
    assert (len(late.samples), late.at) == (500, pytest.approx(6.0))
    last = ring.last(30.0)
    assert last is not None
    assert len(last.samples) == 1000


def test_the_oldest_sound_is_forgotten() -> None:
    """The size does not grow beyond the kept seconds, and forgotten frames are not returned."""
    ring = filled(10, kept_s=3.0)
    assert ring.frames(0, 1000) is None
    last = ring.last(100.0)
    assert last is not None
    assert 3000 <= len(last.samples) <= 3100
    assert ring.end == 10_000


def test_a_long_block_is_split() -> None:
    """A block of ten seconds is added in parts of a second with their own times."""
    parts = split(block(7.0, ramp(0, 10_500)))
    assert [len(part.samples) for part in parts] == [1000] * 10 + [500]
    assert parts[-1].at == pytest.approx(17.0)
