"""Thresholds at a stated rate: they give that rate, with what is known of it and its limits."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.detectors.calibration import Calibration
from ml.detectors.thresholds import (
    SENSITIVITIES,
    expected_rate,
    operating_point_at_rate,
    operating_point_at_sensitivity,
    operating_point_at_threshold,
    p_value,
    smallest_rate,
    threshold_at,
)
from ml.errors import InvalidParameter
from ml.evaluation.intervals import wilson
from ml.models.thresholds import decision_at

# Few values, so that there are ties.
SCORE = st.integers(0, 40).map(lambda i: i / 40)
SCORES = st.lists(SCORE, min_size=1, max_size=60).map(np.array)
RATES = st.integers(1, 999).map(lambda i: Fraction(i, 1000))


def calibration(scores, sessions=30):
    """Normal recordings with these scores, of so many sessions in turn."""
    named = np.asarray(scores, float)
    return Calibration(named, named, np.arange(len(named)) % sessions)


def rng(seed=0):
    return np.random.Generator(np.random.PCG64(seed))


# p-values


@given(SCORES, SCORE)
def test_a_p_value_counts_scores_as_high_and_the_recording_itself(scores, score):
    """It equals a count in a loop."""
    as_high = 1
    for each in scores:
        if each >= score:
            as_high += 1
    assert p_value(scores, score) == as_high / (len(scores) + 1)


@pytest.mark.parametrize("n", [19, 100])
def test_p_values_of_normal_recordings_are_no_smaller_than_chance(n):
    """Of 20 000 normal recordings the share with a p-value of at most p is at most p, and hardly smaller."""
    draws = 20_000
    scores = rng(1).beta(2, 3, (draws, n + 1))
    found = np.array([p_value(row[:-1], row[-1]) for row in scores])
    for p in (0.05, 0.1, 0.5):
        noise = 3 * np.sqrt(p * (1 - p) / draws)
        assert p - 1 / (n + 1) - noise <= np.mean(found <= p) <= p + noise


# Thresholds


@given(SCORES, RATES)
def test_the_threshold_is_the_lowest_score_that_keeps_the_rate(scores, rate):
    """It is the lowest score that a further recording exceeds rarely enough; the highest score if there is none."""
    n = len(scores)
    keeping = [t for t in scores if Fraction(1 + sum(s > t for s in scores), n + 1) <= rate]
    assert threshold_at(scores, float(rate)) == min(keeping, default=max(scores))


@given(SCORES, RATES, SCORE)
def test_above_the_threshold_is_a_p_value_of_at_most_the_rate(scores, rate, score):
    """Both rules agree if the number of scores supports the rate."""
    if rate >= Fraction(1, len(scores) + 1):
        above = 1 + sum(s >= score for s in scores)
        assert (score > threshold_at(scores, float(rate))) == (Fraction(above, len(scores) + 1) <= rate)


@pytest.mark.parametrize(("n", "rate"), [(99, 0.05), (19, 0.05), (200, 0.01), (1000, 0.001), (57, 0.3)])
def test_a_stated_rate_is_the_rate_of_further_normal_recordings(n, rate):
    """Over many draws there are no more false alarms than stated, and at most 1 in n + 1 fewer."""
    draws = 20_000
    scores = rng(2).beta(2, 5, (draws, n + 1))
    alarms = np.mean([row[-1] > threshold_at(row[:-1], rate) for row in scores])
    noise = 3 * np.sqrt(rate / draws)
    assert rate - 1 / (n + 1) - noise <= alarms <= rate + noise


@pytest.mark.parametrize("n", [1, 2, 9, 19, 99, 199, 333, 999])
def test_the_smallest_rate_is_supported_and_a_smaller_one_is_not(n):
    """At 1 / (n + 1) and below, the threshold is the highest score; only below does a note state it."""
    scores = rng(3).permutation(n) / n
    least = smallest_rate(n)
    assert operating_point_at_rate(calibration(scores), least).threshold == max(scores)
    assert not any("support no" in note for note in operating_point_at_rate(calibration(scores), least).notes)
    below = operating_point_at_rate(calibration(scores), 0.99 * least)
    assert (below.threshold, below.smallest_rate, below.n) == (max(scores), least, n)
    assert f"{n} normal recordings support no false-alarm rate below" in below.notes[0]


@pytest.mark.parametrize("rate", [0.01, 0.05, 0.1, 0.2, 0.3, 0.7])
def test_a_rate_of_a_whole_number_of_recordings_is_exact(rate):
    """Decimal rates are not exact in binary: with n + 1 of 100 to 3000, the count above is never one too small."""
    for n in range(99, 3000, 100):
        scores = np.arange(n) / n
        assert np.count_nonzero(scores > threshold_at(scores, rate)) == round(rate * (n + 1)) - 1


def test_the_order_of_scores_does_not_matter():
    """Scores are sorted, and the given array does not change."""
    scores = np.array([0.9, 0.6, 0.7, 0.8])
    assert threshold_at(scores, 0.4) == 0.8
    assert list(scores) == [0.9, 0.6, 0.7, 0.8]


@pytest.mark.parametrize("rate", [0, 1, -0.1, 1.5, float("nan"), float("inf")])
def test_an_invalid_rate_is_refused(rate):
    """The message has the expected range."""
    with pytest.raises(InvalidParameter, match="above 0 and below 1"):
        operating_point_at_rate(calibration([0.1, 0.2]), rate)


@pytest.mark.parametrize("threshold", [-0.1, 1.01, float("nan")])
def test_an_invalid_threshold_is_refused(threshold):
    """The message has the expected range."""
    with pytest.raises(InvalidParameter, match="from 0 to 1"):
        operating_point_at_threshold(calibration([0.1, 0.2]), threshold)


# Sensitivities


def test_a_sensitivity_is_a_rate_by_name():
    """A higher sensitivity has a lower threshold and more false alarms; its name is kept."""
    scores = rng(4).uniform(0, 1, 2000)
    found = [operating_point_at_sensitivity(calibration(scores), name) for name in ("low", "medium", "high")]
    assert [each.sensitivity for each in found] == ["low", "medium", "high"]
    assert [each.false_alarm_rate for each in found] == [0.001, 0.01, 0.05] == list(SENSITIVITIES.values())
    assert [each.threshold for each in found] == [threshold_at(scores, rate) for rate in SENSITIVITIES.values()]
    assert found[0].threshold > found[1].threshold > found[2].threshold


def test_an_unknown_sensitivity_is_refused():
    """The message has the names that exist."""
    with pytest.raises(InvalidParameter, match="low, medium, high"):
        operating_point_at_sensitivity(calibration([0.1]), "higher")


# Expected rates


@given(SCORES, SCORE)
def test_the_expected_rate_is_that_of_one_more_recording(scores, threshold):
    """It is the p-value of a score just above the threshold, and is within its interval."""
    expected = expected_rate(calibration(scores), threshold)
    assert expected.value == pytest.approx(p_value(scores, threshold + 1e-9))
    assert expected.low <= expected.value <= expected.high


def test_a_rate_that_is_not_supported_is_not_claimed():
    """One in a thousand from twenty recordings becomes the expected rate, one in twenty-one."""
    found = operating_point_at_rate(calibration(np.arange(20) / 20), 0.001)
    assert found.false_alarm_rate == 0.001
    assert decision_at(found).false_alarm_rate == pytest.approx(1 / 21)
    assert "0 of 20" in decision_at(found).basis


def test_no_recording_above_is_no_certainty():
    """With no recording of 4 sessions above, the interval is that of 0 of 4, not of 0 of 400."""
    expected = operating_point_at_threshold(calibration(np.linspace(0, 0.5, 400), sessions=4), 0.6).expected_rate
    assert expected.high > 0.4
    assert expected.low < expected.value == pytest.approx(1 / 401)


def test_one_or_two_recordings_above_are_no_certainty():
    """The interval is at least as wide as that of as many independent recordings."""
    scores = np.linspace(0, 1, 200)
    expected = operating_point_at_rate(calibration(scores, sessions=5), 0.01).expected_rate
    low, high = wilson(expected.value, 200)
    assert (expected.low, expected.high) == (pytest.approx(low), pytest.approx(high))


def test_similar_recordings_of_a_session_widen_the_interval():
    """If a whole session has high scores, the interval is more than twice as wide."""
    session = np.repeat(np.arange(10), 20)
    scores = np.where(session == 3, 0.9, 0.1) + rng(5).uniform(0, 0.05, 200)
    one_loud = expected_rate(Calibration(scores, scores, session), 0.5)
    mixed = expected_rate(Calibration(scores, scores, rng(6).permutation(session)), 0.5)
    assert one_loud.value == mixed.value == pytest.approx(21 / 201)
    assert one_loud.high - one_loud.low > 2 * (mixed.high - mixed.low)


@pytest.mark.parametrize(
    ("sessions", "words"),
    [(1, "one session"), (2, "2 sessions: the interval was drawn recording by recording"), (5, "5 sessions"), (12, "")],
)
def test_few_sessions_are_noted(sessions, words):
    """The note differs for too few sessions to draw and for few; with enough there is none."""
    notes = operating_point_at_threshold(calibration(rng(7).uniform(0, 1, 120), sessions), 0.9).notes
    assert words in " ".join(notes)
    assert bool(notes) == bool(words)
