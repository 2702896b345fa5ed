"""Batches of features, read from disk a few at a time: memory does not grow with the dataset."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

# Batches that are read in advance.
AHEAD = 2


@dataclass(frozen=True, slots=True)
class Clips:
    """Clips that a network is fitted to or tested on. Features are read when they are needed.

    Attributes:
        read: function that returns the features of clip ``i`` in variant ``v``: float32 ``(rows, frames)``. Variant 0
            is the recording itself, the others are augmented copies.
        labels: int32 ``(clips,)``: class of each clip, from 0.
        variants: number of variants of each clip; 1 without augmentation.
    """

    read: Callable[[int, int], NDArray[np.float32]]
    labels: NDArray[np.int32]
    variants: int = 1

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, clip_indices: NDArray[np.int64], variants: NDArray[np.int64]) -> NDArray[np.float32]:
        """Read the features of several clips: float32 ``(clips, rows, frames, 1)``."""
        return np.stack([self.read(int(i), int(v)) for i, v in zip(clip_indices, variants, strict=True)])[..., None]


def sequential_batches(clips: Clips, batch: int) -> tf.data.Dataset:
    """Return batches of all clips, once, without augmentation, in order.

    Args:
        clips: the clips.
        batch: clips per batch; the last batch may be smaller.

    Returns:
        For each batch features, float32 ``(batch, rows, frames, 1)``, classes, int32 ``(batch,)``, and weights, float32
        ``(batch,)``, all 1.
    """
    indices = np.arange(len(clips))
    order = _ReadingOrder(indices, np.zeros_like(indices), clips.labels, np.ones(len(clips), np.float32))
    return _stream(clips, lambda: order.batches(batch))


def shuffled_batches(
    clips: Clips, batch: int, weights: NDArray[np.float64], seed: int, first_pass: int
) -> tf.data.Dataset:
    """Return batches of passes over the clips, without end. Each pass has each clip once.

    Order and variants of a pass are drawn from ``(seed, pass number)``. All passes share one pipeline, so the next pass
    is read while this one ends.

    Args:
        clips: the clips.
        batch: clips per batch; the last batch of a pass may be smaller.
        weights: float64 ``(classes,)``: weight of each class in the loss.
        seed: seed of the draws.
        first_pass: number of the first pass, from 0.

    Returns:
        As :func:`sequential_batches`, with the weights of the classes.
    """
    class_weights = weights.astype(np.float32)

    def draws() -> Iterator[tuple[NDArray[np.generic], ...]]:
        for number in itertools.count(first_pass):
            rng = np.random.Generator(np.random.PCG64((seed, number)))
            indices = rng.permutation(len(clips))
            variants = rng.integers(0, clips.variants, len(clips))
            labels = clips.labels[indices]
            yield from _ReadingOrder(indices, variants, labels, class_weights[labels]).batches(batch)

    return _stream(clips, draws)


class _ReadingOrder(NamedTuple):
    """Clips in the order in which they are read, with variant, class and weight, each ``(clips,)``."""

    clip_indices: NDArray[np.int64]
    variants: NDArray[np.int64]
    labels: NDArray[np.int32]
    weights: NDArray[np.float32]

    def batches(self, batch: int) -> Iterator[tuple[NDArray[np.generic], ...]]:
        for start in range(0, len(self.clip_indices), batch):
            yield tuple(column[start : start + batch] for column in self)


def _stream(clips: Clips, batches: Callable[[], Iterator[tuple[NDArray[np.generic], ...]]]) -> tf.data.Dataset:
    shape = clips.read(0, 0).shape
    columns = tuple(tf.TensorSpec((None,), kind) for kind in (tf.int64, tf.int64, tf.int32, tf.float32))

    def features(index: tf.Tensor, variant: tf.Tensor) -> tf.Tensor:
        read = tf.numpy_function(clips.batch, [index, variant], tf.float32, stateful=False)
        return tf.ensure_shape(read, (None, *shape, 1))

    return (
        tf.data.Dataset.from_generator(batches, output_signature=columns)
        .map(
            lambda index, variant, label, weight: (features(index, variant), label, weight),
            num_parallel_calls=AHEAD,
            deterministic=True,
        )
        .prefetch(AHEAD)
    )
