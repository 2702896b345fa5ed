"""What a Keras archive would run when it is loaded, found without loading it.

An archive may name any Python class, and loading it runs that. Only its description of the model is read here, without
Keras, and whatever is not known to be harmless is refused.
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
# Not among them is Lambda: it is code that comes with the archive.
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
        path: the archive, in the folder of its bundle.

    Raises:
        BundleDamaged: not a Keras archive, or one that could run code.
    """
    bundle = f"Bundle {path.parent.name}"
    try:
        with zipfile.ZipFile(path) as archive:
            info = archive.getinfo(CONFIG)
            if info.file_size > MAX_CONFIG_BYTES:
                raise BundleDamaged(f"{bundle}: the Keras archive's description is too long.")
            config = json.loads(read_member(archive, info))
        layers = [str(layer["class_name"]) for layer in config["config"]["layers"]]
        objects = list(_objects(config))
    except (*ZIP_ERRORS, KeyError, TypeError, ValueError, AttributeError) as error:
        raise BundleDamaged(f"{bundle}: {path.name} is no Keras archive ({error}).") from error
    if config.get("class_name") not in ("Sequential", "Functional"):
        raise BundleDamaged(f"{bundle}: the Keras model is a {config.get('class_name')}, not a known kind.")
    for kind in layers:
        if kind not in LAYERS:
            raise BundleDamaged(f"{bundle}: the Keras archive has a {kind} layer, which could run code when loaded.")
    for kind, module in objects:
        layer = kind == "Lambda" or ".layers" in module
        if kind in ("function", "__lambda__") or module.split(".")[0] != "keras" or (layer and kind not in LAYERS):
            raise BundleDamaged(f"{bundle}: the Keras archive names {module}.{kind}, which could run code when loaded.")


def _objects(value: Any) -> Iterator[tuple[str, str]]:
    """Class and module of everything that loading the description would make, at any depth."""
    if isinstance(value, dict):
        if "class_name" in value:
            # As text, whatever they are: what is no name is none that is known.
            yield str(value["class_name"]), str(value.get("module") or "keras")
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _objects(item)
