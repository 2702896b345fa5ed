"""Slopes of the soak: growth is seen, noise is not."""

import numpy as np
import pytest

from benchmarks.soak.slopes import slope


@pytest.mark.parametrize("per_round", [0.0, 0.5, -1.0])
def test_the_growth_of_a_line_is_found(per_round: float) -> None:
    """Within its interval and a little more; the first quarter does not count."""
    noise = np.random.default_rng(0).normal(0, 0.2, 50)
    values = 100 + per_round * np.arange(50) + noise
    values[:12] = 0
    found = slope(values.tolist())
    assert found.growth == pytest.approx(49 * per_round, abs=1.0)
    assert found.low < found.growth < found.high < found.low + 1.0
    assert found.is_bounded(2.0) == (per_round <= 0)
    assert found.is_bounded(30.0)


def test_a_constant_has_no_growth() -> None:
    """Without noise, the interval is zero."""
    assert slope([3.0] * 8) == (0.0, 0.0, 0.0)
    assert not slope([*[3.0] * 2, 3, 4, 5, 6, 7, 8]).is_bounded(2.0)
