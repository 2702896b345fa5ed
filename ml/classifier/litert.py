"""The network at serving time: LiteRT, one interpreter per concurrent call, kept for the next."""

from queue import Empty, LifoQueue

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from ml.errors import BundleDamaged


class LiteRTNetwork:
    """A LiteRT model that any number of threads may call.

    An interpreter serves one call at a time; a call takes an idle one or makes its own, so there are never more than
    there were calls at once. Each runs on one thread: the same input gives the same bits.

    Args:
        model: the content of a ``.tflite`` file.

    Raises:
        BundleDamaged: LiteRT cannot read it, or it is not one float input to one float output.
    """

    def __init__(self, model: bytes) -> None:
        self._model = model
        self._idle: LifoQueue[Interpreter] = LifoQueue()
        first = self._interpreter()
        inputs, outputs = first.get_input_details(), first.get_output_details()
        if [tensor["dtype"] for tensor in (*inputs, *outputs)] != [np.float32, np.float32] or len(inputs) != 1:
            raise BundleDamaged(
                f"The network has {len(inputs)} inputs and {len(outputs)} outputs; one of each, in float32, is served."
            )
        if len(outputs[0]["shape"]) != 2 or outputs[0]["shape"][0] != 1:
            raise BundleDamaged(
                f"The network answers {list(outputs[0]['shape'])}; probabilities of one clip are served."
            )
        self._input, self._output = inputs[0]["index"], outputs[0]["index"]
        self.input_shape: tuple[int, ...] = tuple(int(n) for n in inputs[0]["shape"])
        self.classes = int(outputs[0]["shape"][-1])
        self._idle.put(first)

    def __call__(self, clip: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probabilities of the classes.

        Args:
            clip: float32, of ``input_shape``.

        Returns:
            float32, shape ``(classes,)``.
        """
        try:
            interpreter = self._idle.get_nowait()
        except Empty:
            interpreter = self._interpreter()
        try:
            interpreter.set_tensor(self._input, clip)
            interpreter.invoke()
            probabilities: NDArray[np.float32] = interpreter.get_tensor(self._output)[0]
        finally:
            self._idle.put(interpreter)
        return probabilities

    def _interpreter(self) -> Interpreter:
        try:
            interpreter = Interpreter(model_content=self._model, num_threads=1)
            interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise BundleDamaged(f"LiteRT cannot read the network: {error}") from error
        return interpreter
