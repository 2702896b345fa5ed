"""Live model: load, verify, then replace one reference."""

import logging
import threading
import time
from contextlib import AbstractContextManager, nullcontext

from ml.errors import AliasNotSet, ModelError
from ml.models.aliases import FIRST_MODEL
from ml.models.predictor import Predictor
from ml.models.registry import Registry
from ml.system.native import quiet_native_stderr

logger = logging.getLogger("signalml.serving")
# A model that failed to load is tried again after this time, even without a change: its disk may be back.
RETRY_FAILED_S = 15.0
CHAMPION = "champion"


class LiveModel:
    """Model that this process judges with.

    A caller reads :attr:`current` once, so that its whole answer comes from one version. If a new version cannot be
    loaded or verified, or does not answer its golden clip, the one before it continues to answer.

    Args:
        registry: the models of the home.
        reference: alias, version, or name of a model for its newest version.

    Attributes:
        reference: the reference.
        current: its predictor; None before the first one is loaded.
        failure: why the present model cannot be used; None if it is used, or if the alias is not set.
    """

    def __init__(self, registry: Registry, reference: str = CHAMPION) -> None:
        self._registry = registry
        self._seen: tuple[object, ...] | None = None
        self._attempted_at = float("-inf")
        self._is_checked = False
        self._refreshing = threading.Lock()
        self.reference = reference
        self.current: Predictor | None = None
        self.failure: str | None = None

    @property
    def problem(self) -> str | None:
        """Why there is no model, as a sentence; None if there is one, or before the first check."""
        if self.current is not None or not self._is_checked:
            return None
        if self.failure is not None:
            return self.failure
        return f"There is no {self.reference} yet.{f' {FIRST_MODEL}' if self.reference == CHAMPION else ''}"

    def refresh(self) -> None:
        """Check the registry, and load the model if it, its labels or its threshold changed. Blocks.

        Only one check runs at a time: a model that loads slowly must not replace a later one.
        """
        with self._refreshing:
            self._refresh()
            self._is_checked = True

    def _refresh(self) -> None:
        try:
            state = self._registry.reference_stamp(self.reference)
            retry = self.failure is not None and time.monotonic() - self._attempted_at > RETRY_FAILED_S
            if state == self._seen and not retry:
                return
            quiet = _quiet_once()
            # Stored before loading: the next check sees a change that happens meanwhile.
            self._seen, self._attempted_at = state, time.monotonic()
            with quiet:
                self.current = self._registry.load_predictor(self.reference)
        except AliasNotSet as error:
            self.failure = None  # no model yet, or the alias was removed: the last good model stays
            if self.current is None:
                logger.warning("%s", error)
        except Exception as error:  # after any error, the last good model stays, and its user reports the reason
            expected = isinstance(error, (ModelError, OSError))
            failure = str(error) if expected else f"{type(error).__name__}: {error}"
            if failure != self.failure:
                logger.error("the %s cannot be served: %s", self._shown, failure, exc_info=not expected)
            self.failure = failure
        else:
            self.failure = None
            facts = {
                "version": self.current.model.version,
                "labels_revision": self.current.model.labels_revision,
                "threshold_revision": self.current.model.threshold_revision,
            }
            logger.info("serving", extra={"facts": facts})

    @property
    def _shown(self) -> str:
        return self.reference if self.reference == CHAMPION else f"model {self.reference}"


_is_quiet_due = iter([True])


def _quiet_once() -> AbstractContextManager[object]:
    """Hide the note about the CPU that LiteRT prints once in a process, with its first model.

    Nothing else writes to stderr then: neither requests nor sources are served yet.
    """
    return quiet_native_stderr() if next(_is_quiet_due, False) else nullcontext()
