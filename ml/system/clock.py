"""Time stamps for histories and journals."""

from datetime import UTC, datetime


def timestamp() -> str:
    """Return the present time in UTC, as ISO 8601 with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
