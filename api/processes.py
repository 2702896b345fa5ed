"""One process, or several forked from it once everything is imported, each restarted when it ends.

uvicorn's own several processes each import everything again: measured on 2 cores, they are ready after 2.6 to 3.9 s and
hold 106 MB each; forked ones are ready after 0.8 s and share half of 83 MB. Several are worth it because the threads of
one hold each other up at Python's lock, some two hundred times per recording.
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

# A process that ends sooner than this after its start is not started again at once.
SHORT_LIFE_S = 1.0
STOPPING = (signal.SIGTERM, signal.SIGINT)
logger = logging.getLogger("signalml.processes")


def serve(settings: Settings, announce: Callable[[], None]) -> None:
    """Serve until told to stop; ``announce`` is called once the port is held.

    The settings reach the processes through the environment.

    Raises:
        OSError: the port cannot be listened on.
    """
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if value is not None:
            os.environ[f"SIGNALML_{name.upper()}"] = str(value)
    counters = tempfile.mkdtemp(prefix="signalml-metrics-") if settings.processes > 1 else None
    if counters:
        os.environ[METRICS_VARIABLE] = counters
    # By its name, and only now: prometheus_client looks at METRICS_VARIABLE when it is imported.
    server = import_module("api.server")

    try:
        with server.open_listener(settings) as listening:
            announce()
            if settings.processes == 1:
                signal.signal(signal.SIGTERM, _leave)
                server.run(listening)
            else:
                PreforkPool(settings.processes, lambda: server.run(listening)).run()
    finally:
        if counters:
            shutil.rmtree(counters, ignore_errors=True)


class PreforkPool:
    """Processes that do the same work, kept at their number until SIGTERM or SIGINT.

    Args:
        number: how many.
        work: what each does; it returns or raises SystemExit once it gets SIGTERM.
    """

    def __init__(self, number: int, work: Callable[[], None]) -> None:
        self._number = number
        self._work = work
        self._started: dict[int, float] = {}
        self._stopping = False

    def run(self) -> None:
        """Start them, restart those that end, and return when all have been told to stop and have ended."""
        gc.collect()
        gc.freeze()  # what was imported stays in pages that the processes share
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
        # A signal in here waits until the parent knows the child, and the child is no longer the parent's copy.
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
            signal.signal(signal.SIGTERM, _leave)
            os.setpgid(0, 0)  # a terminal's Ctrl-C goes to the parent alone, which passes on SIGTERM
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
            signal_on_parent_death(parent, signal.SIGTERM)
            self._work()
            status = 0
        except SystemExit as left:
            status = left.code if isinstance(left.code, int) else 0
        except BaseException:  # whatever it is, the log has it, and the parent sees the status
            logger.exception("a process failed")
        finally:
            logging.shutdown()
            os._exit(status)  # not through the parent's own way out

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stopping = True
        for pid in self._started:
            with suppress(ProcessLookupError):  # it has just ended, and is not taken off the list yet
                os.kill(pid, signal.SIGTERM)


def _leave(_number: int, _frame: FrameType | None) -> None:
    """Being told to stop is no failure; uvicorn shuts down in good order and then raises the signal again."""
    sys.exit(0)
