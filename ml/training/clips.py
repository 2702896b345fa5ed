"""Recordings as labelled clips that a network is fitted to."""

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
    """Return the clips of some recordings, each with the class of its recording.

    Args:
        entries: the recordings; one without a class is left out.
        classes: class number of each recording, by path.
        features: features of all recordings.
        augmented: whether augmented copies are used too.
    """
    from ml.classifier.stream import Clips

    known = [entry for entry in entries if entry.path in classes]
    clips = [(entry, clip) for entry in known for clip in range(len(features.clips(entry)))]
    labels = np.array([classes[entry.path] for entry, _ in clips], np.int32)

    def read(index: int, copy: int) -> NDArray[np.float32]:
        entry, clip = clips[index]
        return np.array(features.clips(entry, copy)[clip])

    return Clips(read, labels, variants=1 + features.copies if augmented else 1)
