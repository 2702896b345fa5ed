"""Import of the original project's HDF5 file as a bundle, without running code from the file.

``keras.models.load_model`` could run code in the file (a Lambda layer), and cannot read a file of Keras 2. So h5py
reads the description, and each layer is compared with the only network that is accepted. The weights are copied into a
network that is built here. Everything else is refused.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ml.classifier.recipe import NetworkSpec
from ml.errors import ImportRefused, InvalidParameter, MissingExtra
from ml.features.spec import FeatureSpec
from ml.models.bundle import DecisionThreshold
from ml.models.labels import ORIGINAL_LABELS
from ml.models.publishing import publish
from ml.models.registry import Registry

if TYPE_CHECKING:
    import h5py

MAX_DESCRIPTION_BYTES = 2**20
# Errors of h5py and of an invalid description; ImportRefused is none of them.
UNREADABLE = (OSError, RuntimeError, ValueError, TypeError, KeyError, AttributeError, IndexError)
SUFFIXES = frozenset({".hdf5", ".h5"})
# Required settings of each kind of layer besides its sizes; other values would compute something else.
FIXED: dict[str, dict[str, Any]] = {
    "Conv2D": {
        "padding": "valid",
        "data_format": "channels_last",
        "strides": [1, 1],
        "dilation_rate": [1, 1],
        "activation": "relu",
        "use_bias": True,
    },
    "MaxPooling2D": {"padding": "valid", "data_format": "channels_last"},
    "Dropout": {},
    "GlobalAveragePooling2D": {"data_format": "channels_last"},
    "Dense": {"activation": "softmax", "use_bias": True},
}


def import_original(source: Path, registry: Registry, name: str = "original") -> str:
    """Import the original project's network, with the original's features, labels and decision.

    Args:
        source: HDF5 file that ``model.save`` of Keras 2 wrote.
        registry: registry for the bundle.
        name: first part of the version's name.

    Returns:
        The version. The same file always has the same version.

    Raises:
        ImportRefused: the file is not HDF5, or has another network.
        MissingExtra: TensorFlow is not installed.
        OSError: the file cannot be read.
    """
    try:
        import h5py

        from ml.classifier import network
    except ImportError as error:
        raise MissingExtra("Importing a Keras model", "train") from error

    content = source.read_bytes()
    spec, classes = FeatureSpec.original(), len(ORIGINAL_LABELS.classes)
    shape = (spec.rows, spec.clip_frames)
    try:
        with h5py.File(source, "r") as file:
            layers, keras_version = _describe(file, spec, classes)
            weights = _weights(file, layers.weight_shapes(shape, classes))
    except UNREADABLE as error:
        raise ImportRefused(f"{source.name} is no HDF5 file of this network: {error}") from error

    try:
        model = network.build(layers, shape, classes)
    except InvalidParameter as error:
        raise ImportRefused(str(error)) from error
    model.set_weights(weights)
    return publish(
        model,
        name=name,
        spec=spec,
        labels=ORIGINAL_LABELS,
        decision=DecisionThreshold(0.5, None, "the most probable class, as the original decided; never measured"),
        card={
            "source": {
                "kind": "original project, Keras HDF5",
                "file": source.name,
                "sha256": hashlib.sha256(content).hexdigest(),
                "keras_version": keras_version,
            },
            "network": {"filters": list(layers.filters), "kernel": layers.kernel, "pool": layers.pool},
            "trained_on": "unknown to this project; the original names MIMII fans",
            "metrics": None,
            "limits": "It has four classes. For a fault of another kind, another machine, speech or rain, the answer "
            "is also one of the four.",
        },
        registry=registry,
    )


def _describe(file: "h5py.File", spec: FeatureSpec, classes: int) -> tuple[NetworkSpec, str]:
    """Read the description of the network, and refuse any other network than the original's."""
    description = file.attrs.get("model_config")
    if isinstance(description, bytes):
        description = description.decode("utf-8", "replace")
    if not isinstance(description, str) or len(description) > MAX_DESCRIPTION_BYTES:
        raise ImportRefused(
            "The HDF5 file has no description of a Keras model (attribute model_config), perhaps only weights; a file "
            "of model.save was expected."
        )
    try:
        model = json.loads(description)
        kind, config = model["class_name"], model["config"]
        layers = [(layer["class_name"], dict(layer["config"])) for layer in _layers(config)]
    except UNREADABLE as error:
        raise ImportRefused(f"The description of the Keras model cannot be read ({error}).") from error
    if kind != "Sequential":
        raise ImportRefused(f"The model is a {kind}; a Sequential was expected.")
    layers = [layer for layer in layers if layer[0] != "InputLayer"]
    for position, (layer, _) in enumerate(layers):
        if layer not in FIXED:
            raise ImportRefused(f"Layer {position} is a {layer}; one of {', '.join(FIXED)} was expected.")

    convolutions = [values for layer, values in layers if layer == "Conv2D"]
    expected = ["Conv2D", "MaxPooling2D", "Dropout"] * len(convolutions) + ["GlobalAveragePooling2D", "Dense"]
    found = [layer for layer, _ in layers]
    if not convolutions or found != expected:
        raise ImportRefused(f"The layers are {', '.join(found)}; {', '.join(expected)} were expected.")
    for position, (layer, values) in enumerate(layers):
        for field, value in FIXED[layer].items():
            if values.get(field) != value:
                raise ImportRefused(
                    f"Layer {position} ({layer}) has {field} {values.get(field)}; {value} was expected."
                )

    poolings = [values for layer, values in layers if layer == "MaxPooling2D"]
    kernel = _one("kernel_size", [values.get("kernel_size") for values in convolutions])
    pool = _one("pool_size", [values.get("pool_size") for values in poolings])
    if [values.get("strides") for values in poolings] != [[pool, pool]] * len(poolings):
        raise ImportRefused("A pooling layer has strides that differ from its size; equal values were expected.")
    shape = convolutions[0].get("batch_input_shape") or _input_shape(config)
    if shape is not None and list(shape)[1:] != list(spec.input_shape[1:]):
        raise ImportRefused(f"The network's input is {list(shape)[1:]}; {list(spec.input_shape[1:])} was expected.")
    if layers[-1][1].get("units") != classes:
        raise ImportRefused(f"The network has {layers[-1][1].get('units')} outputs; {classes} were expected.")
    described = NetworkSpec(
        scale=False,
        average="all",
        hidden=(),
        filters=tuple(_count("filters", values.get("filters")) for values in convolutions),
        kernel=kernel,
        pool=pool,
    )
    version = file.attrs.get("keras_version", "unknown")
    return described, version.decode("ascii", "replace") if isinstance(version, bytes) else str(version)


