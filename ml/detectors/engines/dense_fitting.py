"""Autoencoders are fitted here, with Keras, and leave as plain arrays; the only room of novelty that knows Keras."""

import os
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ml.detectors.engines.dense import Floats, Layer
from ml.errors import MissingExtra

if TYPE_CHECKING:
    import keras

LEARNING_RATE, BATCH = 1e-3, 512


def build_autoencoder(inputs: int, hidden: Sequence[int], seed: int) -> "keras.Model":
    """Dense layers that give back what they are given: rectified ones, and a linear one as wide as the input.

    Raises:
        MissingExtra: Keras is not installed.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is imported: no notes about missing GPUs
    try:
        import keras
    except ModuleNotFoundError as error:
        raise MissingExtra("Fitting an autoencoder", "train") from error
    drawn = [keras.initializers.GlorotUniform(seed + number) for number in range(len(hidden) + 1)]
    layers = [
        keras.layers.Dense(units, activation="relu", kernel_initializer=weights)
        for units, weights in zip(hidden, drawn, strict=False)
    ]
    return keras.Sequential([keras.Input((inputs,)), *layers, keras.layers.Dense(inputs, kernel_initializer=drawn[-1])])


def fit_autoencoders(
    sets: Iterable[Floats], inputs: int, hidden: Sequence[int], epochs: int, seed: int = 0
) -> list[list[Layer]]:
    """Fit an autoencoder of the same architecture to each of several sets of vectors: Adam, mean squared error.

    Args:
        sets: each ``(vectors, inputs)``; one after the other, so that they need not all be in memory.
        inputs: the width of them all.
        hidden: units of the hidden layers.
        epochs: how often each vector is seen, in an order that is drawn anew each time.
        seed: of weights and order; the same vectors give the same networks.

    Returns:
        The layers of each.

    Raises:
        MissingExtra: Keras is not installed.
    """
    model = build_autoencoder(inputs, hidden, seed)
    step, variables = _training_step(model)
    fresh = [variable.numpy() for variable in variables]
    networks = []
    for vectors in sets:
        for variable, value in zip(variables, fresh, strict=True):
            variable.assign(value)
        _fit(step, vectors, epochs, seed)
        networks.append([Layer(*layer.get_weights()) for layer in model.layers])
    return networks


def _fit(step: Callable[[Floats], Any], vectors: Floats, epochs: int, seed: int) -> None:
    """Batch by batch: Keras' own loop takes ten times as long for so few of them."""
    rng = np.random.Generator(np.random.PCG64(seed))
    for _ in range(epochs):
        order = rng.permutation(len(vectors))
        for start in range(0, len(order), BATCH):
            step(vectors[order[start : start + BATCH]])


def _training_step(model: "keras.Model") -> tuple[Callable[[Floats], Any], list[Any]]:
    """What learns from one batch, and all the variables that it changes."""
    import keras
    import tensorflow as tf

    tf.config.experimental.enable_op_determinism()
    optimizer = keras.optimizers.Adam(LEARNING_RATE)
    optimizer.build(model.trainable_variables)

    @tf.function(  # type: ignore[untyped-decorator]  # TensorFlow ships no types
        input_signature=[tf.TensorSpec((None, model.input_shape[1]), tf.float32)]
    )
    def step(batch: tf.Tensor) -> None:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(model(batch, training=True) - batch))
        optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)

    return step, [*model.trainable_variables, *optimizer.variables]
