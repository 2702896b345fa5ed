"""The original's file becomes the same network here, or is refused, and nothing in it is ever run."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from ml.classifier.litert import LiteRTNetwork
from ml.errors import ImportRefused
from ml.models import bundle
from ml.models.import_original import import_original
from ml.models.registry import Registry
from tests import sounds
from tests.unit import keras2

SHAPE = (1, *keras2.SHAPE)


def clips(count: int) -> list[NDArray[np.float32]]:
    """Inputs of the size of MFCCs."""
    rng = np.random.default_rng(7)
    return [rng.normal(0, 60, SHAPE).astype(np.float32) for _ in range(count)]


def network(home: Path) -> LiteRTNetwork:
    """The champion's network as it is served."""
    return LiteRTNetwork(Registry(home).read("champion").content.litert)


# What arrives


def test_every_weight_arrives(original_home: Path, original_file: Path) -> None:
    """On random inputs the served network answers as numpy does with the weights of the file."""
    weights, served = keras2.read_weights(original_file), network(original_home)
    for clip in clips(5):
        np.testing.assert_allclose(served(clip), keras2.forward(weights, clip[0, :, :, 0]), rtol=0, atol=1e-5)


def test_the_published_network_arrives(real_home: Path, seed: Path) -> None:
    """The same for the original project's own file, on random inputs and on its four recordings' MFCCs."""
    weights, served = keras2.read_weights(seed / "weightsMulti.hdf5"), network(real_home)
    inputs = clips(3)
    inputs += [np.load(path).astype(np.float32)[None, :, :, None] for path in sorted(seed.glob("*.mfcc.npy"))]
    assert len(inputs) == 7
    for clip in inputs:
        np.testing.assert_allclose(served(clip), keras2.forward(weights, clip[0, :, :, 0]), rtol=0, atol=1e-5)


def test_the_numpy_network_is_the_published_answers(seed: Path) -> None:
    """The oracle itself gives what the original's inference path gave."""
    weights = keras2.read_weights(seed / "weightsMulti.hdf5")
    for name, answer in json.loads((seed / "expected.json").read_text())["answers"].items():
        found = keras2.forward(weights, np.load(seed / name.replace(".wav", ".mfcc.npy")))
        np.testing.assert_allclose(found, answer["Details"]["Probabilities"], rtol=0, atol=1e-4)


def test_the_keras_archive_holds_the_same_network(original_home: Path, original_file: Path) -> None:
    """What a retraining starts from is what is served."""
    import keras

    model = keras.models.load_model(Registry(original_home).path("champion") / bundle.KERAS)
    weights = keras2.read_weights(original_file)
    for clip in clips(2):
        found = model(clip, training=False).numpy()[0]
        np.testing.assert_allclose(found, keras2.forward(weights, clip[0, :, :, 0]), rtol=0, atol=1e-5)


def test_the_card_says_where_it_comes_from(original_home: Path, original_file: Path) -> None:
    """Name and digest of the file, the Keras that wrote it, and that nobody has measured it."""
    content = Registry(original_home).read("champion").content
    assert content.card["source"] == {
        "kind": "original project, Keras HDF5",
        "file": "original.hdf5",
        "sha256": hashlib.sha256(original_file.read_bytes()).hexdigest(),
        "keras_version": "2.3.1",
    }
    assert content.card["metrics"] is None
    assert (content.decision.threshold, content.decision.false_alarm_rate) == (0.5, None)


def test_the_same_file_is_the_same_version(original_home: Path, original_file: Path, tmp_path: Path) -> None:
    """Imported again, here or elsewhere, under any file name: one version."""
    copy = tmp_path / "renamed.h5"
    copy.write_bytes(original_file.read_bytes())
    elsewhere = Registry(tmp_path / "home")
    version = Registry(original_home).resolve("champion")
    assert import_original(copy, elsewhere) == version
    assert import_original(copy, elsewhere) == version
    assert elsewhere.versions() == [version]


