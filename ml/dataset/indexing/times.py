"""Times of recordings, from file names or files, and gaps between them."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import PurePosixPath
from statistics import median
from typing import NamedTuple

# 2024-03-05_14-30-00, 20240305T143000, 2024.03.05 14:30, 2024-03-05. Without separators a time needs its seconds,
# because a counter of four digits can look like hours and minutes.
DATE = r"(?P<year>20\d\d)(?P<sep>[-_.]?)(?P<month>0[1-9]|1[0-2])(?P=sep)(?P<day>0[1-9]|[12]\d|3[01])"
HOUR, MINUTE, SECOND = r"(?P<hour>[01]\d|2[0-3])", r"(?P<minute>[0-5]\d)", r"(?P<second>[0-5]\d)"
CLOCK = rf"[T_\-. ]?{HOUR}(?:{MINUTE}{SECOND}|(?P<between>[-_.:hH]){MINUTE.replace('minute', 'minute2')}"
CLOCK += rf"(?:[-_.:mM]{SECOND.replace('second', 'second2')})?)"
DATE_AND_TIME = re.compile(rf"(?<!\d){DATE}(?:{CLOCK})?(?!\d)")
UNIX_TIME = re.compile(r"(?<!\d)(1\d{9})(\d{3})?(?!\d)")  # seconds or milliseconds, from September 2001 to 2033
# A longer pause than any between recordings of one visit, and far longer than the usual distance.
SHORTEST_GAP_S = 30 * 60
# A name that several recordings have in common is a session of a person, who may pause: block N5 of pc_fan has a pause
# of 44 minutes. Days are longer apart.
SHORTEST_GAP_IN_A_NAME_S = 4 * 3600
GAP_FACTOR = 10
EARLIEST_FILE_TIME_S = datetime(2000, 1, 1, tzinfo=UTC).timestamp()  # a clock that was never set shows 1970 or 1980
SHORTEST_DISTANCE = 0.5  # of the duration: a recorder needs the whole duration, a copy takes less


class FileTime(NamedTuple):
    """Time of a file, and the duration of its recording.

    Attributes:
        time_s: seconds since 1970, UTC.
        duration_s: duration in seconds.
    """

    time_s: float
    duration_s: float


def time_in_name(path: str, needs_time_of_day: bool = False) -> float | None:
    """Return the time in a file name, in seconds since 1970 without a time zone; None without a time.

    Args:
        path: name or path of the file.
        needs_time_of_day: whether a date alone counts as no time.

    Example:
        >>> time_in_name("normal/fan_20240305T143000.wav") == time_in_name("2024-03-05_14-30-00_0007.wav")
        True
        >>> time_in_name("1709649000.wav"), time_in_name("00000012.wav")
        (1709649000.0, None)
    """
    stem = PurePosixPath(path.replace("\\", "/")).stem
    if found := DATE_AND_TIME.search(stem):
        part = found.groupdict()
        if needs_time_of_day and part["hour"] is None:
            return None
        minute, second = part["minute"] or part["minute2"] or 0, part["second"] or part["second2"] or 0
        date = (int(part["year"]), int(part["month"]), int(part["day"]))
        try:
            return datetime(*date, int(part["hour"] or 0), int(minute), int(second), tzinfo=UTC).timestamp()
        except ValueError:  # 31 February
            return None
    unix = UNIX_TIME.search(stem)
    return float(unix[1]) if unix else None


def cut_at_gaps(times_s: Sequence[float], shortest_s: float = SHORTEST_GAP_S) -> list[int]:
    """Return the number of the session of each time, from 0, in the order of time.

    A new session begins after a distance of more than 30 minutes that is also more than 10 times the median distance.

    Args:
        times_s: times in seconds.
        shortest_s: another limit than 30 minutes, in seconds.

    Example:
        >>> cut_at_gaps([0, 60, 120, 180, 240, 90_000, 90_060])
        [0, 0, 0, 0, 0, 1, 1]
    """
    order = sorted(range(len(times_s)), key=times_s.__getitem__)
    distances = _distances(times_s)
    limit = max(shortest_s, GAP_FACTOR * median(distances)) if distances else 0
    session, number = [0] * len(times_s), 0
    for index, distance in zip(order[1:], distances, strict=True):
        number += distance > limit
        session[index] = number
    return session


def are_recording_times(files: Sequence[FileTime]) -> bool:
    """Return whether file times can be the times of the recordings.

    They cannot if a time is before 2000 (the clock was not set), if the times decrease (the files were copied in
    another order, or the clock was set back), or if the usual distance is shorter than half of a recording (all files
    have one date, or were copied one after the other).

    Args:
        files: files of one folder, in the order of their names; at least one.

    Example:
        >>> hour = [FileTime(1.7e9 + 600 * number, 10.0) for number in range(6)]
        >>> copied = [FileTime(1.7e9 + 0.1 * number, 10.0) for number in range(6)]
        >>> are_recording_times(hour), are_recording_times(copied), are_recording_times(hour[::-1])
        (True, False, False)
    """
    times_s = [file.time_s for file in files]
    if min(times_s) < EARLIEST_FILE_TIME_S or times_s != sorted(times_s):
        return False
    shortest_s = SHORTEST_DISTANCE * median(file.duration_s for file in files)
    return len(files) == 1 or median(_distances(times_s)) >= shortest_s


def as_text(time_s: float) -> str:
    """Return a time as ``2024-03-05 14:30``, or as a date if it is midnight.

    Example:
        >>> as_text(1709649000.0), as_text(1709596800.0)
        ('2024-03-05 14:30', '2024-03-05')
    """
    text = datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%d %H:%M")
    return text.removesuffix(" 00:00")


def _distances(times_s: Sequence[float]) -> list[float]:
    in_order = sorted(times_s)
    return [later - earlier for earlier, later in pairwise(in_order)]
