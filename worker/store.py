"""The records of all jobs, in Redis. Every change is one script there (``transitions.lua``): whole, or not made."""

import hashlib
import json
import secrets
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import redis

from worker.jobs import (
    JOB_KINDS,
    JOB_STATES,
    MAX_ATTEMPTS,
    PARAMETERS,
    QUEUES,
    IdempotencyConflict,
    Job,
    JobConflict,
    JobError,
    JobKind,
    JobNotFound,
    JobPage,
    JobParameters,
    JobState,
    QueueFull,
    QueueName,
    QueueUnavailable,
)
from worker.records import LeasedUnit, LeaseLost, LeaseStatus, Nudges, QueueStats, Submission, WorkerInfo, job_of

SCRIPT = (Path(__file__).parent / "transitions.lua").read_text()
PREFIX = "signalml:"
# Celery's own keys; its list of a queue's messages is at the queue's name behind it.
CELERY_PREFIX = PREFIX + "celery:"
# A worker renews its leases every BEAT_S. One that is not heard of for LEASE_S is given up; with a sweep every SWEEP_S
# its work goes on elsewhere within 15 s. A training, which runs where nobody wants the core, may be silent for longer:
# measured on one core beside six busy loops, for 20 s.
LEASE_S, RENEW_INTERVAL_S, SWEEP_S = 12.0, 1.0, 1.0
TRAINING_PATIENCE = 2
# Where nobody has swept for so long, nobody could renew either: leases then get another LEASE_S.
GAP_S = 6.0
# A running job whose worker does not say that it stopped is ended without its word.
CANCEL_PATIENCE_S = 3.0
IDEMPOTENCY_S = 24 * 3600
MOST_WAITING = 20_000
FORGOTTEN_AT_ONCE = 100
# A page looks at so many records at a time, and so often at most; where few of them fit, it is short, and has a next.
LOOKED_AT_ONCE, LOOKS_A_PAGE = 100, 20
# A frozen server accepts connections and never answers.
TIMEOUT_S = 1.0
EVENTS_WAIT_MS, EVENTS_AT_ONCE = 500, 500


def connect(url: str, *, timeout_s: float = TIMEOUT_S) -> redis.Redis:
    """A client that never waits long, and never tries twice: whoever can wait says so.

    Raises:
        QueueUnavailable: ``url`` is no address of a Redis server.
    """
    try:
        return redis.Redis.from_url(
            url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s, retry=None, decode_responses=True
        )
    except ValueError:  # its own sentence holds pieces of the password
        raise QueueUnavailable(
            "SIGNALML_REDIS_URL is no address: redis://[:password@]host:port/db was expected."
        ) from None


def events_key(job: str) -> str:
    """The stream of a job's events."""
    return f"{PREFIX}job:{job}:events"


def new_id() -> str:
    """24 hexadecimal digits that sort by time: milliseconds, then chance."""
    return f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(6)}"


