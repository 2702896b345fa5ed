"""From features on disk to batches, a few at a time: memory does not grow with the dataset."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

# Batches read ahead of the one that is being learned from.
AHEAD = 2


@dataclass(frozen=True, slots=True)
class Clips:
    """What a network is fitted to or tested on: windows of recordings, read when they are needed.

    Attributes:
        read: features of window ``i`` in variant ``v``: float32, shape ``(rows, frames)``. Variant 0 is the recording
            as it is, the others are augmented.
        labels: the class of each window.
        variants: how many there are of each window, 1 where nothing is augmented.
    """

    read: Callable[[int, int], NDArray[np.float32]]
    labels: NDArray[np.int32]
    variants: int = 1

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, clip_indices: NDArray[np.int64], variants: NDArray[np.int64]) -> NDArray[np.float32]:
        """Features of several windows, ``(windows, rows, frames, 1)``."""
        return np.stack([self.read(int(i), int(v)) for i, v in zip(clip_indices, variants, strict=True)])[..., None]


def sequential_batches(clips: Clips, batch: int) -> tf.data.Dataset:
    """Every window once, as recorded, in order: features, class, weight 1."""
    windows = np.arange(len(clips))
    drawn = _Draw(windows, np.zeros_like(windows), clips.labels, np.ones(len(clips), np.float32))
    return _stream(clips, lambda: drawn.batches(batch))


def shuffled_batches(
    clips: Clips, batch: int, weights: NDArray[np.float64], seed: int, first_pass: int
) -> tf.data.Dataset:
    """Pass after pass without end, each every window once, in an order and in variants drawn from (seed, pass).

    One pipeline for all, so that the next pass is being read while this one ends.

    Args:
        clips: what to read.
        batch: windows at a time; a pass's last batch may be smaller.
        weights: of each class in the loss.
        seed: with the pass, all that the draw depends on.
        first_pass: to begin with, counted from 0.
    """
    of_class = weights.astype(np.float32)

    def draws() -> Iterator[tuple[NDArray[np.generic], ...]]:
        for number in itertools.count(first_pass):
            rng = np.random.Generator(np.random.PCG64((seed, number)))
            windows = rng.permutation(len(clips))
            variants = rng.integers(0, clips.variants, len(clips))
            labels = clips.labels[windows]
            yield from _Draw(windows, variants, labels, of_class[labels]).batches(batch)

    return _stream(clips, draws)


class _Draw(NamedTuple):
    """Windows in the order they are read, in which variant, with their class and their weight."""

    windows: NDArray[np.int64]
    variants: NDArray[np.int64]
    labels: NDArray[np.int32]
    weights: NDArray[np.float32]

    def batches(self, batch: int) -> Iterator[tuple[NDArray[np.generic], ...]]:
        for start in range(0, len(self.windows), batch):
            yield tuple(column[start : start + batch] for column in self)


def _stream(clips: Clips, batches: Callable[[], Iterator[tuple[NDArray[np.generic], ...]]]) -> tf.data.Dataset:
    shape = clips.read(0, 0).shape
    columns = tuple(tf.TensorSpec((None,), kind) for kind in (tf.int64, tf.int64, tf.int32, tf.float32))

    def features(window: tf.Tensor, variant: tf.Tensor) -> tf.Tensor:
        read = tf.numpy_function(clips.batch, [window, variant], tf.float32, stateful=False)
        return tf.ensure_shape(read, (None, *shape, 1))

    return (
        tf.data.Dataset.from_generator(batches, output_signature=columns)
        .map(
            lambda window, variant, label, weight: (features(window, variant), label, weight),
            num_parallel_calls=AHEAD,
            deterministic=True,
        )
        .prefetch(AHEAD)
    )
