"""Normal recordings by session: which of them stand apart from their session, and a bound for new sessions.

Conditions change from one session to the next: another day, another load, a moved microphone. Recordings of one session
resemble each other. So a bound that must hold for a recording of a new session comes from whole sessions.
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

# Chosen by leaving out each session of pc_fan in turn, and on simulated fans (decision 16).
ODD_FACTOR = 3.0
MOST_ODD = 0.1
SESSION_SHARE = 0.8
DIGITS = 9  # 0.8 (S + 1) differs from a whole number by about 1e-16


def find_odd(distances: NDArray[np.float64], unit: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which recordings stand apart from the others of their unit.

    A recording is odd if its relative distance is more than 3 times the median of its unit: a slammed door, a voice or
    a wrong label. If this is true of more than one in ten recordings of a unit, none is odd: the machine varies. So a
    unit of fewer than ten recordings has no odd one.

    Args:
        distances: float64 ``(recordings,)``, 0 or more: relative distances by engines that have not learned from them.
        unit: int64 ``(recordings,)``: number of the machine and session of each recording.

    Returns:
        ``(recordings,)``.

    Example:
        >>> distances = np.array([1.0, 1.1, 0.9, 1.0, 1.2, 1.0, 0.8, 1.0, 1.1, 1.0, 5.0])
        >>> find_odd(distances, np.zeros(11, np.int64)).nonzero()
        (array([10]),)
    """
    odd = np.zeros(len(distances), bool)
    for number in np.unique(unit):
        mine = unit == number
        typical = np.median(distances[mine])
        apart = (distances > ODD_FACTOR * typical) & (typical > 0)
        if (mine & apart).sum() <= MOST_ODD * mine.sum():
            odd |= mine & apart
    return odd


def session_bound(
    values: NDArray[np.float64], session: NDArray[np.int64], bound: Callable[[NDArray[np.float64]], float]
) -> float:
    """Return a bound for the recordings of a new session: the ``ceil(0.8 (S + 1))``-th of the bounds of S sessions.

    The bound of a further session is at most this one with a probability of 0.8, if the sessions are exchangeable (as
    in split conformal prediction, with sessions in the place of recordings). With up to eight sessions it is the
    highest bound; with fewer than four, the probability is only ``S / (S + 1)``.

    Args:
        values: float64 ``(recordings,)``.
        session: int64 ``(recordings,)``: number of the session of each value.
        bound: bound of the values of one session.

    Example:
        >>> session_bound(np.array([1.0, 2.0, 3.0, 7.0]), np.array([0, 0, 1, 1]), max)
        7.0
    """
    bounds = sorted(bound(values[session == number]) for number in np.unique(session))
    rank = math.ceil(round(SESSION_SHARE * (len(bounds) + 1), DIGITS))
    return float(bounds[min(rank, len(bounds)) - 1])
