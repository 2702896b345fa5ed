"""The convolutional network: built in Keras, exported for Keras and for LiteRT, and shown to be the same in both.

This and :mod:`ml.importing` are the only rooms that know Keras; nothing that serves imports them.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is imported: no notes about missing GPUs

import keras
import numpy as np
from numpy.typing import NDArray

from ml.errors import ModelError
from ml.network import Network

# Keras and LiteRT order their sums differently; measured on the original's network: 5e-7.
EXPORT_TOLERANCE = 1e-5


@dataclass(frozen=True, slots=True)
class CnnSpec:
    """The family of networks that the original's belongs to.

    For each of ``filters``: a convolution of ``kernel`` x ``kernel`` with ReLU, max pooling by ``pool`` and dropout;
    then the global average and a softmax over ``classes``.
    """

    rows: int
    frames: int
    classes: int
    filters: tuple[int, ...] = (16, 32, 64)
    kernel: int = 2
    pool: int = 2
    dropout: float = 0.2

    @property
    def weight_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of kernels and biases, layer by layer, in Keras's order."""
        shapes: list[tuple[int, ...]] = []
        channels = 1
        for filters in self.filters:
            shapes += [(self.kernel, self.kernel, channels, filters), (filters,)]
            channels = filters
        return (*shapes, (channels, self.classes), (self.classes,))


def build(spec: CnnSpec) -> keras.Model:
    """The network with fresh weights."""
    # Keras numbers its tensors throughout a process, and the numbers end up in the exported file and its digest.
    keras.utils.clear_session()
    layers = keras.layers
    stack = [keras.Input((spec.rows, spec.frames, 1))]
    for filters in spec.filters:
        stack += [
            layers.Conv2D(filters, spec.kernel, activation="relu"),
            layers.MaxPooling2D(spec.pool),
            layers.Dropout(spec.dropout),
        ]
    stack += [layers.GlobalAveragePooling2D(), layers.Dense(spec.classes, activation="softmax")]
    return keras.Sequential(stack)


def export(model: keras.Model, folder: Path, probes: Sequence[NDArray[np.float32]]) -> tuple[Path, bytes]:
    """Write the Keras archive into ``folder`` and convert to LiteRT.

    Args:
        model: what to export.
        folder: where the archive is written.
        probes: inputs, each of the network's input shape, on which both must agree.

    Returns:
        The Keras archive, and the content of the LiteRT file.

    Raises:
        ModelError: the two networks differ on a probe.
    """
    archive, litert = folder / "export.keras", folder / "export.tflite"
    model.save(archive)
    model.export(litert, format="litert", verbose=False)
    content = litert.read_bytes()
    litert.unlink()
    network = Network(content)
    for probe in probes:
        difference = float(np.abs(network(probe) - model(probe, training=False).numpy()[0]).max())
        if not difference <= EXPORT_TOLERANCE:
            raise ModelError(
                f"The exported network differs from the Keras one by {difference:.2g}: nothing was written."
            )
    return archive, content