def _layers(config: Any) -> list[dict[str, Any]]:
    """Return the list of layers; Keras before 2.2.3 wrote the list without a mapping around it."""
    layers: list[dict[str, Any]] = config["layers"] if isinstance(config, dict) else config
    return layers


def _input_shape(config: Any) -> list[int] | None:
    """Return the shape in the InputLayer, which Keras 2.4 and later write; None without one."""
    for layer in _layers(config):
        if layer["class_name"] == "InputLayer":
            shape: list[int] | None = layer["config"].get("batch_input_shape") or layer["config"].get("batch_shape")
            return shape
    return None


def _one(field: str, sizes: list[Any]) -> int:
    """Return the square size that all layers share."""
    first = sizes[0]
    if not isinstance(first, list) or len(set(first)) != 1 or sizes != [first] * len(sizes):
        raise ImportRefused(f"The layers have {field} {sizes}; one square size for all was expected.")
    return _count(field, first[0])


def _count(field: str, value: Any) -> int:
    if not isinstance(value, int) or not 1 <= value <= 4096:
        raise ImportRefused(f"A layer has {field} {value}; a whole number from 1 to 4096 was expected.")
    return value


def _weights(file: "h5py.File", expected: Sequence[tuple[int, ...]]) -> list[NDArray[np.float32]]:
    """Return copies of kernels and biases in the order of the layers; refuse other shapes."""
    try:
        group = _inside_file(file, "model_weights")
        names = [
            f"{_text(layer)}/{_text(weight)}"
            for layer in group.attrs["layer_names"]
            for weight in _inside_file(group, _text(layer)).attrs["weight_names"]
        ]
        datasets = [_dataset(group, name) for name in names]
    except UNREADABLE as error:
        raise ImportRefused(f"The weights cannot be found ({error}).") from error
    shapes = [tuple(dataset.shape) for dataset in datasets]
    if shapes != list(expected):
        raise ImportRefused(f"The weights have the shapes {shapes}; {list(expected)} were expected.")
    weights = [np.asarray(dataset[()], np.float32) for dataset in datasets]
    if not all(np.isfinite(weight).all() for weight in weights):
        raise ImportRefused("Some of the weights are NaN or infinite.")
    return weights


def _dataset(group: "h5py.Group", name: str) -> "h5py.Dataset":
    import h5py

    dataset = _inside_file(group, name)
    plain = isinstance(dataset, h5py.Dataset) and dataset.external is None and not dataset.is_virtual
    if not plain or dataset.dtype.kind != "f":
        raise ImportRefused(f"{name} in the file is not a plain array of floating-point numbers.")
    return dataset


def _inside_file(group: "h5py.Group", name: str) -> Any:
    """Return the object ``name`` of this file; refuse links to other files, which HDF5 allows."""
    import h5py

    at = group
    for part in name.split("/"):
        if not isinstance(at.get(part, getlink=True, default=h5py.HardLink()), h5py.HardLink):
            raise ImportRefused(f"The weights {name} are a link; weights inside the file were expected.")
        at = at[part]
    return at


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
