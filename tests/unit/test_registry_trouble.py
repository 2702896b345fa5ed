"""Registries with foreign archives, several processes and kills: they stay complete."""

import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from ml.errors import BundleDamaged, BundleUnrecognised, ModelError
from ml.models.registry import Registry
from ml.models.version_folders import INCOMING_KEPT_S
from tests import sounds
from tests.unit import bundles
from tests.unit.processes import at_once
from tests.unit.registries import NAMES, assert_still_served


def test_an_exported_model_is_the_same_version_elsewhere(registry: Registry, first: str, tmp_path: Path) -> None:
    """An archive gives the same version and content in another home, and it can be served."""
    archive = tmp_path / "no folder yet" / "model.zip"
    registry.export("champion", archive)
    other = Registry(tmp_path / "other")
    assert other.add_archive(archive) == first
    assert other.read(first) == registry.read(first)
    other.promote(first)
    assert_still_served(other, first)


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda z: z.writestr("../evil", b"evil"), BundleUnrecognised),
        (lambda z: z.writestr("readme.txt", b"hello"), BundleUnrecognised),
        (lambda z: z.writestr("manifest.json", b"{}"), BundleUnrecognised),
        (lambda z: z.writestr("manifest.json", b"not json"), BundleDamaged),
    ],
    ids=["path-outside", "other-file", "empty-manifest", "no-json"],
)
def test_an_invalid_archive_leaves_nothing(
    registry: Registry, first: str, tmp_path: Path, make: Callable[[zipfile.ZipFile], None], error: type[ModelError]
) -> None:
    """It is refused, and the registry and its folder stay as they were."""
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        make(archive)
    before = tree(tmp_path)
    with pytest.raises(error):
        registry.add_archive(tmp_path / "other.zip")
    assert tree(tmp_path) == before
    assert_still_served(registry, first)


def test_a_file_that_is_no_zip_leaves_nothing(registry: Registry, tmp_path: Path) -> None:
    """A recording in the place of a model is refused."""
    (tmp_path / "sound.wav").write_bytes(sounds.recording(sounds.fan(1)))
    before = tree(tmp_path)
    with pytest.raises(BundleUnrecognised, match=r"sound\.wav"):
        registry.add_archive(tmp_path / "sound.wav")
    assert tree(tmp_path) == before


def tree(folder: Path) -> set[str]:
    """Every file and folder below, except the lock."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.name != ".lock"}


def promote_in_turn(home: Path, versions: list[str], times: int) -> None:
    """Promote versions in turn."""
    registry = Registry(home)
    for i in range(times):
        registry.promote(versions[i % len(versions)])


def test_promotions_at_once_keep_the_aliases_complete(home: Path, registry: Registry, first: str, second: str) -> None:
    """While three processes promote, every reading is complete, and every change is in the history."""
    readings = 0

    def read() -> None:
        nonlocal readings
        aliases = Registry(home).aliases()
        assert aliases["champion"] in (first, second)
        assert aliases.get("previous") != aliases["champion"]
        readings += 1

    orders = [[first, second], [second, first], [second, first]]
    at_once(promote_in_turn, [(home, order, 6) for order in orders], meanwhile=read)
    assert readings > 10
    history = [change for change in registry.history() if change.alias == "champion"]
    assert [change.before for change in history[1:]] == [change.version for change in history[:-1]]
    assert registry.aliases()["champion"] == history[-1].version
    assert_still_served(registry, history[-1].version)


def rename_in_turn(home: Path, who: int, times: int) -> None:
    """Rename a class of the champion several times."""
    for i in range(times):
        Registry(home).rename_classes("champion", [(f"name {who} {i}", "Message"), *NAMES[1:]])


def test_renamings_at_once_lose_none(home: Path, registry: Registry) -> None:
    """Three processes rename ten times each: every revision is kept, with its own number."""
    at_once(rename_in_turn, [(home, who, 10) for who in range(3)])
    found = registry.label_revisions("champion")
    assert [revision.revision for revision in found] == list(range(1, 32))
    names = {revision.labels.classes[0].name for revision in found[1:]}
    assert names == {f"name {who} {i}" for who in range(3) for i in range(10)}


DIE_WHILE_WRITING = """
import os, signal, sys
from pathlib import Path
from ml.models.registry import Registry
with Registry(Path(sys.argv[1])).incoming() as folder:
    (folder / "spec.json").write_text("{")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_process_killed_while_writing_changes_nothing(home: Path, registry: Registry, first: str) -> None:
    """A partial bundle is left: it is no version, it blocks nothing, and it is removed a day later."""
    done = subprocess.run([sys.executable, "-c", DIE_WHILE_WRITING, str(home)], check=False)
    assert done.returncode == -signal.SIGKILL
    (left,) = registry.folder.glob(".incoming-*")
    assert registry.versions() == [first]
    assert_still_served(registry, first)
    second = bundles.further(registry)
    assert registry.promote(second) == second
    assert left.exists()
    long_ago = time.time() - INCOMING_KEPT_S - 60
    os.utime(left, (long_ago, long_ago))
    with registry.incoming():
        pass
    assert not left.exists()


DIE_WHILE_PROMOTING = """
import os, signal, sys
from pathlib import Path
from ml.system.atomic import locked
from ml.models.registry import Registry
models = Registry(Path(sys.argv[1])).folder
with locked(models / ".lock"):
    (models / ".aliases.json.0123").write_text('{"aliases": ')
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_process_killed_while_promoting_holds_no_lock(
    home: Path, registry: Registry, first: str, second: str
) -> None:
    """The lock ends with its process, and a partial file is not read."""
    subprocess.run([sys.executable, "-c", DIE_WHILE_PROMOTING, str(home)], check=False)
    assert registry.aliases() == {"champion": first}
    assert registry.promote(second) == second


def test_a_failed_import_leaves_no_folder(registry: Registry, first: str) -> None:
    """An exception while a bundle is written removes the partial bundle."""

    def fail_half_way() -> None:
        with registry.incoming() as folder:
            (folder / "spec.json").write_text("{")
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        fail_half_way()
    assert registry.versions() == [first]
    assert not list(registry.folder.glob(".incoming-*"))


def test_a_clock_that_is_set_forward_deletes_no_import(registry: Registry, first: str) -> None:
    """A folder that a process still writes into stays, however old it looks."""
    with registry.incoming() as folder:
        long_ago = time.time() - INCOMING_KEPT_S - 60
        os.utime(folder, (long_ago, long_ago))
        assert bundles.further(Registry(registry.folder.parent)) != first
        assert folder.is_dir()
