"""What the records say, as values: jobs, units of work that were taken, workers, and counts."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, NamedTuple

from worker.jobs import FINAL_STATES, Job, JobKind, JobParameters, JobProgress, JobState, QueueName

WORKER_SEEN_S = 10.0

LeaseStatus = Literal["held", "cancelling", "lost"]


class LeaseLost(Exception):
    """The lease is another's now, or the job has ended: whatever this attempt has made counts for nothing."""


class Submission(NamedTuple):
    """A job, and whether it is new: the same request again is answered with the job that there is."""

    job: Job
    created: bool


@dataclass(frozen=True, slots=True)
class LeasedUnit:
    """A unit of a job's work, and the right to do it.

    Attributes:
        job_id, name: which.
        token: proves the lease; grows with every lease there is.
        attempt: how often this unit has been begun, this time included.
        at, stop: of a part, the items still to do.
        kind, parameters, request_id: of the job.
        dataset_version, model_version, plan: what an earlier unit, or an attempt before this one, has pinned.
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
    """How many messages a queue is owed."""

    queue: QueueName
    n_messages: int


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """A worker, as it last said of itself."""

    name: str
    queues: tuple[QueueName, ...]
    children: int
    version: str
    seconds_ago: float

    @property
    def alive(self) -> bool:
        """Whether it was heard of lately."""
        return self.seconds_ago <= WORKER_SEEN_S


@dataclass(frozen=True, slots=True)
class QueueStats:
    """What there is, counted.

    Attributes:
        jobs: by kind and state.
        waiting: units of work by queue.
        oldest_s: how long the one that waits longest has waited, by queue; 0 where none waits.
        workers: every worker that was heard of within the last hour.
        seconds: histograms of waiting and running times: (what, kind) -> upper bound, ``sum`` or ``count`` -> value.
    """

    jobs: Mapping[tuple[JobKind, JobState], int]
    waiting: Mapping[QueueName, int]
    oldest_s: Mapping[QueueName, float]
    workers: tuple[WorkerInfo, ...]
    seconds: Mapping[tuple[str, JobKind], Mapping[str, float]]


def job_of(record: Mapping[str, str]) -> Job:
    """The job that a record is of."""
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
        eta_s = round(spent_s / done * (total - done), 1)
    return JobProgress(step=record["step"], done=done, total=total, eta_s=eta_s, message=record["message"])


def _time(milliseconds: str) -> str | None:
    if not milliseconds:
        return None
    return datetime.fromtimestamp(int(milliseconds) / 1000, UTC).isoformat(timespec="milliseconds")
