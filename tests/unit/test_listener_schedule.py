"""When a machine runs: hours, level and a topic."""

import os
import time
from collections.abc import Iterator
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError

from listener.config.source_types import Schedule
from listener.sources.schedule import RunningSchedule

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.fixture(autouse=True)
def _berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Local time with summer time."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()
    assert os.environ.get("TZ") != "Europe/Berlin"


def runs(hours: str, at: str, lasting_s: float = 0.0) -> bool:
    """Whether a schedule with these hours runs at a local time."""
    now = datetime.fromisoformat(at)
    now = now if now.tzinfo else now.replace(tzinfo=BERLIN)
    return RunningSchedule(Schedule(hours=(hours,))).is_running(now.timestamp(), None, lasting_s)


def test_without_conditions_it_always_runs() -> None:
    """A source without a schedule is always judged."""
    schedule = RunningSchedule(Schedule())
    assert schedule.is_running(0.0, None)
    assert schedule.reason == ""


@pytest.mark.parametrize(
    ("hours", "inside", "outside"),
    [
        ("06:00-22:00", ("2026-11-27 06:00:00", "2026-11-27 21:59:59"), ("2026-11-27 05:59:59", "2026-11-27 22:00:00")),
        ("22:00-06:00", ("2026-11-27 22:00:00", "2026-11-28 05:59:59"), ("2026-11-28 06:00:00", "2026-11-28 21:59:59")),
        # The night from Friday to Saturday belongs to Friday, that from Sunday to Monday to Sunday.
        ("Mon-Fri 22:00-06:00", ("2026-11-28 05:00", "2026-11-27 23:00"), ("2026-11-28 23:00", "2026-11-30 05:00")),
        ("Sat-Sun 00:00-24:00", ("2026-11-28 00:00", "2026-11-29 23:59:59"), ("2026-11-30 00:00", "2026-11-27 23:59")),
        ("Fri-Mon 08:00-09:00", ("2026-11-27 08:00", "2026-11-30 08:59"), ("2026-11-26 08:30", "2026-12-01 08:30")),
        ("Wed 07:00-07:00", ("2026-11-25 07:00", "2026-11-26 06:59"), ("2026-11-25 06:59", "2026-11-26 07:00")),
    ],
)
def test_hours(hours: str, inside: tuple[str, ...], outside: tuple[str, ...]) -> None:
    """The beginning belongs to a range, its end does not; days are those of the beginning."""
    assert [runs(hours, each) for each in inside] == [True] * len(inside)
    assert [runs(hours, each) for each in outside] == [False] * len(outside)


def test_the_clock_on_the_wall_counts() -> None:
    """06:00 is 05:00 UTC in winter and 04:00 UTC in summer; the hour that occurs twice counts twice."""
    assert not runs("06:00-22:00", "2026-01-15T04:30+00:00")
    assert runs("06:00-22:00", "2026-07-15T04:30+00:00")
    assert [runs("02:00-03:00", f"2026-10-25T0{hour}:30+00:00") for hour in range(3)] == [True, True, False]
    assert [runs("02:30-04:00", f"2026-03-29T0{hour}:30+00:00") for hour in range(3)] == [False, True, False]


def test_a_clip_that_began_before_the_hours_is_not_judged() -> None:
    """The whole clip must be in the hours."""
    assert not runs("06:00-22:00", "2026-11-27 06:00:05", lasting_s=10)
    assert runs("06:00-22:00", "2026-11-27 06:00:10", lasting_s=10)


def test_a_level_near_the_limit_does_not_switch() -> None:
    """It starts at the level, and stops 3 dB below it; no sound is no machine."""
    schedule = RunningSchedule(Schedule(min_level_dbfs=-40))
    levels = (-41.0, -40.0, -42.9, -41.0, -43.1, -41.0, -39.0, None, -42.0)
    expected = [False, True, True, True, False, False, True, False, False]
    assert [schedule.is_running(0.0, level) for level in levels] == expected
    assert schedule.reason == "the level is -42.0 dBFS; at least -40 dBFS was expected"


def test_all_conditions_must_hold_and_the_reason_is_the_first() -> None:
    """Loud, but at night."""
    schedule = RunningSchedule(Schedule(hours=("Mon 08:00-09:00", "10:00-11:00"), min_level_dbfs=-40))
    at = datetime(2026, 11, 27, 8, 30, tzinfo=BERLIN).timestamp()
    assert not schedule.is_running(at, -20.0)
    assert schedule.reason == "it is outside the hours Mon 08:00-09:00, 10:00-11:00"
    assert schedule.is_running(at + 7200, -20.0)


@pytest.mark.parametrize("hours", ["24:30-06:00", "6:00-7:00", "Mo 06:00-07:00", "06:00", "Mon-Fri-Sat 06:00-07:00"])
def test_hours_that_cannot_be_read_are_refused(hours: str) -> None:
    """With an example."""
    with pytest.raises(ValidationError, match="06:00-22:00"):
        Schedule(hours=(hours,))


@pytest.mark.parametrize("topic", ["#", "hall/+/state", "", "a\0"])
def test_a_topic_with_wildcards_is_refused(topic: str) -> None:
    """The state of one machine is on one topic."""
    with pytest.raises(ValidationError):
        Schedule(broker="mqtt://broker", topic=topic)
