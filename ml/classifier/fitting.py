"""Fitting of a network, epoch by epoch, with checkpoints.

A checkpoint is written at most every two seconds. An interrupted fit continues from it. The state after an epoch
depends only on recipe, data and number of the epoch: order and variants are drawn from (seed, pass), dropout from
(seed, epoch). So an interrupted fit that continues ends with the same weights as one without interruption.
"""

import hashlib
import io
import itertools
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from ml.classifier import network
from ml.classifier.recipe import Recipe
from ml.classifier.stream import Clips, sequential_batches, shuffled_batches
from ml.classifier.temperature_scaling import calibrated_loss, fit_temperature
from ml.errors import OneClassOnly
from ml.system.atomic import write_atomic
from ml.system.progress import Progress, ProgressCallback, ignore_progress

# Not after each epoch: an epoch of a small dataset takes less time than writing its state.
SAVED_EVERY_S = 2.0
SMALLEST = 1e-30  # a probability of 0 is raised to it before the logarithm
# In a network, and in an epoch: Keras numbers its dropout draws from the start of an epoch.
DROPOUTS_AT_MOST, DRAWS_AT_MOST = 1000, 1_000_000
# Clips from which mean and standard deviation of the input are computed.
SCALED_BY = 512
# Clips whose activations are in memory at once: 256 of the original's network (40 x 433) take about 2 GB.
AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Epoch:
    """Figures of one epoch of a fit.

    Attributes:
        epoch: number of the epoch, from 1.
        loss: mean cross-entropy of the training clips in nats, with augmentation, dropout and class weights.
        accuracy: share of these clips with the right class, 0 to 1.
        validation_loss: cross-entropy at the best temperature, in nats, each class with the same weight; None without
            validation.
        validation_accuracy: share of the validation clips with the right class, 0 to 1; None without validation.
        seconds: duration in seconds.
    """

    epoch: int
    loss: float
    accuracy: float
    validation_loss: float | None
    validation_accuracy: float | None
    seconds: float


@dataclass(frozen=True, slots=True)
class FittedNetwork:
    """A fitted network.

    Attributes:
        model: the network, with the weights of the best epoch divided by the temperature in the last layer.
        history: figures of all epochs.
        best_epoch: number of the epoch with the lowest validation loss.
        temperature: divisor of the logits, see :func:`ml.classifier.temperature_scaling.fit_temperature`.
        resumed_after: number of the epoch after which an interrupted fit continued; 0 if it was not interrupted.
    """

    model: keras.Model
    history: tuple[Epoch, ...]
    best_epoch: int
    temperature: float
    resumed_after: int


def fit_network(
    recipe: Recipe,
    train: Clips,
    validation: Clips,
    classes: int,
    checkpoint: Path,
    *,
    report: ProgressCallback = ignore_progress,
) -> FittedNetwork:
    """Fit a network.

    ``validation`` decides when the fit stops, which epoch is the best, and the temperature.

    Args:
        recipe: network and settings of the fit.
        train: training clips.
        validation: clips of other recordings.
        classes: number of classes.
        checkpoint: file for the state after an epoch. If it exists, with the same recipe and data, the fit continues
            from it. The caller removes it when the model is stored.
        report: called after each epoch.

    Raises:
        OneClassOnly: a class has no clip in ``train``.
    """
    run = _FittingRun(recipe, train, classes, checkpoint, _identity(recipe, train, validation))
    validation_batches = sequential_batches(validation, AT_ONCE)

    def evaluate() -> tuple[float, float]:
        logits = run.logits(validation_batches)
        return calibrated_loss(logits, validation.labels), float((logits.argmax(axis=1) == validation.labels).mean())

    def finished() -> bool:
        done, best = len(run.state.history), run.state.best_epoch(recipe.settled)
        return done >= recipe.epochs or (done >= recipe.settled and done - best >= recipe.patience)

    while not finished():
        run.epoch(evaluate, recipe.settled)
        report(Progress("epochs", len(run.state.history), recipe.epochs, _note(run.state.history[-1])))
    run.model.set_weights(run.state.best)
    temperature = fit_temperature(run.logits(validation_batches), validation.labels)
    return run.finish(run.state.best_epoch(recipe.settled), temperature, report)


def refit_network(
    recipe: Recipe,
    clips: Clips,
    classes: int,
    epochs: int,
    temperature: float,
    checkpoint: Path,
    *,
    report: ProgressCallback = ignore_progress,
) -> FittedNetwork:
    """Fit a network to all clips, with the epochs and the temperature that :func:`fit_network` found.

    Args:
        recipe: network and settings of the fit.
        clips: clips of all sides.
        classes: number of classes.
        epochs: number of epochs.
        temperature: divisor of the logits.
        checkpoint: as for :func:`fit_network`, another file.
        report: called after each epoch.

    Raises:
        OneClassOnly: a class has no clip.
    """
    run = _FittingRun(recipe, clips, classes, checkpoint, _identity(recipe, clips, clips, epochs))
    while (done := len(run.state.history)) < epochs:
        run.epoch(lambda: (None, None), done + 1)
        report(Progress("epochs of the final fit", done + 1, epochs, _note(run.state.history[-1])))
    return run.finish(epochs, temperature, report)


