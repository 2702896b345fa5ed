"""Times in requests: ISO 8601, written alike, so that they sort as texts."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, Field

from ml.system.validation import shorten

MAX_TIME = 40  # characters
EXAMPLE = "2026-11-22T21:46:09.123+00:00"


def normalise_time(text: str) -> str:
    """Return a time as ISO 8601, UTC, with milliseconds.

    Args:
        text: ISO 8601; without a time zone it is UTC.

    Raises:
        ValueError: it is not a time.

    Example:
        >>> normalise_time("2026-11-28T15:30:00+01:00"), normalise_time("2026-11-28")
        ('2026-11-28T14:30:00.000+00:00', '2026-11-28T00:00:00.000+00:00')
    """
    try:
        found = datetime.fromisoformat(text)
        found = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):  # astimezone of a time at the end of the calendar overflows
        raise ValueError(
            f"{shorten(repr(text))} is not a time; ISO 8601 was expected, such as 2026-11-28T14:30:00+01:00"
        ) from None
    return found.isoformat(timespec="milliseconds")


Time = Annotated[str, Field(max_length=MAX_TIME, examples=[EXAMPLE]), AfterValidator(normalise_time)]
QueryTime = Annotated[str, AfterValidator(normalise_time)]  # a parameter that is not required has no example
