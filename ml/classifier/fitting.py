"""Fitting a network: epoch by epoch, with a checkpoint every two seconds, so that a killed fit goes on where it was.

The state after an epoch depends on recipe, data and that epoch's number alone: order and variants are drawn from (seed,
pass), dropout from (seed, epoch). So a fit that was killed and resumed ends with the same weights as one that was not.
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

# An epoch of a small dataset is over sooner than its state is on disk.
SAVED_EVERY_S = 2.0
SMALLEST = 1e-30
# Of a network, and of an epoch: Keras counts its draws up by one from where an epoch begins.
DROPOUTS_AT_MOST, DRAWS_AT_MOST = 1000, 1_000_000
# Enough windows for two numbers that are close: their mean and deviation.
SCALED_BY = 512
# Windows whose activations are held at once: 256 of the original's network (40 x 433) take about 2 GB.
AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Epoch:
    """One pass over the training side.

    Attributes:
        epoch: its number, from 1.
        loss: cross-entropy per window, in nats, as fitted: augmented, with dropout, classes weighted.
        accuracy: share of those windows that were right.
        validation_loss: cross-entropy at the best temperature, each class counting the same; None without validation.
        validation_accuracy: share of the validation side's windows that are right.
        seconds: how long it took.
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
        model: with the weights of the best epoch, and the temperature in them.
        history: every epoch.
        best_epoch: the one with the lowest validation loss.
        temperature: what the logits are divided by.
        resumed_after: the epoch after which an interrupted fit was taken up; 0 for none.
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
    """Fit a network to ``train``; ``validation`` decides when to stop, which epoch is kept, and the temperature.

    Args:
        recipe: how.
        train: windows to fit to.
        validation: windows of other recordings.
        classes: how many the network tells apart.
        checkpoint: a file that holds the state after an epoch; if it is there, of the same recipe and data, fitting
            goes on from it. The caller removes it when the model is safe.
        report: told after each epoch.

    Raises:
        OneClassOnly: a class without a window in ``train``.
    """
    work = _FittingRun(recipe, train, classes, checkpoint, _identity(recipe, train, validation))
    held_out = sequential_batches(validation, AT_ONCE)

    def evaluate() -> tuple[float, float]:
        logits = work.logits(held_out)
        return calibrated_loss(logits, validation.labels), float((logits.argmax(axis=1) == validation.labels).mean())

    def enough() -> bool:
        done, best = len(work.state.history), work.state.best_epoch(recipe.settled)
        return done >= recipe.epochs or (done >= recipe.settled and done - best >= recipe.patience)

    while not enough():
        work.epoch(evaluate, recipe.settled)
        report(Progress("epochs", len(work.state.history), recipe.epochs, _note(work.state.history[-1])))
    work.model.set_weights(work.state.best)
    best_temperature = fit_temperature(work.logits(held_out), validation.labels)
    return work.done(work.state.best_epoch(recipe.settled), best_temperature, report)


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
    """Fit once more, to all there is, for as many epochs and at the temperature that :func:`fit` found.

    Args:
        recipe: as for :func:`fit`.
        clips: windows of all sides.
        classes: how many the network tells apart.
        epochs: how many.
        temperature: the temperature.
        checkpoint: as for :func:`fit`, another file.
        report: told after each epoch.
    """
    work = _FittingRun(recipe, clips, classes, checkpoint, _identity(recipe, clips, clips, epochs))
    while (done := len(work.state.history)) < epochs:
        work.epoch(lambda: (None, None), done + 1)
        report(Progress("epochs of the final fit", done + 1, epochs, _note(work.state.history[-1])))
    return work.done(epochs, temperature, report)


def predict_probabilities(model: keras.Model, clips: Clips, batch: int = AT_ONCE) -> NDArray[np.float32]:
    """Probabilities of the classes for each window, as recorded: ``(windows, classes)``."""
    return _answers(_answer(model), sequential_batches(clips, batch))


class _FittingRun:
    """A network being fitted."""

    def __init__(self, recipe: Recipe, train: Clips, classes: int, checkpoint: Path, identity: str) -> None:
        counts = np.bincount(train.labels, minlength=classes)
        if not counts.all():
            raise OneClassOnly(f"Fitting: the classes have {counts.tolist()} windows to learn from; each needs some.")
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
        self._step, self._answer = _training_step(self.model, optimizer), _answer(self.model)

    def epoch(self, evaluate: Callable[[], tuple[float | None, float | None]], first: int) -> None:
        """One more; ``first`` is the first that may be the best."""
        number, started = len(self.state.history) + 1, time.monotonic()
        _seed_dropout(self.model, self._recipe.seed, number)
        loss, accuracy = _mean(self._step(*batch) for batch in itertools.islice(self._batches, self._steps))
        self.state.record_epoch(Epoch(number, loss, accuracy, *evaluate(), time.monotonic() - started), first)

    def logits(self, batches: tf.data.Dataset) -> NDArray[np.float32]:
        """Logarithms of the probabilities, ``(windows, classes)``; they differ from logits by a constant per window."""
        return np.asarray(np.log(np.maximum(_answers(self._answer, batches), SMALLEST)), np.float32)

    def done(self, best_epoch: int, temperature: float, report: ProgressCallback) -> FittedNetwork:
        report(Progress("fitted", 1, 1, f"best epoch {best_epoch}, temperature {temperature:.2f}"))
        self.model.set_weights(self.state.best)
        _fold(self.model, temperature)
        return FittedNetwork(self.model, tuple(self.state.history), best_epoch, temperature, self.resumed_after)


