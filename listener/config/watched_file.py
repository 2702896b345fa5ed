"""File of sources or sinks that is read again when it changes."""

import logging
from typing import Any

from listener.config.files import Entries, EntryFile

logger = logging.getLogger("signalml.listener")


class WatchedFile:
    """Entries of a file; the last good ones stay in use while it cannot be read. For one thread.

    Args:
        file: the file.
    """

    def __init__(self, file: EntryFile) -> None:
        self._file = file
        self._stamp: tuple[int, int, int] | str | None = "not read yet"
        self._entries: Entries = Entries({}, ())

    @property
    def problems(self) -> tuple[str, ...]:
        """Sentences about what is not used now."""
        return self._entries.problems

    def changed(self) -> bool:
        """Read the file if it changed; return whether it did."""
        stamp = self._stat()
        if stamp == self._stamp:
            return False
        found = self._file.read()
        self._stamp = stamp
        for problem in found.problems:
            if problem not in self._entries.problems:
                logger.error("%s", problem)
        self._entries = found if found.whole else Entries(self._entries.entries, found.problems)
        return True

    def take_up_again(self) -> None:
        """Let the next :meth:`changed` return True: what was read could not be taken up."""
        self._stamp = "not read yet"

    @property
    def entries(self) -> dict[str, Any]:
        """Entries that are in use, by name."""
        return self._entries.entries

    def _stat(self) -> tuple[int, int, int] | None:
        try:
            found = self._file.path.stat()
        except OSError:
            return None
        return (found.st_ino, found.st_mtime_ns, found.st_ctime_ns)  # also after a change of the permissions
