"""Recorder of verdicts on machines, separate from the answers.

A route puts a verdict into a bounded queue and does not wait. One thread takes all verdicts that wait and writes them
to the ledger in one transaction. If the disk is full, the file is damaged or the queue is full, verdicts are not
recorded; they are counted and logged, and no upload is delayed. Verdicts that wait at a normal stop are still recorded.
If the process is killed, the last milliseconds are lost.
"""

import logging
import threading
from contextlib import suppress
from queue import Empty, Full, Queue

from api.observability.requests import Metrics
from api.recorded_uploads import RecordedUploads
from api.settings import Settings
from ml.errors import SignalMLError
from ml.machines.ledger import Ledger
from ml.machines.observation import KeyedRequest, Observation, RecordEntry
from ml.machines.open_ledger import OpenLedger

logger = logging.getLogger("signalml.machines")
LINE = 10_000  # verdicts that may wait
AT_ONCE = 500  # verdicts in one transaction, about
STOP_WITHIN_S = 4.0
MACHINES_SHOWN = 10  # in one log line


class MachineRecorder:
    """Queue of verdicts, and the thread that records them.

    Args:
        settings: home, alarm rule and number of machines.
        metrics: counter of the verdicts that are not recorded.
    """

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self._pending: Queue[Observation | KeyedRequest | None] = Queue(LINE)
        self._known = RecordedUploads(settings.home)
        self._ledger = OpenLedger(self._open)
        self._failure: str | None = None

    def start(self) -> None:
        """Start the thread; also possible after :meth:`close`."""
        # A daemon: a disk that hangs must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name="machines", daemon=True)
        self._thread.start()

    def require_same_request(self, request: KeyedRequest) -> None:
        """Refuse a request whose Idempotency-Key was used for another request.

        Raises:
            IdempotencyConflict
        """
        self._known.require_same_request(request)

    def record(self, observation: Observation) -> RecordEntry:
        """Queue a verdict on a machine and return at once. Safe from any thread; never raises.

        Returns:
            Its place in the record. The record itself decides whether it counts, when it is written: of two equal
            uploads that two processes answer within milliseconds, one counts, though both answers state it.
        """
        entry = self._known.enter(observation)
        if not self._put(observation):
            self._count_lost(1, "the queue is full: the disk is slower than the uploads")
        return entry

    def remember_request(self, request: KeyedRequest) -> None:
        """Queue the Idempotency-Key of a request without a machine, and return at once."""
        self._known.enter_request(request)
        self._put(request)

    def _put(self, written: Observation | KeyedRequest) -> bool:
        try:
            self._pending.put_nowait(written)
        except Full:
            self._known.remove([written])
            return False
        return True

    def close(self) -> None:
        """Record the verdicts that wait and end the thread; a disk that takes too long is not waited for."""
        with suppress(Full):
            self._pending.put(None, timeout=STOP_WITHIN_S)
            self._thread.join(STOP_WITHIN_S)
        if self._thread.is_alive():
            logger.error("stopped while verdicts on machines waited for the disk: they are not recorded")
        self._known.close()

    def _run(self) -> None:
        running = True
        while running:
            taken = [self._pending.get(), *self._waiting()]
            running = None not in taken
            if written := [each for each in taken if each is not None]:
                self._write(written)
                self._known.remove(written)
        self._ledger.close()

    def _waiting(self) -> list[Observation | KeyedRequest | None]:
        """Take the verdicts that wait now, at most :data:`AT_ONCE`."""
        taken: list[Observation | KeyedRequest | None] = []
        try:
            while len(taken) < AT_ONCE:
                taken.append(self._pending.get_nowait())
        except Empty:
            pass
        return taken

    def _write(self, written: list[Observation | KeyedRequest]) -> None:
        observations = [each for each in written if isinstance(each, Observation)]
        try:
            ledger = self._ledger.current()
            refused = ledger.record(observations) if observations else []
            for request in written:
                if isinstance(request, KeyedRequest):
                    ledger.remember_request(request)
        except SignalMLError as error:
            self._ledger.close()  # a disk that was away returns with the same file, which must be opened again
            self._count_lost(len(observations), str(error))
        except Exception:  # a bug loses these verdicts, but must not end the thread
            logger.exception("unexpected error")
            self._ledger.close()
            self._count_lost(len(observations), "unexpected error")
        else:
            if self._failure is not None:
                logger.info("verdicts on machines are recorded again")
            self._failure = None
            if refused:
                self._metrics.count_unrecorded(len(refused))
                logger.warning(
                    "no place for new machines: their verdicts are not recorded",
                    extra={
                        "facts": {
                            "machines": sorted({each.machine_id for each in refused})[:MACHINES_SHOWN],
                            "keys": sorted({str(each.made_by) for each in refused}),
                        }
                    },
                )

    def _open(self) -> Ledger:
        settings = self._settings
        return Ledger(settings.home, True, settings.alarm_rule, settings.machines_kept, settings.machines_per_key)

    def _count_lost(self, count: int, failure: str) -> None:
        """Count lost verdicts; log only if the reason is new."""
        self._metrics.count_unrecorded(count)
        if failure != self._failure:
            logger.error("verdicts on machines are not recorded: %s", failure)
        self._failure = failure
