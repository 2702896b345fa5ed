"""Waiting times between attempts: longer after each failure, and never the same for many sources at once."""

import random


class Backoff:
    """Waiting times of one source.

    Args:
        first_s: longest time before the second attempt, in seconds.
        longest_s: longest time of all, in seconds.
    """

    def __init__(self, first_s: float = 0.5, longest_s: float = 5.0) -> None:
        self._first_s, self._longest_s = first_s, longest_s
        self._failures = 0

    def next_s(self) -> float:
        """Return the next waiting time: between half of the longest one and all of it."""
        longest = min(self._longest_s, self._first_s * 2.0 ** min(self._failures, 20))
        self._failures += 1
        return longest * random.uniform(0.5, 1.0)  # noqa: S311 - no secret

    def reset(self) -> None:
        """Begin again with the shortest time."""
        self._failures = 0
