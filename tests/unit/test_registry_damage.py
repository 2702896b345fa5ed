"""A damaged version never replaces the champion, for every kind of damage."""

import os

import pytest

from ml.errors import BundleDamaged, BundleUnrecognised, GoldenClipFailed, ModelError
from ml.models import bundle
from ml.models.registry import Registry
from tests.unit import bundles
from tests.unit.registries import assert_still_served

DAMAGE: dict[str, tuple[bundles.Change, bool, type[ModelError]]] = {
    "flipped-bit": (
        lambda f: (f / "spec.json").write_bytes((f / "spec.json").read_bytes()[:-2] + b"}}"),
        False,
        BundleDamaged,
    ),
    "truncated": (lambda f: os.truncate(f / "network.tflite", 1000), False, BundleDamaged),
    "missing": (lambda f: (f / "labels.json").unlink(), False, BundleDamaged),
    "extra": (lambda f: (f / "extra").touch(), False, BundleDamaged),
    "no-manifest": (lambda f: (f / "manifest.json").unlink(), False, BundleUnrecognised),
    "future-format": (
        bundles.edit_json("manifest.json", lambda m: m.update(format_version=4)),
        False,
        BundleUnrecognised,
    ),
    "other-version": (
        bundles.edit_json("manifest.json", lambda m: m.update(version="other-0123456789")),
        False,
        BundleDamaged,
    ),
    "wrong-shape": (bundles.edit_json("spec.json", lambda s: s.update(n_mfcc=20)), True, BundleDamaged),
    "wrong-labels": (bundles.edit_json("labels.json", lambda labels: labels.pop()), True, BundleDamaged),
    "lambda": (
        bundles.edit_keras(lambda c: c["config"]["layers"][1].update(class_name="Lambda")),
        True,
        BundleDamaged,
    ),
    "garbage-network": (lambda f: (f / "network.tflite").write_bytes(bytes(9_999)), True, BundleDamaged),
    "golden-answer": (
        bundles.edit_json("golden.json", lambda g: g.update(probabilities=[0.0, 0.0, 0.0, 1.0])),
        True,
        BundleDamaged,
    ),
}


@pytest.mark.parametrize(("change", "redo", "error"), list(DAMAGE.values()), ids=list(DAMAGE))
def test_a_damaged_version_never_becomes_champion(
    registry: Registry, first: str, second: str, change: bundles.Change, redo: bool, error: type[ModelError]
) -> None:
    """It is refused with the reason; the aliases and the served champion stay."""
    change(registry.folder / second)
    if redo:
        bundles.redo_hashes(registry.folder / second)
    before = (registry.folder / "aliases.json").read_bytes()
    with pytest.raises(error):
        registry.promote(second)
    assert (registry.folder / "aliases.json").read_bytes() == before
    assert_still_served(registry, first)


def test_a_rollback_to_a_damaged_version_is_refused(registry: Registry, first: str, second: str) -> None:
    """A previous champion that was damaged on disk is refused."""
    registry.promote(second)
    os.truncate(registry.folder / first / "network.tflite", 10)
    with pytest.raises(BundleDamaged):
        registry.rollback()
    assert_still_served(registry, second)


def test_a_bundle_with_a_wrong_golden_answer_is_not_added(registry: Registry, first: str) -> None:
    """It is refused before it becomes a version, and nothing is left of it."""
    with registry.incoming() as folder:
        bundles.write(folder, registry.read(first).content, registry.path(first) / bundle.KERAS, "liar")
        bundles.edit_json("golden.json", lambda g: g.update(probabilities=[0.0, 0.0, 0.0, 1.0]))(folder)
        bundles.redo_hashes(folder)
        with pytest.raises(GoldenClipFailed):
            registry.add(folder)
    assert registry.versions() == [first]
    assert not list(registry.folder.glob(".incoming-*"))


def test_adding_a_present_version_changes_nothing(registry: Registry, first: str) -> None:
    """The same model is the same version, and its files are not written again."""
    manifest = registry.path(first) / bundle.MANIFEST
    before = (manifest.stat().st_ino, manifest.stat().st_mtime_ns)
    content = registry.read(first).content
    assert bundles.add(registry, content, registry.path(first) / bundle.KERAS, "original") == first
    assert (manifest.stat().st_ino, manifest.stat().st_mtime_ns) == before
    assert registry.versions() == [first]
