"""Raw samples from a named pipe or from stdin."""

import os
import select
import stat
import time
from pathlib import Path

from listener.capture.connection import Limits
from listener.capture.input import InputLost
from listener.capture.pcm import DTYPES, PcmFormat
from listener.capture.pcm_reader import PcmReader
from listener.config.source_types import PipeSource

STDIN = "-"
STDIN_FILE = 0
READ_BYTES = 2**17
# A pipe is never closed for a pause of its writer: the writer would get SIGPIPE.
LIMITS = Limits(start_s=5.0, stall_s=5.0, restarts=False, paced=False)
NO_WRITER = "no program writes to the pipe"


class StdinInput:
    """Stdin of this process."""

    def read(self, timeout_s: float) -> bytes:
        """Return the bytes that arrived.

        Raises:
            InputLost: stdin ended.
        """
        if not select.select([STDIN_FILE], [], [], timeout_s)[0]:
            return b""
        data = os.read(STDIN_FILE, READ_BYTES)
        if not data:
            raise InputLost("failed", "stdin ended")
        return data

    def messages(self) -> str:
        """Return nothing: stdin has no messages."""
        return ""

    def close(self) -> bool:
        """Leave stdin open."""
        return True


class FifoInput:
    """Named pipe. It needs no writer, and its writers may come and go.

    Raises:
        InputLost: it is no named pipe, or cannot be read.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        try:
            self._file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        except OSError as error:
            raise InputLost("failed", f"the named pipe cannot be read: {error.strerror}") from error
        self._opened = os.fstat(self._file)
        if not stat.S_ISFIFO(self._opened.st_mode):
            os.close(self._file)
            raise InputLost("failed", "the path is no named pipe (mkfifo makes one)")
        self._has_writer = False
        self._poll = select.poll()
        self._poll.register(self._file, select.POLLIN)

    def read(self, timeout_s: float) -> bytes | None:
        """Return the bytes that arrived; None without a writer.

        Raises:
            InputLost: there is another pipe of this name now.
        """
        if not self._poll.poll(timeout_s * 1000):
            if not self._has_writer:  # a program may have made the pipe anew before it was written
                self._check_same()
            return b"" if self._has_writer else None
        try:
            data = os.read(self._file, READ_BYTES)
        except BlockingIOError:
            return b""
        self._has_writer = bool(data)
        if data:
            return data
        self._check_same()
        time.sleep(timeout_s / 2)  # after the last writer, poll returns at once
        return None

    def messages(self) -> str:
        """Return whether there is a writer."""
        return "" if self._has_writer else NO_WRITER

    def close(self) -> bool:
        """Close it."""
        os.close(self._file)
        return True

    def _check_same(self) -> None:
        try:
            found = Path(self._path).stat()
        except OSError as error:
            raise InputLost("failed", f"the named pipe cannot be read: {error.strerror}") from error
        if not os.path.samestat(found, self._opened):
            raise InputLost("failed", "the named pipe was made anew")


def pipe_reader(source: PipeSource) -> PcmReader:
    """Return the reader of a pipe."""
    format = PcmFormat(source.sample_rate_hz, source.channels, DTYPES[source.sample_format])
    if source.path != STDIN:
        return PcmReader(source.name, lambda: FifoInput(source.path), format, source.channel, LIMITS)
    limits = LIMITS._replace(paced=stat.S_ISREG(os.fstat(STDIN_FILE).st_mode))  # a file as stdin has no time of its own
    return PcmReader(source.name, StdinInput, format, source.channel, limits)
