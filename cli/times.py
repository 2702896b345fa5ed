"""Times on the command line: as a person states them, and as they are shown."""

import re
from datetime import UTC, datetime, timedelta

from ml.detectors.alarm_limit import EVERY_PATTERN, UNITS_S
from ml.errors import InvalidParameter

TIME_HELP = "30min, 2h or 7d {way}, or a date such as 2026-11-28T14:30; without a zone, it is local."


def parse_time(text: str, now: datetime, sign: int = 1) -> str:
    """Return a time, ISO 8601, UTC, with milliseconds.

    Args:
        text: a time from now, such as ``2h``, or a date, or a time; without a zone, it is local.
        now: the present time.
        sign: 1 for a time after now, -1 for one before it.

    Raises:
        InvalidParameter: the text has another form.
    """
    try:
        if re.fullmatch(EVERY_PATTERN, text):
            number, unit = re.findall(r"\d+|[a-z]+", text)
            found = now + sign * timedelta(seconds=int(number) * UNITS_S[unit])
        else:
            found = datetime.fromisoformat(text)
        return found.astimezone(UTC).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError) as error:
        raise InvalidParameter(
            f"{text!r} is not a time; 30min, 2h or 7d, or a date such as 2026-11-28T14:30 was expected."
        ) from error


def local_time(text: str | None) -> str:
    """Return a time as local time, ``2026-11-28 14:30:00``; ``-`` for None."""
    if not text:
        return "-"
    return datetime.fromisoformat(text).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def show_duration(seconds: float) -> str:
    """Return a duration in two units at most.

    Example:
        >>> show_duration(59.6), show_duration(95), show_duration(7300)
        ('1 min', '1 min 35 s', '2 h 1 min')
    """
    whole = round(seconds)
    units = (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1))
    parts = []
    for unit, size in units:
        count, whole = divmod(whole, size)
        parts.append(f"{count} {unit}" if count else "")
    first = next((number for number, part in enumerate(parts) if part), len(parts) - 1)
    return " ".join(filter(None, parts[first : first + 2])) or "0 s"
