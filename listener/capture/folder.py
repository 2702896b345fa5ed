"""Recordings that other recorders write into a folder.

The reader learns of new files from the system, and lists the folder now and then in any case: the system can lose
reports, and reports nothing that another computer writes. A file is taken when it has stopped changing. Each sound is
judged once, also after a restart.

All work on the file system is done by a second thread: a network file system can hang for minutes, and a call to it
cannot be ended. The reader then reports it and can still be stopped.
"""

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Iterable
from pathlib import Path

from listener.capture.folder_changes import changed_paths, needs_polling
from listener.capture.folder_disposal import restore
from listener.capture.folder_files import (
    FoundFile,
    Listing,
    fingerprint_of,
    is_temporary,
    list_files,
    new_listing,
)
from listener.capture.folder_judging import Folder, FolderJudge, reason
from listener.capture.folder_memory import FolderMemory, memory_file
from listener.capture.folder_queue import FolderQueue
from listener.capture.mounts import Mount, is_below, mount_of, read_mounts
from listener.config.source_types import FolderSource
from listener.sound import SoundReceiver, SourceState
from ml.errors import SignalMLError

logger = logging.getLogger("signalml.listener")
STOP_WITHIN_S = 1.5
HANGS_AFTER_S = 30.0
RETRY_S = 2.0
CHECK_EVERY_S = 1.0
LIST_EVERY_S, POLL_EVERY_S = 60.0, 2.0
# Listings take at most 4 % of a core, and a third of the time of a disk.
CPU_FACTOR, DISK_FACTOR = 25, 3
JUDGE_FOR_S = 1.0  # then the changes are read again
EMPTY_SETTLE_S = 60.0  # some recorders make a file at the beginning and write it at the end
MOST_FINISHED = 1000  # moves and deletions that are tried again after each listing


