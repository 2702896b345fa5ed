"""Files of a folder that wait until they have stopped changing, in the order of their recording times.

Files from before the start and new ones wait apart and are taken in turn: new ones are not delayed by thousands of old
ones, and old ones are judged at last.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from listener.capture.folder_files import Fingerprint, FoundFile
from ml.dataset.indexing.times import time_in_name
from ml.machines.recording_time import CLOCK_TOLERANCE

MOST_WAITING = 5000  # of each kind; the others are found again by the next listing
FIRST_RETRY_S, LONGEST_RETRY_S = 60.0, 3600.0


@dataclass(slots=True)
class WaitingFile:
    """File that waits.

    Attributes:
        path: relative to the folder.
        fingerprint: its state when it was last seen.
        since: monotonic time since which it has been in this state.
        at: time of the recording as far as it is known without reading it, in seconds since 1970.
        is_new: whether it was written after the start.
        retry_at: monotonic time before which it is not tried again, after a failure.
        retry_s: time to the next attempt, in seconds; 0 before a failure.
    """

    path: str
    fingerprint: Fingerprint
    since: float
    at: float = field(init=False)
    is_new: bool = True
    retry_at: float = 0.0
    retry_s: float = 0.0

    def __post_init__(self) -> None:
        self.at = recorded_before_reading(self.path, self.fingerprint)

    def postpone(self, now: float) -> None:
        """Try it again later, and later each time."""
        self.retry_s = min(max(FIRST_RETRY_S, 2 * self.retry_s), LONGEST_RETRY_S)
        self.retry_at = now + self.retry_s

    def settles_at(self, settle_s: float, empty_s: float) -> float:
        """Return the monotonic time at which it has not changed for long enough."""
        return max(self.since + (settle_s if self.fingerprint.size else max(settle_s, empty_s)), self.retry_at)


class FolderQueue:
    """Files that wait.

    Args:
        started_at: time of the start, in seconds since 1970; files that were written later are new.
        settle_s: seconds for which a file must not change.
        empty_s: the same for an empty file: some recorders write only at the end.

    Attributes:
        is_complete: whether no file was left out for want of room since the last call of :meth:`begin_listing`.
    """

    def __init__(self, started_at: float, settle_s: float, empty_s: float) -> None:
        self.is_complete = True
        self._started_ns = int(started_at * 1e9)
        self._settle_s, self._empty_s = settle_s, empty_s
        self._new: dict[str, WaitingFile] = {}
        self._old: dict[str, WaitingFile] = {}
        self._turn_of_old = False

    def __len__(self) -> int:
        return len(self._new) + len(self._old)

    def __contains__(self, path: str) -> bool:
        return path in self._new or path in self._old

    def add(self, found: FoundFile, now: float) -> None:
        """Add a file; if it waits already, only its changes count."""
        is_new = found.fingerprint.mtime_ns >= self._started_ns
        waiting = self._new.get(found.path) or self._old.get(found.path)
        if waiting is not None:
            self.see(waiting, found.fingerprint, now)
        elif len(files := self._new if is_new else self._old) < MOST_WAITING:
            files[found.path] = WaitingFile(found.path, found.fingerprint, now, is_new)
        else:
            self.is_complete = False

    def add_listed(self, found: Iterable[FoundFile], now: float) -> None:
        """Add the oldest files of a listing, as many as there is room for."""
        self.is_complete = True
        old: list[WaitingFile] = []
        for each in found:
            if each.path in self or each.fingerprint.mtime_ns >= self._started_ns:
                self.add(each, now)
                continue
            old.append(WaitingFile(each.path, each.fingerprint, now, is_new=False))
            if len(old) >= 2 * MOST_WAITING:
                old = self._oldest(old)
        waiting = sorted([*self._old.values(), *self._oldest(old)], key=_order)
        self._old = {each.path: each for each in waiting}

    def see(self, waiting: WaitingFile, fingerprint: Fingerprint, now: float) -> bool:
        """Note the state of a file; returns whether it has changed."""
        if fingerprint == waiting.fingerprint:
            return False
        waiting.fingerprint, waiting.since = fingerprint, now
        waiting.retry_at = waiting.retry_s = 0.0
        waiting.at = recorded_before_reading(waiting.path, fingerprint)
        return True

    def take(self, now: float) -> WaitingFile | None:
        """Return the next file that has settled, new and old ones in turn; it stays until it is removed."""
        first, second = (self._old, self._new) if self._turn_of_old else (self._new, self._old)
        taken = self._next(first, now) or self._next(second, now)  # of old ones the first, as they are in order
        if taken is not None:
            self._turn_of_old = taken.is_new
        return taken

    def remove(self, path: str) -> None:
        """Remove a file."""
        self._new.pop(path, None)
        self._old.pop(path, None)

    def _next(self, files: dict[str, WaitingFile], now: float) -> WaitingFile | None:
        ready = (each for each in files.values() if each.settles_at(self._settle_s, self._empty_s) <= now)
        return next(ready, None) if files is self._old else min(ready, key=_order, default=None)

    def _oldest(self, files: list[WaitingFile]) -> list[WaitingFile]:
        room = MOST_WAITING - len(self._old)
        self.is_complete = self.is_complete and len(files) <= room
        return sorted(files, key=_order)[:room]


def _order(waiting: WaitingFile) -> tuple[float, str]:
    return waiting.at, waiting.path


def recorded_before_reading(path: str, fingerprint: Fingerprint) -> float:
    """Return the time in a file's name, or else that of its last change, in seconds since 1970."""
    written = fingerprint.mtime_ns / 1e9
    named = time_in_name(path, needs_time_of_day=True)
    return written if named is None or named > written + CLOCK_TOLERANCE.total_seconds() else named
