"""The live predictor: load, verify, warm, swap one reference; and the bounded executor that it works in."""

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
from ml.models.registry import Registry
from ml.system.native import quiet_native_stderr

logger = logging.getLogger("signalml.serving")
# A champion that failed to load is tried again after this long even if nothing changed: its disk may have come back.
RETRY_FAILED_S = 15.0
T = TypeVar("T")


class LiveModel:
    """The champion, as this process serves it.

    A request takes :attr:`current` once and keeps to it, so that its answer is wholly from one version. A champion that
    cannot be loaded, verified or made to answer its golden clip leaves the model before it in place.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._seen: tuple[object, ...] | None = None
        self._tried_at = float("-inf")
        self._refreshing = threading.Lock()
        self.current: Predictor | None = None
        self.failure: str | None = None

    def predictor(self) -> Predictor:
        """The predictor to answer with.

        Raises:
            NoModel: there is none yet.
        """
        if self.current is None:
            raise NoModel(
                self.failure or "No model is champion yet: import one with  signalml models import FILE --promote"
            )
        return self.current

    def refresh(self) -> None:
        """Look at the registry, and swap if the champion or what may change of it has changed. Not for the event loop.

        One look at a time: a model that is slow to load must not go live after a later one.
        """
        with self._refreshing:
            self._refresh()

    def _refresh(self) -> None:
        try:
            state = self._registry.champion_stamp()
            retry = self.failure is not None and time.monotonic() - self._tried_at > RETRY_FAILED_S
            if state == self._seen and not retry:
                return
            # LiteRT says once that it has found a CPU; at the first look nobody else writes to stderr yet.
            quiet = quiet_native_stderr() if self._seen is None else nullcontext()
            # Noted before loading: what changes meanwhile is seen by the next look.
            self._seen, self._tried_at = state, time.monotonic()
            with quiet:
                self.current = self._registry.load_predictor("champion")
        except AliasNotSet as error:
            self.failure = None  # nothing promoted yet, or taken away: the last good model goes on
            if self.current is None:
                logger.warning("%s", error)
        except Exception as error:  # whatever it is, the last good model goes on, and /readyz says why
            foreseen = isinstance(error, (ModelError, OSError))
            failure = str(error) if foreseen else f"{type(error).__name__}: {error}"
            if failure != self.failure:
                logger.error("the champion cannot be served: %s", failure, exc_info=not foreseen)
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
        """Refresh for ever."""
        while True:
            await asyncio.sleep(interval_s)
            await asyncio.to_thread(self.refresh)


class InferenceExecutor:
    """A fixed number of threads and a bounded line before them."""

    def __init__(self, threads: int, queue: int) -> None:
        self._threads = threads
        self._places = threads + queue
        self._taken = 0

    def start(self) -> None:
        """Take up work; after :meth:`close`, again."""
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="inference")

    def refuse_if_full(self) -> None:
        """Tell a client at once that it has to wait.

        Raises:
            Busy: every thread and every place in line is taken.
        """
        if self._taken >= self._places:
            raise Busy("All places for inference are taken; try again in a moment.")

    async def run(self, work: Callable[[], T], admitted: bool = False) -> T:
        """Run ``work`` in a thread, under the request's id.

        Args:
            work: what to run.
            admitted: it belongs to a request that has been let in, and is not refused half-way.

        Raises:
            Busy: every thread and every place in line is taken.
        """
        if not admitted:
            self.refuse_if_full()
        loop = asyncio.get_running_loop()
        self._taken += 1
        future = self._pool.submit(contextvars.copy_context().run, work)
        # The place is free when the thread is, not when a client has hung up.
        future.add_done_callback(lambda _: self._release_from_thread(loop))
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """Let the running calls end, and drop those in line."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _release_from_thread(self, loop: asyncio.AbstractEventLoop) -> None:
        def release() -> None:
            self._taken -= 1

        if not loop.is_closed():
            loop.call_soon_threadsafe(release)
