"""Alarms: k of the last n verdicts raise one, few of them clear it, and counts between change nothing."""

from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.detectors.alarm_rule import KOfNRule
from ml.errors import InvalidParameter
from ml.machines.alarms import Acknowledgement, Alarm, state_of

RULES = st.tuples(st.integers(1, 6), st.integers(0, 6), st.integers(0, 5)).map(
    lambda drawn: KOfNRule(drawn[0], drawn[0] + drawn[1], min(drawn[2], drawn[0] - 1))
)
ALARM = Alarm(1, "2026-11-24T20:00:00.000+00:00", "fan-1", 3, 5, None, None)
SEEN = Acknowledgement("2026-11-24T20:01:00.000+00:00", "Ana", None, "")


def alarms(rule: KOfNRule, verdicts: Iterable[bool]) -> list[bool]:
    """Whether a machine is in alarm after each of its verdicts."""
    recorded: list[bool] = []
    alarmed = [False]
    for anomalous in verdicts:
        recorded.append(anomalous)
        alarmed.append(rule.is_in_alarm(recorded[-rule.n_verdicts :], alarmed[-1]))
    return alarmed[1:]


def marks(text: str) -> list[bool]:
    """Convert ``.!`` to a normal and then an anomalous verdict."""
    return [letter == "!" for letter in text]


@pytest.mark.parametrize(
    ("verdicts", "alarmed"),
    [
        ("!!!", "..!"),  # the first three of a machine are enough
        ("!.!.!", "....!"),
        ("..!..", "....."),
        ("!..!..!..!", ".........."),  # never three of five
        ("!!!.....", "..!!!!.."),  # clear once there is but one of five
        ("!!!..!.!..!.!..!...", "..!!!!!!!!!!!!!!!.."),  # two of five change nothing
        ("!!!.....!!.!.....", "..!!!!.....!!!..."),  # and once more
    ],
)
def test_three_of_five_raise_and_one_of_five_clears(verdicts: str, alarmed: str) -> None:
    """The default rule, verdict by verdict."""
    assert alarms(KOfNRule(), marks(verdicts)) == marks(alarmed)


@given(RULES, st.lists(st.booleans(), max_size=60))
def test_an_alarm_changes_at_its_two_counts_and_nowhere_else(rule: KOfNRule, verdicts: list[bool]) -> None:
    """For every rule, an alarm is raised at k or more, cleared at j or fewer, and unchanged between."""
    states = [False, *alarms(rule, verdicts)]
    for number, (before, after) in enumerate(pairwise(states), 1):
        count = sum(verdicts[max(0, number - rule.n_verdicts) : number])
        assert after is (count >= rule.raise_at or (before and count > rule.clear_at))


@pytest.mark.parametrize("numbers", [(3, 5, 3), (6, 5, 1), (0, 5, 0), (3, 5, -1), (3, 101, 1)])
def test_a_rule_that_contradicts_itself_is_refused(numbers: tuple[int, int, int]) -> None:
    """Rules that never raise, never clear, or use too many verdicts are refused."""
    with pytest.raises(InvalidParameter, match=f"raised by {numbers[0]} of {numbers[1]}"):
        KOfNRule(*numbers)


@pytest.mark.parametrize(
    ("alarm", "unusable", "state"),
    [
        (None, 0, "normal"),
        (None, 2, "normal"),
        (None, 3, "unheard"),
        (ALARM, 0, "alarm"),
        (ALARM, 5, "alarm"),  # a dead microphone hides no alarm
        (replace(ALARM, acknowledged=SEEN), 5, "acknowledged"),
    ],
)
def test_the_state_of_a_machine(alarm: Alarm | None, unusable: int, state: str) -> None:
    """An alarm comes first, then unusable recordings."""
    assert state_of(KOfNRule(), alarm, unusable) == state
