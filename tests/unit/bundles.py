"""Bundles for tests: a second version without Keras, and ways to damage a bundle."""

import hashlib
import json
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from ml.models import bundle
from ml.models.bundle import Bundle, BundleContent, DecisionThreshold
from ml.models.golden import load_verified
from ml.models.normal_scores import NormalScores
from ml.models.predictor import Predictor
from ml.models.registry import Registry
from ml.models.served import ServedModel

FILES = sorted(bundle.REQUIRED | bundle.CLASSIFIER)
Change = Callable[[Path], object]


def further(registry: Registry, threshold: float = 0.25, reference: str = "champion") -> str:
    """Add a version that differs from ``reference`` in its threshold; no Keras needed."""
    found = registry.read(reference)
    decision = DecisionThreshold(threshold, None, "chosen by a test")
    return add(registry, replace(found.content, decision=decision), registry.path(reference) / bundle.KERAS)


def normal_scores(n: int = 199, sessions: int = 5) -> NormalScores:
    """Scores of ``n`` normal recordings by a classifier, evenly from 0 to 0.9, of so many sessions in turn."""
    scores = tuple(0.9 * number / (n - 1) for number in range(n))
    return NormalScores(scores, tuple(number % sessions for number in range(n)), "new_session")


def calibrated(registry: Registry, reference: str = "champion") -> str:
    """Add a version that differs from the classifier ``reference`` in its scores of normal recordings."""
    content = replace(registry.read(reference).content, normal_scores=normal_scores())
    return add(registry, content, registry.path(reference) / bundle.KERAS)


def add(registry: Registry, content: BundleContent, keras_file: Path, name: str = "further") -> str:
    """Add ``content`` as a version."""
    with registry.incoming() as folder:
        write(folder, content, keras_file, name)
        return registry.add(folder)


def write(folder: Path, content: BundleContent, keras_file: Path, name: str = "further") -> str:
    """Write ``content`` into an empty folder, with a copy of ``keras_file``."""
    archive = folder / "copy.keras"
    shutil.copy(keras_file, archive)
    return bundle.write(folder, name, content, archive)


def load(folder: Path) -> Predictor:
    """Load a bundle as for serving: verify it, read it and check its golden clip."""
    return load_verified(ServedModel.as_written(Bundle.read(folder)))


def flip_a_bit(path: Path) -> None:
    """Change one bit in the middle."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def redo_hashes(folder: Path) -> None:
    """Make the manifest and its version match the files, as an attacker or a faulty writer would."""
    manifest = json.loads((folder / bundle.MANIFEST).read_bytes())
    for file in manifest["files"]:
        content = (folder / file).read_bytes()
        manifest["files"][file] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    there = [folder / file for file in bundle.DIGESTED_FILES if (folder / file).exists()]
    parts = b"".join(hashlib.sha256(file.read_bytes()).digest() for file in there)
    name, _, _ = manifest["version"].rpartition("-")
    manifest["version"] = f"{name}-{hashlib.sha256(parts).hexdigest()[:10]}"
    (folder / bundle.MANIFEST).write_text(json.dumps(manifest))


def edit_json(file: str, change: Callable[[Any], Any]) -> Change:
    """Change the values of a JSON file in place."""

    def apply(folder: Path) -> None:
        values = json.loads((folder / file).read_bytes())
        change(values)
        (folder / file).write_text(json.dumps(values))

    return apply


def edit_keras(change: Callable[[dict[str, Any]], Any]) -> Change:
    """Change ``config.json`` in the Keras archive."""

    def apply(folder: Path) -> None:
        with zipfile.ZipFile(folder / bundle.KERAS) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        config = json.loads(members["config.json"])
        change(config)
        members["config.json"] = json.dumps(config).encode()
        with zipfile.ZipFile(folder / bundle.KERAS, "w") as archive:
            for name, content in members.items():
                archive.writestr(name, content)

    return apply


def set_in_zip_directory(content: bytes, offset: int, value: int) -> bytes:
    """Set one byte in each entry of a zip's central directory: 8 is the flags, 10 the compression method."""
    changed = bytearray(content)
    at = changed.find(b"PK\x01\x02")
    while at >= 0:
        changed[at + offset] = value
        at = changed.find(b"PK\x01\x02", at + 4)
    return bytes(changed)