def test_other_weights_are_another_version(original_home: Path, tmp_path: Path) -> None:
    """Two files, two versions, side by side in one registry under the names asked for."""
    registry = Registry(tmp_path / "home")
    first = import_original(keras2.write(tmp_path / "a.hdf5", seed=1), registry, "fan")
    second = import_original(keras2.write(tmp_path / "b.hdf5", seed=2), registry, "fan")
    assert first != second
    assert first.startswith("fan-")
    assert set(registry.versions()) == {first, second}
    assert registry.aliases() == {}


def as_later_keras_writes(model: keras2.Description) -> None:
    """Keras 2.4 and later: the input's shape in a layer of its own."""
    del model["config"]["layers"][0]["config"]["batch_input_shape"]
    shape = {"batch_input_shape": [None, *keras2.SHAPE], "name": "input_1"}
    model["config"]["layers"].insert(0, {"class_name": "InputLayer", "config": shape})


def as_earlier_keras_writes(model: keras2.Description) -> None:
    """Keras before 2.2.3: the list of layers without a mapping around it."""
    model["config"] = model["config"]["layers"]


@pytest.mark.parametrize("describe", [as_later_keras_writes, as_earlier_keras_writes])
def test_other_keras_2_versions_are_read_alike(
    original_file: Path, tmp_path: Path, describe: Callable[[keras2.Description], None]
) -> None:
    """The same network, described as earlier and later versions of Keras 2 do."""
    registry = Registry(tmp_path / "home")
    registry.promote(import_original(keras2.write(tmp_path / "other.hdf5", describe=describe), registry))
    weights = keras2.read_weights(original_file)
    (clip,) = clips(1)
    found = network(tmp_path / "home")(clip)
    np.testing.assert_allclose(found, keras2.forward(weights, clip[0, :, :, 0]), rtol=0, atol=1e-5)


# What is refused


def layer(position: int, **values: Any) -> Callable[[keras2.Description], None]:
    """Change fields of one layer's configuration."""
    return lambda model: model["config"]["layers"][position]["config"].update(values)


def kind(position: int, class_name: Any) -> Callable[[keras2.Description], None]:
    """Change what kind one layer is."""
    return lambda model: model["config"]["layers"][position].update(class_name=class_name)


def shaped(name: str, shape: tuple[int, ...]) -> Callable[[keras2.Weights], None]:
    """Give one array another shape."""
    return lambda weights: weights.update({name: np.zeros(shape, np.float32)})


def holding(name: str, value: float) -> Callable[[keras2.Weights], None]:
    """Put one value into an array."""
    return lambda weights: np.put(weights[name], 3, value)


def without_description(file: h5py.File) -> None:
    """As ``save_weights`` writes: weights alone."""
    del file.attrs["model_config"]


def described_as(text: Any) -> Callable[[h5py.File], None]:
    """Another text in the place of the description."""

    def damage(file: h5py.File) -> None:
        file.attrs["model_config"] = text

    return damage


KERNEL, WITHIN = "conv2d_1/kernel:0", "model_weights/conv2d_1"


def as_integers(file: h5py.File) -> None:
    """Weights that are no floating-point numbers."""
    del file[WITHIN][KERNEL]
    file[WITHIN][KERNEL] = np.zeros((2, 2, 1, 16), np.int32)


def as_a_group(file: h5py.File) -> None:
    """A folder in the place of an array."""
    del file[WITHIN][KERNEL]
    file[WITHIN].create_group(KERNEL)


def as_an_array(file: h5py.File) -> None:
    """An array in the place of the folder of a layer."""
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
    """Nothing says in which order the layers come."""
    del file["model_weights"].attrs["layer_names"]


def beside(file: h5py.File) -> Path:
    """Another file with the very same groups, next to ``file``."""
    return keras2.write(Path(file.filename).with_name("elsewhere.h5"))


def array_by_soft_link(file: h5py.File) -> None:
    """A kernel that is a link within the file."""
    file["elsewhere"] = file[WITHIN][KERNEL][()]
    del file[WITHIN][KERNEL]
    file[WITHIN][KERNEL] = h5py.SoftLink("/elsewhere")


def array_by_external_link(file: h5py.File) -> None:
    """A kernel that lies in another file."""
    other = beside(file)
    del file[WITHIN][KERNEL]
    file[WITHIN][KERNEL] = h5py.ExternalLink(other.name, f"/{WITHIN}/{KERNEL}")


