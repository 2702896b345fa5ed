"""Access of routes to the job queue: in separate threads, within two seconds.

Uploads and models never wait for the queue, because its calls have a few threads of their own. If its server does not
answer, no further call is made for one second. So a frozen server delays one request and not all.
"""

import asyncio
import contextvars
import time
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import redis
import redis.asyncio

from api.event_streams import StreamEvent, StreamPlaces
from worker.jobs import QueueUnavailable
from worker.queue import JobQueue
from worker.records import QueueOutOfSpace
from worker.store import EVENTS_AT_ONCE, events_key

THREADS = 4
# Limit for one answer of the server; a call needs one or two.
TIMEOUT_S = 0.7
BACKOFF_S = 1.0
# A stream of events waits this long for the next event before it sends a sign of life.
EVENTS_WAIT_MS = 1000
NOT_CONFIGURED = "No job queue is configured: set SIGNALML_REDIS_URL, or start the service with  signalml run"
T = TypeVar("T")


class JobQueueClient:
    """Job queue of one application. It connects at the first call.

    Args:
        url: address of the server; None without a queue.
        streams: places for clients that watch jobs.
    """

    def __init__(self, url: str | None, streams: StreamPlaces) -> None:
        self._url = url
        self._queue: JobQueue | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._backoff_until = 0.0
        self._problem = ""
        self._streams = streams

    @property
    def configured(self) -> bool:
        """Whether a queue is configured."""
        return self._url is not None

    async def run(self, call: Callable[[JobQueue], T]) -> T:
        """Run ``call`` with the queue in a thread, and return its result.

        Errors of ``call`` are raised, too.

        Raises:
            QueueUnavailable: no queue is configured, or it does not answer within two seconds.
        """
        self._refuse_during_backoff()
        if self._pool is None:
            self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="jobs")
        context = contextvars.copy_context()
        return await asyncio.wrap_future(self._pool.submit(context.run, self._run_in_thread, call))

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None

    def events(self, job: str, after: str) -> AsyncGenerator[StreamEvent | None]:
        """Return the events of a job as they arrive, up to the last one; None now and then while none arrives.

        If the server is away, the stream waits for it and continues after the last event.

        Args:
            job: id of the job.
            after: id of an event; only later events are returned.

        Raises:
            Busy: the largest number of clients is watching already.
        """
        self._streams.refuse_if_full("watch jobs or events")
        return self._events(job, after)

    async def _events(self, job: str, after: str) -> AsyncGenerator[StreamEvent | None]:
        with self._streams.taken():
            client = redis.asyncio.Redis.from_url(
                self._url or "",
                decode_responses=True,
                encoding_errors="backslashreplace",
                socket_timeout=EVENTS_WAIT_MS / 1000 + TIMEOUT_S,
                retry=None,
            )
            try:
                while not self._streams.closing():
                    try:
                        found = await _read(client, job, after)
                    except (redis.RedisError, OSError):
                        await asyncio.sleep(BACKOFF_S)
                        found = []
                    for event in found:
                        after = event.id
                        yield event
                        if event.kind == "end":
                            return
                    if not found:
                        yield None
            finally:
                await client.aclose()

    def _run_in_thread(self, call: Callable[[JobQueue], T]) -> T:
        self._refuse_during_backoff()
        try:
            return call(self._connected())
        except QueueOutOfSpace as error:
            raise QueueUnavailable(f"{error}; no job can be submitted or changed. Try again later.") from error
        except redis.RedisError as error:
            self._problem = f"The job queue does not answer ({type(error).__name__}: {error}); try again in a moment."
            self._backoff_until = time.monotonic() + BACKOFF_S
            raise QueueUnavailable(self._problem) from error

    def _connected(self) -> JobQueue:
        if self._queue is None:
            self._queue = JobQueue(self._url or "", timeout_s=TIMEOUT_S)
        return self._queue

    def _refuse_during_backoff(self) -> None:
        if self._url is None:
            raise QueueUnavailable(NOT_CONFIGURED)
        if time.monotonic() < self._backoff_until:
            raise QueueUnavailable(self._problem)


async def _read(client: Any, job: str, after: str) -> list[StreamEvent]:
    answer = await client.xread({events_key(job): after}, count=EVENTS_AT_ONCE, block=EVENTS_WAIT_MS)
    return [StreamEvent(entry, fields["event"], fields["data"]) for _, entries in answer for entry, fields in entries]
