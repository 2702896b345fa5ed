"""A bundle is read as it was written, or refused with the reason."""

import dataclasses
import hashlib
import json
import math
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.errors import BundleDamaged, BundleUnrecognised, GoldenClipFailed, ModelError
from ml.models import bundle
from ml.models.bundle import Bundle, DecisionThreshold
from ml.models.golden import load_verified
from ml.models.labels import ClassLabel, ClassLabels
from ml.models.predictor import Predictor
from ml.models.registry import Registry
from ml.models.served import ServedModel
from ml.system.atomic import write_atomic
from tests.unit import bundles

FILES = sorted(bundle.REQUIRED | bundle.CLASSIFIER)


@pytest.fixture(scope="session")
def champion(original_home: Path) -> Path:
    """The folder of a good bundle. For reading; to change one take ``folder``."""
    return Registry(original_home).path("champion")


@pytest.fixture
def folder(champion: Path, tmp_path: Path) -> Path:
    """A copy of a good bundle for one test to damage."""
    return Path(shutil.copytree(champion, tmp_path / champion.name))


def load(folder: Path) -> Predictor:
    """The whole way that a bundle takes before it serves: verified, read, and its golden clip answered."""
    return load_verified(ServedModel.as_written(Bundle.read(folder)))


# Written and read


def test_what_is_written_is_what_is_read(champion: Path, tmp_path: Path) -> None:
    """Spec, labels, decision, card, network and golden clip come back equal."""
    content = Bundle.read(champion).content
    version = bundles.write(tmp_path, content, champion / bundle.KERAS)
    found = Bundle.read(tmp_path)
    assert found.content == content
    assert found.version == version
    assert {path.name for path in tmp_path.iterdir()} == bundle.REQUIRED | bundle.CLASSIFIER | {bundle.MANIFEST}


def test_the_same_content_has_the_same_version(champion: Path, tmp_path: Path) -> None:
    """Two folders written from one model carry one version, whatever the clock says."""
    content = Bundle.read(champion).content
    versions = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        versions.append(bundles.write(tmp_path / name, content, champion / bundle.KERAS))
    assert versions[0] == versions[1]


@pytest.mark.parametrize(
    "change",
    [
        lambda c: dataclasses.replace(c, decision=DecisionThreshold(0.4, None, "lower")),
        lambda c: dataclasses.replace(c, spec=dataclasses.replace(c.spec, window="hamming")),
        lambda c: dataclasses.replace(c, litert=c.litert + b"\0"),
        lambda c: dataclasses.replace(c, labels=c.labels.rename([(f"n{i}", f"m{i}") for i in range(4)])),
        lambda c: dataclasses.replace(
            c, golden_clip=dataclasses.replace(c.golden_clip, probabilities=(1.0, 0.0, 0.0, 0.0))
        ),
    ],
    ids=["decision", "spec", "network", "labels", "golden"],
)
def test_whatever_decides_an_answer_changes_the_version(
    champion: Path, tmp_path: Path, change: Callable[[bundle.BundleContent], bundle.BundleContent]
) -> None:
    """Another threshold, spec, network, label or golden answer is another version."""
    content = Bundle.read(champion).content
    versions = []
    for name, each in (("same", content), ("other", change(content))):
        (tmp_path / name).mkdir()
        versions.append(bundles.write(tmp_path / name, each, champion / bundle.KERAS))
    assert versions[0] != versions[1]


@pytest.mark.parametrize("name", ["", "Fan", "a/b", "..", ".hidden", "a b", "x" * 49, "ü"])
def test_an_unusable_name_is_refused(champion: Path, tmp_path: Path, name: str) -> None:
    """A name becomes a folder: short, lower-case, and no path."""
    with pytest.raises(ValueError, match="no name for a model"):
        bundles.write(tmp_path, Bundle.read(champion).content, champion / bundle.KERAS, name)


@pytest.mark.parametrize(
    ("threshold", "rate"), [(-0.1, None), (1.1, None), (math.nan, None), (0.5, -0.1), (0.5, 1.1), (0.5, math.nan)]
)
def test_a_decision_outside_0_to_1_is_refused(threshold: float, rate: float | None) -> None:
    """Threshold and false-alarm rate are shares."""
    with pytest.raises(BundleDamaged, match="0 to 1"):
        DecisionThreshold(threshold, rate, "a test")