def layer_by_external_link(file: h5py.File) -> None:
    """A layer's group that lies in another file."""
    other = beside(file)
    del file[WITHIN]
    file[WITHIN] = h5py.ExternalLink(other.name, f"/{WITHIN}")


def all_by_external_link(file: h5py.File) -> None:
    """All weights in another file."""
    other = beside(file)
    del file["model_weights"]
    file["model_weights"] = h5py.ExternalLink(other.name, "/model_weights")


def link_to_itself(file: h5py.File) -> None:
    """A link that leads round in a circle."""
    del file[WITHIN]
    file[WITHIN] = h5py.SoftLink(f"/{WITHIN}")


def external_storage(file: h5py.File) -> None:
    """An array whose bytes are any other file's on this machine."""
    secret = Path(file.filename).with_name("secret")
    secret.write_bytes(bytes(1000))
    del file[WITHIN][KERNEL]
    file[WITHIN].create_dataset(KERNEL, (2, 2, 1, 16), "<f4", external=[(str(secret), 0, 256)])


def virtual_array(file: h5py.File) -> None:
    """An array put together from another file's."""
    layout = h5py.VirtualLayout((2, 2, 1, 16), "<f4")
    layout[...] = h5py.VirtualSource(str(beside(file)), f"{WITHIN}/{KERNEL}", (2, 2, 1, 16))
    del file[WITHIN][KERNEL]
    file[WITHIN].create_virtual_dataset(KERNEL, layout)


class Foreign(NamedTuple):
    """A way to write the file wrongly, and what the refusal must name."""

    wrongly: dict[str, Any]
    found: str