def predict_probabilities(model: keras.Model, clips: Clips, batch: int = AT_ONCE) -> NDArray[np.float32]:
    """Compute the probabilities of the classes, without augmentation: float32 ``(clips, classes)``."""
    return _probabilities(_forward_pass(model), sequential_batches(clips, batch))


class _FittingRun:
    """A network during its fit."""

    def __init__(self, recipe: Recipe, train: Clips, classes: int, checkpoint: Path, identity: str) -> None:
        counts = np.bincount(train.labels, minlength=classes)
        if not counts.all():
            raise OneClassOnly(
                f"Fitting: the classes have {counts.tolist()} training clips; each class needs at least one."
            )
        tf.config.experimental.enable_op_determinism()
        rows, frames = train.read(0, 0).shape
        scaling = _scaling(train, recipe.seed) if recipe.network.scale else None
        self.model = network.build(recipe.network, (rows, frames), classes, scaling, recipe.seed)
        optimizer = keras.optimizers.Adam(recipe.learning_rate)
        optimizer.build(self.model.trainable_variables)
        self.state = _FitState(checkpoint, self.model, optimizer, identity)
        self.resumed_after = len(self.state.history)
        weights = len(train) / (classes * counts) if recipe.class_weights else np.ones(classes)
        passes = recipe.passes(len(train))
        self._recipe, self._steps = recipe, passes * math.ceil(len(train) / recipe.batch)
        self._batches = iter(shuffled_batches(train, recipe.batch, weights, recipe.seed, passes * self.resumed_after))
        self._step, self._forward_pass = _training_step(self.model, optimizer), _forward_pass(self.model)

    def epoch(self, evaluate: Callable[[], tuple[float | None, float | None]], first: int) -> None:
        """Do one more epoch; ``first`` is the number of the first epoch that may be the best."""
        number, started = len(self.state.history) + 1, time.monotonic()
        _seed_dropout(self.model, self._recipe.seed, number)
        loss, accuracy = _mean(self._step(*batch) for batch in itertools.islice(self._batches, self._steps))
        self.state.record_epoch(Epoch(number, loss, accuracy, *evaluate(), time.monotonic() - started), first)

    def logits(self, batches: tf.data.Dataset) -> NDArray[np.float32]:
        """Logarithms of the probabilities, ``(clips, classes)``: logits, up to a constant for each clip."""
        return np.asarray(np.log(np.maximum(_probabilities(self._forward_pass, batches), SMALLEST)), np.float32)

    def finish(self, best_epoch: int, temperature: float, report: ProgressCallback) -> FittedNetwork:
        report(Progress("fitted", 1, 1, f"best epoch {best_epoch}, temperature {temperature:.2f}"))
        self.model.set_weights(self.state.best)
        _apply_temperature(self.model, temperature)
        return FittedNetwork(self.model, tuple(self.state.history), best_epoch, temperature, self.resumed_after)


class _FitState:
    """State of a fit, in memory and in the checkpoint."""

    def __init__(self, file: Path, model: keras.Model, optimizer: keras.Optimizer, identity: str) -> None:
        self._file, self._model, self._optimizer, self._identity = file, model, optimizer, identity
        self._saved = time.monotonic()
        self.history: list[Epoch] = []
        self.best: list[NDArray[np.float32]] = model.get_weights()
        if file.exists():
            self._resume()

    def best_epoch(self, first: int) -> int:
        """Number of the epoch with the lowest validation loss, from ``first`` on; the last without validation."""
        validated = [epoch for epoch in self.history if epoch.epoch >= first and epoch.validation_loss is not None]
        if not validated:
            return len(self.history)
        return min(validated, key=lambda epoch: epoch.validation_loss or 0.0).epoch

    def record_epoch(self, epoch: Epoch, first: int) -> None:
        """Add an epoch, and save the state if the last save is two seconds ago."""
        self.history.append(epoch)
        if self.best_epoch(first) == epoch.epoch:
            self.best = self._model.get_weights()
        if time.monotonic() - self._saved >= SAVED_EVERY_S:
            self._save()
            self._saved = time.monotonic()

    def _save(self) -> None:
        arrays = {
            **{f"weight{i}": value for i, value in enumerate(self._model.get_weights())},
            **{f"best{i}": value for i, value in enumerate(self.best)},
            **{f"optimizer{i}": variable.numpy() for i, variable in enumerate(self._optimizer.variables)},
        }
        facts = {"identity": self._identity, "history": [asdict(past) for past in self.history]}
        file = io.BytesIO()
        np.savez(file, facts=np.frombuffer(json.dumps(facts).encode(), np.uint8), **arrays)
        write_atomic(self._file, file.getvalue())

    def _resume(self) -> None:
        """Read the checkpoint, unless it is of another recipe or other data."""
        with np.load(self._file, allow_pickle=False) as arrays:
            facts: dict[str, Any] = json.loads(arrays["facts"].tobytes())
            if facts["identity"] != self._identity:
                return
            count = len(self.best)
            self._model.set_weights([arrays[f"weight{i}"] for i in range(count)])
            self.best = [arrays[f"best{i}"] for i in range(count)]
            for i, variable in enumerate(self._optimizer.variables):
                variable.assign(arrays[f"optimizer{i}"])
            self.history = [Epoch(**past) for past in facts["history"]]


