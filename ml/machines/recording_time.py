"""Time of a recording: as the client states it, from the file, from its name, or else the time of the answer."""

import re
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple

from ml.audio.file_time import time_in_file
from ml.dataset.indexing.times import EARLIEST_FILE_TIME_S, time_in_name
from ml.errors import InvalidRecordingTime
from ml.system.validation import MAX_SHOWN_LENGTH

TimeSource = Literal["request", "file", "name", "arrival"]
# Clocks of recorders run ahead of the clock of the service by this time, at most.
CLOCK_TOLERANCE = timedelta(minutes=5)
EARLIEST = datetime.fromtimestamp(EARLIEST_FILE_TIME_S, UTC)
TIME_OF_DAY = re.compile(r"^[^T ]+[T ]\S+")
# In a URL, a plus sign that is not escaped arrives as a space.
LOST_PLUS = re.compile(r" (?=\d\d:?\d\d$)")
EXPECTED = (
    "an ISO 8601 date and time of day was expected, such as 2026-11-28T14:30:00Z or 2026-11-28T15:30:00+01:00 (without "
    "a time zone it is UTC)"
)


class RecordingTime(NamedTuple):
    """Time of a recording.

    Attributes:
        at: ISO 8601, UTC, with milliseconds.
        source: ``request``: the client stated it; ``file``: the header of the file; ``name``: the name of the file;
            ``arrival``: it is not known, and this is the time of the answer.
    """

    at: str
    source: TimeSource


def parse_recorded_at(text: str, now: datetime) -> str:
    """Return the time that a client stated.

    Args:
        text: ISO 8601 with a time of day; without a time zone it is UTC.
        now: present time.

    Returns:
        The time as ISO 8601, UTC, with milliseconds; such times sort as texts.

    Raises:
        InvalidRecordingTime: it is not a time, before the year 2000, or more than five minutes in the future.

    Example:
        >>> now = datetime(2026, 11, 28, 15, tzinfo=UTC)
        >>> parse_recorded_at("2026-11-28T15:30:00+01:00", now), parse_recorded_at("2026-11-28 14:30", now)
        ('2026-11-28T14:30:00.000+00:00', '2026-11-28T14:30:00.000+00:00')
    """
    found = _parse(text)
    shown = repr(text[:MAX_SHOWN_LENGTH])
    if found is None:
        raise InvalidRecordingTime(f"recorded_at is {shown}; {EXPECTED}.")
    if found < EARLIEST:
        raise InvalidRecordingTime(
            f"recorded_at is {shown}, before the year 2000: the clock of the recorder was probably not set."
        )
    if found > now + CLOCK_TOLERANCE:
        raise InvalidRecordingTime(
            f"recorded_at is {shown}, in the future: it is {_format(now)} now, and at most "
            f"{CLOCK_TOLERANCE.seconds // 60} minutes ahead of it was expected. A time without a time zone is UTC."
        )
    return _format(found)


def find_recording_time(content: bytes | bytearray, name: str, now: datetime) -> RecordingTime:
    """Return the time in a file's header or in its name; without a plausible one, the present time.

    A time before 2000 or in the future is from a clock that was not set, or from another time zone, and is ignored.

    Args:
        content: the whole file.
        name: name of the file.
        now: present time.
    """
    in_file = time_in_file(content)
    in_name = time_in_name(name, needs_time_of_day=True)
    found: tuple[tuple[TimeSource, datetime | None], ...] = (
        ("file", in_file),
        ("name", None if in_name is None else datetime.fromtimestamp(in_name, UTC)),
    )
    for source, time in found:
        if time is not None and EARLIEST <= time <= now + CLOCK_TOLERANCE:
            return RecordingTime(_format(time), source)
    return RecordingTime(_format(now), "arrival")


def _parse(text: str) -> datetime | None:
    written = text.strip().upper()  # RFC 3339 allows t and z
    try:
        found = datetime.fromisoformat(LOST_PLUS.sub("+", written))
        if not TIME_OF_DAY.match(written):
            return None
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):  # no time, or one that is before the year 1 or after 9999 in UTC
        return None


def _format(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds")
