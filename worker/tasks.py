"""Celery tasks of a worker: take the next unit, do its work, and record the result."""

import logging
import os
import secrets
import socket
import time
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import redis

from ml.errors import Cancelled, SignalMLError
from ml.system.atomic import translate_disk_full
from ml.system.audit import Actor, acting_as
from ml.system.logs import job_context
from ml.system.server_paths import hide_folders
from worker import diagnostic, extraction, recalibration, retraining, scoring
from worker.jobs import QUEUES, JobError, JobKind, QueueName
from worker.lease import RETRY_INTERVAL_S, Lease, StopFlag, time_limit_error
from worker.queue import JobQueue, task_name
from worker.records import LeasedUnit, LeaseLost
from worker.results import NOTHING_LOST

if TYPE_CHECKING:
    from celery import Celery

logger = logging.getLogger("signalml.work")
# Function for a unit, by job kind and by the unit's name up to the hyphen.
HANDLERS: Mapping[JobKind, Mapping[str, Callable[[Lease, Path, Any], None]]] = {
    "feature-extraction": {"begin": extraction.begin, "part": extraction.run_part, "gather": extraction.gather},
    "scoring": {"begin": scoring.begin, "part": scoring.run_part, "gather": scoring.gather},
    "retraining": {"begin": retraining.begin},
    "recalibration": {"begin": recalibration.begin, "part": recalibration.run_part, "gather": recalibration.gather},
    "diagnostic": {"begin": diagnostic.begin},
}


def register(app: "Celery", url: str, home: Path, stopping: StopFlag) -> None:
    """Add one task for each queue to the application."""
    for queue in QUEUES:

        def task(queue: QueueName = queue) -> None:
            run_unit(_jobs(url), queue, home, stopping)

        app.task(task, name=task_name(queue), ignore_result=True)


@cache
def _jobs(url: str) -> JobQueue:
    """Return the queue of this process, with connections that are opened after the fork."""
    return JobQueue(url)


def run_unit(jobs: JobQueue, queue: QueueName, home: Path, stopping: StopFlag) -> None:
    """Do one unit, if one waits and this worker is not stopping."""
    if stopping:
        return
    unit = _take_unit(jobs, queue, stopping)
    if unit is None:
        return
    with job_context(unit.request_id, job=unit.job_id, unit=unit.name, attempt=unit.attempt):
        logger.info("begun", extra={"facts": {"kind": unit.kind}})
        with acting_as(Actor("worker", _worker_name())), Lease(jobs, unit, stopping) as lease:
            _do(lease, unit, home)


def _worker_name() -> str:
    return f"{socket.gethostname()}/{os.getpid()}"


def _take_unit(jobs: JobQueue, queue: QueueName, stopping: StopFlag) -> LeasedUnit | None:
    """Take a unit; repeat the call until there is an answer.

    Otherwise a unit whose answer is lost would wait for the end of its lease.
    """
    call = secrets.token_hex(8)
    while not stopping:
        try:
            return jobs.store.take(queue, _worker_name(), call)
        except redis.RedisError as error:
            logger.warning("no unit could be taken, trying again: %s", error)
            time.sleep(RETRY_INTERVAL_S)
    return None


def _do(lease: Lease, unit: LeasedUnit, home: Path) -> None:
    from celery.exceptions import SoftTimeLimitExceeded

    try:
        with translate_disk_full(home, NOTHING_LOST):
            HANDLERS[unit.kind][unit.name.partition("-")[0]](lease, home, unit.parameters)
        logger.info("done")
    except Cancelled:
        lease.release()
    except LeaseLost as lost:
        logger.warning("lease lost: %s", lost)
    except SoftTimeLimitExceeded:
        _fail(lease, time_limit_error(unit))
    except SignalMLError as error:
        _fail(lease, JobError(code=error.code, detail=hide_folders(str(error), home)))
    except Exception:  # any error must end the job; the log has the traceback
        logger.exception("unexpected error")
        detail = f"Unexpected error in {unit.name}; see request_id {unit.request_id} in the log of the workers."
        _fail(lease, JobError(code="internal_error", detail=detail))


def _fail(lease: Lease, error: JobError) -> None:
    logger.warning("failed: %s", error.detail, extra={"facts": {"code": error.code}})
    try:
        lease.retry(lambda: lease.store.fail(lease.unit, error))
    except Cancelled:
        lease.release()
    except LeaseLost as lost:
        logger.warning("lease lost: %s", lost)
