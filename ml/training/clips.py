"""Recordings as the windows that a network is fitted to."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ml.dataset.entries import Entry
from ml.features.store import StoredFeatures

if TYPE_CHECKING:
    from ml.classifier.stream import Clips


def make_clips(
    entries: Sequence[Entry], classes: Mapping[str, int], features: StoredFeatures, *, augmented: bool
) -> "Clips":
    """The windows of some recordings, each of its recording's class.

    Args:
        entries: the recordings; one whose class is not among ``classes`` is left out.
        classes: the class of each, by path.
        features: of all of them.
        augmented: whether to draw from their copies too.
    """
    from ml.classifier.stream import Clips

    known = [entry for entry in entries if entry.path in classes]
    where = [(entry, window) for entry in known for window in range(len(features.clips(entry)))]
    labels = np.array([classes[entry.path] for entry, _ in where], np.int32)

    def read(index: int, copy: int) -> NDArray[np.float32]:
        entry, window = where[index]
        return np.array(features.clips(entry, copy)[window])

    return Clips(read, labels, variants=1 + features.copies if augmented else 1)
