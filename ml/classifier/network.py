"""The network: built in Keras, exported for Keras and for LiteRT, and shown to be the same in both.

:mod:`ml.classifier` and :mod:`ml.models.import_original` are the only rooms that know Keras; nothing that serves
imports them.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is imported: no notes about missing GPUs

import keras
import numpy as np
from numpy.typing import NDArray

from ml.classifier.litert import LiteRTNetwork
from ml.classifier.recipe import NetworkSpec
from ml.errors import InvalidParameter, ModelError

# Keras and LiteRT order their sums differently; measured on the original's network: 5e-7.
EXPORT_TOLERANCE = 1e-5


class Scaling(NamedTuple):
    """What the input is brought to about mean 0 and deviation 1 by: two numbers for all of it."""

    mean: float
    deviation: float


def build(
    spec: NetworkSpec, shape: tuple[int, int], classes: int, scaling: Scaling | None = None, seed: int = 0
) -> keras.Model:
    """The network with fresh weights.

    Args:
        spec: its layers.
        shape: rows and frames of its input.
        classes: how many it tells apart.
        scaling: of the input, where the spec asks for it.
        seed: of the weights and the dropout.

    Raises:
        InvalidParameter: the layers do not fit the input.
    """
    # Keras numbers its tensors throughout a process, and the numbers end up in the exported file and its digest.
    keras.utils.clear_session()
    keras.utils.set_random_seed(seed)
    try:
        return keras.Sequential(list(_layers(spec, shape, classes, scaling)))
    except ValueError as error:
        raise InvalidParameter(f"The layers do not fit an input of {shape[0]} x {shape[1]}: {error}") from error


def _layers(
    spec: NetworkSpec, shape: tuple[int, int], classes: int, scaling: Scaling | None
) -> Iterator[keras.KerasTensor | keras.Layer]:
    layers = keras.layers
    yield keras.Input((*shape, 1))
    if scaling is not None:
        yield layers.Normalization(axis=None, mean=scaling.mean, variance=scaling.deviation**2)
    frames = shape[1]
    for filters in spec.filters:
        yield layers.Conv2D(filters, spec.kernel, activation="relu")
        yield layers.MaxPooling2D(spec.pool)
        yield layers.Dropout(spec.dropout)
        frames = (frames - spec.kernel + 1) // spec.pool
    if spec.average == "all":
        yield layers.GlobalAveragePooling2D()
    else:
        yield layers.AveragePooling2D((1, frames))
        yield layers.Flatten()
    for units in spec.hidden:
        yield layers.Dense(units, activation="relu")
        yield layers.Dropout(spec.dropout)
    yield layers.Dense(classes, activation="softmax")


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
    network = LiteRTNetwork(content)
    for probe in probes:
        difference = float(np.abs(network(probe) - model(probe, training=False).numpy()[0]).max())
        if not difference <= EXPORT_TOLERANCE:
            raise ModelError(
                f"The exported network differs from the Keras one by {difference:.2g}: nothing was written."
            )
    return archive, content