FOREIGN = {
    "functional": Foreign({"describe": lambda m: m.update(class_name="Model")}, "a Model"),
    "functional-3": Foreign({"describe": lambda m: m.update(class_name="Functional")}, "a Functional"),
    "lambda": Foreign({"describe": kind(2, "Lambda")}, "Layer 2 is a Lambda"),
    "lambda-at-the-end": Foreign(
        {"describe": lambda m: m["config"]["layers"].append({"class_name": "Lambda", "config": {"function": "x"}})},
        "Layer 11 is a Lambda",
    ),
    "custom-layer": Foreign({"describe": kind(0, "MyConv")}, "MyConv"),
    "model-within": Foreign({"describe": kind(0, "Sequential")}, "Sequential"),
    "layers-in-another-order": Foreign({"describe": lambda m: m["config"]["layers"].reverse()}, "were expected"),
    "no-layers": Foreign({"describe": lambda m: m["config"]["layers"].clear()}, "were expected"),
    "a-layer-less": Foreign({"describe": lambda m: m["config"]["layers"].pop(2)}, "were expected"),
    "tanh": Foreign({"describe": layer(0, activation="tanh")}, r"Layer 0 \(Conv2D\) has activation tanh; relu"),
    "sigmoid-output": Foreign({"describe": layer(10, activation="sigmoid")}, "activation sigmoid; softmax"),
    "same-padding": Foreign({"describe": layer(3, padding="same")}, "padding same; valid"),
    "channels-first": Foreign({"describe": layer(3, data_format="channels_first")}, "channels_first"),
    "strides": Foreign({"describe": layer(3, strides=[2, 2])}, r"strides \[2, 2\]"),
    "dilation": Foreign({"describe": layer(3, dilation_rate=[2, 2])}, "dilation_rate"),
    "no-bias": Foreign({"describe": layer(0, use_bias=False)}, "use_bias False"),
    "overlapping-pools": Foreign({"describe": layer(1, strides=[1, 1])}, "strides other than its size"),
    "pools-of-two-sizes": Foreign({"describe": layer(1, pool_size=[3, 3], strides=[3, 3])}, "pool_size|strides"),
    "kernels-of-two-sizes": Foreign({"describe": layer(3, kernel_size=[3, 3])}, "kernel_size"),
    "oblong-kernel": Foreign({"describe": layer(0, kernel_size=[2, 3])}, "kernel_size"),
    "endless-filters": Foreign({"describe": layer(0, filters=10**9)}, "filters 1000000000"),
    "no-filters": Foreign({"describe": layer(0, filters=0)}, "filters 0"),
    "filters-as-text": Foreign({"describe": layer(0, filters="16")}, "filters 16"),
    "input-shape": Foreign({"describe": layer(0, batch_input_shape=[None, 40, 431, 1])}, "431.* 433"),
    "stereo-input": Foreign({"describe": layer(0, batch_input_shape=[None, 40, 433, 2])}, "433, 2"),
    "three-outputs": Foreign(
        {
            "describe": layer(10, units=3),
            "change": lambda w: (shaped("dense_1/kernel:0", (64, 3))(w), shaped("dense_1/bias:0", (3,))(w)),
        },
        "3 outputs; 4",
    ),
    "other-kernel-shape": Foreign({"change": shaped("conv2d_2/kernel:0", (3, 3, 16, 32))}, "shapes"),
    "transposed-dense": Foreign({"change": shaped("dense_1/kernel:0", (4, 64))}, "shapes"),
    "a-bias-less": Foreign({"change": lambda w: w.pop("conv2d_1/bias:0")}, "shapes"),
    "nan": Foreign({"change": holding(KERNEL, np.nan)}, "NaN"),
    "infinity": Foreign({"change": holding("dense_1/bias:0", np.inf)}, "infinite"),
    "weights-alone": Foreign({"damage": without_description}, "weights alone"),
    "description-is-no-json": Foreign({"damage": described_as("{")}, "cannot be read"),
    "description-is-a-number": Foreign({"damage": described_as(5)}, "no description"),
    "description-is-json-null": Foreign({"damage": described_as("null")}, "cannot be read"),
    "description-without-end": Foreign({"damage": described_as("[" * 40_000)}, "cannot be read"),
    "description-of-a-list": Foreign({"damage": described_as("[]")}, "cannot be read"),
    "layers-are-a-number": Foreign({"describe": lambda m: m["config"].update(layers=5)}, "cannot be read"),
    "layer-is-a-number": Foreign({"describe": lambda m: m["config"].update(layers=[5])}, "cannot be read"),
    "config-is-null": Foreign({"describe": lambda m: m.update(config=None)}, "cannot be read"),
    "class-is-a-list": Foreign({"describe": kind(0, ["Conv2D"])}, "."),
    "model-class-is-a-list": Foreign({"describe": lambda m: m.update(class_name=["Sequential"])}, "Sequential"),
    "input-shape-is-a-number": Foreign({"describe": layer(0, batch_input_shape=5)}, "."),
    "kernel-size-of-lists": Foreign({"describe": layer(0, kernel_size=[[2], [2]])}, "."),
    "no-weights": Foreign({"damage": without("model_weights")}, "cannot be found"),
    "no-layer-names": Foreign({"damage": without_names}, "cannot be found"),
    "a-layers-weights-missing": Foreign({"damage": without(WITHIN)}, "cannot be found"),
    "an-array-missing": Foreign({"damage": without(f"{WITHIN}/{KERNEL}")}, "."),
    "integers": Foreign({"damage": as_integers}, "floating-point"),
    "group-for-an-array": Foreign({"damage": as_a_group}, "no plain array"),
    "array-for-a-group": Foreign({"damage": as_an_array}, "."),
    "array-by-soft-link": Foreign({"damage": array_by_soft_link}, "outside the file"),
    "array-by-external-link": Foreign({"damage": array_by_external_link}, "outside the file"),
    "layer-by-external-link": Foreign({"damage": layer_by_external_link}, "outside the file"),
    "all-by-external-link": Foreign({"damage": all_by_external_link}, "outside the file"),
    "link-to-itself": Foreign({"damage": link_to_itself}, "."),
    "external-storage": Foreign({"damage": external_storage}, "no plain array"),
    "virtual-array": Foreign({"damage": virtual_array}, "no plain array"),
}


def assert_refused_whole(source: Path, found: str, home: Path) -> None:
    """Refused by name, and the registry as it was: no version, no alias, nothing half written."""
    registry = Registry(home)
    with pytest.raises(ImportRefused, match=found):
        import_original(source, registry)
    assert registry.versions() == []
    assert registry.aliases() == {}
    assert not list(home.rglob("*.keras"))