# Damaged in storage


def flip_a_bit(path: Path) -> None:
    """Change one bit in the middle."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("file", FILES)
def test_a_flipped_bit_is_found(folder: Path, file: str) -> None:
    """One bit in any file: refused, and the file named."""
    flip_a_bit(folder / file)
    with pytest.raises(BundleDamaged, match=f"{file} was changed"):
        load(folder)


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("keep", [0, 0.5])
def test_a_truncated_file_is_found(folder: Path, file: str, keep: float) -> None:
    """Half of any file, or none of it: refused, and both lengths named."""
    whole = (folder / file).read_bytes()
    (folder / file).write_bytes(whole[: int(len(whole) * keep)])
    with pytest.raises(BundleDamaged, match=rf"{file} has {int(len(whole) * keep)} bytes.* {len(whole)}"):
        load(folder)


@pytest.mark.parametrize("file", FILES)
def test_a_missing_file_is_named(folder: Path, file: str) -> None:
    """A bundle lacking any of its files is refused."""
    (folder / file).unlink()
    with pytest.raises(BundleDamaged, match=f"{file} is missing"):
        load(folder)


@pytest.mark.parametrize("file", FILES)
def test_a_file_that_is_none_is_refused(folder: Path, file: str) -> None:
    """A folder, or a link to nowhere, in the place of a file is damage like any other."""
    (folder / file).unlink()
    (folder / file).mkdir()
    with pytest.raises(BundleDamaged, match=file):
        load(folder)
    (folder / file).rmdir()
    (folder / file).symlink_to("nowhere")
    with pytest.raises(BundleDamaged, match=file):
        load(folder)


@pytest.mark.parametrize("make", [Path.touch, Path.mkdir], ids=["file", "folder"])
def test_a_file_too_many_is_named(folder: Path, make: Callable[[Path], None]) -> None:
    """What the manifest does not list does not belong there."""
    make(folder / "plugin.py")
    with pytest.raises(BundleDamaged, match=r"plugin\.py does not belong"):
        load(folder)


def test_a_listed_stranger_is_refused_too(folder: Path) -> None:
    """A manifest that lists a further file does not make it part of the format."""
    (folder / "plugin.py").write_bytes(b"")
    empty = {"bytes": 0, "sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}
    bundles.edit_json(bundle.MANIFEST, lambda m: m["files"].update({"plugin.py": empty}))(folder)
    with pytest.raises(BundleDamaged, match=r"plugin\.py does not belong"):
        load(folder)


# Foreign or contradictory manifests


@pytest.mark.parametrize(
    ("change", "error", "found"),
    [
        (lambda m: m.clear(), BundleUnrecognised, "not of the format"),
        (lambda m: m.update(format="mlflow"), BundleUnrecognised, "not of the format"),
        (lambda m: m.update(format_version=3), BundleUnrecognised, "format 3; this version reads 1 and 2"),
        (lambda m: m.update(format_version=2), BundleDamaged, "detector.json is missing"),
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
def test_a_manifest_that_is_none_of_ours_is_refused(
    folder: Path, change: Callable[[Any], Any], error: type[ModelError], found: str
) -> None:
    """Another format, a later version, or fields that are missing or of another kind: refused with the reason."""
    bundles.edit_json(bundle.MANIFEST, change)(folder)
    with pytest.raises(error, match=found):
        load(folder)


def test_a_folder_without_a_manifest_is_no_bundle(folder: Path) -> None:
    """Nothing vouches for its files."""
    (folder / bundle.MANIFEST).unlink()
    with pytest.raises(BundleUnrecognised, match=r"no manifest\.json"):
        load(folder)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"[]", b"5", b"null"])
def test_a_manifest_that_is_no_json_object_is_refused(folder: Path, content: bytes) -> None:
    """Cut short, binary, nested without end, or a list."""
    (folder / bundle.MANIFEST).write_bytes(content)
    with pytest.raises(ModelError, match=r"manifest\.json"):
        load(folder)


# Wrong in what it says, with a manifest that agrees


def set_layer(position: int, **values: Any) -> bundles.Change:
    """Change fields of one layer in the Keras archive."""
    return bundles.edit_keras(lambda config: config["config"]["layers"][position].update(values))


def without_keras_config(folder: Path) -> None:
    """A Keras archive that says nothing of its layers."""
    with zipfile.ZipFile(folder / bundle.KERAS, "w") as archive:
        archive.writestr("metadata.json", "{}")


def in_keras_directory(offset: int, value: int) -> bundles.Change:
    """Change a byte of each entry in the Keras archive's directory."""

    def apply(folder: Path) -> None:
        path = folder / bundle.KERAS
        path.write_bytes(bundles.set_in_zip_directory(path.read_bytes(), offset, value))

    return apply


