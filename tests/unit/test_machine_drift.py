"""Drift is found where it is, seldom where it is not, and nothing is said of too little."""

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
    """Scores of machines that do not change, ``(machines, recordings)``, each like the one before."""
    random = np.random.default_rng(seed)
    news = random.normal(size=(MACHINES, 2 * MOST_SCORES)) * np.sqrt(1 - correlation**2)
    found = random.normal(size=(MACHINES, 2 * MOST_SCORES))
    for number in range(1, 2 * MOST_SCORES):
        found[:, number] = correlation * found[:, number - 1] + news[:, number]
    return found


def called_drifting(correlation: float, size: int, move: float = 0.0) -> float:
    """The share of machines that are called drifting at one look, after their scores moved by so many deviations."""
    found = [
        measure_drift(machine[:size], machine[-size:] + move).state == "drifting" for machine in scores(correlation)
    ]
    return float(np.mean(found))


@pytest.mark.parametrize(
    ("correlation", "size", "at_most"),
    [(0, 100, 0.002), (0, 50, 0.003), (0.5, 100, 0.003), (0.5, 50, 0.008), (0.7, 100, 0.02), (0.7, 50, 0.035)],
)
def test_a_machine_that_does_not_change_is_seldom_called_drifting(
    correlation: float, size: int, at_most: float
) -> None:
    """The stated share of false findings at one look, also where neighbouring scores are alike."""
    assert called_drifting(correlation, size) <= at_most


@pytest.mark.parametrize(
    ("correlation", "size", "move", "at_least"),
    [(0, 100, 1.5, 0.99), (0, 50, 1.5, 0.97), (0.5, 100, 1.5, 0.95), (0.5, 50, 1.5, 0.7), (0.7, 100, -1.5, 0.9)],
)
def test_a_move_is_found(correlation: float, size: int, move: float, at_least: float) -> None:
    """The stated share of moves by one and a half deviations, up or down."""
    assert called_drifting(correlation, size, move) >= at_least


def test_a_difference_that_is_sure_and_small_is_no_drift() -> None:
    """Both are needed: here chance is ruled out, and a recent score is above an early one in two of three pairs."""
    random = np.random.default_rng(3)
    found = measure_drift(random.normal(0, 1, 100), random.normal(0.6, 1, 100))
    assert found.p_value is not None
    assert found.effect is not None
    assert found.p_value < 0.01
    assert 0.6 < found.effect < 0.75
    assert found.state == "steady"


def test_scores_that_are_all_the_same_are_steady() -> None:
    """A saturated score has ties and nothing else."""
    found = measure_drift(np.ones(100), np.ones(100))
    assert (found.state, found.p_value, found.effect) == ("steady", 1.0, 0.5)
    assert (found.reference_n, found.recent_n) == (100, 100)


def test_scores_that_leave_a_constant_are_found() -> None:
    """From a saturated score to any other: every block is on one side of all others."""
    found = measure_drift(np.zeros(50), np.full(50, 0.001))
    assert (found.state, found.effect) == ("drifting", 1.0)
    assert found.p_value == pytest.approx(2 / 252)  # of the ways to choose 5 of 10 blocks


@pytest.mark.parametrize(("heard", "expected"), [(0, 0), (99, 40), (100, 50), (119, 50), (120, 60), (9999, 100)])
def test_the_sides_grow_until_they_are_whole(heard: int, expected: int) -> None:
    """The older and the newer half, in whole blocks, until there are a hundred each."""
    assert scores_per_side(heard) == expected


def test_of_too_few_scores_nothing_is_said() -> None:
    """Below fifty on each side only the counts are told."""
    found = measure_drift(np.zeros(40), np.ones(40))
    assert (found.state, found.reference_n, found.recent_n) == ("too_few", 40, 40)
    assert (found.p_value, found.effect, found.reference_median) == (None, None, None)


values = st.lists(st.floats(0, 1), min_size=3, max_size=8, unique=True)


@given(values, values)
def test_the_p_value_is_that_of_the_exact_test(first: list[float], second: list[float]) -> None:
    """Where no two values are alike, it is scipy's."""
    if set(first) & set(second):
        return
    expected = scipy.stats.mannwhitneyu(first, second, method="exact").pvalue
    assert rank_sum_p_value(np.array(first), np.array(second)) == pytest.approx(min(1.0, expected))


@given(st.lists(st.integers(0, 3), min_size=2, max_size=5), st.lists(st.integers(0, 3), min_size=2, max_size=5))
def test_the_p_value_with_ties_is_counted_out(first: list[int], second: list[int]) -> None:
    """With ties, it is the share of all permutations whose rank sum is as far out, one side doubled."""
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


def test_the_effect_and_the_order_say_the_same() -> None:
    """A move up is an effect above one half, and down below it."""
    low, high = np.linspace(0, 1, 50), np.linspace(0.9, 2, 50)
    up, down = measure_drift(low, high), measure_drift(high, low)
    assert up.effect is not None
    assert down.effect is not None
    assert up.effect > 0.75 > 0.25 > down.effect
    assert up.p_value == down.p_value
    assert up.state == down.state == "drifting"
    assert drift.EFFECT == 0.25
