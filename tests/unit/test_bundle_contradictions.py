"""A bundle with an invalid manifest, or with parts that do not fit each other, is refused with the reason."""

import dataclasses
import math
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from ml.classifier.litert import LiteRTNetwork
from ml.errors import BundleDamaged, BundleUnrecognised, GoldenClipFailed, ModelError
from ml.models import bundle
from ml.models.bundle import Bundle
from ml.models.labels import ClassLabel, ClassLabels
from tests.unit import bundles
from tests.unit.bundles import load

BEFORE = Path(__file__).parents[1] / "data" / "before"


@pytest.mark.parametrize(
    ("change", "error", "found"),
    [
        (lambda m: m.clear(), BundleUnrecognised, "does not have the format"),
        (lambda m: m.update(format="mlflow"), BundleUnrecognised, "does not have the format"),
        (lambda m: m.update(format_version=4), BundleUnrecognised, "format 4; this program reads 1, 2, 3"),
        (lambda m: m.update(format_version=2), BundleDamaged, "detector.json is missing"),
        (lambda m: m.update(format_version=3), BundleDamaged, "calibration.json is missing"),
        (lambda m: m.update(format_version="1"), BundleUnrecognised, "format 1"),
        (lambda m: m.pop("format_version"), BundleUnrecognised, "format None"),
        (lambda m: m.pop("version"), BundleDamaged, "lacks a version"),
        (lambda m: m.update(version="../../etc"), BundleDamaged, "lacks a version"),
        (lambda m: m.update(version=7), BundleDamaged, "lacks a version"),
        (lambda m: m.pop("created"), BundleDamaged, "lacks"),
        (lambda m: m.pop("files"), BundleDamaged, "lacks"),
        (lambda m: m.update(files=[]), BundleDamaged, "lacks"),
        (lambda m: m.update(files={}), BundleDamaged, "does not belong"),
        (lambda m: m["files"].pop("spec.json"), BundleDamaged, "spec.json does not belong"),
        (lambda m: m["files"].update({"spec.json": "0"}), BundleDamaged, "list of files"),
        (lambda m: m["files"].update({"spec.json": None}), BundleDamaged, "list of files"),
        (lambda m: m["files"].update({"spec.json": {}}), BundleDamaged, "spec.json"),
        (lambda m: m["files"].update({"../spec.json": {}}), BundleDamaged, "spec.json"),
    ],
)
def test_an_invalid_manifest_is_refused(
    folder: Path, change: Callable[[Any], Any], error: type[ModelError], found: str
) -> None:
    """Another format, a later version, or fields that are missing or of another type are refused with the reason."""
    bundles.edit_json(bundle.MANIFEST, change)(folder)
    with pytest.raises(error, match=found):
        load(folder)


def test_a_folder_without_a_manifest_is_no_bundle(folder: Path) -> None:
    """A folder without manifest.json is refused."""
    (folder / bundle.MANIFEST).unlink()
    with pytest.raises(BundleUnrecognised, match=r"no manifest\.json"):
        load(folder)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"[]", b"5", b"null"])
def test_a_manifest_that_is_no_json_object_is_refused(folder: Path, content: bytes) -> None:
    """Truncated, binary, endlessly nested content or a list is refused."""
    (folder / bundle.MANIFEST).write_bytes(content)
    with pytest.raises(ModelError, match=r"manifest\.json"):
        load(folder)


def set_layer(position: int, **values: Any) -> bundles.Change:
    """Change fields of one layer in the Keras archive."""
    return bundles.edit_keras(lambda config: config["config"]["layers"][position].update(values))


def without_keras_config(folder: Path) -> None:
    """Write a Keras archive without a description of its layers."""
    with zipfile.ZipFile(folder / bundle.KERAS, "w") as archive:
        archive.writestr("metadata.json", "{}")


def in_keras_directory(offset: int, value: int) -> bundles.Change:
    """Change a byte of each entry in the Keras archive's zip directory."""

    def apply(folder: Path) -> None:
        path = folder / bundle.KERAS
        path.write_bytes(bundles.set_in_zip_directory(path.read_bytes(), offset, value))

    return apply


def contents(file: str, content: bytes) -> bundles.Change:
    """Replace the content of a file."""
    return lambda folder: (folder / file).write_bytes(content)


class Wrong(NamedTuple):
    """A change, after which all hashes are updated, the error, and a pattern that its message must match."""

    change: bundles.Change
    error: type[ModelError]
    found: str


edit = bundles.edit_json