class FolderReader:
    """Reader of one folder; see :class:`listener.sound.SourceReader`. Use it once.

    Args:
        source: the source.
        listener_folder: folder in which it remembers what was judged; None remembers it until the end only.

    Attributes:
        starts: number of times that the folder was opened.
    """

    def __init__(self, source: FolderSource, listener_folder: Path | None) -> None:
        self.starts = 0
        self._source, self._listener_folder = source, listener_folder
        self._stopping = threading.Event()
        self._state: tuple[SourceState, str] | None = None
        self._state_lock = threading.Lock()
        self._busy_since: float | None = None  # of work on the file system
        self._mount: Mount | None = None
        self._rhythm = Rhythm()
        self._has_read = False
        self._next_listing = self._listing_pause = 0.0

    def run(self, receiver: SoundReceiver) -> None:
        """Read until :meth:`stop` is called."""
        self._receiver = receiver
        self._report("starting")
        worker = threading.Thread(target=self._work, name=f"folder-{self._source.name}", daemon=True)
        worker.start()
        while worker.is_alive() and not self._stopping.wait(0.5):
            since = self._busy_since
            if since is not None and time.monotonic() - since > HANGS_AFTER_S:
                self._report("failed", f"the file system has not answered for {HANGS_AFTER_S:g} s")
        self._stopping.set()
        worker.join(STOP_WITHIN_S)
        if worker.is_alive():
            logger.warning("source %s: a call to the file system, or a verdict, has not ended", self._source.name)

    def stop(self) -> None:
        """Make :meth:`run` return within two seconds. Safe from any thread."""
        self._stopping.set()

    # In the second thread

    def _work(self) -> None:
        source = self._source
        file = self._listener_folder and memory_file(self._listener_folder, source.name, source.machine_id)
        memory = FolderMemory(file)
        try:
            self._memory = memory
            self._queue = FolderQueue(time.time(), source.settle_s, EMPTY_SETTLE_S)
            self._judge = FolderJudge(source, self._receiver, memory, self._queue, self._beat, self._rest)
            self._follow_for_ever()
        except _Stopped:
            pass
        finally:
            memory.close()

    def _follow_for_ever(self) -> None:
        folders: dict[str, tuple[int, int]] | None = None
        while not self._stopping.is_set():
            try:
                folder = self._open()
                if folders is None:
                    folders = self._list(folder).folders
                folders = self._follow(folder, folders)
                continue
            except OSError as error:
                self._report("failed", f"the folder cannot be read: {reason(error)}")
            except SignalMLError as error:
                self._report("failed", str(error))
            folders = None
            self._rest()
            self._stopping.wait(RETRY_S)

    def _open(self) -> Folder:
        """Check the folder, and whether its file system is still mounted."""
        self._beat()
        self.starts += 1
        root = os.path.realpath(self._source.path)
        self._identity = _identity(root)
        os.close(os.open(root, os.O_RDONLY | os.O_DIRECTORY))
        mount = mount_of(root, read_mounts())
        if self._mount is not None and mount is not None and _is_hidden(self._mount, mount):
            raise OSError(None, f"the file system at {self._mount.point} is not mounted")
        self._mount = mount
        target = None if self._source.move_to is None else os.path.realpath(self._source.move_to)
        if target == root:
            raise OSError(None, "move_to is the folder itself; another one was expected")
        return Folder(root, None if target is None else Path(target))

    def _follow(self, folder: Folder, folders: dict[str, tuple[int, int]]) -> dict[str, tuple[int, int]]:
        """Judge the recordings of a folder; returns its folders when they have changed."""
        polling = needs_polling(folder.root, self._source.poll)
        every_s = POLL_EVERY_S if polling else LIST_EVERY_S
        self._next_listing = self._next_check = 0.0  # again: files can have come before the system began to report
        self._rest()
        watched = [str(Path(folder.root, each)) for each in folders]
        for changed in changed_paths(watched, polling, self._stopping):
            self._check(folder)
            self._note_changes(folder, changed)
            if time.monotonic() >= self._next_listing:
                listing = self._list(folder)
                self._plan_listing(every_s)
                if not polling and listing.folders != folders:
                    return listing.folders
            self._judge_ready(folder)
            self._note_quiet()
            self._rest()
        return folders

    def _check(self, folder: Folder) -> None:
        """Check once a second that it is still the same folder."""
        if time.monotonic() >= self._next_check:
            self._beat()
            self._next_check = time.monotonic() + CHECK_EVERY_S
            if _identity(folder.root) != self._identity or os.path.realpath(self._source.path) != folder.root:
                raise OSError(None, "it was replaced by another one")

    def _note_changes(self, folder: Folder, changed: Iterable[str]) -> None:
        for each in changed:
            self._beat()
            path = os.path.relpath(each, folder.root)
            if path.startswith("..") or any(map(is_temporary, path.split("/"))) or self._is_target(folder, each):
                continue
            found = fingerprint_of(folder.root, path)
            if found is None:
                self._queue.remove(path)
                if os.path.isdir(each) and not os.path.islink(each):  # noqa: PTH112, PTH114 - a text
                    self._plan_listing(0.0)
            elif self._memory.find(path, found) is None:
                self._queue.add(FoundFile(path, found), time.monotonic())

    def _is_target(self, folder: Folder, path: str) -> bool:
        return folder.target is not None and is_below(path, str(folder.target))

    def _list(self, folder: Folder) -> Listing:
        """List the folder, and add what is not known to the queue."""
        began, worked = time.monotonic(), time.thread_time()
        listing = new_listing()
        excluded = None
        if folder.target is not None and is_below(str(folder.target), folder.root):
            excluded = os.path.relpath(folder.target, folder.root)
        found = list_files(folder.root, listing, excluded, self._beat)
        unknown = (each for each in found if not self._memory.is_known(each.path, each.fingerprint))
        self._queue.add_listed(unknown, began)
        self._note_rest(folder, listing)
        self._listing_pause = max(CPU_FACTOR * (time.thread_time() - worked), DISK_FACTOR * (time.monotonic() - began))
        return listing

    def _note_rest(self, folder: Folder, listing: Listing) -> None:
        for path in listing.taken:
            restore(folder.root, path)
        for path, cause in listing.unreadable.items():
            self._judge.note(f"the folder {path} cannot be read: {cause}")
        if listing.links:
            self._judge.note(f"links are not followed, such as {listing.links[0]}")
        self._memory.forget_absent(lambda path: fingerprint_of(folder.root, path) is not None)
        if self._source.after != "leave":
            for path, known in self._memory.unfinished(MOST_FINISHED):
                if not self._judge.finish(folder, path, known):
                    break  # what hinders one, such as a full disk, hinders all

    def _plan_listing(self, after_s: float) -> None:
        """Plan the next listing: not too soon after a long one."""
        soonest = time.monotonic() + max(after_s, self._listing_pause)
        self._next_listing = min(soonest, self._next_listing) if after_s == 0 else soonest

    def _judge_ready(self, folder: Folder) -> None:
        """Judge files that have settled, for about a second."""
        until = time.monotonic() + JUDGE_FOR_S
        while (now := time.monotonic()) < until and (waiting := self._queue.take(now)) is not None:
            if self._judge.judge(folder, waiting):
                self._has_read = True
                self._report("listening")
                if waiting.is_new:
                    self._rhythm.note(time.monotonic())
            self._beat()
        if not self._queue and not self._queue.is_complete:
            self._next_listing = 0.0  # thousands were judged since the last one

    def _note_quiet(self) -> None:
        state = None if self._state is None else self._state[0]
        if state in ("starting", "failed") and self._has_read:
            self._report("listening")
        elif state in ("starting", "failed") and not self._queue:
            self._report("no_data", "there is no new recording in the folder yet")
        elif state == "listening" and (quiet := self._rhythm.problem(time.monotonic())):
            self._report("no_data", quiet)

    def _beat(self) -> None:
        """Note that work on the file system goes on."""
        if self._stopping.is_set():
            raise _Stopped
        self._busy_since = time.monotonic()

    def _rest(self) -> None:
        """Note that no work on the file system is under way."""
        self._busy_since = None

    def _report(self, state: SourceState, cause: str = "") -> None:
        """Report a state if it is new."""
        with self._state_lock:
            if self._stopping.is_set() or self._state == (state, cause):
                return
            self._state = (state, cause)
            self._receiver.report_state(state, cause)


