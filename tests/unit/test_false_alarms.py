"""False alarms: counted session by session, and thresholds that keep to a limit as a person states it."""

import math
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.detectors.alarm_limit import FalseAlarmLimit, format_time
from ml.detectors.alarm_rule import DEFAULT_RULE, KOfNRule
from ml.detectors.calibration import Calibration
from ml.detectors.false_alarms import (
    alarm_states,
    count_false_alarms,
    operating_point_for_alarms,
    threshold_for_alarms,
)
from ml.detectors.thresholds import operating_point_at_sensitivity, threshold_at
from ml.errors import InvalidParameter
from ml.machines.rhythm import median_interval_s


def calibration(*sessions, odd=None):
    """Normal recordings: a list of scores for each session."""
    named = np.concatenate([np.asarray(each, float) for each in sessions])
    numbers = np.repeat(np.arange(len(sessions)), [len(each) for each in sessions])
    return Calibration(named, named, numbers, odd, "new_session")


def shifting(sessions=40, recordings=20, between=0.6, seed=0):
    """Scores of sessions that differ, by this share of the variance."""
    rng = np.random.Generator(np.random.PCG64(seed))
    shift = rng.normal(size=(sessions, 1)) * math.sqrt(between)
    values = shift + rng.normal(size=(sessions, recordings)) * math.sqrt(1 - between)
    return calibration(*(1 / (1 + np.exp(-values))))


# Counting


@pytest.mark.parametrize("rule", [KOfNRule(), KOfNRule(2, 4, 0), KOfNRule(1, 1, 0), KOfNRule(4, 12, 2)], ids=str)
def test_the_states_of_a_row_are_those_of_the_rule_verdict_by_verdict(rule):
    """Machines and expectations use one rule: the same states for all rows of 9 verdicts."""
    for verdicts in product([False, True], repeat=9):
        before, expected = False, []
        for number in range(1, len(verdicts) + 1):
            before = rule.is_in_alarm(verdicts[max(0, number - rule.n_verdicts) : number], before)
            expected.append(before)
        assert alarm_states(np.array(verdicts), rule).tolist() == expected


def test_alarms_are_counted_in_the_order_of_each_session():
    """Recordings of a session are a row, wherever they stand in the calibration."""
    one, other = [0.9, 0.9, 0.9, 0.1, 0.1, 0.1, 0.1, 0.1], [0.9, 0.1, 0.1, 0.9, 0.1, 0.1, 0.9, 0.1]
    mixed = np.array([one, other]).T.ravel()
    found = count_false_alarms(Calibration(mixed, mixed, np.tile([0, 1], 8)), 0.5, DEFAULT_RULE)
    assert (found.counted, found.n, found.n_sessions) == (1, 16, 2)
    assert found.per_recording.value == 2 / 17


def test_anomalous_verdicts_of_one_session_are_fewer_alarms_than_independent_ones():
    """A whole session above the threshold is one alarm; the same verdicts spread over all sessions are none."""
    together = calibration(*[[0.1] * 20] * 9, [0.9] * 20)
    spread = calibration(*[[0.9, 0.1, 0.1, 0.1, 0.1, 0.1, 0.9, 0.1, 0.1, 0.1] * 2] * 10)
    assert count_false_alarms(together, 0.5, DEFAULT_RULE).counted == 1
    assert count_false_alarms(spread, 0.5, DEFAULT_RULE).counted == 0


def test_without_an_alarm_the_interval_is_that_of_a_rare_event():
    """Up to 3.84 false alarms are possible among the recordings; the longest time is not known."""
    found = count_false_alarms(calibration(*[[0.1] * 50] * 4), 0.5, DEFAULT_RULE)
    assert (found.counted, found.per_recording.value, found.per_recording.low) == (0, 1 / 201, 0)
    assert found.per_recording.high == pytest.approx(3.8415 / 200, rel=1e-4)
    time = found.time_between_s(600)
    assert (time.value, time.high) == (pytest.approx(201 * 600), None)
    assert time.low == pytest.approx(200 / 3.8415 * 600, rel=1e-4)
    assert "at most once in 8.7 hours (95 % limit), and are expected once in 34 hours" in found.describe(600)
    assert "200 normal recordings of 4 sessions, 0 alarms were counted" in found.describe(600)


