"""A predictor that can be handed to other processes."""

import pickle
from functools import lru_cache
from typing import Any

from ml.models.predictor import Predictor
from ml.models.served import ServedModel
from ml.system.native import quiet_native_stderr, reuse_memory


class PicklablePredictor:
    """A predictor that other processes build again from its bundle, once each.

    Args:
        predictor: the model; in this process it is used as it is.
    """

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor
        self._packed: bytes | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """A model that differs in anything is other bytes, so that no process can mistake one for another."""
        if self._packed is None:
            self._packed = pickle.dumps(self.predictor.model)
        return _unpickle_predictor, (self._packed,)


@lru_cache(maxsize=1)
def _unpickle_predictor(packed: bytes) -> PicklablePredictor:
    reuse_memory()
    model: ServedModel = pickle.loads(packed)  # noqa: S301 - packed by the process that started this one
    with quiet_native_stderr():
        return PicklablePredictor(Predictor(model))
