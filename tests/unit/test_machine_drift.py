"""Drift: found where it is, rarely where it is not, and not measured from too few scores."""

from functools import lru_cache

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from ml.machines import drift
from ml.machines.drift import MOST_SCORES, measure_drift, rank_sum_p_value, scores_per_side, superiority

MACHINES = 1000


@lru_cache
def scores(correlation: float, seed: int = 0) -> NDArray[np.float64]:
    """Scores of machines that do not change, ``(machines, recordings)``, correlated with the score before."""
    random = np.random.default_rng(seed)
    news = random.normal(size=(MACHINES, 2 * MOST_SCORES)) * np.sqrt(1 - correlation**2)
    found = random.normal(size=(MACHINES, 2 * MOST_SCORES))
    for number in range(1, 2 * MOST_SCORES):
        found[:, number] = correlation * found[:, number - 1] + news[:, number]
    return found


def called_drifting(correlation: float, size: int, move: float = 0.0) -> float:
    """The share of machines that are called drifting, after their scores moved by so many standard deviations."""
    found = [
        measure_drift(machine[:size], machine[-size:] + move).state == "drifting" for machine in scores(correlation)
    ]
    return float(np.mean(found))


@pytest.mark.parametrize(
    ("correlation", "size", "at_most"),
    [(0, 100, 0.002), (0, 50, 0.003), (0.5, 100, 0.003), (0.5, 50, 0.008), (0.7, 100, 0.02), (0.7, 50, 0.035)],
)
def test_a_machine_that_does_not_change_is_rarely_called_drifting(
    correlation: float, size: int, at_most: float
) -> None:
    """The share of false findings is at most the stated one, also for correlated scores."""
    assert called_drifting(correlation, size) <= at_most


@pytest.mark.parametrize(
    ("correlation", "size", "move", "at_least"),
    [(0, 100, 1.5, 0.99), (0, 50, 1.5, 0.97), (0.5, 100, 1.5, 0.95), (0.5, 50, 1.5, 0.7), (0.7, 100, -1.5, 0.9)],
)
def test_a_change_of_the_scores_is_found(correlation: float, size: int, move: float, at_least: float) -> None:
    """At least the stated share of changes by 1.5 standard deviations, up or down, is found."""
    assert called_drifting(correlation, size, move) >= at_least


def test_a_significant_but_small_difference_is_no_drift() -> None:
    """Drift needs both: here p is below 0.01, but the effect is only two of three pairs."""
    random = np.random.default_rng(3)
    found = measure_drift(random.normal(0, 1, 100), random.normal(0.6, 1, 100))
    assert found.p_value is not None
    assert found.effect is not None
    assert found.p_value < 0.01
    assert 0.6 < found.effect < 0.75
    assert found.state == "steady"


def test_equal_scores_are_steady() -> None:
    """A saturated score has only ties."""
    found = measure_drift(np.ones(100), np.ones(100))
    assert (found.state, found.p_value, found.effect) == ("steady", 1.0, 0.5)
    assert (found.reference_n, found.recent_n) == (100, 100)


def test_a_change_from_a_constant_score_is_found() -> None:
    """Every block of new scores is above all blocks of old ones."""
    found = measure_drift(np.zeros(50), np.full(50, 0.001))
    assert (found.state, found.effect) == ("drifting", 1.0)
    assert found.p_value == pytest.approx(2 / 252)  # of the ways to choose 5 of 10 blocks


@pytest.mark.parametrize(("recorded", "expected"), [(0, 0), (99, 40), (100, 50), (119, 50), (120, 60), (9999, 100)])
def test_the_number_of_scores_per_side_grows_to_100(recorded: int, expected: int) -> None:
    """The older and the newer half, in whole blocks, have up to a hundred scores each."""
    assert scores_per_side(recorded) == expected


def test_too_few_scores_have_counts_only() -> None:
    """With fewer than fifty on each side there is no p-value and no effect."""
    found = measure_drift(np.zeros(40), np.ones(40))
    assert (found.state, found.reference_n, found.recent_n) == ("too_few", 40, 40)
    assert (found.p_value, found.effect, found.reference_median) == (None, None, None)


values = st.lists(st.floats(0, 1), min_size=3, max_size=8, unique=True)


@given(values, values)
def test_the_p_value_is_that_of_the_exact_test(first: list[float], second: list[float]) -> None:
    """Without ties it equals scipy's."""
    if set(first) & set(second):
        return
    expected = scipy.stats.mannwhitneyu(first, second, method="exact").pvalue
    assert rank_sum_p_value(np.array(first), np.array(second)) == pytest.approx(min(1.0, expected))


@given(st.lists(st.integers(0, 3), min_size=2, max_size=5), st.lists(st.integers(0, 3), min_size=2, max_size=5))
def test_the_p_value_with_ties_is_that_of_all_permutations(first: list[int], second: list[int]) -> None:
    """It is the share of permutations whose rank sum is as extreme, one side doubled."""
    both = scipy.stats.rankdata([*first, *second])
    sums = scipy.stats.permutation_test(
        (both[: len(first)], both[len(first) :]),
        lambda _, chosen: chosen.sum(),
        permutation_type="independent",
        n_resamples=np.inf,
        vectorized=False,
    )
    assert rank_sum_p_value(np.array(first, float), np.array(second, float)) == pytest.approx(sums.pvalue)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=9), st.lists(st.integers(0, 5), min_size=1, max_size=9))
def test_the_effect_is_the_share_of_pairs(first: list[int], second: list[int]) -> None:
    """Each pair counts once, a tie half."""
    pairs = [(late > early) + (late == early) / 2 for early in first for late in second]
    assert superiority(np.array(first, float), np.array(second, float)) == pytest.approx(np.mean(pairs))


def test_the_effect_has_the_direction_of_the_change() -> None:
    """Higher scores have an effect above one half, lower scores below."""
    low, high = np.linspace(0, 1, 50), np.linspace(0.9, 2, 50)
    up, down = measure_drift(low, high), measure_drift(high, low)
    assert up.effect is not None
    assert down.effect is not None
    assert up.effect > 0.75 > 0.25 > down.effect
    assert up.p_value == down.p_value
    assert up.state == down.state == "drifting"
    assert drift.EFFECT == 0.25
