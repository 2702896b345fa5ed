"""The right to work on a unit of a job, kept while it is worked on, and what ends the work early.

A thread beside the work says once a second that its process lives, and hears what became of the job. What it hears is
raised in the work at its next report; work that does not report for a while is ended with its process, which is good
for nothing else. Before that the record is put right, so that nobody waits for a process that is gone.
"""

import logging
import mmap
import os
import signal
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Literal, Self, TypeVar

import redis

from ml.errors import Cancelled
from ml.system.progress import Progress
from worker.jobs import JobError
from worker.queue import SOFT_LIMIT_S, JobQueue
from worker.records import LeasedUnit, LeaseLost, Nudges
from worker.store import RENEW_INTERVAL_S

logger = logging.getLogger("signalml.lease")
EndReason = Literal["cancelling", "lost", "stopping", "too long"]
# How long work may go on without a report after it was told to end.
GRACE_S: dict[EndReason, float] = {"cancelling": 1.0, "lost": 5.0, "stopping": 6.0, "too long": 10.0}
LOOKS_EVERY_S = 0.2
PROGRESS_EVERY_S = 0.25
RETRY_EVERY_S = 0.5
T = TypeVar("T")


class StopFlag:
    """One byte that a worker and the processes forked from it share: set once it is told to stop."""

    def __init__(self) -> None:
        self._byte = mmap.mmap(-1, 1)

    def set(self) -> None:
        """From now on no work is begun, and what is under way is handed back."""
        self._byte[0] = 1

    def __bool__(self) -> bool:
        return self._byte[0] == 1


class Lease:
    """A context in which a unit may be worked on.

    Args:
        queue: where the record is.
        unit: the unit.
        stopping: whether this worker is to stop.
    """

    def __init__(self, queue: JobQueue, taken: LeasedUnit, stopping: StopFlag) -> None:
        self.unit = taken
        self.store = queue.store
        self._queue = queue
        self._stopping = stopping
        self._end_reason: EndReason | None = None
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="lease", daemon=True)
        self._last_report: tuple[str, float] = ("", 0.0)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._done.set()
        self._thread.join()

    # For the work

    def check(self) -> None:
        """End the work here if it is to end.

        Raises:
            Cancelled
        """
        if self._end_reason is not None:
            raise Cancelled(f"{self.unit.job_id}/{self.unit.name}: {self._end_reason}.")

    @property
    def stopping(self) -> bool:
        """Whether the work ends only because its worker does: what is done of it can be kept."""
        return self._end_reason == "stopping"

    def recheck(self) -> None:
        """Ask once more, right before something is done that cannot be taken back; others may wait for it meanwhile.

        Raises:
            Cancelled: the job is being cancelled, or is another's now.
            RedisError: nobody can say; :meth:`retry` tries the whole again.
        """
        hold = self.store.renew(self.unit)
        if hold != "held":
            raise Cancelled(f"{self.unit.job_id}/{self.unit.name}: {hold}.")

    def report(self, progress: Progress) -> None:
        """Say how far it is, a few times a second at most; first and last reports of a step are never left out.

        Raises:
            Cancelled
        """
        self.check()
        step, at = self._last_report
        due = progress.step != step or progress.done == progress.total or time.monotonic() - at >= PROGRESS_EVERY_S
        if not due:
            return
        self._last_report = (progress.step, time.monotonic())
        try:
            self.store.progress(self.unit, progress.step, progress.done, progress.total, progress.note)
        except redis.RedisError as error:
            logger.info("no progress could be told: %s", error)  # the next report tells it

    def log(self, message: str) -> None:
        """Tell whoever watches the job, and the log."""
        logger.info(message)
        try:
            self.store.log(self.unit, message)
        except redis.RedisError:
            logger.info("it could not be told to those who watch")

    def retry(self, change: Callable[[], T]) -> T:
        """Change the record, however long its server is away.

        Raises:
            Cancelled: the worker is told to stop meanwhile.
            Fenced: the lease is another's.
        """
        while True:
            try:
                return change()
            except redis.RedisError as error:
                if type(error) is redis.ResponseError:
                    raise  # it was reached, and refuses: asking again changes nothing
                logger.warning("the record cannot be reached, trying again: %s", error)
                if self._stopping:
                    raise Cancelled(f"{self.unit.job_id}/{self.unit.name}: stopping.") from error
                time.sleep(RETRY_EVERY_S)

    def retry_and_notify(self, change: Callable[[], Nudges | None]) -> None:
        """Change the record, as :meth:`retry` does, and call for whoever does what is to be done next."""
        self._queue.nudge(self.retry(change))

    def release(self) -> None:
        """Put the record right after the work was ended early."""
        verdict = self._end_reason or "stopping"
        logger.info("ended early: %s", verdict)
        try:
            if verdict == "too long":
                self.store.fail(self.unit, time_limit_error(self.unit))
            elif verdict != "lost":
                self._queue.nudge(self.store.release(self.unit))
        except (redis.RedisError, LeaseLost) as error:
            logger.warning("the record says otherwise, or cannot be reached: the sweep will see to it: %s", error)

    # Beside the work

    def _watch(self) -> None:
        started = renewed = time.monotonic()
        while not self._done.wait(LOOKS_EVERY_S):
            now = time.monotonic()
            if self._stopping:
                return self._end("stopping")
            if now - started > SOFT_LIMIT_S[self.unit.parameters.queue]:
                return self._end("too long")
            if now - renewed >= RENEW_INTERVAL_S:
                renewed = now
                hold = self._renewed()
                if hold != "held":
                    return self._end(hold)
        return None

    def _renewed(self) -> Literal["held", "cancelling", "lost"]:
        try:
            return self.store.renew(self.unit)
        except redis.RedisError as error:
            logger.info("the lease could not be renewed: %s", error)
            return "held"  # nobody else can have it while its server is away

    def _end(self, verdict: EndReason) -> None:
        self._end_reason = verdict
        if self._done.wait(GRACE_S[verdict]):
            return
        logger.warning("%s, and the work does not come to a report: ending its process", verdict)
        self.release()
        logging.shutdown()
        os.kill(os.getpid(), signal.SIGKILL)


def time_limit_error(taken: LeasedUnit) -> JobError:
    """What is said of work that took longer than any should."""
    limit_s = SOFT_LIMIT_S[taken.parameters.queue]
    return JobError(code="time_limit", detail=f"One part of the work took longer than {limit_s} s, the most it may.")
