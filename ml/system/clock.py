"""The time, as it is written in histories and journals."""

from datetime import UTC, datetime


def timestamp() -> str:
    """The time as ISO 8601, UTC, in milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
