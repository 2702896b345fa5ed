"""Live model: load, verify, then replace one reference."""

import asyncio
import logging
import threading
import time
from contextlib import nullcontext

from api.errors import NoModel
from ml.errors import AliasNotSet, ModelError
from ml.models.aliases import FIRST_MODEL
from ml.models.predictor import Predictor
from ml.models.registry import Registry
from ml.system.native import quiet_native_stderr

logger = logging.getLogger("signalml.serving")
# A champion that failed to load is tried again after this time, even without a change: its disk may be back.
RETRY_FAILED_S = 15.0


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
