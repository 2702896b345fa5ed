"""Live model (load, verify, then replace one reference), and the threads that judge recordings."""

import asyncio
import contextvars
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import TypeVar

from api.errors import Busy, NoModel
from ml.errors import AliasNotSet, ModelError
from ml.models.predictor import Predictor
from ml.models.registry import FIRST_MODEL, Registry
from ml.system.native import quiet_native_stderr

logger = logging.getLogger("signalml.serving")
# A champion that failed to load is tried again after this time, even without a change: its disk may be back.
RETRY_FAILED_S = 15.0
T = TypeVar("T")


class LiveModel:
    """Champion that this process serves.

    A request reads :attr:`current` once, so that its whole answer comes from one version. If a new champion cannot be
    loaded or verified, or does not answer its golden clip, the model before it continues to answer.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._seen: tuple[object, ...] | None = None
        self._attempted_at = float("-inf")
        self._refreshing = threading.Lock()
        self.current: Predictor | None = None
        self.failure: str | None = None

    def predictor(self) -> Predictor:
        """Return the predictor of the model that answers.

        Raises:
            NoModel: no model is loaded yet.
        """
        if self.current is None:
            raise NoModel(self.failure or f"There is no champion yet. {FIRST_MODEL}")
        return self.current

    def refresh(self) -> None:
        """Check the registry, and load the champion if it, its labels or its threshold changed. Blocks.

        Only one check runs at a time: a model that loads slowly must not replace a later one.
        """
        with self._refreshing:
            self._refresh()

    def _refresh(self) -> None:
        try:
            state = self._registry.champion_stamp()
            retry = self.failure is not None and time.monotonic() - self._attempted_at > RETRY_FAILED_S
            if state == self._seen and not retry:
                return
            # LiteRT prints a note about the CPU once; during the first check, nothing else writes to stderr.
            quiet = quiet_native_stderr() if self._seen is None else nullcontext()
            # Stored before loading: the next check sees a change that happens meanwhile.
            self._seen, self._attempted_at = state, time.monotonic()
            with quiet:
                self.current = self._registry.load_predictor("champion")
        except AliasNotSet as error:
            self.failure = None  # no champion yet, or it was removed: the last good model stays
            if self.current is None:
                logger.warning("%s", error)
        except Exception as error:  # after any error, the last good model stays, and /readyz reports the reason
            expected = isinstance(error, (ModelError, OSError))
            failure = str(error) if expected else f"{type(error).__name__}: {error}"
            if failure != self.failure:
                logger.error("the champion cannot be served: %s", failure, exc_info=not expected)
            self.failure = failure
        else:
            self.failure = None
            facts = {
                "version": self.current.model.version,
                "labels_revision": self.current.model.labels_revision,
                "threshold_revision": self.current.model.threshold_revision,
            }
            logger.info("serving", extra={"facts": facts})

    async def poll_forever(self, interval_s: float) -> None:
        """Refresh every ``interval_s`` seconds."""
        while True:
            await asyncio.sleep(interval_s)
            await asyncio.to_thread(self.refresh)


class InferenceExecutor:
    """Fixed number of threads with a bounded queue."""

    def __init__(self, threads: int, queue: int) -> None:
        self._threads = threads
        self._places = threads + queue
        self._taken = 0

    def start(self) -> None:
        """Start the threads; also possible after :meth:`close`."""
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="inference")

    def refuse_if_full(self) -> None:
        """Refuse a request if no place is free.

        Raises:
            Busy: every thread and every place in the queue is taken.
        """
        if self._taken >= self._places:
            raise Busy("All places for inference are taken; try again in a moment.")

    async def run(self, work: Callable[[], T], admitted: bool = False) -> T:
        """Run ``work`` in a thread, under the id of the request.

        Args:
            work: function to run.
            admitted: whether its request was accepted before; it is then not refused half-way.

        Raises:
            Busy: every thread and every place in the queue is taken.
        """
        if not admitted:
            self.refuse_if_full()
        loop = asyncio.get_running_loop()
        self._taken += 1
        future = self._pool.submit(contextvars.copy_context().run, work)
        # The place is free when the thread has finished, not when the client disconnects.
        future.add_done_callback(lambda _: self._release_from_thread(loop))
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """Wait for the running calls, and drop those in the queue."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _release_from_thread(self, loop: asyncio.AbstractEventLoop) -> None:
        def release() -> None:
            self._taken -= 1

        if not loop.is_closed():
            loop.call_soon_threadsafe(release)
