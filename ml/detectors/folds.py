"""Which recordings are left out together, so that each is measured by what has not learned from it."""

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

FOLDS = 5
FoldNumbers = NDArray[np.int64]
"""The fold that leaves each recording out, counted from 0; -1 for one that is always learned from."""


def time_folds(machines: Sequence[str], most: int = FOLDS) -> FoldNumbers:
    """Contiguous in time within each machine, so that no neighbour helps.

    A machine's only recording is never left out: nothing would be known of the machine.

    Args:
        machines: which machine each recording is of, in the order they were recorded in.
        most: folds at most.
    """
    return _folds(machines, range(len(machines)), most)


def session_folds(machines: Sequence[str], sessions: Sequence[str]) -> FoldNumbers:
    """Whole sessions of each machine; none of a machine that has one alone.

    Args:
        machines: which machine each recording is of, in the order they were recorded in.
        sessions: which of its sessions.
    """
    return _folds(machines, sessions, FOLDS)


def _folds(machines: Sequence[str], units: Sequence[Hashable], most: int) -> FoldNumbers:
    fold = np.full(len(machines), -1)
    for machine in dict.fromkeys(machines):
        mine = [index for index, name in enumerate(machines) if name == machine]
        place = {unit: number for number, unit in enumerate(dict.fromkeys(units[index] for index in mine))}
        if len(place) > 1:
            fold[mine] = [place[units[index]] * min(most, len(place)) // len(place) for index in mine]
    return fold
