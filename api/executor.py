"""Threads that judge recordings, and the requests that wait for them.

A request waits only as long as its client does, and only for a limited time. What may wait is limited by number and by
seconds of sound, because the work of a recording is proportional to its length.
"""

import asyncio
import contextvars
import math
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Generic, TypeVar

from starlette.requests import ClientDisconnect

from api.errors import Busy

# Most waits are shorter; only for longer ones is the connection of the client watched, which costs a task.
UNWATCHED_S = 0.1
T = TypeVar("T")
Receive = Callable[[], Awaitable[Mapping[str, Any]]]


class InferenceExecutor:
    """Fixed number of threads with a bounded queue.

    Args:
        threads: number of threads.
        queue: number of recordings that may wait.
        max_sound_s: seconds of sound of all recordings that wait or are judged; one is always accepted.
        max_wait_s: longest wait for a thread, in seconds.
    """

    def __init__(self, threads: int, queue: int, max_sound_s: float, max_wait_s: float) -> None:
        self._threads = threads
        self._places = threads + queue
        self._max_sound_s = max_sound_s
        self._max_wait_s = max_wait_s
        self._taken = 0
        self._sound_s = 0.0

    def start(self) -> None:
        """Start the threads; also possible after :meth:`close`."""
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="inference")

    def refuse_if_full(self, sound_s: float = 0.0) -> None:
        """Refuse a request for which there is no place.

        Args:
            sound_s: seconds of sound of its recording; 0 before they are known.

        Raises:
            Busy: every thread and every place in the queue is taken, or the recordings in them are too long.
        """
        if self._taken >= self._places:
            raise Busy("All places for inference are taken; try again in a moment.")
        if self._taken and self._sound_s + sound_s > self._max_sound_s:
            raise Busy(
                f"Recordings of {self._sound_s:.0f} s in total wait; at most {self._max_sound_s:.0f} s "
                "are accepted; try again in a moment."
            )

    async def run(
        self, work: Callable[[], T], sound_s: float = 0.0, receive: Receive | None = None, admitted: bool = False
    ) -> T:
        """Run ``work`` in a thread, under the id of the request.

        Args:
            work: function to run.
            sound_s: seconds of sound of its recording.
            receive: ASGI callable of the request after its body; with it, the work is dropped if the client
                disconnects before a thread begins it.
            admitted: whether its request was accepted before; it is then not refused half-way.

        Raises:
            Busy: there is no place, or no thread was free for the longest wait.
            ClientDisconnect
        """
        if not admitted:
            self.refuse_if_full(sound_s)
        loop = asyncio.get_running_loop()
        waits = self._taken >= self._threads
        self._taken += 1
        self._sound_s += sound_s
        turn = _Turn(work)
        future = self._pool.submit(contextvars.copy_context().run, turn)
        # The place is free when the thread has finished, not when the client disconnects.
        future.add_done_callback(lambda _: self._release_from_thread(loop, sound_s))
        answer = asyncio.wrap_future(future)
        if waits:
            await self._wait_for_turn(turn, future, answer, receive, math.inf if admitted else self._max_wait_s)
        return await answer

    def close(self) -> None:
        """Wait for the running calls, and drop those in the queue."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    async def _wait_for_turn(
        self,
        turn: "_Turn[T]",
        future: "Future[T]",
        answer: "asyncio.Future[T]",
        receive: Receive | None,
        limit_s: float,
    ) -> None:
        """Wait for the end of the work; drop it if no thread begins it in time, or if the client disconnects before."""
        await asyncio.wait({answer}, timeout=min(UNWATCHED_S, limit_s))
        if answer.done():
            return
        gone = asyncio.ensure_future(_disconnect(receive))
        waited_for: set[asyncio.Future[Any]] = {answer, gone}
        try:
            await asyncio.wait(waited_for, timeout=_left(limit_s), return_when=asyncio.FIRST_COMPLETED)
        finally:
            disconnected = gone.done()
            gone.cancel()
        if answer.done() or not future.cancel():
            return
        turn.drop()
        if disconnected:
            raise ClientDisconnect
        raise Busy(f"No thread was free for {limit_s:g} s; try again in a moment.")

    def _release_from_thread(self, loop: asyncio.AbstractEventLoop, sound_s: float) -> None:
        def release() -> None:
            self._taken -= 1
            self._sound_s -= sound_s

        if not loop.is_closed():
            loop.call_soon_threadsafe(release)


class _Turn(Generic[T]):
    """Work that waits for a thread. Dropped work frees its recording at once, and not when a thread comes to it."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._work: Callable[[], T] | None = work

    def __call__(self) -> T:
        assert self._work is not None  # noqa: S101 - for the type checker; a dropped turn was cancelled
        return self._work()

    def drop(self) -> None:
        """Free the work."""
        self._work = None


def _left(limit_s: float) -> float | None:
    """Return the timeout after the unwatched wait; None without a limit."""
    return None if limit_s == math.inf else max(0.0, limit_s - UNWATCHED_S)


async def _disconnect(receive: Receive | None) -> bool:
    """Return when the client disconnects; never without ``receive``."""
    if receive is None:
        await asyncio.get_running_loop().create_future()
    while receive is not None and (await receive())["type"] != "http.disconnect":
        pass
    return True
