"""API processes: one, or several that are forked after all imports and restarted when they end.

uvicorn's own worker processes each import everything again. Measured on 2 cores, they are ready after 2.6 to 3.9 s and
take 106 MB each; forked ones are ready after 0.8 s and share half of their 83 MB. Several processes are faster than
one, because threads of one process wait for Python's lock, some two hundred times per recording.
"""

import fcntl
import gc
import logging
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from importlib import import_module
from pathlib import Path
from types import FrameType

from api.settings import METRICS_VARIABLE, Settings
from ml.system.native import signal_on_parent_death

# A process that ends within this time after its start is restarted with a delay.
SHORT_LIFE_S = 1.0
COUNTERS = ".metrics-"
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
    with _counters(settings) as counters:
        # Imported only now, because prometheus_client reads METRICS_VARIABLE when it is imported.
        server = import_module("api.server")
        with server.open_listener(settings) as listener:
            announce()
            if counters is None:
                signal.signal(signal.SIGTERM, _exit_on_sigterm)
                server.run(listener)
            else:
                # A process cannot start without the folder, so it is made again if something has deleted it.
                make_again = partial(counters.mkdir, parents=True, exist_ok=True)
                PreforkPool(settings.processes, lambda: server.run(listener), before_start=make_again).run()


@contextmanager
def _counters(settings: Settings) -> Iterator[Path | None]:
    """Make the folder in which all processes count; None for one process, which counts in memory.

    It is in the home, because a folder in /tmp is deleted when it is old, while the service runs.
    """
    if settings.processes == 1:
        yield None
        return
    _delete_left_counters(settings.home)
    folder = _make_counters(settings.home)
    os.environ[METRICS_VARIABLE] = str(folder)
    # The lock shows other services of this home that the folder is in use. It ends with the last process.
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield folder
    finally:
        os.close(descriptor)
        shutil.rmtree(folder, ignore_errors=True)


def _make_counters(home: Path) -> Path:
    try:
        home.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=COUNTERS, dir=home.absolute()))
    except OSError as error:  # a home that can only be read
        logger.warning("the counters are not in the home: %s", error)
        return Path(tempfile.mkdtemp(prefix=COUNTERS))


def _delete_left_counters(home: Path) -> None:
    """Delete folders of services that were killed."""
    for left in home.glob(f"{COUNTERS}*"):
        with suppress(OSError):  # in use, or without locks
            descriptor = os.open(left, os.O_RDONLY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(left, ignore_errors=True)
            finally:
                os.close(descriptor)


class PreforkPool:
    """Fixed number of processes that do the same work until SIGTERM or SIGINT.

    Args:
        number: number of processes.
        work: work of each process; it returns or raises SystemExit after SIGTERM.
        before_start: called in this process before each start of a process; an OSError is logged.
    """

    def __init__(
        self, number: int, work: Callable[[], None], *, before_start: Callable[[], None] = lambda: None
    ) -> None:
        self._number = number
        self._before_start = before_start
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
        try:
            self._before_start()
        except OSError as error:
            logger.error("a process may not start: %s", error)
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
