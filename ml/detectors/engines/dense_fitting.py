"""Fitting of autoencoders with Keras. The result is plain arrays.

No other module of ``ml.detectors`` imports Keras.

The tests skip the examples of this module: importing Keras takes several seconds, and not every installation has it.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ml.detectors.engines.dense import Floats, Layer
from ml.errors import MissingExtra

if TYPE_CHECKING:
    import keras

LEARNING_RATE, BATCH = 1e-3, 512  # of the published baseline; 1e-3 is also the default of Adam


def build_autoencoder(inputs: int, hidden: Sequence[int], seed: int) -> "keras.Model":
    """Build a dense autoencoder: hidden layers with ReLU, then a linear layer as wide as the input.

    The weights are drawn after X. Glorot and Y. Bengio, AISTATS 2010; biases are 0.

    Args:
        inputs: elements of a vector.
        hidden: units of each hidden layer.
        seed: seed of the weights.

    Raises:
        MissingExtra: Keras is not installed.

    Example:
        >>> build_autoencoder(320, (64, 64, 8, 64, 64), seed=0).count_params()  # doctest: +SKIP
        50760
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is imported: no messages about missing GPUs
    try:
        import keras
    except ModuleNotFoundError as error:
        raise MissingExtra("Fitting an autoencoder", "train") from error
    initializers = [keras.initializers.GlorotUniform(seed + number) for number in range(len(hidden) + 1)]
    layers = [
        keras.layers.Dense(units, activation="relu", kernel_initializer=weights)
        for units, weights in zip(hidden, initializers, strict=False)
    ]
    last = keras.layers.Dense(inputs, kernel_initializer=initializers[-1])
    return keras.Sequential([keras.Input((inputs,)), *layers, last])


def fit_autoencoders(
    sets: Iterable[Floats], inputs: int, hidden: Sequence[int], epochs: int, seed: int = 0
) -> list[list[Layer]]:
    """Fit an autoencoder to each of several sets of vectors, with equal architecture and initial weights.

    The loss is the mean squared error; the optimiser is Adam (D. Kingma and J. Ba, ICLR 2015) with a learning rate of
    0.001 and batches of 512 vectors.

    Args:
        sets: float32 ``(vectors, inputs)`` each; read one after the other, so that they need not all be in memory.
        inputs: elements of a vector.
        hidden: units of each hidden layer.
        epochs: number of passes over the vectors, each in a new random order.
        seed: seed of weights and order; the same vectors give the same networks.

    Returns:
        The layers of each network.

    Raises:
        MissingExtra: Keras is not installed.

    Example:
        >>> vectors = np.random.default_rng(0).normal(size=(600, 20)).astype(np.float32)
        >>> [layers] = fit_autoencoders([vectors], 20, (16, 4, 16), epochs=5)  # doctest: +SKIP
        >>> [layer.kernel.shape for layer in layers]  # doctest: +SKIP
        [(20, 16), (16, 4), (4, 16), (16, 20)]
    """
    model = build_autoencoder(inputs, hidden, seed)
    step, variables = _training_step(model)
    initial = [variable.numpy() for variable in variables]
    networks = []
    for vectors in sets:
        for variable, value in zip(variables, initial, strict=True):
            variable.assign(value)
        _fit(step, vectors, epochs, seed)
        networks.append([Layer(*layer.get_weights()) for layer in model.layers])
    return networks


def _fit(step: Callable[[Floats], Any], vectors: Floats, epochs: int, seed: int) -> None:
    """Fit batch by batch. Keras' own loop takes ten times as long for such small batches."""
    rng = np.random.Generator(np.random.PCG64(seed))
    for _ in range(epochs):
        order = rng.permutation(len(vectors))
        for start in range(0, len(order), BATCH):
            step(vectors[order[start : start + BATCH]])


def _training_step(model: "keras.Model") -> tuple[Callable[[Floats], Any], list[Any]]:
    """Return a function that learns from one batch, and all the variables that it changes."""
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
