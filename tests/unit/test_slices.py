"""Medians and quantiles of many slices are those of numpy, to the bit."""

import numpy as np
import pytest

from ml.detectors.slices import slice_medians, slice_quantiles

RNG = np.random.default_rng(0)
BEGINS = RNG.integers(0, 200, 300)
ENDS = BEGINS + RNG.integers(1, 56, 300)


@pytest.fixture(params=[np.float32, np.float64])
def values(request: pytest.FixtureRequest) -> np.ndarray:
    """Levels, a third of them equal."""
    levels = RNG.normal(0, 10, 255)
    levels[::3] = 1.1
    return levels.astype(request.param)


def test_medians_are_equal_to_the_bit(values: np.ndarray) -> None:
    expected = [np.median(values[begin:end]) for begin, end in zip(BEGINS, ENDS, strict=True)]
    np.testing.assert_array_equal(slice_medians(values, BEGINS, ENDS), expected)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 0.6, 1.0])
def test_quantiles_are_equal_to_the_bit(values: np.ndarray, share: float) -> None:
    expected = [np.quantile(values[begin:end], share) for begin, end in zip(BEGINS, ENDS, strict=True)]
    found = slice_quantiles(values, BEGINS, ENDS, share)
    assert found.dtype == values.dtype
    np.testing.assert_array_equal(found, expected)


def test_no_slice() -> None:
    none = np.array([], int)
    assert slice_medians(np.ones(3), none, none).shape == (0,)
