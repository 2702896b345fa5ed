"""A bundle is read back unchanged, or refused because it was damaged in storage."""

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest

from ml.errors import BundleDamaged
from ml.models import bundle
from ml.models.bundle import Bundle, DecisionThreshold
from ml.system.atomic import write_atomic
from tests.unit import bundles
from tests.unit.bundles import FILES, flip_a_bit, load


def test_a_bundle_is_read_back_unchanged(champion: Path, tmp_path: Path) -> None:
    """Spec, labels, decision, card, network and golden clip are equal after reading."""
    content = Bundle.read(champion).content
    version = bundles.write(tmp_path, content, champion / bundle.KERAS)
    found = Bundle.read(tmp_path)
    assert found.content == content
    assert found.version == version
    assert {path.name for path in tmp_path.iterdir()} == bundle.REQUIRED | bundle.CLASSIFIER | {bundle.MANIFEST}


def test_scores_of_normal_recordings_are_read_back_unchanged(champion: Path, tmp_path: Path) -> None:
    """They are a further file, and a bundle with them is another version."""
    without = Bundle.read(champion)
    content = dataclasses.replace(without.content, normal_scores=bundles.normal_scores())
    version = bundles.write(tmp_path, content, champion / bundle.KERAS, without.version.rpartition("-")[0])
    assert Bundle.read(tmp_path).content == content
    assert version != without.version
    assert {path.name for path in tmp_path.iterdir()} - {path.name for path in champion.iterdir()} == {
        bundle.CALIBRATION
    }


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c["scores"].append(0.5),
        lambda c: c["scores"].__setitem__(0, 1.5),
        lambda c: c["scores"].__setitem__(0, math.nan),
        lambda c: c["sessions"].__setitem__(0, -1),
        lambda c: c["sessions"].__setitem__(0, 2**70),
        lambda c: c.update(scores=[], sessions=[]),
        lambda c: c.update(rate_holds_for="always"),
        lambda c: c.pop("scores"),
    ],
    ids=["one more", "too high", "nan", "negative", "large", "none", "unknown", "missing"],
)
def test_invalid_scores_of_normal_recordings_are_refused(
    champion: Path, tmp_path: Path, change: Callable[[dict[str, object]], object]
) -> None:
    """The bundle is damaged, even if all hashes fit."""
    content = dataclasses.replace(Bundle.read(champion).content, normal_scores=bundles.normal_scores())
    bundles.write(tmp_path, content, champion / bundle.KERAS)
    bundles.edit_json(bundle.CALIBRATION, change)(tmp_path)
    bundles.redo_hashes(tmp_path)
    with pytest.raises(BundleDamaged):
        Bundle.read(tmp_path)


def test_the_same_content_has_the_same_version(champion: Path, tmp_path: Path) -> None:
    """Two folders written from one model have one version, at any time."""
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
def test_every_part_that_decides_an_answer_changes_the_version(
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
    """A name becomes a folder: short, lower-case, and not a path."""
    with pytest.raises(ValueError, match="no valid model name"):
        bundles.write(tmp_path, Bundle.read(champion).content, champion / bundle.KERAS, name)


@pytest.mark.parametrize(
    ("threshold", "rate"), [(-0.1, None), (1.1, None), (math.nan, None), (0.5, -0.1), (0.5, 1.1), (0.5, math.nan)]
)
def test_a_decision_outside_0_to_1_is_refused(threshold: float, rate: float | None) -> None:
    """Threshold and false-alarm rate are from 0 to 1."""
    with pytest.raises(BundleDamaged, match="0 to 1"):
        DecisionThreshold(threshold, rate, "a test")


@pytest.mark.parametrize("file", FILES)
def test_a_flipped_bit_is_found(folder: Path, file: str) -> None:
    """One flipped bit in any file is refused, and the file is named."""
    flip_a_bit(folder / file)
    with pytest.raises(BundleDamaged, match=f"{file} was changed"):
        load(folder)


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("keep", [0, 0.5])
def test_a_truncated_file_is_found(folder: Path, file: str, keep: float) -> None:
    """Half of a file, or an empty one, is refused; both lengths are named."""
    whole = (folder / file).read_bytes()
    (folder / file).write_bytes(whole[: int(len(whole) * keep)])
    with pytest.raises(BundleDamaged, match=rf"{file} has {int(len(whole) * keep)} bytes.* {len(whole)}"):
        load(folder)


@pytest.mark.parametrize("file", FILES)
def test_a_missing_file_is_named(folder: Path, file: str) -> None:
    """A bundle without one of its files is refused."""
    (folder / file).unlink()
    with pytest.raises(BundleDamaged, match=f"{file} is missing"):
        load(folder)


@pytest.mark.parametrize("file", FILES)
def test_a_folder_or_dangling_link_for_a_file_is_refused(folder: Path, file: str) -> None:
    """A folder, or a link to nowhere, in the place of a file is damage."""
    (folder / file).unlink()
    (folder / file).mkdir()
    with pytest.raises(BundleDamaged, match=file):
        load(folder)
    (folder / file).rmdir()
    (folder / file).symlink_to("nowhere")
    with pytest.raises(BundleDamaged, match=file):
        load(folder)


@pytest.mark.parametrize("make", [Path.touch, Path.mkdir], ids=["file", "folder"])
def test_an_extra_file_is_named(folder: Path, make: Callable[[Path], None]) -> None:
    """A file that the manifest does not list is refused."""
    make(folder / "plugin.py")
    with pytest.raises(BundleDamaged, match=r"plugin\.py does not belong"):
        load(folder)


def test_an_extra_file_in_the_manifest_is_refused(folder: Path) -> None:
    """An extra file that the manifest lists is refused too."""
    (folder / "plugin.py").write_bytes(b"")
    empty = {"bytes": 0, "sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}
    bundles.edit_json(bundle.MANIFEST, lambda m: m["files"].update({"plugin.py": empty}))(folder)
    with pytest.raises(BundleDamaged, match=r"plugin\.py does not belong"):
        load(folder)


def test_a_failed_write_keeps_the_old_file_alone(tmp_path: Path) -> None:
    """A failed write leaves the old content and no other file."""
    path = tmp_path / "state.json"
    write_atomic(path, b"old")
    with pytest.raises(TypeError):
        write_atomic(path, "no bytes")  # type: ignore[arg-type]  # wrong on purpose
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_manifest_lists_every_file_with_its_sha256(champion: Path) -> None:
    """The listed SHA-256 of each file equals that of hashlib."""
    listed = json.loads((champion / bundle.MANIFEST).read_bytes())["files"]
    assert sorted(listed) == FILES
    for file in FILES:
        assert listed[file]["sha256"] == hashlib.sha256((champion / file).read_bytes()).hexdigest()