def test_the_interval_is_wide_if_few_sessions_have_all_alarms():
    """Ten alarms of one session are less certain than one alarm in each of ten sessions."""
    burst = [0.9, 0.9, 0.9, 0.1, 0.1, 0.1, 0.1, 0.1]
    in_one = calibration(burst * 10, *[[0.1] * 80] * 9)
    in_each = calibration(*[burst + [0.1] * 72] * 10)
    one, each = (count_false_alarms(found, 0.5, DEFAULT_RULE) for found in (in_one, in_each))
    assert one.counted == each.counted == 10
    assert one.per_recording.high > 1.4 * each.per_recording.high
    assert one.per_recording.low == 0 < each.per_recording.low


@pytest.mark.parametrize("sessions", [4, 12])
def test_the_interval_contains_the_true_frequency(sessions):
    """In 40 calibrations of sessions that differ; the expected frequency is not too small on average."""
    threshold = 1 / (1 + math.exp(-1.5))
    true = count_false_alarms(shifting(5000), threshold, DEFAULT_RULE).per_recording.value
    found = [
        count_false_alarms(shifting(sessions, seed=seed), threshold, DEFAULT_RULE).per_recording
        for seed in range(1, 41)
    ]
    assert sum(each.low <= true <= each.high for each in found) >= 38
    assert np.mean([each.value for each in found]) >= true


# Thresholds


def test_a_supported_limit_gives_the_lowest_threshold_that_keeps_to_it():
    """The next lower score exceeds the limit; a looser limit has a lower threshold."""
    found = shifting()
    thresholds = []
    for frequency in (1 / 50, 1 / 100, 1 / 400):
        threshold = threshold_for_alarms(found, frequency, DEFAULT_RULE)
        thresholds.append(threshold)
        assert count_false_alarms(found, threshold, DEFAULT_RULE).per_recording.value <= frequency
    assert all(lower < higher for lower, higher in pairwise(thresholds))


def test_an_unsupported_limit_gives_the_lowest_threshold_without_an_alarm_and_a_note():
    """Not the highest score: two recordings raise no alarm. The note states what 400 recordings support."""
    found = calibration([0.1, 0.2, 0.3] * 132 + [0.1, 0.99, 0.95, 0.95])
    limit = FalseAlarmLimit("1/year", "10min")
    point = operating_point_for_alarms(found, limit)
    assert point.threshold == 0.95
    assert count_false_alarms(found, point.threshold, DEFAULT_RULE).counted == 0
    assert count_false_alarms(found, 0.3, DEFAULT_RULE).counted > 0
    assert point.basis.startswith("without a false alarm among too few recordings for 1/year at a recording")
    assert point.basis.endswith("above it were 1 of 400 healthy recordings that had not been learned from")
    assert "400 normal recordings support no fewer false alarms than one in 2.8 days" in point.notes[0]
    assert "1/year needs 52595 normal recordings, from at least 4 sessions." in point.notes[0]


def test_an_unsupported_limit_makes_no_more_recordings_anomalous_than_the_default():
    """At 0.3 there would be no alarm, but a quarter of the recordings would be anomalous."""
    found = calibration(*[[0.1, 0.2, 0.3, 0.95] * 5] * 4)
    assert threshold_for_alarms(found, 1e-9, DEFAULT_RULE) == 0.3
    point = operating_point_for_alarms(found, FalseAlarmLimit("1/year", "10min"))
    assert point.threshold == operating_point_at_sensitivity(found, "medium").threshold == 0.95


@given(st.integers(1, 30), st.integers(1, 6))
def test_no_limit_is_kept_by_an_alarm_that_never_ends(allowed, sessions):
    """A threshold below nearly all scores raises few alarms, because they last; it is never chosen."""
    found = shifting(sessions, 40)
    threshold = threshold_for_alarms(found, allowed / (40 * sessions + 1), DEFAULT_RULE)
    in_alarm = alarm_states(found.named > threshold, DEFAULT_RULE)
    assert in_alarm.sum() <= DEFAULT_RULE.n_verdicts * allowed