def contents(file: str, content: bytes) -> bundles.Change:
    """Put ``content`` in the place of a file's."""
    return lambda folder: (folder / file).write_bytes(content)


class Wrong(NamedTuple):
    """A change after which all hashes are made to agree, the error, and what its message must name."""

    change: bundles.Change
    error: type[ModelError]
    found: str


edit = bundles.edit_json
WRONG = {
    "39-mfcc": Wrong(edit("spec.json", lambda s: s.update(n_mfcc=39)), BundleDamaged, "takes .*40, 433.* makes .*39"),
    "432-frames": Wrong(edit("spec.json", lambda s: s.update(clip_frames=432)), BundleDamaged, "433.*432"),
    "another-window": Wrong(edit("spec.json", lambda s: s.update(window="blackman")), GoldenClipFailed, "golden clip"),
    "another-rate": Wrong(edit("spec.json", lambda s: s.update(sample_rate_hz=44_100)), GoldenClipFailed, "golden"),
    "impossible-spec": Wrong(edit("spec.json", lambda s: s.update(n_fft=1)), BundleDamaged, "n_fft is 1"),
    "spec-of-the-future": Wrong(edit("spec.json", lambda s: s.update(gain_db=3)), BundleDamaged, "gain_db"),
    "spec-with-a-fraction": Wrong(edit("spec.json", lambda s: s.update(hop_length=512.0)), BundleDamaged, "spec"),
    "spec-is-a-number": Wrong(contents("spec.json", b"5"), BundleDamaged, "Bundle"),
    "spec-is-not-json": Wrong(contents("spec.json", b"nonsense"), BundleDamaged, "spec.json is not JSON"),
    "three-labels": Wrong(edit("labels.json", lambda v: v.pop()), BundleDamaged, "4 outputs.* 3 labels"),
    "five-labels": Wrong(
        edit("labels.json", lambda v: v.append({"name": "e", "message": "E", "anomalous": True})),
        BundleDamaged,
        "4 outputs.* 5 labels",
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
    """Hashes that agree do not make it right: spec, labels, network, layers and golden answer must fit each other."""
    case.change(folder)
    bundles.redo_hashes(folder)
    with pytest.raises(case.error, match=case.found):
        load(folder)


def test_redone_hashes_alone_are_accepted(folder: Path) -> None:
    """The changes above are what is refused, not the way in which these tests redo the manifest."""
    bundles.redo_hashes(folder)
    assert load(folder).model.bundle.version == folder.name


def test_a_second_fault_in_the_labels_is_no_damage(champion: Path, tmp_path: Path) -> None:
    """Any labels that fit the network are served: two healthy classes, two faults."""
    found = Bundle.read(champion).content
    labels = ClassLabels(tuple(ClassLabel(f"c{i}", f"Class {i}", anomalous=i > 1) for i in range(4)))
    bundles.write(tmp_path, dataclasses.replace(found, labels=labels), champion / bundle.KERAS)
    assert load(tmp_path).model.labels == labels


# Archives


def test_an_archive_holds_the_bundle_and_nothing_else(champion: Path, tmp_path: Path) -> None:
    """Packed and unpacked, every file is the same to the byte, and no part-file is left."""
    (tmp_path / "out").mkdir()
    bundle.pack(champion, tmp_path / "model.zip")
    bundle.unpack(tmp_path / "model.zip", tmp_path / "out")
    for file in (*FILES, bundle.MANIFEST):
        assert (tmp_path / "out" / file).read_bytes() == (champion / file).read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.zip", "out"]


def test_a_damaged_bundle_is_not_packed(folder: Path, tmp_path: Path) -> None:
    """What is refused here is not passed on to another machine."""
    flip_a_bit(folder / "network.tflite")
    with pytest.raises(BundleDamaged):
        bundle.pack(folder, tmp_path / "model.zip")
    assert not (tmp_path / "model.zip").exists()


@pytest.fixture(scope="session")
def archive(champion: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A good archive. For reading."""
    path = tmp_path_factory.mktemp("archive") / "model.zip"
    bundle.pack(champion, path)
    return path


@pytest.mark.parametrize(
    "member", ["../evil", "/evil", "evil/../../x", "spec.json/../../evil", "readme.txt", "models/spec.json"]
)
def test_an_archive_with_another_member_is_refused_unread(archive: Path, tmp_path: Path, member: str) -> None:
    """A path that leads out, or a file that is not of a bundle: refused, and not a byte of anything written."""
    file, out = tmp_path / "model.zip", tmp_path / "a" / "b"
    out.mkdir(parents=True)
    shutil.copy(archive, file)
    with zipfile.ZipFile(file, "a") as opened:
        opened.writestr(member, b"evil")
    with pytest.raises(BundleUnrecognised, match="no exported model"):
        bundle.unpack(file, out)
    assert not any(out.iterdir())
    assert {path.name for path in tmp_path.iterdir()} == {"model.zip", "a"}


def test_a_foreign_zip_is_refused(tmp_path: Path) -> None:
    """A zip without a manifest is somebody else's."""
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as opened:
        opened.writestr("holiday.jpg", b"")
    (tmp_path / "out").mkdir()
    with pytest.raises(BundleUnrecognised, match=r"holiday\.jpg"):
        bundle.unpack(tmp_path / "photos.zip", tmp_path / "out")
    assert not any((tmp_path / "out").iterdir())


@pytest.mark.parametrize(("offset", "value"), [(8, 1), (10, 99)], ids=["encrypted", "unknown-compression"])
def test_an_archive_that_does_not_unpack_is_refused(archive: Path, tmp_path: Path, offset: int, value: int) -> None:
    """A password, or a compression that is not known here: a ModelError."""
    (tmp_path / "out").mkdir()
    (tmp_path / "model.zip").write_bytes(bundles.set_in_zip_directory(archive.read_bytes(), offset, value))
    with pytest.raises(ModelError):
        bundle.unpack(tmp_path / "model.zip", tmp_path / "out")


def test_an_archive_with_a_damaged_member_is_refused(archive: Path, tmp_path: Path) -> None:
    """Compressed bytes that do not decompress: a ModelError, whatever the decompressor calls it."""
    with zipfile.ZipFile(archive) as opened:
        info = opened.getinfo("network.tflite")
    damaged = bytearray(archive.read_bytes())
    start = info.header_offset + 30 + len(info.filename)
    damaged[start : start + 16] = b"\xff" * 16
    (tmp_path / "out").mkdir()
    (tmp_path / "model.zip").write_bytes(damaged)
    with pytest.raises(ModelError):
        bundle.unpack(tmp_path / "model.zip", tmp_path / "out")


@settings(max_examples=150)
@given(at=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7), cut=st.booleans())
def test_a_damaged_archive_never_surprises(
    archive: Path, champion: Path, tmp_path_factory: pytest.TempPathFactory, at: float, bit: int, cut: bool
) -> None:
    """One flipped bit anywhere, or any cut: unpacked as it was, or a ModelError."""
    damaged = bytearray(archive.read_bytes())
    position = int(at * len(damaged))
    damaged[position] ^= 1 << bit
    folder = tmp_path_factory.mktemp("damaged")
    (folder / "model.zip").write_bytes(damaged[:position] if cut else damaged)
    (folder / "out").mkdir()
    try:
        bundle.unpack(folder / "model.zip", folder / "out")
        bundle.verify(folder / "out")
    except ModelError:
        return
    assert Bundle.read(folder / "out").version == Bundle.read(champion).version


# Files that are whole or not there


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    """What cannot be written whole is not written at all."""
    path = tmp_path / "state.json"
    write_atomic(path, b"old")
    with pytest.raises(TypeError):
        write_atomic(path, "no bytes")  # type: ignore[arg-type]  # wrong on purpose
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_manifest_lists_every_file_with_its_sha256(champion: Path) -> None:
    """Checked by another tool than the one that wrote it."""
    listed = json.loads((champion / bundle.MANIFEST).read_bytes())["files"]
    assert sorted(listed) == FILES
    for file in FILES:
        assert listed[file]["sha256"] == hashlib.sha256((champion / file).read_bytes()).hexdigest()
