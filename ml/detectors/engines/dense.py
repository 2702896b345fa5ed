"""Frames in their context, and dense networks as plain arrays: what Keras has fitted, asked without Keras."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
# Of the baseline as published: a fifth of a second at MIMII's rate.
FRAMES_IN_CONTEXT = 5


class Layer(NamedTuple):
    """One dense layer: ``(inputs, units)`` and ``(units,)``."""

    kernel: Floats
    bias: Floats


def stack_frames(log_mel: Floats) -> Floats:
    """Each run of five neighbouring frames as one vector, ``(frames - 4, 5 * bands)``, one frame after the other.

    A clip of fewer frames is prolonged by its last one.
    """
    missing = max(0, FRAMES_IN_CONTEXT - len(log_mel))
    prolonged = np.pad(log_mel, ((0, missing), (0, 0)), mode="edge")
    runs = np.lib.stride_tricks.sliding_window_view(prolonged, FRAMES_IN_CONTEXT, axis=0)
    return runs.transpose(0, 2, 1).reshape(len(runs), -1)


def forward(layers: Sequence[Layer], vectors: Floats) -> Floats:
    """What a network makes of vectors: rectified after each layer but the last.

    Args:
        layers: of one network; or of several, with one more axis, the first.
        vectors: ``(vectors, inputs)``.

    Returns:
        ``(vectors, outputs)``, or ``(networks, vectors, outputs)``.
    """
    *hidden, last = layers
    for kernel, bias in hidden:
        vectors = np.maximum(vectors @ kernel + bias[..., None, :], 0)
    return vectors @ last.kernel + last.bias[..., None, :]


def stack_networks(networks: Sequence[Sequence[Layer]]) -> list[Layer]:
    """Networks of one architecture as layers with one more axis, the first."""
    return [Layer(*map(np.stack, zip(*same, strict=True))) for same in zip(*networks, strict=True)]


def pack_layers(layers: Sequence[Layer]) -> dict[str, Floats]:
    """The layers by names, as an engine keeps what it has learned."""
    arrays: dict[str, Floats] = {}
    for number, (kernel, bias) in enumerate(layers):
        arrays |= {f"kernel{number}": kernel, f"bias{number}": bias}
    return arrays


def unpack_layers(arrays: Mapping[str, Floats]) -> list[Layer]:
    """The inverse of :func:`packed`; what else is kept beside them is left alone."""
    count = sum(name.startswith("kernel") for name in arrays)
    return [Layer(arrays[f"kernel{number}"], arrays[f"bias{number}"]) for number in range(count)]