def test_odd_recordings_do_not_count_for_the_threshold():
    """But they count for the frequency."""
    scores = [0.1] * 10 + [0.9] * 3 + [0.1] * 10
    odd = np.array([False] * 10 + [True] * 3 + [False] * 10)
    assert threshold_for_alarms(calibration(scores, odd=odd), 1e-6, DEFAULT_RULE) == 0.1
    assert threshold_for_alarms(calibration(scores), 1e-6, DEFAULT_RULE) == 0.9
    assert count_false_alarms(calibration(scores, odd=odd), 0.1, DEFAULT_RULE).counted == 1


def test_with_a_rule_of_single_verdicts_the_threshold_is_that_of_a_rate():
    """Recordings far from each other: each anomalous verdict is an alarm of its own."""
    scores = np.zeros(400)
    scores[::4] = np.linspace(0.01, 0.99, 100)
    found = calibration(scores)
    assert threshold_for_alarms(found, 0.05, KOfNRule(1, 1, 0)) == threshold_at(scores, 0.05)


# A limit as a person states it


@pytest.mark.parametrize(
    ("false_alarms", "every", "recordings"),
    [
        ("1/day", "10min", 144),
        ("2/day", "10min", 72),
        ("1/week", "1h", 168),
        ("1/month", "1d", 30.4375),
        ("1/year", "30s", 365.25 * 2880),
    ],
)
def test_a_limit_is_a_frequency_per_recording(false_alarms, every, recordings):
    """A month is a twelfth of a year of 365.25 days."""
    limit = FalseAlarmLimit(false_alarms, every)
    assert 1 / limit.frequency == pytest.approx(recordings)
    assert FalseAlarmLimit.from_dict(limit.to_dict()) == limit


@pytest.mark.parametrize(
    ("false_alarms", "every", "found"),
    [
        ("1/moon", "10min", "1/moon"),
        ("0/day", "10min", "0/day"),
        ("1/day\n", "10min", "1/day"),
        ("1 / day", "10min", "1 / day"),
        ("1/day", "10", "'10'"),
        ("1/day", "0h", "'0h'"),
        ("1/day", "ten minutes", "ten minutes"),
        ("144/day", "10min", "as many as the recordings"),
    ],
)
def test_a_limit_that_cannot_be_is_refused(false_alarms, every, found):
    """With what was found and what was expected."""
    with pytest.raises(InvalidParameter, match=found):
        FalseAlarmLimit(false_alarms, every)


def test_times_are_shown_in_the_largest_fitting_unit():
    """Two significant digits are enough for an estimate."""
    day_s = 86_400
    seconds = (0.5, 90, 5400, 1.5 * day_s, 40 * day_s, 150 * day_s, 2 * 365.25 * day_s)
    shown = [format_time(time_s) for time_s in seconds]
    assert shown == ["0.5 s", "1.5 minutes", "1.5 hours", "1.5 days", "40 days", "150 days", "2 years"]


# The rhythm of a machine


def times(*seconds):
    """Times of answers, so many seconds after midnight."""
    return [f"2026-11-28T{s // 3600:02}:{s // 60 % 60:02}:{s % 60:02}.000+00:00" for s in seconds]


def test_the_rhythm_is_the_median_time_between_recordings():
    """In any order, and one long pause does not change it."""
    assert median_interval_s(times(0, 600, 1200, 1800, 2400, 40_000)) == 600
    assert median_interval_s(times(40_000, 2400, 1800, 1200, 600, 0)) == 600


def test_no_rhythm_is_known_of_few_recordings_or_of_a_batch():
    """Five recordings, or ten that were uploaded together."""
    assert median_interval_s(times(0, 600, 1200, 1800, 2400)) is None
    assert median_interval_s(times(*[7] * 10)) is None