WRONG = {
    "39-mfcc": Wrong(
        edit("spec.json", lambda s: s.update(n_mfcc=39)), BundleDamaged, "input is .*40, 433.*39, 433.* was expected"
    ),
    "432-frames": Wrong(edit("spec.json", lambda s: s.update(clip_frames=432)), BundleDamaged, "433.*432"),
    "another-window": Wrong(edit("spec.json", lambda s: s.update(window="blackman")), GoldenClipFailed, "golden clip"),
    "another-rate": Wrong(edit("spec.json", lambda s: s.update(sample_rate_hz=44_100)), GoldenClipFailed, "golden"),
    "impossible-spec": Wrong(edit("spec.json", lambda s: s.update(n_fft=1)), BundleDamaged, "n_fft is 1"),
    "spec-of-the-future": Wrong(edit("spec.json", lambda s: s.update(gain_db=3)), BundleDamaged, "gain_db"),
    "spec-with-a-fraction": Wrong(edit("spec.json", lambda s: s.update(hop_length=512.0)), BundleDamaged, "spec"),
    "spec-is-a-number": Wrong(contents("spec.json", b"5"), BundleDamaged, "Bundle"),
    "spec-is-not-json": Wrong(contents("spec.json", b"nonsense"), BundleDamaged, "spec.json is not JSON"),
    "three-labels": Wrong(
        edit("labels.json", lambda v: v.pop()), BundleDamaged, "4 outputs; 3 were expected, one for each label"
    ),
    "five-labels": Wrong(
        edit("labels.json", lambda v: v.append({"name": "e", "message": "E", "anomalous": True})),
        BundleDamaged,
        "4 outputs; 5 were expected, one for each label",
    ),
    "no-fault": Wrong(
        edit("labels.json", lambda v: [label.update(anomalous=False) for label in v]), BundleDamaged, "at least one"
    ),
    "labels-are-a-number": Wrong(contents("labels.json", b"5"), BundleDamaged, "labels|Labels"),
    "threshold-of-2": Wrong(edit("decision.json", lambda d: d.update(threshold=2)), BundleDamaged, "0 to 1"),
    "threshold-is-text": Wrong(edit("decision.json", lambda d: d.update(threshold="low")), BundleDamaged, "Bundle"),
    "decision-lacks-a-field": Wrong(edit("decision.json", lambda d: d.pop("basis")), BundleDamaged, "basis"),
    "network-is-garbage": Wrong(
        contents("network.tflite", np.random.default_rng(0).bytes(40_000)), BundleDamaged, "LiteRT"
    ),
    "network-is-empty": Wrong(contents("network.tflite", b""), BundleDamaged, "LiteRT"),
    "golden-answer-edited": Wrong(
        edit("golden.json", lambda g: g["probabilities"].reverse()), GoldenClipFailed, "golden clip"
    ),
    "golden-answer-of-3": Wrong(edit("golden.json", lambda g: g["probabilities"].pop()), GoldenClipFailed, "golden"),
    "golden-answer-is-nan": Wrong(
        edit("golden.json", lambda g: g.update(probabilities=[math.nan] * 4)), GoldenClipFailed, "golden clip"
    ),
    "golden-answer-is-text": Wrong(
        edit("golden.json", lambda g: g.update(probabilities=["1", "0", "0", "0"])), ModelError, "."
    ),
    "golden-answer-is-missing": Wrong(contents("golden.json", b"{}"), BundleDamaged, "probabilities"),
    "golden-clip-is-no-sound": Wrong(contents("golden.wav", b"nonsense"), ModelError, "."),
    "lambda-layer": Wrong(set_layer(2, class_name="Lambda"), BundleDamaged, "Lambda layer, which could run code"),
    "layer-of-another-package": Wrong(set_layer(2, module="os.path"), BundleDamaged, "could run code"),
    "unknown-layer": Wrong(set_layer(2, class_name="TorchModuleWrapper"), BundleDamaged, "TorchModuleWrapper"),
    "model-within-a-model": Wrong(set_layer(2, class_name="Sequential"), BundleDamaged, "Sequential"),
    "layer-without-a-name": Wrong(set_layer(2, class_name=["Dense"]), BundleDamaged, "Bundle"),
    "part-of-a-layer-without-a-name": Wrong(
        set_layer(2, build_config={"class_name": ["Dense"], "module": "keras.layers"}), BundleDamaged, "could run code"
    ),
    "model-of-a-custom-class": Wrong(
        bundles.edit_keras(lambda c: c.update(class_name="MyModel")), BundleDamaged, "MyModel"
    ),
    "keras-config-without-layers": Wrong(bundles.edit_keras(lambda c: c.clear()), BundleDamaged, "no Keras archive"),
    "keras-without-config": Wrong(without_keras_config, BundleDamaged, "no Keras archive"),
    "keras-is-no-zip": Wrong(contents("network.keras", b"nonsense"), BundleDamaged, "no Keras archive"),
    "keras-is-encrypted": Wrong(in_keras_directory(8, 1), BundleDamaged, "Keras"),
    "keras-in-an-unknown-compression": Wrong(in_keras_directory(10, 99), BundleDamaged, "Keras"),
}


@pytest.mark.parametrize("case", list(WRONG.values()), ids=list(WRONG))
def test_a_bundle_that_contradicts_itself_is_refused(folder: Path, case: Wrong) -> None:
    """With correct hashes, spec, labels, network, layers and golden answer must still fit each other."""
    case.change(folder)
    bundles.redo_hashes(folder)
    with pytest.raises(case.error, match=case.found):
        load(folder)


def test_redone_hashes_alone_are_accepted(folder: Path) -> None:
    """Updated hashes alone are no reason for a refusal."""
    bundles.redo_hashes(folder)
    assert load(folder).model.version == folder.name


def test_labels_with_two_faults_are_accepted(champion: Path, tmp_path: Path) -> None:
    """Any labels that fit the network are accepted: two normal classes, two faults."""
    found = Bundle.read(champion).content
    labels = ClassLabels(tuple(ClassLabel(f"c{i}", f"Class {i}", anomalous=i > 1) for i in range(4)))
    bundles.write(tmp_path, dataclasses.replace(found, labels=labels), champion / bundle.KERAS)
    assert load(tmp_path).model.labels == labels


def test_a_damaged_network_is_refused_by_name_or_answers() -> None:
    """Whatever bytes of the network are changed, reading and calling it gives an answer or BundleDamaged."""
    content = next((BEFORE / "home" / "models").glob("hall-*/network.tflite")).read_bytes()
    shape = LiteRTNetwork(content).input_shape
    random, refused = np.random.default_rng(0), 0
    for _ in range(400):
        damaged = bytearray(content)
        at = int(random.integers(len(damaged) - 4))
        damaged[at : at + 4] = random.bytes(4)
        try:
            network = LiteRTNetwork(bytes(damaged))
            if network.input_shape == shape:
                network(np.zeros(shape, np.float32))
        except BundleDamaged:
            refused += 1
    assert refused > 10