@pytest.mark.parametrize("case", list(FOREIGN.values()), ids=list(FOREIGN))
def test_another_network_is_refused_and_nothing_imported(case: Foreign, tmp_path: Path) -> None:
    """Layer by layer and array by array: whatever is not this network in this file is refused with the reason."""
    source = keras2.write(tmp_path / "model.hdf5", **case.wrongly)
    assert_refused_whole(source, case.found, tmp_path / "home")


@pytest.mark.parametrize(
    "content",
    [b"", b"nonsense", b"\x89HDF\r\n\x1a\n", b"\x89HDF\r\n\x1a\n" + bytes(5000), sounds.recording(sounds.fan(1))],
    ids=["empty", "text", "magic-alone", "zeros", "wav"],
)
def test_what_is_no_hdf5_is_refused_and_nothing_imported(content: bytes, tmp_path: Path) -> None:
    """With the name of the file."""
    source = tmp_path / "model.hdf5"
    source.write_bytes(content)
    assert_refused_whole(source, r"model\.hdf5 is no HDF5 file", tmp_path / "home")


@pytest.mark.parametrize("keep", [0.2, 0.5, 0.9])
def test_a_file_cut_short_is_refused_and_nothing_imported(original_file: Path, tmp_path: Path, keep: float) -> None:
    """A download that broke off."""
    content = original_file.read_bytes()
    source = tmp_path / "model.hdf5"
    source.write_bytes(content[: int(keep * len(content))])
    assert_refused_whole(source, ".", tmp_path / "home")


@pytest.mark.parametrize("structure", [b"TREE", b"HEAP", b"SNOD", b"conv2d_1/bias:0"])
def test_a_file_damaged_inside_is_refused_and_nothing_imported(
    original_file: Path, tmp_path: Path, structure: bytes
) -> None:
    """HDF5's own structures broken, or a name in it that is no text: libhdf5 says so in errors of many kinds."""
    content = original_file.read_bytes()
    assert structure in content
    source = tmp_path / "model.hdf5"
    source.write_bytes(content[:2000] + content[2000:].replace(structure, b"\xa7" * len(structure)))
    assert_refused_whole(source, ".", tmp_path / "home")


def test_a_file_that_is_not_there_is_an_os_error(tmp_path: Path) -> None:
    """No fault of a model."""
    with pytest.raises(FileNotFoundError):
        import_original(tmp_path / "nowhere.hdf5", Registry(tmp_path / "home"))


def test_a_refusal_leaves_the_champion_serving(home: Path, tmp_path: Path) -> None:
    """With a registry in use, nothing of it changes."""
    registry = Registry(home)
    before = (registry.versions(), registry.aliases(), registry.history())
    with pytest.raises(ImportRefused):
        import_original(keras2.write(tmp_path / "bad.hdf5", describe=kind(2, "Lambda")), registry)
    assert (registry.versions(), registry.aliases(), registry.history()) == before


# Without TensorFlow

WITHOUT_THE_EXTRA = """
import sys
from importlib.abc import MetaPathFinder
from pathlib import Path

class Absent(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.split(".")[0] in {blocked}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
from ml.errors import MissingExtra
from ml.models.import_original import import_original
from ml.models.registry import Registry
home = Path(sys.argv[2])
try:
    import_original(Path(sys.argv[1]), Registry(home))
except MissingExtra as error:
    assert not home.exists()
    print(error.code, error)
"""


@pytest.mark.parametrize("blocked", [{"tensorflow"}, {"keras"}, {"h5py"}, {"tensorflow", "keras", "h5py"}])
def test_without_the_extra_the_refusal_says_how_to_install_it(
    original_file: Path, tmp_path: Path, blocked: set[str]
) -> None:
    """A serving installation asked to import names the extra, and writes nothing."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_THE_EXTRA.format(blocked=blocked), str(original_file), str(tmp_path / "home")],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "extra_missing" in done.stdout
    assert "pip install 'signalml[train]'" in done.stdout
