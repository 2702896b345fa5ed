"""Records of all jobs, in Redis. Each change is one atomic call of the script ``transitions.lua``."""

import hashlib
import json
import logging
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import redis

from ml.errors import IdempotencyConflict
from ml.system import idempotency
from ml.system.text import printable
from worker.jobs import (
    JOB_KINDS,
    JOB_STATES,
    MAX_ATTEMPTS,
    PARAMETERS,
    QUEUES,
    Job,
    JobConflict,
    JobError,
    JobKind,
    JobNotFound,
    JobPage,
    JobParameters,
    JobRecordDamaged,
    JobState,
    QueueFull,
    QueueName,
    QueueUnavailable,
)
from worker.records import (
    LeasedUnit,
    LeaseLost,
    LeaseStatus,
    Nudges,
    QueueOutOfSpace,
    QueueStats,
    Submission,
    WorkerInfo,
    job_of,
)

logger = logging.getLogger("signalml.store")
SCRIPT = (Path(__file__).parent / "transitions.lua").read_text()
PREFIX = "signalml:"
# Prefix of Celery's keys; the key of a queue's messages is this prefix and the queue's name.
CELERY_PREFIX = PREFIX + "celery:"
# A worker renews its leases every RENEW_INTERVAL_S. A lease that is not renewed for LEASE_S ends. With a sweep every
# SWEEP_S, another worker starts its work within 15 s. The lease of a training is TRAINING_PATIENCE times as long, 24 s:
# a training has idle priority and can be silent for 20 s (measured on one core with six busy loops).
LEASE_S, RENEW_INTERVAL_S, SWEEP_S = 12.0, 1.0, 1.0
TRAINING_PATIENCE = 2
# After this time without a sweep, the server was unreachable and no lease could be renewed. The next sweep then extends
# every lease to at least that of a training (24 s).
GAP_S = 6.0
# After this time, a job that is being cancelled ends even if its workers have not stopped.
CANCEL_PATIENCE_S = 3.0
MOST_WAITING = 20_000
PRUNED_AT_ONCE = 100
# A page reads this number of records at a time, at most this number of times. If few of them match, the page is short
# and has a cursor for the next one.
READ_AT_ONCE, READS_PER_PAGE = 100, 20
# Timeout of an answer, because a frozen server accepts connections and never answers.
TIMEOUT_S = 1.0
# Code of a server's refusal while it cannot write its append-only file.
DISK_REFUSAL = "MISCONF"
EVENTS_WAIT_MS, EVENTS_AT_ONCE = 500, 500


def connect(url: str, *, timeout_s: float = TIMEOUT_S) -> redis.Redis:
    """Return a client with a short timeout and without retries; callers that can wait repeat the call.

    Raises:
        QueueUnavailable: ``url`` is not an address of a Redis server.
    """
    try:
        return redis.Redis.from_url(
            url,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            retry=None,
            decode_responses=True,
            encoding_errors="backslashreplace",  # one damaged text must not break the answer
        )
    except ValueError:  # its message contains parts of the password
        raise QueueUnavailable(
            "SIGNALML_REDIS_URL is not an address; redis://[:password@]host:port/db was expected."
        ) from None


def events_key(job: str) -> str:
    """Return the key of a job's event stream."""
    return f"{PREFIX}job:{job}:events"


def new_id() -> str:
    """Return a job id of 24 hexadecimal digits: milliseconds, then random digits. Ids sort by time."""
    return f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(6)}"


