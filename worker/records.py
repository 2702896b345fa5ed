"""Values from the store: jobs, leased units, nudges, workers and counts."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, NamedTuple

import redis

from ml.system.text import printable
from worker.jobs import (
    FINAL_STATES,
    JOB_ID,
    Job,
    JobKind,
    JobParameters,
    JobProgress,
    JobRecordDamaged,
    JobState,
    QueueName,
)

WORKER_SEEN_S = 10.0

LeaseStatus = Literal["held", "cancelling", "lost"]


class LeaseLost(Exception):
    """Another worker has the lease, or the job has ended: the results of this attempt are ignored."""


class QueueOutOfSpace(redis.RedisError):
    """The server refused a change because its memory or its disk is full. Nothing was changed; try again later."""


class Submission(NamedTuple):
    """A job, and whether it is new. A repeated request gets the existing job."""

    job: Job
    created: bool


@dataclass(frozen=True, slots=True)
class LeasedUnit:
    """A unit of a job with its lease.

    Attributes:
        job_id, name: id of the job, and name of the unit.
        token: proof of the lease; each new lease of any unit has a larger token.
        attempt: number of starts of this unit, this one included.
        at, stop: range of the remaining items of a part.
        kind, parameters, request_id: values of the job.
        dataset_version, model_version, plan: values that an earlier unit or attempt has pinned; None before.
    """

    job_id: str
    name: str
    token: int
    attempt: int
    at: int
    stop: int
    kind: JobKind
    parameters: JobParameters
    request_id: str
    dataset_version: str | None
    model_version: str | None
    plan: str | None


class Nudges(NamedTuple):
    """Number of nudges that must be sent to a queue."""

    queue: QueueName
    n_messages: int


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """Last heartbeat of a worker."""

    name: str
    queues: tuple[QueueName, ...]
    children: int
    version: str
    seconds_ago: float

    @property
    def alive(self) -> bool:
        """Whether the last heartbeat is at most :data:`WORKER_SEEN_S` old."""
        return self.seconds_ago <= WORKER_SEEN_S


@dataclass(frozen=True, slots=True)
class QueueStats:
    """Counts of jobs, waiting units and workers.

    Attributes:
        jobs: number of jobs, by kind and state.
        waiting: number of waiting units, by queue.
        oldest_s: longest waiting time of a unit in seconds, by queue; 0 if none waits.
        workers: workers with a heartbeat in the last hour.
        seconds: histograms of waiting and running times: (what, kind) -> upper bound, ``sum`` or ``count`` -> value.
    """

    jobs: Mapping[tuple[JobKind, JobState], int]
    waiting: Mapping[QueueName, int]
    oldest_s: Mapping[QueueName, float]
    workers: tuple[WorkerInfo, ...]
    seconds: Mapping[tuple[str, JobKind], Mapping[str, float]]


def job_of(job: str, record: Mapping[str, str]) -> Job:
    """Return the job of a record.

    Args:
        job: id of the job, from the key of the record.
        record: the record.

    Raises:
        JobRecordDamaged: the record has no valid id, belongs to another job, or lacks something.
    """
    try:
        if not JOB_ID.fullmatch(job) or record["id"] != job:
            raise ValueError("its id is another one")
        return _read_job(record)
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError, OSError) as error:
        raise JobRecordDamaged(
            f"The record of the job {printable(job)!r} is damaged ({type(error).__name__})."
        ) from error


def _read_job(record: Mapping[str, str]) -> Job:
    return Job.model_validate(
        {
            "id": record["id"],
            "kind": record["kind"],
            "state": record["state"],
            "attempt": record["attempt"],
            "parameters": json.loads(record["parameters"]),
            "progress": _progress(record),
            "created": _time(record["created_ms"]),
            "started": _time(record["started_ms"]),
            "ended": _time(record["ended_ms"]),
            "request_id": record["request_id"],
            "dataset_version": record.get("dataset_version"),
            "model_version": record.get("model_version"),
            "summary": json.loads(record["summary"]) if "summary" in record else None,
            "error": json.loads(record["error"]) if "error" in record else None,
            "revision": record["revision"],
        }
    )


def _progress(record: Mapping[str, str]) -> JobProgress | None:
    if "step" not in record:
        return None
    done, total = int(record["done"]), int(record["total"])
    eta_s = None
    if 0 < done <= total and record["state"] not in FINAL_STATES:
        spent_s = (int(record["updated_ms"]) - int(record["step_ms"])) / 1000
        eta_s = round(max(0.0, spent_s) / done * (total - done), 1)
    return JobProgress(step=record["step"], done=done, total=total, eta_s=eta_s, message=record["message"])


def _time(milliseconds: str) -> str | None:
    if not milliseconds:
        return None
    return datetime.fromtimestamp(int(milliseconds) / 1000, UTC).isoformat(timespec="milliseconds")
