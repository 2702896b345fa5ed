"""Models of all sources: each is loaded once, and its changes are followed."""

import threading
from collections.abc import Iterable
from pathlib import Path

from ml.models.live_model import LiveModel
from ml.models.registry import Registry


class Models:
    """Models by their references, safe from any thread.

    Args:
        home: SIGNALML_HOME.
    """

    def __init__(self, home: Path) -> None:
        self._registry = Registry(home)
        self._live: dict[str, LiveModel] = {}
        self._lock = threading.Lock()

    def use(self, references: Iterable[str]) -> None:
        """Set which models are needed; the others are released."""
        with self._lock:
            self._live = {each: self._live.get(each) or LiveModel(self._registry, each) for each in references}

    def get(self, reference: str) -> LiveModel:
        """Return a model; it is loaded by the next :meth:`refresh`."""
        with self._lock:
            if reference not in self._live:
                self._live[reference] = LiveModel(self._registry, reference)
            return self._live[reference]

    def refresh(self) -> None:
        """Load the models that are new or changed. Blocks."""
        with self._lock:
            live = list(self._live.values())
        for each in live:
            each.refresh()