class JobStore:
    """Store of the job records. Several threads can use one instance.

    Every method raises ``redis.RedisError`` if the server does not answer, and :class:`QueueOutOfSpace` if it is full.
    """

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._script = client.register_script(SCRIPT)

    def _call(self, operation: str, **arguments: Any) -> Any:
        try:
            return json.loads(self._script(args=[operation, json.dumps(arguments)]))
        except redis.ResponseError as error:
            raise _out_of_space(error) or error from error

    # Called for clients

    def has_idempotency_key(self, idempotency_key: str) -> bool:
        """Whether a request with this key created a job within the last day."""
        return bool(self._client.exists(f"{PREFIX}idempotency:{idempotency_key}"))

    def submit(self, parameters: JobParameters, *, request_id: str, idempotency_key: str = "") -> Submission:
        """Write the record of a job, unless the same request has created one before.

        Raises:
            IdempotencyConflict: the key was used for another request.
            JobConflict: an unfinished job with other parameters, or one that is being cancelled, excludes this one.
            QueueFull: the maximum number of units already waits.
        """
        parameters_json = parameters.model_dump_json()
        answer = self._call(
            "submit",
            job=new_id(),
            kind=parameters.kind,
            queue=parameters.queue,
            queues=QUEUES,
            most_waiting=MOST_WAITING,
            parameters=parameters_json,
            request_id=request_id,
            exclusive=parameters.exclusive_key or "",
            dataset=getattr(parameters, "dataset", ""),
            idempotency=idempotency_key,
            idempotency_s=idempotency.KEPT_S,
            digest=hashlib.sha256(f"{parameters.kind} {parameters_json}".encode()).hexdigest(),
        )
        if conflict := answer.get("conflict"):
            raise _refusal(conflict, answer, parameters)
        return Submission(self.get(answer["job"]), answer["created"])

    def get(self, job: str) -> Job:
        """Return a job.

        Raises:
            JobNotFound: there is no record of this job.
            JobRecordDamaged: the record cannot be read.
        """
        record = cast("dict[str, str]", self._client.hgetall(f"{PREFIX}job:{job}"))
        if not record:
            raise JobNotFound(f"There is no job {job!r}. Records of ended jobs are deleted after some time.")
        return job_of(job, record)

    def list_jobs(
        self,
        *,
        kinds: Sequence[JobKind] = JOB_KINDS,
        states: Sequence[JobState] = JOB_STATES,
        dataset: str | None = None,
        cursor: str | None = None,
        limit: int = 50,
        visible: Callable[[Job], bool] = lambda _: True,
    ) -> JobPage:
        """Return visible jobs of these kinds and states, newest first, from the first job after ``cursor`` on.

        Jobs whose records are damaged are named, whatever they are.
        """
        kinds, states = tuple(dict.fromkeys(kinds)), tuple(dict.fromkeys(states))  # a client can repeat them
        found: list[Job] = []
        unreadable: list[str] = []
        for _ in range(READS_PER_PAGE):
            ids = self._ids(kinds, states, dataset, cursor, max(limit + 1, READ_AT_ONCE))
            jobs, damaged = self._records(ids)
            found += [job for job in jobs if job.kind in kinds and job.state in states and visible(job)]
            unreadable += damaged
            cursor = ids[-1] if len(ids) >= READ_AT_ONCE else None
            if cursor is None or len(found) > limit:
                break
        more = len(found) > limit
        return JobPage(jobs=found[:limit], next=found[limit - 1].id if more else cursor, unreadable=unreadable)

    def _ids(
        self, kinds: Sequence[JobKind], states: Sequence[JobState], dataset: str | None, cursor: str | None, count: int
    ) -> list[str]:
        keys = [f"{PREFIX}index:{kind}:{state}" for kind in kinds for state in states]
        if dataset is not None:
            keys = [f"{PREFIX}dataset:{dataset}"]
        newest = f"({cursor}" if cursor else "+"
        with self._client.pipeline(transaction=False) as pipeline:
            for key in keys:
                pipeline.zrange(key, newest, "-", desc=True, bylex=True, offset=0, num=count)
            answers = pipeline.execute()
        return sorted((job for ids in answers for job in ids), reverse=True)[:count]

    def _records(self, ids: Sequence[str]) -> tuple[list[Job], list[str]]:
        """Return the jobs, and the ids of those whose records are damaged."""
        with self._client.pipeline(transaction=False) as pipeline:
            for job in ids:
                pipeline.hgetall(f"{PREFIX}job:{job}")
            records = pipeline.execute(raise_on_error=False)
        jobs, damaged = [], []
        for job, record in zip(ids, records, strict=True):
            try:
                if record:
                    jobs.append(job_of(job, _require_hash(record)))
            except JobRecordDamaged as error:
                logger.warning("%s", error)
                damaged.append(printable(job))
        return jobs, damaged

    def cancel(self, job: str) -> Job:
        """Cancel a job: at once if no worker has it, else within seconds. An ended job is not changed.

        Raises:
            JobNotFound: there is no record of this job.
        """
        self._call("cancel", job=job, patience_ms=_ms(CANCEL_PATIENCE_S))
        return self.get(job)

    def result_file(self, job: str) -> str | None:
        """Return the name of the file with the rows in the job's folder; None if there is none."""
        return cast("str | None", self._client.hget(f"{PREFIX}job:{job}", "result"))

    def events(
        self, job: str, after: str, wait_ms: int | None = EVENTS_WAIT_MS
    ) -> list[tuple[str, str, dict[str, Any]]]:
        """Return the events after an event, as id, kind and data; wait up to ``wait_ms`` if there is none."""
        answer: Any = self._client.xread({events_key(job): after}, count=EVENTS_AT_ONCE, block=wait_ms)
        return [(entry, f["event"], json.loads(f["data"])) for _, entries in answer for entry, f in entries]

    # Called by workers

    def take(self, queue: QueueName, worker: str, call: str) -> LeasedUnit | None:
        """Take the next unit of a queue with a lease; None if no unit waits.

        Args:
            queue: the queue.
            worker: name of the worker, for the events and errors of the job.
            call: unique id of this call. If no answer came, the caller repeats it and gets the same unit.
        """
        answer = self._call("take", queue=queue, worker=worker, call=call, lease_ms=_lease_ms(queue))
        if not answer:
            return None
        record, unit = dict(zip(answer["record"][::2], answer["record"][1::2], strict=True)), answer["unit_record"]
        kind: JobKind = record["kind"]
        return LeasedUnit(
            job_id=answer["job"],
            name=answer["unit"],
            token=unit["token"],
            attempt=unit["attempt"],
            at=unit["at"],
            stop=unit["stop"],
            kind=kind,
            parameters=PARAMETERS[kind].model_validate_json(record["parameters"]),
            request_id=record["request_id"],
            dataset_version=record.get("dataset_version"),
            model_version=record.get("model_version"),
            plan=record.get("plan"),
        )

    def renew(self, unit: LeasedUnit) -> LeaseStatus:
        """Renew a lease that is not lost; return its status."""
        status: LeaseStatus = self._call_for_unit("renew", unit, lease_ms=_lease_ms(unit.parameters.queue))["status"]
        return status

    def progress(self, unit: LeasedUnit, step: str, done: int, total: int, message: str) -> None:
        """Record progress; without effect if the lease is lost."""
        self._call_for_unit("progress", unit, step=step, done=done, total=total, message=message)

    def log(self, unit: LeasedUnit, message: str) -> None:
        """Add a log event to the job; without effect if the lease is lost."""
        self._call_for_unit("log", unit, message=message)

    def pin(self, unit: LeasedUnit, **fields: str) -> None:
        """Store values that later attempts must use unchanged.

        Raises:
            LeaseLost: another worker has the unit.
        """
        self._call_or_lose("pin", unit, fields=fields)

    def fan_out(self, unit: LeasedUnit, stops: Sequence[int], step: str) -> Nudges | None:
        """Replace this unit by parts; ``stops`` are their numbers of items.

        Raises:
            LeaseLost: another worker has the unit.
        """
        return _nudges(self._call_or_lose("fan_out", unit, stops=stops, step=step, total=sum(stops)))

    def advance(self, unit: LeasedUnit, at: int, part: str) -> Nudges | None:
        """Record that the items before ``at`` are done; the file ``part`` has the rows since the last call.

        Raises:
            LeaseLost: another worker has the unit.
        """
        return _nudges(self._call_or_lose("advance", unit, at=at, part=part))

    def part_files(self, unit: LeasedUnit) -> list[str]:
        """Return the files of all parts, in order.

        Raises:
            LeaseLost: another worker has the unit.
        """
        return list(self._call_or_lose("parts", unit)["files"])

    def succeed(self, unit: LeasedUnit, summary: Mapping[str, Any], result: str) -> None:
        """End the job as succeeded.

        Raises:
            LeaseLost: another worker has the unit.
        """
        self._call_or_lose("succeed", unit, summary=json.dumps(summary, allow_nan=False), result=result)

    def fail(self, unit: LeasedUnit, error: JobError) -> None:
        """End the job as failed.

        Raises:
            LeaseLost: another worker has the unit.
        """
        self._call_or_lose("fail", unit, error=error.model_dump_json())

    def release(self, unit: LeasedUnit) -> Nudges | None:
        """Return the unit to its queue; delete it if the job is being cancelled.

        Raises:
            LeaseLost: another worker has the unit.
        """
        return _nudges(self._call_or_lose("release", unit))

    def _call_for_unit(self, operation: str, unit: LeasedUnit, **arguments: Any) -> Any:
        return self._call(operation, job=unit.job_id, unit=unit.name, token=unit.token, **arguments)

    def _call_or_lose(self, operation: str, unit: LeasedUnit, **arguments: Any) -> Any:
        answer = self._call_for_unit(operation, unit, **arguments)
        if answer["status"] == "lost":
            raise LeaseLost(f"{unit.job_id}/{unit.name} no longer has the lease with the token {unit.token}.")
        return answer

    # Called by the housekeeping

    def sweep(self) -> list[Nudges]:
        """End leases that were not renewed; return the nudges that each queue lacks."""
        answer = self._call(
            "sweep",
            interval_ms=_ms(SWEEP_S) // 2,
            gap_ms=_ms(GAP_S),
            lease_ms=_lease_ms("training"),
            most_attempts=MAX_ATTEMPTS,
            lists={queue: CELERY_PREFIX + queue for queue in QUEUES},
        )
        for each in answer["damaged"]:
            logger.warning("the record of %r is damaged: its lease was removed", each)
        return [Nudges(queue, answer["nudges"][queue]) for queue in QUEUES if answer["nudges"].get(queue)]

    def prune(self, kept_s: float) -> list[str]:
        """Delete some records of jobs that ended longer ago than ``kept_s``; return their ids."""
        return list(self._call("prune", kinds=JOB_KINDS, most=PRUNED_AT_ONCE, kept_ms=_ms(kept_s))["deleted"])

    def heartbeat(self, name: str, queues: Sequence[QueueName], children: int, version: str) -> None:
        """Record the heartbeat of a worker."""
        facts = {"queues": queues, "children": children, "version": version, "at": self._now_s()}
        self._client.hset(f"{PREFIX}workers", name, json.dumps(facts))

    def remove_worker(self, name: str) -> None:
        """Remove a worker from the list of workers."""
        self._client.hdel(f"{PREFIX}workers", name)

    def workers(self, within_s: float = 3600) -> tuple[WorkerInfo, ...]:
        """Return workers with a heartbeat in the last ``within_s``, latest first; remove all others."""
        now, found = self._now_s(), []
        for name, text in cast("dict[str, str]", self._client.hgetall(f"{PREFIX}workers")).items():
            try:
                worker = _worker_of(name, json.loads(text), now)
            except (ValueError, KeyError, TypeError) as error:
                logger.warning("the heartbeat of the worker %r is damaged: %s", name, error)
                continue
            if worker.seconds_ago > within_s:
                self.remove_worker(name)
            else:
                found.append(worker)
        return tuple(sorted(found, key=lambda worker: worker.seconds_ago))

    def stats(self) -> QueueStats:
        """Count jobs, waiting units and workers. The time does not depend on the number of jobs."""
        pairs = [(kind, state) for kind in JOB_KINDS for state in JOB_STATES]
        timed = [(what, kind) for what in ("wait", "run") for kind in JOB_KINDS]
        with self._client.pipeline(transaction=False) as pipeline:
            for kind, state in pairs:
                pipeline.zcard(f"{PREFIX}index:{kind}:{state}")
            for queue in QUEUES:
                pipeline.zcard(f"{PREFIX}ready:{queue}")
                pipeline.zrange(f"{PREFIX}ready:{queue}", 0, 0, withscores=True)
            for what, of in timed:
                pipeline.hgetall(f"{PREFIX}seconds:{what}:{of}")
            answers = iter(pipeline.execute())
        now_ms = self._now_s() * 1000
        jobs = {pair: next(answers) for pair in pairs}
        waiting, oldest = {}, {}
        for queue in QUEUES:
            waiting[queue] = next(answers)
            oldest[queue] = max((max(0.0, now_ms - score) / 1000 for _, score in next(answers)), default=0.0)
        seconds = {pair: {name: float(value) for name, value in next(answers).items()} for pair in timed}
        return QueueStats(jobs, waiting, oldest, self.workers(), seconds)

    def _now_s(self) -> float:
        seconds, microseconds = self._client.time()
        return float(seconds) + microseconds / 1e6