def _identity(recipe: Recipe, train: Clips, validation: Clips, epochs: int | None = None) -> str:
    """Hash of recipe and data, by which a checkpoint is recognised."""
    sizes = [(len(clips), clips.variants, clips.labels.tolist()) for clips in (train, validation)]
    facts = json.dumps([recipe.to_dict(), sizes, epochs])
    return hashlib.sha256(facts.encode()).hexdigest()


def _note(last: Epoch) -> str:
    note = f"loss {last.loss:.3f}, accuracy {last.accuracy:.0%}"
    if last.validation_loss is None:
        return note
    return f"{note}; validation {last.validation_loss:.3f}, {last.validation_accuracy:.0%}"


def _training_step(model: keras.Model, optimizer: keras.Optimizer) -> Any:
    """Return a function that learns from one batch, with AT_ONCE clips in memory at a time.

    The gradients of the parts are added: the gradient of a sum is the sum of the gradients.
    """
    variables = model.trainable_variables

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]  # TensorFlow ships no types
    def step(features: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        clips = tf.shape(labels)[0]
        gradients, loss, right = [tf.zeros_like(variable) for variable in variables], 0.0, 0.0
        for start in tf.range(0, clips, AT_ONCE):
            part = slice(start, start + AT_ONCE)
            with tf.GradientTape() as tape:
                probabilities = model(features[part], training=True)
                losses = keras.losses.sparse_categorical_crossentropy(labels[part], probabilities)
                share = tf.reduce_sum(losses * weights[part]) / tf.cast(clips, tf.float32)
            parts = tape.gradient(share, variables)
            gradients = [total + one for total, one in zip(gradients, parts, strict=True)]
            loss, right = loss + share, right + _count_right(labels[part], probabilities)
        optimizer.apply(gradients, variables)
        return loss, right / tf.cast(clips, tf.float32), clips

    return step


def _forward_pass(model: keras.Model) -> Any:
    """Return a function from features to probabilities."""

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]  # TensorFlow ships no types
    def forward_pass(features: tf.Tensor) -> tf.Tensor:
        return model(features, training=False)

    return forward_pass


def _probabilities(forward_pass: Any, batches: tf.data.Dataset) -> NDArray[np.float32]:
    return np.concatenate([forward_pass(features).numpy() for features, _, _ in batches])


def _count_right(labels: tf.Tensor, probabilities: tf.Tensor) -> tf.Tensor:
    """Number of clips whose most probable class is right."""
    right = tf.equal(tf.argmax(probabilities, axis=1, output_type=tf.int32), tf.cast(labels, tf.int32))
    return tf.reduce_sum(tf.cast(right, tf.float32))


def _mean(results: Iterator[tuple[Any, Any, Any]]) -> tuple[float, float]:
    """Loss and accuracy of an epoch: means over its batches, weighted by their size."""
    table = np.array([[float(value) for value in result] for result in results])
    loss, accuracy = np.average(table[:, :2], axis=0, weights=table[:, 2])
    return float(loss), float(accuracy)


def _scaling(train: Clips, seed: int) -> network.Scaling:
    """Mean of the input and standard deviation of the clips' mean rows, from a sample of training clips."""
    rng = np.random.Generator(np.random.PCG64(seed))
    chosen = rng.permutation(len(train))[:SCALED_BY]
    rows = np.stack([train.read(int(i), 0).mean(axis=1, dtype=np.float64) for i in chosen])
    return network.Scaling(float(rows.mean()), max(float(rows.std()), 1e-6))


def _seed_dropout(model: keras.Model, seed: int, epoch: int) -> None:
    """Set the dropout seed of an epoch, so that it does not depend on epochs before it in this process."""
    for number, layer in enumerate(model.layers):
        if isinstance(layer, keras.layers.Dropout) and layer.rate:
            layer.seed_generator.state.assign([(seed * DROPOUTS_AT_MOST + number) % 2**32, epoch * DRAWS_AT_MOST])


def _apply_temperature(model: keras.Model, temperature: float) -> None:
    """Divide the last layer by the temperature, so that the network itself gives calibrated probabilities."""
    last = model.layers[-1]
    last.set_weights([weights / temperature for weights in last.get_weights()])
