"""One recording of a folder: read it, judge it, remember it, and leave, move or delete it."""

import hashlib
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from listener.capture.folder_disposal import delete_file, move_file
from listener.capture.folder_files import fingerprint_of, read_file
from listener.capture.folder_memory import FolderMemory, KnownFile, Outcome
from listener.capture.folder_queue import FolderQueue, WaitingFile
from listener.config.source_types import FolderSource
from listener.sound import SoundReceiver
from ml.audio.limits import MAX_FILE_BYTES
from ml.errors import AudioError
from ml.machines.recording_time import CLOCK_TOLERANCE, EARLIEST, RecordingTime, find_recording_time
from ml.models.verdict import Verdict

logger = logging.getLogger("signalml.listener")
MOST_NOTED = 1000  # problems that are remembered, so that each is logged once


class Folder(NamedTuple):
    """Folder of a source, as it is now.

    Attributes:
        root: absolute path without links.
        target: folder for recordings that were judged, without links; None if they are not moved.
    """

    root: str
    target: Path | None


class FolderJudge:
    """Judge of the recordings of one folder, for one thread.

    Args:
        source: the source.
        receiver: judges the content.
        memory: recordings of before.
        queue: files that wait.
        beat: called before and during work on the file system.
        rest: called before other work.
    """

    def __init__(
        self,
        source: FolderSource,
        receiver: SoundReceiver,
        memory: FolderMemory,
        queue: FolderQueue,
        beat: Callable[[], None],
        rest: Callable[[], None],
    ) -> None:
        self._source, self._receiver = source, receiver
        self._memory, self._queue = memory, queue
        self._beat, self._rest = beat, rest
        self._noted: set[str] = set()

    def judge(self, folder: Folder, waiting: WaitingFile) -> bool:
        """Judge a file that has settled, unless it was judged before.

        Returns:
            Whether it was a recording, or another file, that was not known.

        Raises:
            OSError: the folder cannot be read.
        """
        self._beat()
        found = fingerprint_of(folder.root, waiting.path)
        if found is None:
            self._queue.remove(waiting.path)
            return False
        if self._queue.see(waiting, found, time.monotonic()):
            return False
        known = self._memory.find(waiting.path, found)
        if known is not None:
            self._queue.remove(waiting.path)
            self.finish(folder, waiting.path, known)
            return False
        if found.size > MAX_FILE_BYTES:
            megabytes = found.size / 2**20
            self._refuse(waiting, f"it has {megabytes:.0f} MiB; at most {MAX_FILE_BYTES // 2**20} MiB are accepted")
            return True
        content = self._read(folder, waiting)
        return content is not None and self._judge_content(folder, waiting, content)

    def finish(self, folder: Folder, path: str, known: KnownFile) -> bool:
        """Move or delete a file that was judged; returns whether nothing is left to do."""
        if not known.unfinished:
            return True
        self._beat()
        try:
            if self._source.after == "delete":
                delete_file(folder.root, path, known.fingerprint)
            elif folder.target is not None:
                move_file(folder.root, path, known.fingerprint, folder.target)
        except FileNotFoundError:
            pass  # another program has taken it
        except OSError as error:
            self.note(f"{path} cannot be {'deleted' if self._source.after == 'delete' else 'moved'}: {reason(error)}")
            return False
        self._memory.forget(path, known)
        return True

    def note(self, problem: str) -> None:
        """Log a problem once."""
        if problem not in self._noted and len(self._noted) < MOST_NOTED:
            self._noted.add(problem)
            logger.warning("source %s: %s", self._source.name, problem)

    def _read(self, folder: Folder, waiting: WaitingFile) -> bytes | None:
        """Return the content of a file; None if it changed meanwhile, or cannot be read now."""
        try:
            content, found = read_file(folder.root, waiting.path, self._beat)
        except OSError as error:
            self.note(f"{waiting.path} cannot be read: {reason(error)}")
            if waiting.retry_s == 0:
                self._receiver.refuse_recording(waiting.path, f"it cannot be read: {reason(error)}")
            waiting.postpone(time.monotonic())
            return None
        return None if self._queue.see(waiting, found, time.monotonic()) else content

    def _judge_content(self, folder: Folder, waiting: WaitingFile, content: bytes) -> bool:
        digest = hashlib.sha256(content).hexdigest()
        if (outcome := self._memory.outcome_of(digest)) is not None:
            logger.info("source %s: %s has the bytes of a recording of before", self._source.name, waiting.path)
            self._conclude(folder, waiting, outcome, digest)
            return False
        recorded = recording_time(content, waiting.path, waiting.fingerprint.mtime_ns / 1e9, datetime.now(UTC))
        self._rest()
        try:
            verdict = self._receiver.judge_recording(Path(folder.root, waiting.path), content, recorded)
        except AudioError:  # the receiver counts and logs it
            self._queue.remove(waiting.path)
            self._memory.remember(waiting.path, KnownFile(waiting.fingerprint, "refused"))
            return True
        except Exception as error:  # a bug, or a full disk: the other recordings go on
            logger.exception("source %s: unexpected error", self._source.name)
            self.note(f"{waiting.path} is judged later: {error}")
            waiting.postpone(time.monotonic())
            return True
        if verdict is None:
            waiting.postpone(time.monotonic())
            return True
        self._conclude(folder, waiting, _outcome(verdict), digest)
        return True

    def _conclude(self, folder: Folder, waiting: WaitingFile, outcome: Outcome, digest: str) -> None:
        """Remember a verdict, and then do what is wanted with the file."""
        self._queue.remove(waiting.path)
        # A recording that could not be judged is never deleted.
        wanted = self._source.after == "move" or (self._source.after == "delete" and outcome == "judged")
        known = KnownFile(waiting.fingerprint, outcome, wanted, digest)
        self._memory.remember(waiting.path, known)
        self.finish(folder, waiting.path, known)

    def _refuse(self, waiting: WaitingFile, cause: str) -> None:
        """Leave a file out until it changes."""
        self._queue.remove(waiting.path)
        self._memory.remember(waiting.path, KnownFile(waiting.fingerprint, "refused"))
        self._receiver.refuse_recording(waiting.path, cause)


def recording_time(content: bytes, path: str, written: float, now: datetime) -> RecordingTime:
    """Return the time of a recording: from its header or its name, or else of the last change of the file.

    A time that is later than this change is from another time zone, and is ignored.

    Args:
        content: the whole file.
        path: its name.
        written: time of its last change, in seconds since 1970.
        now: present time.
    """
    latest = EARLIEST.timestamp(), (now + CLOCK_TOLERANCE).timestamp()
    if not latest[0] <= written <= latest[1]:  # the clock of the recorder or of its disk was not set
        return find_recording_time(content, PurePosixPath(path).name, now)
    found = find_recording_time(content, PurePosixPath(path).name, datetime.fromtimestamp(written, UTC))
    return found._replace(source="file") if found.source == "arrival" else found


def reason(error: OSError) -> str:
    """Return why the system refused something."""
    return error.strerror or str(error)


def _outcome(verdict: Verdict) -> Outcome:
    return "unusable" if verdict.value == "unusable" else "judged"
