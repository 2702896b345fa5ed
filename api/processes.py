"""API processes: one, or several that are forked after all imports and restarted when they end.

uvicorn's own worker processes each import everything again. Measured on 2 cores, they are ready after 2.6 to 3.9 s and
take 106 MB each; forked ones are ready after 0.8 s and share half of their 83 MB. Several processes are faster than
one, because threads of one process wait for Python's lock, some two hundred times per recording.
"""

import gc
import logging
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from types import FrameType

from api.settings import METRICS_VARIABLE, Settings
from ml.system.native import signal_on_parent_death

# A process that ends within this time after its start is restarted with a delay.
SHORT_LIFE_S = 1.0
STOPPING = (signal.SIGTERM, signal.SIGINT)
logger = logging.getLogger("signalml.processes")


def serve(settings: Settings, announce: Callable[[], None]) -> None:
    """Serve until SIGTERM or SIGINT. The processes get the settings from the environment.

    Args:
        settings: settings of the service.
        announce: called once the port is open.

    Raises:
        OSError: the port cannot be opened.
    """
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if value is not None:
            os.environ[f"SIGNALML_{name.upper()}"] = str(value)
    counters = tempfile.mkdtemp(prefix="signalml-metrics-") if settings.processes > 1 else None
    if counters:
        os.environ[METRICS_VARIABLE] = counters
    # Imported only now, because prometheus_client reads METRICS_VARIABLE when it is imported.
    server = import_module("api.server")

    try:
        with server.open_listener(settings) as listener:
            announce()
            if settings.processes == 1:
                signal.signal(signal.SIGTERM, _exit_on_sigterm)
                server.run(listener)
            else:
                PreforkPool(settings.processes, lambda: server.run(listener)).run()
    finally:
        if counters:
            shutil.rmtree(counters, ignore_errors=True)


class PreforkPool:
    """Fixed number of processes that do the same work until SIGTERM or SIGINT.

    Args:
        number: number of processes.
        work: work of each process; it returns or raises SystemExit after SIGTERM.
    """

    def __init__(self, number: int, work: Callable[[], None]) -> None:
        self._number = number
        self._work = work
        self._started: dict[int, float] = {}
        self._stopping = False

    def run(self) -> None:
        """Start the processes, restart those that end, and return when all have ended after a signal."""
        gc.collect()
        gc.freeze()  # imported objects stay in memory pages that the processes share
        parent = os.getpid()
        for number in STOPPING:
            signal.signal(number, self._stop)
        for _ in range(self._number):
            self._start(parent)
        while self._started:
            pid, status = os.wait()
            began = self._started.pop(pid, None)
            if began is None or self._stopping:
                continue
            logger.error("process %d ended with %d: starting another", pid, os.waitstatus_to_exitcode(status))
            if time.monotonic() - began < SHORT_LIFE_S:
                time.sleep(SHORT_LIFE_S)
            self._start(parent)

    def _start(self, parent: int) -> None:
        # Signals are blocked until the parent has recorded the child and the child has its own handlers.
        signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
        if self._stopping:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
            return
        pid = os.fork()
        if pid:
            self._started[pid] = time.monotonic()
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
            return
        status = 1
        try:
            signal.signal(signal.SIGTERM, _exit_on_sigterm)
            os.setpgid(0, 0)  # Ctrl-C in a terminal reaches the parent alone, which sends SIGTERM to its children
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
            signal_on_parent_death(parent, signal.SIGTERM)
            self._work()
            status = 0
        except SystemExit as left:
            status = left.code if isinstance(left.code, int) else 0
        except BaseException:  # every error is logged, and the parent sees the status
            logger.exception("a process failed")
        finally:
            logging.shutdown()
            os._exit(status)  # without the exit handlers of the parent

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stopping = True
        for pid in self._started:
            with suppress(ProcessLookupError):  # it has ended, but is still in the list
                os.kill(pid, signal.SIGTERM)


def _exit_on_sigterm(_number: int, _frame: FrameType | None) -> None:
    """Exit with status 0; uvicorn shuts down first and then raises the signal again."""
    sys.exit(0)
