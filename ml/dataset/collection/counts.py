"""Counts of a collection, kept until its journal changes.

A list of datasets needs the counts of all of them. Reading a journal takes 20 ms for each thousand recordings.
"""

import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ml.dataset.annotations import Label
from ml.dataset.collection.state import JOURNAL, CollectionState

COUNTS_KEPT = 10_000
Stamp = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class CollectionCounts:
    """Counts of a collection.

    Attributes:
        recordings: number of recordings.
        labels: number of recordings with each label; None for those without one.
        version: number of lines of the journal.
        bytes: size of all files.
        damaged: number of lines that could not be applied.
    """

    recordings: int
    labels: Mapping[Label | None, int]
    version: str
    bytes: int
    damaged: int

    @classmethod
    def of(cls, state: CollectionState) -> "CollectionCounts":
        """Count the recordings of a state."""
        found = state.recordings.values()
        return cls(
            recordings=len(found),
            labels=Counter(recording.annotation.label for recording in found),
            version=state.version,
            bytes=sum(recording.info.bytes for recording in found),
            damaged=state.damaged,
        )


class KeptCounts:
    """Counts by folder. Several threads can use one instance; one of them reads a journal, the others wait for it."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Path, tuple[Stamp, CollectionCounts]] = OrderedDict()
        self._lock = threading.Lock()

    def counts(self, folder: Path, read: Callable[[], CollectionState]) -> CollectionCounts:
        """Return the counts of a collection; read its state only if its journal has changed since the last call.

        Args:
            folder: folder of the collection.
            read: function that reads the state.

        Raises:
            DatasetNotFound, DatasetReadOnly: by ``read``.
        """
        with self._lock:
            # Taken before the reading: a line that is appended meanwhile makes the next call read again.
            stamp = _stamp(folder / JOURNAL)
            kept = self._kept.pop(folder, None)
            found = kept[1] if kept and kept[0] == stamp else CollectionCounts.of(read())
            if stamp:
                self._kept[folder] = (stamp, found)
            if len(self._kept) > COUNTS_KEPT:
                self._kept.popitem(last=False)
            return found


def _stamp(journal: Path) -> Stamp:
    """Return values that change with every change of a file, also if its size and time are set back; () without it."""
    try:
        facts = journal.stat()
    except (FileNotFoundError, NotADirectoryError):
        return ()
    return facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns
