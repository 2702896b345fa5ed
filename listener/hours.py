"""Ranges of local hours, such as ``Mon-Fri 22:00-06:00``, of schedules and quiet hours."""

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple, Self

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
WEEK = len(DAYS)


class HourRange(NamedTuple):
    """Range of hours on some days. A range over midnight belongs to the day of its beginning.

    Attributes:
        days: numbers of the days, from 0 for Monday.
        begin, end: minutes since midnight; ``end`` is not part of it. An end at or before the beginning is of the next
            day.
    """

    days: frozenset[int]
    begin: int
    end: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a range that matches :data:`listener.entry.HOURS`.

        Example:
            >>> HourRange.parse("Fri-Mon 22:00-06:00") == HourRange(frozenset({4, 5, 6, 0}), 22 * 60, 6 * 60)
            True
        """
        days, _, hours = text.rpartition(" ")
        begin, _, end = hours.partition("-")
        return cls(_days(days), _minutes(begin), _minutes(end))

    def contains(self, at: datetime) -> bool:
        """Return whether a local time is in the range.

        Example:
            >>> night = HourRange.parse("Fri 22:00-06:00")
            >>> friday = datetime(2026, 11, 27, 23, 0)
            >>> [night.contains(friday + timedelta(hours=hours)) for hours in (-2, 0, 6, 7, 24)]
            [False, True, True, False, False]
        """
        minute = 60 * at.hour + at.minute
        if self.begin < self.end:
            return at.weekday() in self.days and self.begin <= minute < self.end
        day_before = (at.weekday() - 1) % WEEK
        return (at.weekday() in self.days and minute >= self.begin) or (day_before in self.days and minute < self.end)


def is_within(hours: Iterable[str], at: float) -> bool:
    """Return whether a time is in one of these ranges of local hours.

    The clock on the wall counts: where it is set forward or back, a range is an hour shorter or longer.

    Args:
        hours: ranges, such as ``06:00-22:00``.
        at: seconds since 1970.
    """
    local = datetime.fromtimestamp(at)
    return any(HourRange.parse(each).contains(local) for each in hours)


def _days(text: str) -> frozenset[int]:
    if not text:
        return frozenset(range(WEEK))
    first, _, last = text.partition("-")
    begin, end = DAYS.index(first), DAYS.index(last or first)
    return frozenset((begin + each) % WEEK for each in range((end - begin) % WEEK + 1))


def _minutes(text: str) -> int:
    hour, _, minute = text.partition(":")
    return 60 * int(hour) + int(minute)