class Rhythm:
    """Times between new recordings, to notice when they no longer come.

    Example:
        >>> rhythm = Rhythm()
        >>> for minute in range(0, 60, 10):
        ...     rhythm.note(60.0 * minute)
        >>> rhythm.problem(60.0 * 75), rhythm.problem(60.0 * 81)
        ('', 'there was no new recording for 31 min; before, one came at least every 10 min')
    """

    FEWEST, MOST = 5, 200
    FACTOR, SHORTEST_S = 3.0, 600.0

    def __init__(self) -> None:
        self._pauses: deque[float] = deque(maxlen=self.MOST)
        self._last: float | None = None

    def note(self, now: float) -> None:
        """Note a new recording."""
        if self._last is not None:
            self._pauses.append(now - self._last)
        self._last = now

    def problem(self, now: float) -> str:
        """Return that recordings do not come any more; empty if they do, or if their rhythm is not known."""
        if self._last is None or len(self._pauses) < self.FEWEST:
            return ""
        quiet_s, longest_s = now - self._last, max(self._pauses)
        if quiet_s <= max(self.FACTOR * longest_s, self.SHORTEST_S):
            return ""
        usual = f"{longest_s / 60:.0f} min" if longest_s >= 60 else f"{longest_s:.0f} s"
        return f"there was no new recording for {quiet_s / 60:.0f} min; before, one came at least every {usual}"


class _Stopped(Exception):
    """The reader is stopped."""


def _identity(root: str) -> tuple[int, int]:
    facts = os.stat(root)  # noqa: PTH116 - a text
    return facts.st_dev, facts.st_ino


def _is_hidden(before: Mount, now: Mount) -> bool:
    """Return whether the file system of before is gone, and what was under it shows."""
    return before.point != now.point and is_below(before.point, now.point)
