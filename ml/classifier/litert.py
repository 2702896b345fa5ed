"""The classifier's network in service: LiteRT, with one interpreter for each concurrent call."""

from collections.abc import Iterator
from contextlib import contextmanager
from queue import Empty, LifoQueue

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from ml.errors import BundleDamaged

# Errors of LiteRT for a damaged network. A damaged name of a tensor is a UnicodeDecodeError, which is a ValueError.
NETWORK_ERRORS = (ValueError, RuntimeError, MemoryError, IndexError, KeyError, TypeError)


class LiteRTNetwork:
    """LiteRT network that several threads can call at once.

    An interpreter serves one call at a time. A call takes an idle interpreter or makes a new one, so there are at most
    as many as there were concurrent calls. Each runs on one thread: the same input gives the same bits.

    Args:
        model: content of a ``.tflite`` file.

    Attributes:
        input_shape: shape of the input: ``(1, rows, frames, 1)``.
        classes: number of classes.

    Raises:
        BundleDamaged: LiteRT cannot read the file, or it has not one float32 input and one float32 output.
    """

    def __init__(self, model: bytes) -> None:
        self._model = model
        self._idle: LifoQueue[Interpreter] = LifoQueue()
        first = self._interpreter()
        with _translate_damage():
            inputs, outputs = first.get_input_details(), first.get_output_details()
        if [tensor["dtype"] for tensor in (*inputs, *outputs)] != [np.float32, np.float32] or len(inputs) != 1:
            raise BundleDamaged(
                f"The network has {len(inputs)} inputs and {len(outputs)} outputs; one of each, float32, was expected."
            )
        if len(outputs[0]["shape"]) != 2 or outputs[0]["shape"][0] != 1:
            raise BundleDamaged(
                f"The network's output has shape {outputs[0]['shape'].tolist()}; "
                "probabilities of one clip were expected."
            )
        self._input, self._output = inputs[0]["index"], outputs[0]["index"]
        self.input_shape: tuple[int, ...] = tuple(int(n) for n in inputs[0]["shape"])
        self.classes = int(outputs[0]["shape"][-1])
        self._idle.put(first)

    def __call__(self, clip: NDArray[np.float32]) -> NDArray[np.float32]:
        """Compute the probabilities of the classes for one clip.

        Args:
            clip: float32, of shape ``input_shape``.

        Returns:
            float32 ``(classes,)``, 0 to 1.

        Raises:
            BundleDamaged: LiteRT cannot compute the network.
        """
        try:
            interpreter = self._idle.get_nowait()
        except Empty:
            interpreter = self._interpreter()
        try:
            with _translate_damage():
                interpreter.set_tensor(self._input, clip)
                interpreter.invoke()
                probabilities: NDArray[np.float32] = interpreter.get_tensor(self._output)[0]
        finally:
            self._idle.put(interpreter)
        return probabilities

    def _interpreter(self) -> Interpreter:
        with _translate_damage():
            interpreter = Interpreter(model_content=self._model, num_threads=1)
            interpreter.allocate_tensors()
        return interpreter


@contextmanager
def _translate_damage() -> Iterator[None]:
    """Raise BundleDamaged in place of an error of LiteRT."""
    try:
        yield
    except NETWORK_ERRORS as error:
        raise BundleDamaged(f"LiteRT cannot read the network: {error}") from error
