"""Safety check of a Keras archive, without loading it.

An archive may name any Python class, and loading the archive runs that class. This module reads only the description of
the model, without Keras, and refuses everything that is not known to be harmless.
"""

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ml.errors import BundleDamaged
from ml.system.zip_members import ZIP_ERRORS, read_member

CONFIG = "config.json"
MAX_CONFIG_BYTES = 2**20
# Harmless layers. Lambda is not one of them, as it is code in the archive.
LAYERS = frozenset(
    {
        "InputLayer",
        "Conv1D",
        "Conv2D",
        "SeparableConv2D",
        "DepthwiseConv2D",
        "MaxPooling1D",
        "MaxPooling2D",
        "AveragePooling2D",
        "GlobalAveragePooling1D",
        "GlobalAveragePooling2D",
        "GlobalMaxPooling2D",
        "BatchNormalization",
        "LayerNormalization",
        "Normalization",
        "Dropout",
        "SpatialDropout2D",
        "Dense",
        "Flatten",
        "Reshape",
        "Activation",
        "ReLU",
        "LeakyReLU",
        "Softmax",
        "Add",
        "Concatenate",
        "ZeroPadding2D",
    }
)


def require_safe(path: Path) -> None:
    """Refuse an archive that could run code when it is loaded.

    Args:
        path: archive in the folder of its bundle.

    Raises:
        BundleDamaged: the file is no Keras archive, or could run code.
    """
    bundle = f"Bundle {path.parent.name}"
    try:
        with zipfile.ZipFile(path) as archive:
            info = archive.getinfo(CONFIG)
            if info.file_size > MAX_CONFIG_BYTES:
                raise BundleDamaged(
                    f"{bundle}: the description of the Keras archive has {info.file_size} bytes; at most "
                    f"{MAX_CONFIG_BYTES} were expected."
                )
            config = json.loads(read_member(archive, info))
        layers = [str(layer["class_name"]) for layer in config["config"]["layers"]]
        objects = list(_objects(config))
    except (*ZIP_ERRORS, KeyError, TypeError, ValueError, AttributeError) as error:
        raise BundleDamaged(f"{bundle}: {path.name} is no Keras archive ({error}).") from error
    if config.get("class_name") not in ("Sequential", "Functional"):
        raise BundleDamaged(
            f"{bundle}: the Keras model is a {config.get('class_name')}; Sequential or Functional was expected."
        )
    for kind in layers:
        if kind not in LAYERS:
            raise BundleDamaged(f"{bundle}: the Keras archive has a {kind} layer, which could run code when loaded.")
    for kind, module in objects:
        layer = kind == "Lambda" or ".layers" in module
        if kind in ("function", "__lambda__") or module.split(".")[0] != "keras" or (layer and kind not in LAYERS):
            raise BundleDamaged(f"{bundle}: the Keras archive names {module}.{kind}, which could run code when loaded.")


def _objects(value: Any) -> Iterator[tuple[str, str]]:
    """Yield class and module of every object that loading the description would create, at any depth."""
    if isinstance(value, dict):
        if "class_name" in value:
            # Converted to text, because a value that is no text must not match a known name.
            yield str(value["class_name"]), str(value.get("module") or "keras")
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _objects(item)
