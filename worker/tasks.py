"""What a worker does with a message: takes the unit whose turn it is, has it done, and says what became of it."""

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
from ml.system.logs import job_context
from worker import diagnostic, extraction, retraining, scoring
from worker.jobs import QUEUES, JobError, JobKind, QueueName
from worker.lease import RETRY_EVERY_S, Lease, StopFlag, time_limit_error
from worker.queue import JobQueue, task_name
from worker.records import LeasedUnit, LeaseLost
from worker.results import NOTHING_LOST

if TYPE_CHECKING:
    from celery import Celery

logger = logging.getLogger("signalml.work")
# What is done with a unit, by the kind of its job and by its name, as far as a hyphen.
HANDLERS: Mapping[JobKind, Mapping[str, Callable[[Lease, Path, Any], None]]] = {
    "feature-extraction": {"begin": extraction.begin, "part": extraction.run_part, "gather": extraction.gather},
    "scoring": {"begin": scoring.begin, "part": scoring.run_part, "gather": scoring.gather},
    "retraining": {"begin": retraining.begin},
    "diagnostic": {"begin": diagnostic.begin},
}


def register(app: "Celery", url: str, home: Path, stopping: StopFlag) -> None:
    """Give the application a task for each queue."""
    for queue in QUEUES:

        def task(queue: QueueName = queue) -> None:
            run_unit(_jobs(url), queue, home, stopping)

        app.task(task, name=task_name(queue), ignore_result=True)


@cache
def _jobs(url: str) -> JobQueue:
    """The connections of this process, made once it has been forked."""
    return JobQueue(url)


def run_unit(jobs: JobQueue, queue: QueueName, home: Path, stopping: StopFlag) -> None:
    """Do one unit, if one waits and this worker is not about to stop."""
    if stopping:
        return
    taken = _take_unit(jobs, queue, stopping)
    if taken is None:
        return
    with job_context(taken.request_id, job=taken.job_id, unit=taken.name, attempt=taken.attempt):
        logger.info("begun", extra={"facts": {"kind": taken.kind}})
        with Lease(jobs, taken, stopping) as lease:
            _do(lease, taken, home)


def _take_unit(jobs: JobQueue, queue: QueueName, stopping: StopFlag) -> LeasedUnit | None:
    """Ask until there is an answer: a unit that was given while the answer was lost would wait for its lease to end."""
    call = secrets.token_hex(8)
    while not stopping:
        try:
            return jobs.store.take(queue, f"{socket.gethostname()}/{os.getpid()}", call)
        except redis.RedisError as error:
            logger.warning("nothing could be taken, trying again: %s", error)
            time.sleep(RETRY_EVERY_S)
    return None


def _do(lease: Lease, taken: LeasedUnit, home: Path) -> None:
    from celery.exceptions import SoftTimeLimitExceeded

    try:
        with translate_disk_full(home, NOTHING_LOST):
            HANDLERS[taken.kind][taken.name.partition("-")[0]](lease, home, taken.parameters)
        logger.info("done")
    except Cancelled:
        lease.release()
    except LeaseLost as fenced:
        logger.warning("fenced: %s", fenced)
    except SoftTimeLimitExceeded:
        _fail(lease, time_limit_error(taken))
    except SignalMLError as error:
        _fail(lease, JobError(code=error.code, detail=str(error)))
    except Exception:  # whatever it is, somebody waits for the job's end, and the log has the cause
        logger.exception("unforeseen")
        detail = f"Something went wrong in {taken.name}; the workers' log has it under request_id {taken.request_id}."
        _fail(lease, JobError(code="internal_error", detail=detail))


def _fail(lease: Lease, error: JobError) -> None:
    logger.warning("failed: %s", error.detail, extra={"facts": {"code": error.code}})
    try:
        lease.retry(lambda: lease.store.fail(lease.unit, error))
    except Cancelled:
        lease.release()
    except LeaseLost as fenced:
        logger.warning("fenced: %s", fenced)
