"""Files that do not have the original's network: refused by name, and nothing in them is run."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import pytest

from ml.errors import ImportRefused
from ml.models.import_original import import_original
from ml.models.registry import Registry
from testing import keras2
from tests import sounds


def layer(position: int, **values: Any) -> Callable[[keras2.Description], None]:
    """Change fields of one layer's configuration."""
    return lambda model: model["config"]["layers"][position]["config"].update(values)


def kind(position: int, class_name: Any) -> Callable[[keras2.Description], None]:
    """Change the kind of one layer."""
    return lambda model: model["config"]["layers"][position].update(class_name=class_name)


def shaped(name: str, shape: tuple[int, ...]) -> Callable[[keras2.Weights], None]:
    """Give one array another shape."""
    return lambda weights: weights.update({name: np.zeros(shape, np.float32)})


def with_value(name: str, value: float) -> Callable[[keras2.Weights], None]:
    """Put one value into an array."""
    return lambda weights: np.put(weights[name], 3, value)


def without_description(file: h5py.File) -> None:
    """Remove the description, as in a file of ``save_weights``."""
    del file.attrs["model_config"]


def described_as(text: Any) -> Callable[[h5py.File], None]:
    """Replace the description by another text."""

    def damage(file: h5py.File) -> None:
        file.attrs["model_config"] = text

    return damage


KERNEL, WITHIN = "conv2d_1/kernel:0", "model_weights/conv2d_1"


def as_integers(file: h5py.File) -> None:
    """Replace floating-point weights by integers."""
    del file[WITHIN][KERNEL]
    file[WITHIN][KERNEL] = np.zeros((2, 2, 1, 16), np.int32)


def as_a_group(file: h5py.File) -> None:
    """Replace an array by a group."""
    del file[WITHIN][KERNEL]
    file[WITHIN].create_group(KERNEL)


def as_an_array(file: h5py.File) -> None:
    """Replace the group of a layer by an array."""
    names = file[WITHIN].attrs["weight_names"]
    del file[WITHIN]
    file[WITHIN] = np.zeros(3)
    file[WITHIN].attrs["weight_names"] = names


def without(path: str) -> Callable[[h5py.File], None]:
    """Remove a group or an array."""

    def damage(file: h5py.File) -> None:
        del file[path]

    return damage


def without_names(file: h5py.File) -> None:
    """Remove the order of the layers."""
    del file["model_weights"].attrs["layer_names"]


def write_beside(file: h5py.File) -> Path:
    """Write another file with the same groups next to ``file``."""
    return keras2.write(Path(file.filename).with_name("elsewhere.h5"))


def array_by_soft_link(file: h5py.File) -> None:
    """Replace a kernel by a link inside the file."""
    file["elsewhere"] = file[WITHIN][KERNEL][()]
    del file[WITHIN][KERNEL]
    file[WITHIN][KERNEL] = h5py.SoftLink("/elsewhere")


def array_by_external_link(file: h5py.File) -> None:
    """Replace a kernel by a link to another file."""
    other = write_beside(file)
    del file[WITHIN][KERNEL]
    file[WITHIN][KERNEL] = h5py.ExternalLink(other.name, f"/{WITHIN}/{KERNEL}")


def layer_by_external_link(file: h5py.File) -> None:
    """Replace a layer's group by a link to another file."""
    other = write_beside(file)
    del file[WITHIN]
    file[WITHIN] = h5py.ExternalLink(other.name, f"/{WITHIN}")


def all_by_external_link(file: h5py.File) -> None:
    """Replace all weights by a link to another file."""
    other = write_beside(file)
    del file["model_weights"]
    file["model_weights"] = h5py.ExternalLink(other.name, "/model_weights")


def link_to_itself(file: h5py.File) -> None:
    """Replace a layer's group by a link to itself."""
    del file[WITHIN]
    file[WITHIN] = h5py.SoftLink(f"/{WITHIN}")


def external_storage(file: h5py.File) -> None:
    """Replace a kernel by an array whose bytes are those of another file."""
    secret = Path(file.filename).with_name("secret")
    secret.write_bytes(bytes(1000))
    del file[WITHIN][KERNEL]
    file[WITHIN].create_dataset(KERNEL, (2, 2, 1, 16), "<f4", external=[(str(secret), 0, 256)])


def virtual_array(file: h5py.File) -> None:
    """Replace a kernel by a virtual array of another file."""
    layout = h5py.VirtualLayout((2, 2, 1, 16), "<f4")
    layout[...] = h5py.VirtualSource(str(write_beside(file)), f"{WITHIN}/{KERNEL}", (2, 2, 1, 16))
    del file[WITHIN][KERNEL]
    file[WITHIN].create_virtual_dataset(KERNEL, layout)


class InvalidFile(NamedTuple):
    """A way to write the file wrongly, and a pattern that the refusal must match."""

    wrongly: dict[str, Any]
    found: str


