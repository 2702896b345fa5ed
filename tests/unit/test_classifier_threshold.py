"""Threshold of a classifier, and its false-alarm rate on the test side."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.training.classifier_threshold import EVEN, choose_threshold, held_out_scores, measure_false_alarm_rate
from tests.unit.judgements import entry, verdict

SCORES = st.lists(st.floats(0, 1), min_size=1, max_size=300)
RATES = st.floats(0.001, 0.999)


@given(SCORES, RATES)
def test_the_threshold_is_at_least_even_odds(scores, rate):
    """This holds even if all normal recordings score far below."""
    assert choose_threshold(scores, rate)[0] >= EVEN


@given(SCORES, RATES)
def test_the_share_above_is_at_most_the_requested_rate(scores, rate):
    """The share is of the scores that gave the threshold; the basis has the counts."""
    threshold, basis = choose_threshold(scores, rate)
    above = sum(score > threshold for score in scores)
    assert above / len(scores) <= rate + 1e-9
    assert f"above it were {above} of {len(scores)} healthy recordings" in basis


@given(SCORES, RATES)
def test_the_threshold_is_even_odds_or_the_score_of_a_recording(scores, rate):
    """The basis states which of them it is."""
    threshold, basis = choose_threshold(scores, rate)
    assert threshold == EVEN or threshold in scores
    assert basis.startswith("even odds") == (threshold == EVEN)


@pytest.mark.parametrize(("count", "rate"), [(99, 0.05), (19, 0.05), (200, 0.01), (40, 0.3)])
def test_one_more_normal_recording_is_above_at_the_requested_rate(count, rate):
    """Over 20 000 draws, the probability is at most the requested rate, and hardly less."""
    draws = 20_000
    scores = np.random.Generator(np.random.PCG64(1)).uniform(0.6, 1, (draws, count + 1))
    alarms = np.mean([row[-1] > choose_threshold(row[:-1], rate)[0] for row in scores])
    noise = 3 * np.sqrt(rate / draws)
    assert rate - 1 / (count + 1) - noise <= alarms <= rate + noise


def test_too_few_scores_for_the_rate_give_the_highest():
    """Ten recordings do not support a rate of one in a hundred."""
    scores = [0.55 + 0.01 * i for i in range(10)]
    assert choose_threshold(scores, 0.01)[0] == max(scores)


def test_the_order_of_scores_does_not_matter():
    """Scores need not be sorted."""
    assert choose_threshold([0.9, 0.6, 0.7, 0.8], 0.4) == choose_threshold([0.6, 0.7, 0.8, 0.9], 0.4)
    assert choose_threshold([0.9, 0.6, 0.7, 0.8], 0.4)[0] == 0.8


def test_without_normal_recordings_the_threshold_is_even_odds():
    """The basis states that there were none."""
    threshold, basis = choose_threshold([], 0.01)
    assert threshold == EVEN
    assert "0 of 0" in basis


def test_the_test_side_measures_the_threshold():
    """A score at the threshold is no alarm; without normal recordings there is no rate."""
    decision = measure_false_alarm_rate(0.5, "even odds", [0.1, 0.5, 0.6, 0.9])
    assert (decision.threshold, decision.false_alarm_rate) == (0.5, 0.5)
    assert decision.basis == "even odds, and 2 of 4 of the test side"
    assert measure_false_alarm_rate(0.7, "even odds", []).false_alarm_rate is None


def test_held_out_scores_have_sessions():
    """They hold for new sessions, unless a session can be on several sides of the split."""
    judged = [verdict(entry(i, group=f"session {i // 2}"), score) for i, score in enumerate((0.1, 0.2, 0.3, 0.4))]
    found = held_out_scores(judged, "group")
    assert (found.scores, found.sessions, found.rate_holds_for) == ((0.1, 0.2, 0.3, 0.4), (0, 0, 1, 1), "new_session")
    assert held_out_scores(judged, "machine").rate_holds_for == "new_session"
    assert held_out_scores(judged, "blocks").rate_holds_for == "same_session"
    assert held_out_scores(judged, "given").rate_holds_for == "same_session"
    assert held_out_scores([], "group") is None