class JobStore:
    """The records. Any number of processes and threads may use one.

    Every method raises ``redis.RedisError`` where the server cannot be asked.
    """

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._script = client.register_script(SCRIPT)

    def _call(self, operation: str, **arguments: Any) -> Any:
        return json.loads(self._script(args=[operation, json.dumps(arguments)]))

    # Asked by clients

    def has_idempotency_key(self, idempotency_key: str) -> bool:
        """Whether a request with this key made a job, not longer ago than :data:`IDEMPOTENCY_S`."""
        return bool(self._client.exists(f"{PREFIX}idempotency:{idempotency_key}"))

    def submit(self, parameters: JobParameters, *, request_id: str, idempotency_key: str = "") -> Submission:
        """Write the record of a job, unless the same request made one before.

        Raises:
            IdempotencyConflict: the key was used for another request.
            JobConflict: a job under way, asked for in other words, excludes this one.
            QueueFull
        """
        written = parameters.model_dump_json()
        answer = self._call(
            "submit",
            job=new_id(),
            kind=parameters.kind,
            queue=parameters.queue,
            queues=QUEUES,
            most_waiting=MOST_WAITING,
            parameters=written,
            request_id=request_id,
            exclusive=parameters.exclusive_key or "",
            dataset=getattr(parameters, "dataset", ""),
            idempotency=idempotency_key,
            idempotency_s=IDEMPOTENCY_S,
            digest=hashlib.sha256(f"{parameters.kind} {written}".encode()).hexdigest(),
        )
        if conflict := answer.get("conflict"):
            raise _refusal(conflict, answer, parameters)
        return Submission(self.get(answer["job"]), answer["created"])

    def get(self, job: str) -> Job:
        """The record.

        Raises:
            JobNotFound
        """
        record = cast("dict[str, str]", self._client.hgetall(f"{PREFIX}job:{job}"))
        if not record:
            raise JobNotFound(f"There is no job {job!r}; records of jobs that ended are kept for a while only.")
        return job_of(record)

    def list_jobs(
        self,
        *,
        kinds: Sequence[JobKind] = JOB_KINDS,
        states: Sequence[JobState] = JOB_STATES,
        dataset: str | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> JobPage:
        """Jobs of some kinds and states, the newest first, from the one before ``cursor`` on."""
        found: list[Job] = []
        for _ in range(LOOKS_A_PAGE):
            ids = self._ids(kinds, states, dataset, cursor, max(limit + 1, LOOKED_AT_ONCE))
            found += [job for job in self._records(ids) if job.kind in kinds and job.state in states]
            cursor = ids[-1] if len(ids) >= LOOKED_AT_ONCE else None
            if cursor is None or len(found) > limit:
                break
        more = len(found) > limit
        return JobPage(jobs=found[:limit], next=found[limit - 1].id if more else cursor)

    def _ids(
        self, kinds: Sequence[JobKind], states: Sequence[JobState], dataset: str | None, cursor: str | None, count: int
    ) -> list[str]:
        keys = [f"{PREFIX}index:{kind}:{state}" for kind in kinds for state in states]
        if dataset is not None:
            keys = [f"{PREFIX}dataset:{dataset}"]
        newest = f"({cursor}" if cursor else "+"
        with self._client.pipeline(transaction=False) as asked:
            for key in keys:
                asked.zrange(key, newest, "-", desc=True, bylex=True, offset=0, num=count)
            answers = asked.execute()
        return sorted((job for ids in answers for job in ids), reverse=True)[:count]

    def _records(self, ids: Sequence[str]) -> list[Job]:
        with self._client.pipeline(transaction=False) as asked:
            for job in ids:
                asked.hgetall(f"{PREFIX}job:{job}")
            return [job_of(record) for record in asked.execute() if record]

    def cancel(self, job: str) -> Job:
        """Ask for the end of a job: at once if nobody works on it, otherwise within seconds. An ended one stays so.

        Raises:
            JobNotFound
        """
        self._call("cancel", job=job, patience_ms=_ms(CANCEL_PATIENCE_S))
        return self.get(job)

    def result_file(self, job: str) -> str | None:
        """Name of the file in the job's folder that holds its rows; None while there is none."""
        return cast("str | None", self._client.hget(f"{PREFIX}job:{job}", "result"))

    def events(
        self, job: str, after: str, wait_ms: int | None = EVENTS_WAIT_MS
    ) -> list[tuple[str, str, dict[str, Any]]]:
        """What happened to a job after an event: id, kind and data of each; waits a moment where there is none."""
        answer: Any = self._client.xread({events_key(job): after}, count=EVENTS_AT_ONCE, block=wait_ms)
        return [(entry, f["event"], json.loads(f["data"])) for _, entries in answer for entry, f in entries]

    # Asked by workers

    def take(self, queue: QueueName, worker: str, call: str) -> LeasedUnit | None:
        """The unit of work whose turn it is, under a lease; None if nothing waits.

        Args:
            queue: whose.
            worker: who takes it, for the log.
            call: another for each unit; the same again, where no answer came, so that no unit is given to nobody.
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

    def renew(self, taken: LeasedUnit) -> LeaseStatus:
        """Keep the lease for another while, if it is still ours."""
        hold: LeaseStatus = self._call_for_unit("renew", taken, lease_ms=_lease_ms(taken.parameters.queue))["hold"]
        return hold

    def progress(self, taken: LeasedUnit, step: str, done: int, total: int, message: str) -> None:
        """Say how far it is; lost with the lease, since nobody needs it then."""
        self._call_for_unit("progress", taken, step=step, done=done, total=total, message=message)

    def log(self, taken: LeasedUnit, message: str) -> None:
        """Tell whoever watches; lost with the lease."""
        self._call_for_unit("log", taken, message=message)

    def pin(self, taken: LeasedUnit, **fields: str) -> None:
        """Note facts that later attempts must find as they are now.

        Raises:
            Fenced
        """
        self._call_or_lose("pin", taken, fields=fields)

    def fan_out(self, taken: LeasedUnit, stops: Sequence[int], step: str) -> Nudges | None:
        """Put parts in the place of this unit: each of so many items.

        Raises:
            Fenced
        """
        return _nudges(self._call_or_lose("fan_out", taken, stops=stops, step=step, total=sum(stops)))

    def advance(self, taken: LeasedUnit, at: int, part: str) -> Nudges | None:
        """Note that the items before ``at`` are done, and which file holds what came of those since the last time.

        Raises:
            Fenced
        """
        return _nudges(self._call_or_lose("advance", taken, at=at, part=part))

    def part_files(self, taken: LeasedUnit) -> list[str]:
        """The files of all parts, in order.

        Raises:
            Fenced
        """
        return list(self._call_or_lose("parts", taken)["files"])

    def succeed(self, taken: LeasedUnit, summary: Mapping[str, Any], result: str) -> None:
        """End the job: all is done.

        Raises:
            Fenced
        """
        self._call_or_lose("succeed", taken, summary=json.dumps(summary, allow_nan=False), result=result)

    def fail(self, taken: LeasedUnit, error: JobError) -> None:
        """End the job: it cannot be done.

        Raises:
            Fenced
        """
        self._call_or_lose("fail", taken, error=error.model_dump_json())

    def release(self, taken: LeasedUnit) -> Nudges | None:
        """Hand the unit back undone; of a job that is being cancelled, let it go.

        Raises:
            Fenced
        """
        return _nudges(self._call_or_lose("release", taken))

    def _call_for_unit(self, operation: str, taken: LeasedUnit, **arguments: Any) -> Any:
        return self._call(operation, job=taken.job_id, unit=taken.name, token=taken.token, **arguments)

    def _call_or_lose(self, operation: str, taken: LeasedUnit, **arguments: Any) -> Any:
        answer = self._call_for_unit(operation, taken, **arguments)
        if answer["hold"] == "lost":
            raise LeaseLost(f"{taken.job_id}/{taken.name} is no longer leased under the token {taken.token}.")
        return answer

    # Asked by whoever keeps house

    def sweep(self) -> list[Nudges]:
        """Give up workers that were not heard of; returns the messages that each queue lacks."""
        answer = self._call(
            "sweep",
            interval_ms=_ms(SWEEP_S) // 2,
            gap_ms=_ms(GAP_S),
            lease_ms=_lease_ms("training"),
            most_attempts=MAX_ATTEMPTS,
            lists={queue: CELERY_PREFIX + queue for queue in QUEUES},
        )
        return [Nudges(queue, answer["nudges"][queue]) for queue in QUEUES if answer["nudges"].get(queue)]

    def prune(self, kept_s: float) -> list[str]:
        """Forget some of the jobs that ended longer ago than this; returns their ids."""
        return list(self._call("prune", kinds=JOB_KINDS, most=FORGOTTEN_AT_ONCE, kept_ms=_ms(kept_s))["forgotten"])

    def heartbeat(self, name: str, queues: Sequence[QueueName], children: int, version: str) -> None:
        """Say that a worker is alive."""
        said = {"queues": queues, "children": children, "version": version, "at": self._now_s()}
        self._client.hset(f"{PREFIX}workers", name, json.dumps(said))

    def remove_worker(self, name: str) -> None:
        """Say that a worker has stopped."""
        self._client.hdel(f"{PREFIX}workers", name)

    def workers(self, within_s: float = 3600) -> tuple[WorkerInfo, ...]:
        """Workers that were heard of, the latest first; those of longer ago are forgotten."""
        now = self._now_s()
        found = []
        for name, text in cast("dict[str, str]", self._client.hgetall(f"{PREFIX}workers")).items():
            said = json.loads(text)
            ago = max(0.0, now - said["at"])
            if ago > within_s:
                self.remove_worker(name)
            else:
                found.append(WorkerInfo(name, tuple(said["queues"]), said["children"], said["version"], ago))
        return tuple(sorted(found, key=lambda worker: worker.seconds_ago))

    def stats(self) -> QueueStats:
        """Count everything; takes the same time however many jobs there are."""
        pairs = [(kind, state) for kind in JOB_KINDS for state in JOB_STATES]
        timed = [(what, kind) for what in ("wait", "run") for kind in JOB_KINDS]
        with self._client.pipeline(transaction=False) as asked:
            for kind, state in pairs:
                asked.zcard(f"{PREFIX}index:{kind}:{state}")
            for queue in QUEUES:
                asked.zcard(f"{PREFIX}ready:{queue}")
                asked.zrange(f"{PREFIX}ready:{queue}", 0, 0, withscores=True)
            for what, of in timed:
                asked.hgetall(f"{PREFIX}seconds:{what}:{of}")
            answers = iter(asked.execute())
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


def _refusal(conflict: str, answer: Mapping[str, Any], parameters: JobParameters) -> Exception:
    if conflict == "idempotency":
        return IdempotencyConflict(
            f"This Idempotency-Key was used for another request, which made the job {answer['job']}: use a new key."
        )
    if conflict == "cancelling":
        return JobConflict(f"The job {answer['job']} is being cancelled on the same dataset: ask again in a moment.")
    if conflict == "full":
        return QueueFull(f"{answer['waiting']} pieces of work wait already; at most {MOST_WAITING} are taken on.")
    return JobConflict(
        f"The job {answer['job']} is under way on the same dataset with other parameters, and only one "
        f"{parameters.kind} of a dataset runs at a time: wait for it, or cancel it."
    )


def _nudges(answer: Mapping[str, Any]) -> Nudges | None:
    return Nudges(answer["queue"], answer["nudges"]) if "nudges" in answer else None


def _lease_ms(queue: QueueName) -> int:
    return _ms(LEASE_S * (TRAINING_PATIENCE if queue == "training" else 1))


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
