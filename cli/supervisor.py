"""Supervisor of processes: started in order, restarted when they end, stopped in the opposite order."""

import logging
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from types import FrameType
from typing import NamedTuple

logger = logging.getLogger("signalml.supervisor")
POLL_INTERVAL_S = 0.1
# A process that ends within this time after its start is restarted with a delay.
SHORT_LIFE_S = 5.0
# Enough time to answer an upload, and to hand back unfinished work.
STOP_S = 30.0


def _always() -> bool:
    return True


class Process(NamedTuple):
    """Process of a supervisor.

    Attributes:
        name: its name, for the log.
        launch: starts it.
        is_needed: returns whether it is needed already; it is started then, and runs until the end.
    """

    name: str
    launch: Callable[[], subprocess.Popen[bytes]]
    is_needed: Callable[[], bool] = _always


class Supervisor:
    """Supervisor that keeps processes running until SIGTERM or SIGINT.

    Args:
        processes: processes in the order of their start; each may depend on those before it.
    """

    def __init__(self, processes: Sequence[Process]) -> None:
        self._processes = processes
        self._running: dict[str, tuple[subprocess.Popen[bytes], float]] = {}
        self._stopping = False

    def run(self) -> None:
        """Start all processes that are needed, restart those that end, and return when all ended after a signal."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        try:
            for process in self._processes:
                self._start(process)
            while not self._stopping:
                time.sleep(POLL_INTERVAL_S)
                for process in self._processes:
                    self._restart_if_ended(process)
        finally:
            for process in reversed(self._processes):
                self._end(process)

    def _start(self, process: Process) -> None:
        if not self._stopping and process.is_needed():
            self._running[process.name] = process.launch(), time.monotonic()

    def _restart_if_ended(self, process: Process) -> None:
        if process.name not in self._running:
            self._start(process)
            return
        running, started = self._running[process.name]
        status = running.poll()
        if status is None or self._stopping:
            return
        # A short-lived process waits for the rest of this time; the others are still checked meanwhile.
        if time.monotonic() - started >= SHORT_LIFE_S:
            logger.error("%s ended with %d: starting it again", process.name, status)
            try:
                self._start(process)
            except OSError as error:  # the others continue, and the start is tried again
                logger.error("%s does not start: %s", process.name, error)
                self._running[process.name] = running, time.monotonic()

    def _end(self, process: Process) -> None:
        if process.name not in self._running:
            return
        running, _ = self._running[process.name]
        running.terminate()
        try:
            running.wait(STOP_S)
        except subprocess.TimeoutExpired:
            logger.error("%s did not stop within %g s", process.name, STOP_S)
            running.kill()
            running.wait()

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stopping = True