INVALID_FILES = {
    "functional": InvalidFile({"describe": lambda m: m.update(class_name="Model")}, "a Model"),
    "functional-3": InvalidFile({"describe": lambda m: m.update(class_name="Functional")}, "a Functional"),
    "lambda": InvalidFile({"describe": kind(2, "Lambda")}, "Layer 2 is a Lambda"),
    "lambda-at-the-end": InvalidFile(
        {"describe": lambda m: m["config"]["layers"].append({"class_name": "Lambda", "config": {"function": "x"}})},
        "Layer 11 is a Lambda",
    ),
    "custom-layer": InvalidFile({"describe": kind(0, "MyConv")}, "MyConv"),
    "model-within": InvalidFile({"describe": kind(0, "Sequential")}, "Sequential"),
    "layers-in-another-order": InvalidFile({"describe": lambda m: m["config"]["layers"].reverse()}, "were expected"),
    "no-layers": InvalidFile({"describe": lambda m: m["config"]["layers"].clear()}, "were expected"),
    "a-layer-less": InvalidFile({"describe": lambda m: m["config"]["layers"].pop(2)}, "were expected"),
    "tanh": InvalidFile({"describe": layer(0, activation="tanh")}, r"Layer 0 \(Conv2D\) has activation tanh; relu"),
    "sigmoid-output": InvalidFile({"describe": layer(10, activation="sigmoid")}, "activation sigmoid; softmax"),
    "same-padding": InvalidFile({"describe": layer(3, padding="same")}, "padding same; valid"),
    "channels-first": InvalidFile({"describe": layer(3, data_format="channels_first")}, "channels_first"),
    "strides": InvalidFile({"describe": layer(3, strides=[2, 2])}, r"strides \[2, 2\]"),
    "dilation": InvalidFile({"describe": layer(3, dilation_rate=[2, 2])}, "dilation_rate"),
    "no-bias": InvalidFile({"describe": layer(0, use_bias=False)}, "use_bias False"),
    "overlapping-pools": InvalidFile({"describe": layer(1, strides=[1, 1])}, "strides that differ from its size"),
    "pools-of-two-sizes": InvalidFile({"describe": layer(1, pool_size=[3, 3], strides=[3, 3])}, "pool_size|strides"),
    "kernels-of-two-sizes": InvalidFile({"describe": layer(3, kernel_size=[3, 3])}, "kernel_size"),
    "oblong-kernel": InvalidFile({"describe": layer(0, kernel_size=[2, 3])}, "kernel_size"),
    "endless-filters": InvalidFile({"describe": layer(0, filters=10**9)}, "filters 1000000000"),
    "no-filters": InvalidFile({"describe": layer(0, filters=0)}, "filters 0"),
    "filters-as-text": InvalidFile({"describe": layer(0, filters="16")}, "filters 16"),
    "input-shape": InvalidFile({"describe": layer(0, batch_input_shape=[None, 40, 431, 1])}, "431.* 433"),
    "stereo-input": InvalidFile({"describe": layer(0, batch_input_shape=[None, 40, 433, 2])}, "433, 2"),
    "three-outputs": InvalidFile(
        {
            "describe": layer(10, units=3),
            "change": lambda w: (shaped("dense_1/kernel:0", (64, 3))(w), shaped("dense_1/bias:0", (3,))(w)),
        },
        "3 outputs; 4",
    ),
    "other-kernel-shape": InvalidFile({"change": shaped("conv2d_2/kernel:0", (3, 3, 16, 32))}, "shapes"),
    "transposed-dense": InvalidFile({"change": shaped("dense_1/kernel:0", (4, 64))}, "shapes"),
    "a-bias-less": InvalidFile({"change": lambda w: w.pop("conv2d_1/bias:0")}, "shapes"),
    "nan": InvalidFile({"change": with_value(KERNEL, np.nan)}, "NaN"),
    "infinity": InvalidFile({"change": with_value("dense_1/bias:0", np.inf)}, "infinite"),
    "weights-alone": InvalidFile({"damage": without_description}, "perhaps only weights"),
    "description-is-no-json": InvalidFile({"damage": described_as("{")}, "cannot be read"),
    "description-is-a-number": InvalidFile({"damage": described_as(5)}, "no description"),
    "description-is-json-null": InvalidFile({"damage": described_as("null")}, "cannot be read"),
    "description-without-end": InvalidFile({"damage": described_as("[" * 40_000)}, "cannot be read"),
    "description-of-a-list": InvalidFile({"damage": described_as("[]")}, "cannot be read"),
    "layers-are-a-number": InvalidFile({"describe": lambda m: m["config"].update(layers=5)}, "cannot be read"),
    "layer-is-a-number": InvalidFile({"describe": lambda m: m["config"].update(layers=[5])}, "cannot be read"),
    "config-is-null": InvalidFile({"describe": lambda m: m.update(config=None)}, "cannot be read"),
    "class-is-a-list": InvalidFile({"describe": kind(0, ["Conv2D"])}, "."),
    "model-class-is-a-list": InvalidFile({"describe": lambda m: m.update(class_name=["Sequential"])}, "Sequential"),
    "input-shape-is-a-number": InvalidFile({"describe": layer(0, batch_input_shape=5)}, "."),
    "kernel-size-of-lists": InvalidFile({"describe": layer(0, kernel_size=[[2], [2]])}, "."),
    "no-weights": InvalidFile({"damage": without("model_weights")}, "cannot be found"),
    "no-layer-names": InvalidFile({"damage": without_names}, "cannot be found"),
    "a-layers-weights-missing": InvalidFile({"damage": without(WITHIN)}, "cannot be found"),
    "an-array-missing": InvalidFile({"damage": without(f"{WITHIN}/{KERNEL}")}, "."),
    "integers": InvalidFile({"damage": as_integers}, "floating-point"),
    "group-for-an-array": InvalidFile({"damage": as_a_group}, "not a plain array"),
    "array-for-a-group": InvalidFile({"damage": as_an_array}, "."),
    "array-by-soft-link": InvalidFile(
        {"damage": array_by_soft_link}, "are a link; weights inside the file were expected"
    ),
    "array-by-external-link": InvalidFile(
        {"damage": array_by_external_link}, "are a link; weights inside the file were expected"
    ),
    "layer-by-external-link": InvalidFile(
        {"damage": layer_by_external_link}, "are a link; weights inside the file were expected"
    ),
    "all-by-external-link": InvalidFile(
        {"damage": all_by_external_link}, "are a link; weights inside the file were expected"
    ),
    "link-to-itself": InvalidFile({"damage": link_to_itself}, "."),
    "external-storage": InvalidFile({"damage": external_storage}, "not a plain array"),
    "virtual-array": InvalidFile({"damage": virtual_array}, "not a plain array"),
}


