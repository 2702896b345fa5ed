"""Dense networks as plain arrays, and their input vectors. Scoring needs no Keras."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
# As in the published baseline: a fifth of a second at MIMII's sample rate.
FRAMES_IN_CONTEXT = 5


class Layer(NamedTuple):
    """One dense layer.

    Attributes:
        kernel: float32 ``(inputs, units)``.
        bias: float32 ``(units,)``.
    """

    kernel: Floats
    bias: Floats


def stack_frames(log_mel: Floats) -> Floats:
    """Return each run of five neighbouring frames as one vector, one frame after the other.

    A clip of fewer than five frames is extended by repeating its last frame.

    Args:
        log_mel: float32 ``(frames, bands)``, at least one frame.

    Returns:
        float32 ``(max(1, frames - 4), 5 * bands)``.

    Example:
        >>> stack_frames(np.arange(12, dtype=np.float32).reshape(6, 2))[1].astype(int)
        array([ 2,  3,  4,  5,  6,  7,  8,  9, 10, 11])
    """
    missing = max(0, FRAMES_IN_CONTEXT - len(log_mel))
    extended = np.pad(log_mel, ((0, missing), (0, 0)), mode="edge")
    runs = np.lib.stride_tricks.sliding_window_view(extended, FRAMES_IN_CONTEXT, axis=0)
    return runs.transpose(0, 2, 1).reshape(len(runs), -1)


def forward(layers: Sequence[Layer], vectors: Floats) -> Floats:
    """Compute the outputs of a dense network.

    ``v = max(0, v @ kernel + bias)`` in each hidden layer, and ``v @ kernel + bias`` in the last.

    Args:
        layers: of one network; or of several, with the networks along a new first axis (:func:`stack_networks`).
        vectors: float32 ``(vectors, inputs)``.

    Returns:
        float32 ``(vectors, outputs)``, or ``(networks, vectors, outputs)``.

    Example:
        >>> layer = Layer(np.array([[2.0, -2.0]], np.float32), np.zeros(2, np.float32))
        >>> last = Layer(np.ones((2, 1), np.float32), np.array([0.5], np.float32))
        >>> forward([layer, last], np.array([[1.0], [-3.0]], np.float32))
        array([[2.5],
               [6.5]], dtype=float32)
    """
    *hidden, last = layers
    for kernel, bias in hidden:
        vectors = np.maximum(vectors @ kernel + bias[..., None, :], 0)
    return vectors @ last.kernel + last.bias[..., None, :]


def stack_networks(networks: Sequence[Sequence[Layer]]) -> list[Layer]:
    """Stack the layers of networks with the same architecture along a new first axis.

    Args:
        networks: layers of each network, at least one network.

    Returns:
        Layers with kernels ``(networks, inputs, units)`` and biases ``(networks, units)``.

    Example:
        >>> network = [Layer(np.zeros((3, 2), np.float32), np.zeros(2, np.float32))]
        >>> [(layer.kernel.shape, layer.bias.shape) for layer in stack_networks([network] * 4)]
        [((4, 3, 2), (4, 2))]
    """
    return [Layer(*map(np.stack, zip(*same, strict=True))) for same in zip(*networks, strict=True)]


def pack_layers(layers: Sequence[Layer]) -> dict[str, Floats]:
    """Return layers as an engine's state: arrays ``kernel0``, ``bias0``, ``kernel1`` and so on.

    Example:
        >>> sorted(pack_layers([Layer(np.zeros((3, 2), np.float32), np.zeros(2, np.float32))]))
        ['bias0', 'kernel0']
    """
    arrays: dict[str, Floats] = {}
    for number, (kernel, bias) in enumerate(layers):
        arrays |= {f"kernel{number}": kernel, f"bias{number}": bias}
    return arrays


def unpack_layers(arrays: Mapping[str, Floats]) -> list[Layer]:
    """Return the layers of :func:`pack_layers`. Arrays with other names are ignored.

    Example:
        >>> layers = [Layer(np.zeros((3, 2), np.float32), np.zeros(2, np.float32))]
        >>> len(unpack_layers(pack_layers(layers)))
        1
    """
    count = sum(name.startswith("kernel") for name in arrays)
    return [Layer(arrays[f"kernel{number}"], arrays[f"bias{number}"]) for number in range(count)]
