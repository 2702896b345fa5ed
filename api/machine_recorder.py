"""Verdicts on machines, into their record, beside the answers and never in their way.

A verdict is put into a bounded line and forgotten by whoever answers; one thread takes what waits there, all at once,
into the ledger. A disk that is full, a file that is damaged or a line that is full costs the record some verdicts,
which is counted and logged, and no upload anything. What waits when the process is told to stop is still recorded; what
waits when it is killed, some milliseconds' worth, is not.
"""

import logging
import threading
from contextlib import suppress
from queue import Empty, Full, Queue

from api.observability.requests import Metrics
from api.settings import Settings
from ml.errors import SignalMLError
from ml.machines.ledger import Ledger
from ml.machines.observation import MachineNames, Observation
from ml.models.verdict import Verdict

logger = logging.getLogger("signalml.machines")
LINE = 10_000
AT_ONCE = 500
STOP_WITHIN_S = 4.0


class MachineRecorder:
    """The line, and the thread at its end.

    Args:
        settings: where the record is, and its rule.
        metrics: what counts the verdicts that were not recorded.
    """

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self._pending: Queue[Observation | None] = Queue(LINE)
        self._ledger: Ledger | None = None
        self._failure: str | None = None

    def start(self) -> None:
        """Take up work; after :meth:`close`, again."""
        # A disk that hangs must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name="machines", daemon=True)
        self._thread.start()

    def record(self, names: MachineNames, verdict: Verdict) -> None:
        """Have a verdict on a machine recorded; returns at once, whatever becomes of it. From any thread."""
        try:
            self._pending.put_nowait(Observation.of(names, verdict))
        except Full:
            self._count_lost(1, "the line is full: the disk is slower than the uploads come")

    def close(self) -> None:
        """Record what waits, and end; a disk that takes too long is not waited for."""
        with suppress(Full):
            self._pending.put(None, timeout=STOP_WITHIN_S)
            self._thread.join(STOP_WITHIN_S)
        if self._thread.is_alive():
            logger.error("told to stop, while verdicts on machines waited for their disk: they are not recorded")

    def _run(self) -> None:
        going_on = True
        while going_on:
            taken = [self._pending.get(), *self._waiting()]
            going_on = None not in taken
            if observations := [each for each in taken if each is not None]:
                self._write(observations)
        self._close_ledger()

    def _waiting(self) -> list[Observation | None]:
        """What else is in line by now."""
        taken: list[Observation | None] = []
        try:
            while len(taken) < AT_ONCE:
                taken.append(self._pending.get_nowait())
        except Empty:
            pass
        return taken

    def _write(self, observations: list[Observation]) -> None:
        try:
            self._open_ledger().record(observations)
        except SignalMLError as error:
            self._close_ledger()  # a disk that was away comes back with the same file, which must be opened anew
            self._count_lost(len(observations), str(error))
        except Exception:  # a bug costs the record these verdicts, and not the thread
            logger.exception("unforeseen")
            self._close_ledger()
            self._count_lost(len(observations), "something unforeseen")
        else:
            if self._failure is not None:
                logger.info("verdicts on machines are recorded again")
            self._failure = None

    def _open_ledger(self) -> Ledger:
        if self._ledger is not None and not self._ledger.is_current():
            self._close_ledger()
        if self._ledger is None:
            settings = self._settings
            self._ledger = Ledger(settings.home, True, settings.alarm_rule, settings.machines_kept)
        return self._ledger

    def _close_ledger(self) -> None:
        if self._ledger is not None:
            self._ledger.close()
        self._ledger = None

    def _count_lost(self, count: int, failure: str) -> None:
        """Counted each time, logged once for each reason."""
        self._metrics.count_unrecorded(count)
        if failure != self._failure:
            logger.error("verdicts on machines are not recorded: %s", failure)
        self._failure = failure