def assert_refused_and_nothing_written(source: Path, found: str, home: Path) -> None:
    """Check that an import is refused by name, and that the registry has no version, alias or partial file."""
    registry = Registry(home)
    with pytest.raises(ImportRefused, match=found):
        import_original(source, registry)
    assert registry.versions() == []
    assert registry.aliases() == {}
    assert not list(home.rglob("*.keras"))


@pytest.mark.parametrize("case", list(INVALID_FILES.values()), ids=list(INVALID_FILES))
def test_another_network_is_refused_and_nothing_imported(case: InvalidFile, tmp_path: Path) -> None:
    """Every difference from this network, in layers or arrays, is refused with the reason."""
    source = keras2.write(tmp_path / "model.hdf5", **case.wrongly)
    assert_refused_and_nothing_written(source, case.found, tmp_path / "home")


@pytest.mark.parametrize(
    "content",
    [b"", b"nonsense", b"\x89HDF\r\n\x1a\n", b"\x89HDF\r\n\x1a\n" + bytes(5000), sounds.recording(sounds.fan(1))],
    ids=["empty", "text", "magic-alone", "zeros", "wav"],
)
def test_another_kind_of_file_is_refused_and_nothing_imported(content: bytes, tmp_path: Path) -> None:
    """The message has the name of the file."""
    source = tmp_path / "model.hdf5"
    source.write_bytes(content)
    assert_refused_and_nothing_written(source, r"model\.hdf5 is no HDF5 file", tmp_path / "home")


@pytest.mark.parametrize("keep", [0.2, 0.5, 0.9])
def test_a_truncated_file_is_refused_and_nothing_imported(original_file: Path, tmp_path: Path, keep: float) -> None:
    """A file of an interrupted download is refused."""
    content = original_file.read_bytes()
    source = tmp_path / "model.hdf5"
    source.write_bytes(content[: int(keep * len(content))])
    assert_refused_and_nothing_written(source, ".", tmp_path / "home")


@pytest.mark.parametrize("structure", [b"TREE", b"HEAP", b"SNOD", b"conv2d_1/bias:0"])
def test_a_file_damaged_inside_is_refused_and_nothing_imported(
    original_file: Path, tmp_path: Path, structure: bytes
) -> None:
    """Damaged HDF5 structures, or a name that is no text, are refused for all kinds of libhdf5 errors."""
    content = original_file.read_bytes()
    assert structure in content
    source = tmp_path / "model.hdf5"
    source.write_bytes(content[:2000] + content[2000:].replace(structure, b"\xa7" * len(structure)))
    assert_refused_and_nothing_written(source, ".", tmp_path / "home")


def test_a_missing_file_is_an_os_error(tmp_path: Path) -> None:
    """A missing file is an OSError and not a refused import."""
    with pytest.raises(FileNotFoundError):
        import_original(tmp_path / "nowhere.hdf5", Registry(tmp_path / "home"))


def test_a_refused_import_changes_nothing(home: Path, tmp_path: Path) -> None:
    """Versions, aliases and history stay the same."""
    registry = Registry(home)
    before = (registry.versions(), registry.aliases(), registry.history())
    with pytest.raises(ImportRefused):
        import_original(keras2.write(tmp_path / "bad.hdf5", describe=kind(2, "Lambda")), registry)
    assert (registry.versions(), registry.aliases(), registry.history()) == before
