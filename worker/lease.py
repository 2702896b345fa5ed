"""Lease: the right to work on a unit, renewed while the work runs.

A thread next to the work renews the lease once a second and reads the state of the job. If the work must end early, its
next report raises an error. If it does not report in time, the thread corrects the record and kills the process.
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
# Time that the work has to reach its next report, by reason for its end. Then its process is killed.
GRACE_S: dict[EndReason, float] = {"cancelling": 1.0, "lost": 5.0, "stopping": 6.0, "too long": 10.0}
CHECK_INTERVAL_S = 0.2
PROGRESS_INTERVAL_S = 0.25
RETRY_INTERVAL_S = 0.5
T = TypeVar("T")


class StopFlag:
    """Flag that a worker shares with its forked processes: set when the worker must stop."""

    def __init__(self) -> None:
        self._byte = mmap.mmap(-1, 1)

    def set(self) -> None:
        """Set the flag: no work is started any more, and running work is returned."""
        self._byte[0] = 1

    def __bool__(self) -> bool:
        return self._byte[0] == 1


class Lease:
    """Context in which a unit is worked on.

    Args:
        queue: queue with the record.
        unit: the unit.
        stopping: flag that is set when this worker must stop.
    """

    def __init__(self, queue: JobQueue, unit: LeasedUnit, stopping: StopFlag) -> None:
        self.unit = unit
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

    # Called by the work

    def check(self) -> None:
        """Stop the work here if it must end.

        Raises:
            Cancelled: the work must end.
        """
        if self._end_reason is not None:
            raise Cancelled(f"{self.unit.job_id}/{self.unit.name}: {self._end_reason}.")

    @property
    def stopping(self) -> bool:
        """Whether the work ends only because its worker stops, so that finished items are kept."""
        return self._end_reason == "stopping"

    def recheck(self) -> None:
        """Renew the lease once more, right before a change that cannot be undone.

        Raises:
            Cancelled: the job is being cancelled, or the lease is lost.
            RedisError: the server did not answer; :meth:`retry` repeats the call.
        """
        status = self.store.renew(self.unit)
        if status != "held":
            raise Cancelled(f"{self.unit.job_id}/{self.unit.name}: {status}.")

    def report(self, progress: Progress) -> None:
        """Report progress, at most four times a second; the first and last report of a step are always sent.

        Raises:
            Cancelled: the work must end.
        """
        self.check()
        step, at = self._last_report
        due = progress.step != step or progress.done == progress.total or time.monotonic() - at >= PROGRESS_INTERVAL_S
        if not due:
            return
        self._last_report = (progress.step, time.monotonic())
        try:
            self.store.progress(self.unit, progress.step, progress.done, progress.total, progress.note)
        except redis.RedisError as error:
            logger.info("progress could not be recorded: %s", error)  # the next report includes it

    def log(self, message: str) -> None:
        """Write a message to the log and to the events of the job."""
        logger.info(message)
        try:
            self.store.log(self.unit, message)
        except redis.RedisError:
            logger.info("the message could not be added to the events of the job")

    def retry(self, change: Callable[[], T]) -> T:
        """Change the record; repeat this until its server answers.

        Raises:
            Cancelled: the worker must stop.
            LeaseLost: another worker has the unit.
            ResponseError: the server refuses the change.
        """
        while True:
            try:
                return change()
            except redis.RedisError as error:
                if type(error) is redis.ResponseError:
                    raise  # the server answered with an error: repeating changes nothing
                logger.warning("the job record cannot be reached, trying again: %s", error)
                if self._stopping:
                    raise Cancelled(f"{self.unit.job_id}/{self.unit.name}: stopping.") from error
                time.sleep(RETRY_INTERVAL_S)

    def retry_and_notify(self, change: Callable[[], Nudges | None]) -> None:
        """Change the record with :meth:`retry`, and send the nudges for the work that follows."""
        self._queue.nudge(self.retry(change))

    def release(self) -> None:
        """Correct the record after the work has ended early."""
        reason = self._end_reason or "stopping"
        logger.info("ended early: %s", reason)
        try:
            if reason == "too long":
                self.store.fail(self.unit, time_limit_error(self.unit))
            elif reason != "lost":
                self._queue.nudge(self.store.release(self.unit))
        except (redis.RedisError, LeaseLost) as error:
            logger.warning("the job record could not be corrected, a sweep will do it: %s", error)

    # Runs in the thread

    def _watch(self) -> None:
        started = renewed = time.monotonic()
        while not self._done.wait(CHECK_INTERVAL_S):
            now = time.monotonic()
            if self._stopping:
                return self._end("stopping")
            if now - started > SOFT_LIMIT_S[self.unit.parameters.queue]:
                return self._end("too long")
            if now - renewed >= RENEW_INTERVAL_S:
                renewed = now
                status = self._renew()
                if status != "held":
                    return self._end(status)
        return None

    def _renew(self) -> Literal["held", "cancelling", "lost"]:
        try:
            return self.store.renew(self.unit)
        except redis.RedisError as error:
            logger.info("the lease could not be renewed: %s", error)
            return "held"  # no other worker can take the unit while the server is unreachable

    def _end(self, reason: EndReason) -> None:
        self._end_reason = reason
        if self._done.wait(GRACE_S[reason]):
            return
        logger.warning("%s, but the work does not report: killing its process", reason)
        self.release()
        logging.shutdown()
        os.kill(os.getpid(), signal.SIGKILL)


def time_limit_error(unit: LeasedUnit) -> JobError:
    """Return the error of a unit that exceeded its time limit."""
    limit_s = SOFT_LIMIT_S[unit.parameters.queue]
    return JobError(code="time_limit", detail=f"One part of the work took longer than the limit of {limit_s} s.")
