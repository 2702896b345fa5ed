"""The resampler: resampy's samples at any pair of rates, because it is part of the model."""

import math

import numpy as np
import pytest
import resampy
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ml.audio.resampling import FILTERS, resample

# Of full scale. Weights and products are float32 here, float64 in resampy; the measured maximum is 5e-7.
TOLERANCE = 2e-6
FILTER_NAMES = sorted(FILTERS)
RATE_PAIRS = [
    (16_000, 22_050),
    (22_050, 16_000),
    (44_100, 22_050),
    (22_050, 44_100),
    (48_000, 22_050),
    (8_000, 22_050),
    (11_025, 22_050),
    (96_000, 16_000),
    (192_000, 22_050),
    (4_000, 22_050),
    (16_000, 16_001),
    (16_001, 16_000),
    (9_973, 7_919),
    (32_000, 16_000),
]


def noise(frames: int, seed: int = 0) -> NDArray[np.float32]:
    """White noise within full scale."""
    return np.random.default_rng(seed).uniform(-1, 1, frames).astype(np.float32)


def by_resampy(samples: NDArray[np.float32], from_hz: int, to_hz: int, name: str) -> NDArray[np.float32]:
    """resampy's samples in librosa's length: ``ceil``, with zero for a sample that resampy does not compute."""
    found = resampy.resample(samples, from_hz, to_hz, filter=name)
    return np.pad(found, (0, math.ceil(len(samples) * to_hz / from_hz) - len(found)))


@pytest.mark.parametrize("name", FILTER_NAMES)
@pytest.mark.parametrize(("from_hz", "to_hz"), RATE_PAIRS)
def test_equal_to_resampy(from_hz: int, to_hz: int, name: str) -> None:
    """Up, down, by small ratios and by coprime rates, with either filter: resampy's samples within 2e-6."""
    samples = noise(max(4_000, from_hz // 8))
    found = resample(samples, from_hz, to_hz, name)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, by_resampy(samples, from_hz, to_hz, name), rtol=0, atol=TOLERANCE)


@settings(max_examples=50)
@given(
    from_hz=st.integers(80, 960).map(lambda n: n * 50),
    to_hz=st.integers(80, 960).map(lambda n: n * 50),
    frames=st.integers(300, 3_000),
    name=st.sampled_from(FILTER_NAMES),
    seed=st.integers(0, 2**32),
)
def test_equal_to_resampy_at_any_pair_of_rates(from_hz: int, to_hz: int, frames: int, name: str, seed: int) -> None:
    """Any length and any pair of rates give resampy's samples, and ``ceil(n * to / from)`` of them.

    Downwards, outputs exactly on an input must agree to 1e-2 only. resampy's clock is a float and puts some of them
    just before the input, and its table, read in whole steps, has another weight there than just after.
    """
    samples = noise(frames, seed)
    found = resample(samples, from_hz, to_hz, name)
    assert len(found) == -(-frames * to_hz // from_hz)
    if from_hz == to_hz:
        return
    difference = np.abs(found - by_resampy(samples, from_hz, to_hz, name))
    on_an_input = (np.arange(len(found)) * from_hz % to_hz == 0) & (to_hz < from_hz)
    assert difference[~on_an_input].max(initial=0) <= TOLERANCE
    assert difference.max() <= 1e-2


@pytest.mark.parametrize("name", FILTER_NAMES)
def test_the_same_rate_changes_nothing(name: str) -> None:
    """Equal rates keep every bit."""
    samples = noise(1_000)
    np.testing.assert_array_equal(resample(samples, 16_000, 16_000, name), samples)


@given(seed=st.integers(0, 2**32), a=st.floats(-2, 2), b=st.floats(-2, 2))
def test_resampling_is_linear(seed: int, a: float, b: float) -> None:
    """A weighted sum of two signals resamples to the weighted sum of both resampled."""
    first, second = noise(2_000, seed), noise(2_000, seed + 1)
    mixed = resample((a * first + b * second).astype(np.float32), 16_000, 22_050, "kaiser_fast")
    apart = [resample(part, 16_000, 22_050, "kaiser_fast") for part in (first, second)]
    np.testing.assert_allclose(mixed, a * apart[0] + b * apart[1], rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", FILTER_NAMES)
@pytest.mark.parametrize(("from_hz", "to_hz"), [(16_000, 22_050), (48_000, 22_050), (16_000, 16_001)])
def test_a_tone_keeps_frequency_phase_and_level(from_hz: int, to_hz: int, name: str) -> None:
    """A tone of 1 kHz stays the same at the new rate, except at the ends."""
    time_s = np.arange(from_hz // 2) / from_hz
    found = resample(np.sin(2 * np.pi * 1_000 * time_s).astype(np.float32), from_hz, to_hz, name)
    expected = np.sin(2 * np.pi * 1_000 * np.arange(len(found)) / to_hz)
    np.testing.assert_allclose(found[500:-500], expected[500:-500], rtol=0, atol=2e-3)


@pytest.mark.parametrize("name", FILTER_NAMES)
def test_frequencies_above_half_the_new_rate_are_removed(name: str) -> None:
    """A 15 kHz tone is 60 dB down at 22 050 Hz, instead of folding to 7 050 Hz."""
    time_s = np.arange(24_000) / 48_000
    found = resample(np.sin(2 * np.pi * 15_000 * time_s).astype(np.float32), 48_000, 22_050, name)
    assert np.abs(found[500:-500]).max() < 1e-3


def test_the_input_is_not_changed() -> None:
    """Resampling writes into no array of the caller."""
    samples = noise(1_000)
    kept = samples.copy()
    samples.setflags(write=False)
    resample(samples, 16_000, 22_050, "kaiser_fast")
    np.testing.assert_array_equal(samples, kept)
