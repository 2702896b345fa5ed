"""Times of events: ISO 8601 in files and answers, seconds since 1970 in computations."""

from datetime import UTC, datetime


def to_time(seconds: float) -> str:
    """Return seconds since 1970 as ISO 8601, UTC.

    Example:
        >>> to_time(1_790_000_000.5)
        '2026-09-21T14:13:20.500+00:00'
    """
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def to_seconds(time: str) -> float:
    """Return a time in ISO 8601 as seconds since 1970.

    Example:
        >>> to_seconds("2026-09-21T14:13:20.500+00:00")
        1790000000.5
    """
    return datetime.fromisoformat(time).timestamp()
