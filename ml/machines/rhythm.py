"""Rhythm of a machine: the time from one of its recordings to the next."""

from collections.abc import Sequence
from datetime import datetime

import numpy as np

FEWEST_RECORDINGS = 6  # chosen here: five times between recordings
SHORTEST_S = 1.0  # shorter times come from files that were uploaded together


def median_interval_s(times: Sequence[str]) -> float | None:
    """Return the median time from one recording to the next.

    Args:
        times: times of the answers, ISO 8601; in any order.

    Returns:
        Seconds; None with fewer than six recordings, or if most of them were uploaded together, less than a second
        apart.

    Example:
        >>> times = [f"2026-11-28T{hour:02}:00:00.000+00:00" for hour in (0, 1, 2, 3, 4, 10)]
        >>> median_interval_s(times), median_interval_s(times[:5])
        (3600.0, None)
    """
    if len(times) < FEWEST_RECORDINGS:
        return None
    seconds = np.sort([datetime.fromisoformat(time).timestamp() for time in times])
    found = float(np.median(np.diff(seconds)))
    return found if found >= SHORTEST_S else None