class _FitState:
    """What fitting has come to: in memory, and in the checkpoint."""

    def __init__(self, file: Path, model: keras.Model, optimizer: keras.Optimizer, identity: str) -> None:
        self._file, self._model, self._optimizer, self._identity = file, model, optimizer, identity
        self._saved = time.monotonic()
        self.history: list[Epoch] = []
        self.best: list[NDArray[np.float32]] = model.get_weights()
        if file.exists():
            self._resume()

    def best_epoch(self, first: int) -> int:
        """The epoch of the lowest validation loss, among those that may be; the last, where nothing is validated."""
        judged = [epoch for epoch in self.history if epoch.epoch >= first and epoch.validation_loss is not None]
        if not judged:
            return len(self.history)
        return min(judged, key=lambda epoch: epoch.validation_loss or 0.0).epoch

    def record_epoch(self, epoch: Epoch, first: int) -> None:
        """Take note of an epoch, and save the state if that is some time ago."""
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
        """A checkpoint of another recipe or other data is not gone on with: fitting begins anew."""
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
    """What a checkpoint belongs to."""
    sizes = [(len(clips), clips.variants, clips.labels.tolist()) for clips in (train, validation)]
    facts = json.dumps([recipe.to_dict(), sizes, epochs])
    return hashlib.sha256(facts.encode()).hexdigest()


def _note(last: Epoch) -> str:
    note = f"loss {last.loss:.3f}, accuracy {last.accuracy:.0%}"
    if last.validation_loss is None:
        return note
    return f"{note}; validation {last.validation_loss:.3f}, {last.validation_accuracy:.0%}"


def _training_step(model: keras.Model, optimizer: keras.Optimizer) -> Any:
    """One batch, of which AT_ONCE windows are in memory at a time: the gradient of a mean is the mean of gradients."""
    variables = model.trainable_variables

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]  # TensorFlow ships no types
    def step(features: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        windows = tf.shape(labels)[0]
        gradients, loss, right = [tf.zeros_like(variable) for variable in variables], 0.0, 0.0
        for start in tf.range(0, windows, AT_ONCE):
            part = slice(start, start + AT_ONCE)
            with tf.GradientTape() as tape:
                answers = model(features[part], training=True)
                losses = keras.losses.sparse_categorical_crossentropy(labels[part], answers)
                share = tf.reduce_sum(losses * weights[part]) / tf.cast(windows, tf.float32)
            parts = tape.gradient(share, variables)
            gradients = [total + one for total, one in zip(gradients, parts, strict=True)]
            loss, right = loss + share, right + _right(labels[part], answers)
        optimizer.apply(gradients, variables)
        return loss, right / tf.cast(windows, tf.float32), windows

    return step


def _answer(model: keras.Model) -> Any:
    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]  # TensorFlow ships no types
    def answer(features: tf.Tensor) -> tf.Tensor:
        return model(features, training=False)

    return answer


def _answers(answer: Any, batches: tf.data.Dataset) -> NDArray[np.float32]:
    return np.concatenate([answer(features).numpy() for features, _, _ in batches])


def _right(labels: tf.Tensor, answers: tf.Tensor) -> tf.Tensor:
    """How many answers are right."""
    right = tf.equal(tf.argmax(answers, axis=1, output_type=tf.int32), tf.cast(labels, tf.int32))
    return tf.reduce_sum(tf.cast(right, tf.float32))


def _mean(results: Iterator[tuple[Any, Any, Any]]) -> tuple[float, float]:
    """Loss and accuracy of an epoch: of its batches, each counted by its size."""
    table = np.array([[float(value) for value in result] for result in results])
    loss, accuracy = np.average(table[:, :2], axis=0, weights=table[:, 2])
    return float(loss), float(accuracy)


def _scaling(train: Clips, seed: int) -> network.Scaling:
    """Mean of the input, and the deviation of the clips' mean rows from it, over a sample of the training side."""
    rng = np.random.Generator(np.random.PCG64(seed))
    chosen = rng.permutation(len(train))[:SCALED_BY]
    rows = np.stack([train.read(int(i), 0).mean(axis=1, dtype=np.float64) for i in chosen])
    return network.Scaling(float(rows.mean()), max(float(rows.std()), 1e-6))


def _seed_dropout(model: keras.Model, seed: int, epoch: int) -> None:
    """Let each epoch draw the same dropout, whether or not the ones before it ran in this process."""
    for number, layer in enumerate(model.layers):
        if isinstance(layer, keras.layers.Dropout) and layer.rate:
            layer.seed_generator.state.assign([(seed * DROPOUTS_AT_MOST + number) % 2**32, epoch * DRAWS_AT_MOST])


def _fold(model: keras.Model, temperature: float) -> None:
    """Divide the last layer by the temperature: the network then says calibrated probabilities by itself."""
    last = model.layers[-1]
    last.set_weights([weights / temperature for weights in last.get_weights()])
