"""Import of the original's file: the same network, with the same version in every home."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ml.classifier.litert import LiteRTNetwork
from ml.models import bundle
from ml.models.import_original import import_original
from ml.models.registry import Registry
from testing import keras2

SHAPE = (1, *keras2.SHAPE)


def clips(count: int) -> list[NDArray[np.float32]]:
    """Random inputs in the range of MFCCs."""
    rng = np.random.default_rng(7)
    return [rng.normal(0, 60, SHAPE).astype(np.float32) for _ in range(count)]


def network(home: Path) -> LiteRTNetwork:
    """The champion's network, as it is served."""
    return LiteRTNetwork(Registry(home).read("champion").content.litert)


def test_every_weight_is_imported(original_home: Path, original_file: Path) -> None:
    """On random inputs the served network equals numpy with the weights of the file."""
    weights, served = keras2.read_weights(original_file), network(original_home)
    for clip in clips(5):
        np.testing.assert_allclose(served(clip), keras2.forward(weights, clip[0, :, :, 0]), rtol=0, atol=1e-5)


def test_the_published_network_is_imported(real_home: Path, seed: Path) -> None:
    """The original project's own file, on random inputs and on its four recordings' MFCCs."""
    weights, served = keras2.read_weights(seed / "weightsMulti.hdf5"), network(real_home)
    inputs = clips(3)
    inputs += [np.load(path).astype(np.float32)[None, :, :, None] for path in sorted(seed.glob("*.mfcc.npy"))]
    assert len(inputs) == 7
    for clip in inputs:
        np.testing.assert_allclose(served(clip), keras2.forward(weights, clip[0, :, :, 0]), rtol=0, atol=1e-5)


def test_the_numpy_network_gives_the_published_answers(seed: Path) -> None:
    """The reference implementation gives the results of the original's inference."""
    weights = keras2.read_weights(seed / "weightsMulti.hdf5")
    for name, answer in json.loads((seed / "expected.json").read_text())["answers"].items():
        found = keras2.forward(weights, np.load(seed / name.replace(".wav", ".mfcc.npy")))
        np.testing.assert_allclose(found, answer["Details"]["Probabilities"], rtol=0, atol=1e-4)


def test_the_keras_archive_has_the_same_network(original_home: Path, original_file: Path) -> None:
    """A later training starts from the served network."""
    import keras

    model = keras.models.load_model(Registry(original_home).path("champion") / bundle.KERAS)
    weights = keras2.read_weights(original_file)
    for clip in clips(2):
        found = model(clip, training=False).numpy()[0]
        np.testing.assert_allclose(found, keras2.forward(weights, clip[0, :, :, 0]), rtol=0, atol=1e-5)


def test_the_card_has_the_source(original_home: Path, original_file: Path) -> None:
    """The card has the file's name and digest, the Keras version that wrote it, and no metrics."""
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
    """A second import, in any home and under any file name, gives the same version."""
    copy = tmp_path / "renamed.h5"
    copy.write_bytes(original_file.read_bytes())
    elsewhere = Registry(tmp_path / "home")
    version = Registry(original_home).resolve("champion")
    assert import_original(copy, elsewhere) == version
    assert import_original(copy, elsewhere) == version
    assert elsewhere.versions() == [version]


def test_other_weights_are_another_version(original_home: Path, tmp_path: Path) -> None:
    """Two files give two versions of one model in one registry."""
    registry = Registry(tmp_path / "home")
    first = import_original(keras2.write(tmp_path / "a.hdf5", seed=1), registry, "fan")
    second = import_original(keras2.write(tmp_path / "b.hdf5", seed=2), registry, "fan")
    assert first != second
    assert first.startswith("fan-")
    assert set(registry.versions()) == {first, second}
    assert registry.aliases() == {}


def as_later_keras_writes(model: keras2.Description) -> None:
    """Keras 2.4 and later: the input's shape is in a layer of its own."""
    del model["config"]["layers"][0]["config"]["batch_input_shape"]
    shape = {"batch_input_shape": [None, *keras2.SHAPE], "name": "input_1"}
    model["config"]["layers"].insert(0, {"class_name": "InputLayer", "config": shape})


def as_earlier_keras_writes(model: keras2.Description) -> None:
    """Keras before 2.2.3: the list of layers has no mapping around it."""
    model["config"] = model["config"]["layers"]


@pytest.mark.parametrize("describe", [as_later_keras_writes, as_earlier_keras_writes])
def test_other_keras_2_versions_are_read_alike(
    original_file: Path, tmp_path: Path, describe: Callable[[keras2.Description], None]
) -> None:
    """The network is the same, described as by earlier and later versions of Keras 2."""
    registry = Registry(tmp_path / "home")
    registry.promote(import_original(keras2.write(tmp_path / "other.hdf5", describe=describe), registry))
    weights = keras2.read_weights(original_file)
    (clip,) = clips(1)
    found = network(tmp_path / "home")(clip)
    np.testing.assert_allclose(found, keras2.forward(weights, clip[0, :, :, 0]), rtol=0, atol=1e-5)


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
def test_without_the_extra_the_message_names_it(original_file: Path, tmp_path: Path, blocked: set[str]) -> None:
    """An import in an installation for serving names the extra to install, and writes nothing."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_THE_EXTRA.format(blocked=blocked), str(original_file), str(tmp_path / "home")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "extra_missing" in done.stdout
    assert "pip install 'signalml[train]'" in done.stdout
