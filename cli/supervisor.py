"""Several processes as one service: started in order, restarted when they end, stopped in the opposite order."""

import logging
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from types import FrameType
from typing import NamedTuple

logger = logging.getLogger("signalml.together")
LOOKS_EVERY_S = 0.1
# One that ends sooner than this after its start is not started again at once.
SHORT_LIFE_S = 5.0
# Long enough for an upload that is being answered, and for work that is handed back.
STOP_S = 30.0


class Process(NamedTuple):
    """One process: what it is called, and how it is started."""

    name: str
    launch: Callable[[], subprocess.Popen[bytes]]


class Supervisor:
    """Keeps processes running until SIGTERM or SIGINT.

    Args:
        parts: in the order in which they are started; each may rely on those before it.
    """

    def __init__(self, processes: Sequence[Process]) -> None:
        self._parts = processes
        self._running: dict[str, tuple[subprocess.Popen[bytes], float]] = {}
        self._stopping = False

    def run(self) -> None:
        """Start all, keep all, and return once all have ended."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        try:
            for part in self._parts:
                self._start(part)
            while not self._stopping:
                time.sleep(LOOKS_EVERY_S)
                for part in self._parts:
                    self._look_after(part)
        finally:
            for part in reversed(self._parts):
                self._end(part)

    def _start(self, part: Process) -> None:
        if not self._stopping:
            self._running[part.name] = part.launch(), time.monotonic()

    def _look_after(self, part: Process) -> None:
        process, started = self._running[part.name]
        status = process.poll()
        if status is None or self._stopping:
            return
        # What ended soon waits out its time, while the others are looked after.
        if time.monotonic() - started >= SHORT_LIFE_S:
            logger.error("%s ended with %d: starting it again", part.name, status)
            try:
                self._start(part)
            except OSError as error:  # the others go on, and it is tried again
                logger.error("%s does not start: %s", part.name, error)
                self._running[part.name] = process, time.monotonic()

    def _end(self, part: Process) -> None:
        if part.name not in self._running:
            return
        process, _ = self._running[part.name]
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            logger.error("%s did not stop within %g s", part.name, STOP_S)
            process.kill()
            process.wait()

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stopping = True
