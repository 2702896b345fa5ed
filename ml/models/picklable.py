"""Predictor that can be sent to other processes."""

import pickle
from functools import lru_cache
from typing import Any

from ml.models.predictor import Predictor
from ml.models.served import ServedModel
from ml.system.native import quiet_native_stderr, reuse_memory


class PicklablePredictor:
    """Predictor that each other process creates again, once, from its bundle.

    Args:
        predictor: the model; this process uses it directly.
    """

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor
        self._packed: bytes | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the model; different models give different bytes, so no process confuses them."""
        if self._packed is None:
            self._packed = pickle.dumps(self.predictor.model)
        return _unpickle_predictor, (self._packed,)


@lru_cache(maxsize=1)
def _unpickle_predictor(packed: bytes) -> PicklablePredictor:
    reuse_memory()
    model: ServedModel = pickle.loads(packed)  # noqa: S301 - packed by the process that started this one
    with quiet_native_stderr():
        return PicklablePredictor(Predictor(model))
