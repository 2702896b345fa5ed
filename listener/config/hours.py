"""Local hours of a day or of some days of the week, such as ``22:00-06:00`` or ``Mon-Fri 06:00-22:00``."""

from collections.abc import Iterable
from datetime import datetime

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
DAY_MINUTES = 24 * 60
WEEK_MINUTES = 7 * DAY_MINUTES


def is_within(hours: Iterable[str], at: datetime) -> bool:
    """Return whether a local time is in one of these ranges.

    A range whose end is not after its beginning goes on until the next day, and belongs to the day on which it began.
    The clock on the wall counts: when clocks are set back, an hour that comes twice is in the range twice.

    Args:
        hours: ranges as :data:`listener.config.entry.HOURS` accepts them.
        at: local time.

    Example:
        >>> saturday = datetime(2026, 11, 28, 5, 59)
        >>> is_within(["Fri 22:00-06:00"], saturday), is_within(["Sat 22:00-06:00"], saturday)
        (True, False)
    """
    now = at.weekday() * DAY_MINUTES + at.hour * 60 + at.minute
    return any((now - begin) % WEEK_MINUTES < length for each in hours for begin, length in _spans(each))


def _spans(hours: str) -> list[tuple[int, int]]:
    """Return the beginning, in minutes of the week, and the length, in minutes, of each span of a range."""
    days, _, times = hours.rpartition(" ")
    begin, end = (_minutes(each) for each in times.split("-"))
    length = end - begin if end > begin else end - begin + DAY_MINUTES
    return [(day * DAY_MINUTES + begin, length) for day in _days(days)]


def _days(days: str) -> list[int]:
    if not days:
        return list(range(7))
    first, _, last = days.partition("-")
    begin, end = DAYS.index(first), DAYS.index(last or first)
    return [(begin + each) % 7 for each in range((end - begin) % 7 + 1)]


def _minutes(clock: str) -> int:
    hour, minute = clock.split(":")
    return int(hour) * 60 + int(minute)
