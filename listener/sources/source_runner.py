"""One source while it runs: its reader in a thread, started again after an unexpected error."""

import logging
import random
import threading
from collections.abc import Callable

from listener.sound import SourceReader
from listener.sources.source_listener import SourceListener
from listener.status import SourceStatus
from ml.errors import SignalMLError

logger = logging.getLogger("signalml.listener")
STOP_WITHIN_S = 5.0
READER_COUNTERS = ("starts", "dropped_seconds", "drift_ppm")  # attributes of readers that have them
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 60.0


class SourceRunner:
    """Thread of one source.

    Args:
        listener: gets the sound.
        make_reader: makes the reader; called again after an error.
        before: runner of the same source with its values before; this one begins when that one has ended.
    """

    def __init__(
        self,
        listener: SourceListener,
        make_reader: Callable[[], SourceReader],
        before: "SourceRunner | None" = None,
    ) -> None:
        self.listener = listener
        self._before = before
        self._make_reader = make_reader
        self._reader: SourceReader | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"source-{listener.entry.name}", daemon=True)

    def status(self) -> SourceStatus:
        """Return the state and counters of the source, with those that its reader keeps."""
        status = self.listener.status()
        for name in READER_COUNTERS:
            setattr(status, name, getattr(self._reader, name, getattr(status, name)))
        return status

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def begin_stop(self) -> None:
        """Let the reader end, without waiting."""
        self._stopped.set()
        self.listener.stop()
        try:
            if self._reader is not None:
                self._reader.stop()
        except Exception:  # an error of one source must never end another
            logger.exception("the reader of source %s cannot be stopped", self.listener.entry.name)

    def wait(self) -> None:
        """Wait until the reader has ended."""
        self._thread.join(STOP_WITHIN_S)
        if self._thread.is_alive():
            logger.error("the reader of source %s did not stop within %g s", self.listener.entry.name, STOP_WITHIN_S)

    def _run(self) -> None:
        try:
            self._read()
        finally:
            self.listener.close()

    def _read(self) -> None:
        if self._before is not None:
            self._before.wait()
            self._before = None
        wait_s = FIRST_WAIT_S
        while not self._stopped.is_set():
            try:
                self._reader = self._make_reader()
                if self._stopped.is_set():  # meanwhile; then the new reader was not stopped
                    return
                self._reader.run(self.listener)
                if self._stopped.is_set():
                    return
                problem = "the reader ended"
            except Exception as error:  # an error of one source must never end another
                expected = isinstance(error, SignalMLError)
                logger.error("source %s: %s", self.listener.entry.name, error, exc_info=not expected)
                problem = str(error) or type(error).__name__
            self.listener.report_state("failed", problem)
            self.listener.report_gap(0.0, problem)
            self._stopped.wait(wait_s * random.uniform(0.8, 1.2))  # noqa: S311 - no secret
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)
