"""An HDF5 file in the form of ``model.save`` of Keras 2.3, made with h5py alone, and the expected probabilities.

The layout follows the original project's own file: attributes ``model_config`` and ``keras_version``, and a group
``model_weights`` whose ``layer_names`` and ``weight_names`` name the arrays.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

FILTERS, CLASSES, SHAPE = (16, 32, 64), 4, (40, 433, 1)

Description = dict[str, Any]
Weights = dict[str, NDArray[Any]]


def description() -> Description:
    """Return the original's ``model_config``."""
    layers: list[dict[str, Any]] = []
    for number, filters in enumerate(FILTERS, 1):
        convolution = {
            "name": f"conv2d_{number}",
            "trainable": True,
            "dtype": "float32",
            "filters": filters,
            "kernel_size": [2, 2],
            "strides": [1, 1],
            "padding": "valid",
            "data_format": "channels_last",
            "dilation_rate": [1, 1],
            "activation": "relu",
            "use_bias": True,
        }
        if number == 1:
            convolution["batch_input_shape"] = [None, *SHAPE]
        pooling = {
            "name": f"max_pooling2d_{number}",
            "pool_size": [2, 2],
            "padding": "valid",
            "strides": [2, 2],
            "data_format": "channels_last",
        }
        layers += [
            {"class_name": "Conv2D", "config": convolution},
            {"class_name": "MaxPooling2D", "config": pooling},
            {"class_name": "Dropout", "config": {"name": f"dropout_{number}", "rate": 0.2}},
        ]
    average = {"name": "global_average_pooling2d_1", "data_format": "channels_last"}
    dense = {"name": "dense_1", "units": CLASSES, "activation": "softmax", "use_bias": True}
    layers += [
        {"class_name": "GlobalAveragePooling2D", "config": average},
        {"class_name": "Dense", "config": dense},
    ]
    return {"class_name": "Sequential", "config": {"name": "sequential_1", "layers": layers}}


def weights(seed: int = 0) -> Weights:
    """Return random kernels and biases, small enough that the softmax does not saturate on MFCCs."""
    rng = np.random.default_rng(seed)
    found: Weights = {}
    channels = 1
    for number, filters in enumerate(FILTERS, 1):
        found[f"conv2d_{number}/kernel:0"] = rng.normal(0, (4 * channels) ** -0.5, (2, 2, channels, filters))
        found[f"conv2d_{number}/bias:0"] = rng.normal(0, 0.1, filters)
        channels = filters
    found["dense_1/kernel:0"] = rng.normal(0, 0.02, (channels, CLASSES))
    found["dense_1/bias:0"] = rng.normal(0, 0.1, CLASSES)
    return {name: values.astype(np.float32) for name, values in found.items()}


def write(
    path: Path,
    seed: int = 0,
    describe: Callable[[Description], object] = lambda _: None,
    change: Callable[[Weights], object] = lambda _: None,
    damage: Callable[[h5py.File], object] = lambda _: None,
) -> Path:
    """Write the file.

    Args:
        path: path of the file.
        seed: seed of the weights.
        describe: changes the description in place.
        change: changes the weights in place.
        damage: changes the finished file.
    """
    model, values = description(), weights(seed)
    describe(model)
    change(values)
    with h5py.File(path, "w") as file:
        file.attrs["backend"] = "tensorflow"
        file.attrs["keras_version"] = "2.3.1"
        file.attrs["model_config"] = json.dumps(model)
        group = file.create_group("model_weights")
        names = [layer["config"]["name"] for layer in description()["config"]["layers"]]
        group.attrs["layer_names"] = [name.encode() for name in names]
        for layer in names:
            own = [name for name in values if name.startswith(f"{layer}/")]
            group.create_group(layer).attrs["weight_names"] = np.array([name.encode() for name in own], "S64")
            for name in own:
                group[layer].create_dataset(name, data=values[name])
        damage(file)
    return path


def forward(values: Weights, clip: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Return the network's probabilities for a clip ``(40, 433)``, in float64 and with numpy alone."""
    at = clip.astype(np.float64)[:, :, None]
    for number in range(1, len(FILTERS) + 1):
        kernel = values[f"conv2d_{number}/kernel:0"].astype(np.float64)
        rows, frames = at.shape[0] - 1, at.shape[1] - 1
        convolved = sum(at[i : i + rows, j : j + frames] @ kernel[i, j] for i in range(2) for j in range(2)) + values[
            f"conv2d_{number}/bias:0"
        ].astype(np.float64)
        at = np.maximum(convolved, 0)[: rows // 2 * 2, : frames // 2 * 2]
        at = at.reshape(rows // 2, 2, frames // 2, 2, -1).max(axis=(1, 3))
    logits = at.mean(axis=(0, 1)) @ values["dense_1/kernel:0"].astype(np.float64) + values["dense_1/bias:0"]
    odds = np.exp(logits - logits.max())
    return odds / odds.sum()


def read_weights(path: Path) -> Weights:
    """Read the weights of such a file."""
    with h5py.File(path, "r") as file:
        return {name: file["model_weights"][name.split("/")[0]][name][()] for name in weights()}