def _out_of_space(error: redis.ResponseError) -> QueueOutOfSpace | None:
    """Return the error of a full server for its refusal; None if it refuses for another reason."""
    if isinstance(error, redis.OutOfMemoryError):
        return QueueOutOfSpace("The memory of the queue's server is full (maxmemory)")
    # In a script, the server puts other words around its refusal.
    if DISK_REFUSAL in str(error):
        return QueueOutOfSpace("The queue's server cannot write its append-only file: its disk is full or damaged")
    return None


def _refusal(conflict: str, answer: Mapping[str, Any], parameters: JobParameters) -> Exception:
    if conflict == "idempotency":
        return IdempotencyConflict(
            f"This Idempotency-Key was used for another request, which created the job {answer['job']}: use a new key."
        )
    if conflict == "cancelling":
        return JobConflict(f"The job {answer['job']} on the same dataset is being cancelled: try again in a moment.")
    if conflict == "full":
        return QueueFull(
            f"{answer['waiting']} units of work already wait, and the maximum is {MOST_WAITING}: try again later."
        )
    return JobConflict(
        f"The job {answer['job']} on the same dataset has other parameters and has not ended. Only one "
        f"{parameters.kind} of a dataset can run at a time: wait for its end, or cancel it."
    )


def _require_hash(record: object) -> Mapping[str, str]:
    if not isinstance(record, dict):  # the error of a key of another type
        raise JobRecordDamaged(f"The record of a job is damaged ({record}).")
    return record


def _worker_of(name: str, facts: Mapping[str, Any], now_s: float) -> WorkerInfo:
    """Return a worker from its heartbeat.

    A heartbeat from the future is from before the clock was set back. A worker that is alive sends the next one within
    seconds, so the difference counts in both directions.
    """
    ago_s = abs(now_s - float(facts["at"]))
    queues = tuple(queue for queue in QUEUES if queue in facts["queues"])
    return WorkerInfo(name, queues, int(facts["children"]), str(facts["version"]), ago_s)


def _nudges(answer: Mapping[str, Any]) -> Nudges | None:
    return Nudges(answer["queue"], answer["nudges"]) if "nudges" in answer else None


def _lease_ms(queue: QueueName) -> int:
    return _ms(LEASE_S * (TRAINING_PATIENCE if queue == "training" else 1))


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
