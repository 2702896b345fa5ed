"""Folds of recordings that are held out together, for measuring each without having learned from it."""

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

FOLDS = 5  # the usual 5 or 10: T. Hastie et al., "The Elements of Statistical Learning", 2009, section 7.10
# More than the blocks: with up to ten sessions, each is held out alone.
SESSION_FOLDS = 10
FoldNumbers = NDArray[np.int64]
"""``(recordings,)``: number of the fold that holds out each recording, from 0; -1 if no fold holds it out."""


def time_folds(machines: Sequence[str], most: int = FOLDS) -> FoldNumbers:
    """Split the recordings of each machine into blocks that are contiguous in time.

    Neighbours in time resemble each other and are therefore held out together (blocked cross-validation). Recording
    ``i`` of ``n`` of a machine is in fold ``floor(i * k / n)`` with ``k = min(most, n)``. The only recording of a
    machine is never held out, because nothing would be known about the machine.

    Args:
        machines: machine name of each recording, in the order in which they were made.
        most: maximum number of folds.

    Returns:
        int64 ``(recordings,)``, -1 to ``most - 1``.

    Example:
        >>> time_folds(["fan", "fan", "fan", "fan", "pump"], most=2)
        array([ 0,  0,  1,  1, -1])
    """
    return _folds(machines, range(len(machines)), most)


def session_folds(machines: Sequence[str], sessions: Sequence[str], most: int = SESSION_FOLDS) -> FoldNumbers:
    """Split the recordings of each machine into folds of whole sessions.

    The recordings of a machine with a single session are never held out.

    Args:
        machines: machine name of each recording, in the order in which they were made.
        sessions: session name of each recording.
        most: maximum number of folds.

    Returns:
        int64 ``(recordings,)``, -1 to ``most - 1``.

    Example:
        >>> session_folds(["fan", "fan", "fan", "pump"], ["monday", "monday", "tuesday", "monday"])
        array([ 0,  0,  1, -1])
    """
    return _folds(machines, sessions, most)


def _folds(machines: Sequence[str], units: Sequence[Hashable], most: int) -> FoldNumbers:
    fold = np.full(len(machines), -1)
    for machine in dict.fromkeys(machines):
        mine = [index for index, name in enumerate(machines) if name == machine]
        position = {unit: number for number, unit in enumerate(dict.fromkeys(units[index] for index in mine))}
        if len(position) > 1:
            fold[mine] = [position[units[index]] * min(most, len(position)) // len(position) for index in mine]
    return fold
