"""The classifier's network: built in Keras, exported for Keras and LiteRT, equal in both by a test.

Only modules that make models import Keras: :mod:`ml.classifier`, :mod:`ml.detectors.engines.dense_fitting`,
:mod:`ml.models.import_original` and :mod:`ml.models.publishing`. Modules for serving import none of them.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is imported: no messages about missing GPUs

import keras
import numpy as np
from numpy.typing import NDArray

from ml.classifier.litert import LiteRTNetwork
from ml.classifier.recipe import NetworkSpec
from ml.errors import InvalidParameter, ModelError

# Largest difference of a probability. Keras and LiteRT add in different orders; on the original's network it is 5e-7.
EXPORT_TOLERANCE = 1e-5


class Scaling(NamedTuple):
    """Mean and standard deviation of the input, by which the network scales it."""

    mean: float
    deviation: float


def build(
    spec: NetworkSpec, shape: tuple[int, int], classes: int, scaling: Scaling | None = None, seed: int = 0
) -> keras.Model:
    """Build a network with random weights.

    Args:
        spec: its layers.
        shape: rows and frames of its input.
        classes: number of classes.
        scaling: scaling of the input, if ``spec.scale``.
        seed: seed of weights and dropout.

    Raises:
        InvalidParameter: the layers do not fit the input.
    """
    # Keras numbers its tensors throughout a process, and the numbers are part of the exported file and its hash.
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
    """Write a network as a Keras archive and convert it to LiteRT.

    Args:
        model: the network.
        folder: folder for the archive.
        probes: inputs for a test, each of the network's input shape. The probabilities of both networks must agree.

    Returns:
        The Keras archive, and the content of the LiteRT file.

    Raises:
        ModelError: a probability differs by more than 1e-5.
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
                f"The exported network differs from the Keras network by {difference:.2g}; at most "
                f"{EXPORT_TOLERANCE:g} was expected. No model was written."
            )
    return archive, content
