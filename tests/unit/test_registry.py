"""Versions do not change, aliases switch whole, and what is damaged never takes the champion's place."""

import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from ml.errors import (
    AliasNotSet,
    BundleDamaged,
    BundleUnrecognised,
    Cancelled,
    ChampionChanged,
    GoldenClipFailed,
    InvalidClassLabels,
    ModelError,
    ModelNotFound,
)
from ml.models import bundle
from ml.models.registry import INCOMING_KEPT_S, Registry
from tests import sounds
from tests.unit import bundles
from tests.unit.processes import at_once

NAMES = [("gut", "Alles gut"), ("unwucht", "Unwucht"), ("verstopft", "Verstopft"), ("spannung", "Spannung")]


@pytest.fixture
def registry(home: Path) -> Registry:
    """A registry with one version, the champion."""
    return Registry(home)


@pytest.fixture
def first(registry: Registry) -> str:
    """The champion's version."""
    return registry.aliases()["champion"]


@pytest.fixture
def second(registry: Registry, first: str) -> str:
    """A further version, which no alias points to."""
    return bundles.further(registry)


def assert_still_served(registry: Registry, version: str) -> None:
    """The champion is ``version`` and answers."""
    assert registry.aliases()["champion"] == version
    predictor = registry.load_predictor("champion")
    assert predictor.predict(predictor.decode(sounds.recording(sounds.fan(1)))).version == version


# Aliases


def test_an_empty_home_has_nothing(tmp_path: Path) -> None:
    """Reading makes no folders and finds no models; the champion's absence says what to do."""
    registry = Registry(tmp_path / "new")
    assert (registry.versions(), registry.aliases(), registry.history()) == ([], {}, [])
    with pytest.raises(AliasNotSet, match="signalml models import"):
        registry.resolve("champion")
    with pytest.raises(AliasNotSet, match="challenger"):
        registry.resolve("challenger")
    assert not (tmp_path / "new").exists()


def test_promoting_makes_the_old_champion_previous(registry: Registry, first: str, second: str) -> None:
    """The champion before is one step back."""
    assert registry.promote(second) == second
    assert registry.aliases() == {"champion": second, "previous": first}
    assert_still_served(registry, second)


def test_rolling_back_changes_places(registry: Registry, first: str, second: str) -> None:
    """There and back, and there again."""
    registry.promote(second)
    assert registry.rollback() == first
    assert registry.aliases() == {"champion": first, "previous": second}
    assert registry.rollback() == second
    assert registry.aliases() == {"champion": second, "previous": first}


def test_there_is_no_way_back_from_the_first_champion(registry: Registry, first: str) -> None:
    """Nothing was champion before it."""
    with pytest.raises(AliasNotSet, match="previous"):
        registry.rollback()
    assert registry.aliases() == {"champion": first}


def test_a_challenger_serves_nobody(registry: Registry, first: str, second: str) -> None:
    """It can be asked for by its alias; the champion stays."""
    registry.promote(second, "challenger")
    assert registry.aliases() == {"champion": first, "challenger": second}
    assert registry.resolve("challenger") == second


def test_a_challenger_that_wins_is_challenger_no_more(registry: Registry, first: str, second: str) -> None:
    """Promoted by its alias, it becomes champion, and the place of the challenger is free."""
    registry.promote(second, "challenger")
    registry.promote("challenger")
    assert registry.aliases() == {"champion": second, "previous": first}


def test_another_challenger_stays_when_the_champion_changes(registry: Registry, first: str, second: str) -> None:
    """Only the promoted version leaves the challenger's place."""
    third = bundles.further(registry, 0.75)
    registry.promote(third, "challenger")
    registry.promote(second)
    assert registry.aliases() == {"champion": second, "challenger": third, "previous": first}


def test_promoting_the_champion_again_changes_nothing(registry: Registry, first: str, second: str) -> None:
    """Neither previous nor history."""
    registry.promote(second)
    before = (registry.aliases(), registry.history())
    registry.promote(second)
    assert (registry.aliases(), registry.history()) == before


def test_a_champion_is_replaced_only_if_it_is_the_one_that_was_meant(
    registry: Registry, first: str, second: str
) -> None:
    """Whoever compared with another champion, or with none, is refused by name; nothing changes."""
    third = bundles.further(registry, 0.75)
    for meant in (None, third):
        with pytest.raises(ChampionChanged, match=f"{first} is champion by now"):
            registry.promote(second, expected_version=meant)
    assert registry.aliases() == {"champion": first}
    registry.promote(second, expected_version=first)
    assert registry.aliases() == {"champion": second, "previous": first}


def test_the_first_champion_replaces_none(registry: Registry, first: str) -> None:
    """And not one that is not there."""
    (registry.folder / "aliases.json").unlink()
    with pytest.raises(ChampionChanged, match="No model is champion by now"):
        registry.promote(first, expected_version="fan-0123456789")
    assert registry.promote(first, expected_version=None) == first
    assert registry.aliases() == {"champion": first}


def test_promoting_again_what_was_promoted_is_no_conflict(registry: Registry, first: str, second: str) -> None:
    """A promotion that was repeated after a kill finds its work done."""
    registry.promote(second, expected_version=first)
    assert registry.promote(second, expected_version=first) == second


def test_what_is_no_longer_wanted_is_not_promoted(registry: Registry, first: str, second: str) -> None:
    """It is asked under the lock, so that nothing can come between the answer and the alias."""

    def unwanted() -> None:
        with pytest.raises(BlockingIOError), (registry.folder / ".lock").open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        raise Cancelled("The job was cancelled.")

    with pytest.raises(Cancelled):
        registry.promote(second, before_write=unwanted)
    assert registry.aliases() == {"champion": first}


def test_previous_is_kept_by_the_registry_alone(registry: Registry, first: str, second: str) -> None:
    """Nobody else may say what was."""
    with pytest.raises(ModelError, match="previous"):
        registry.promote(second, "previous")
    assert registry.aliases() == {"champion": first}


def test_history_tells_how_the_aliases_came_about(registry: Registry, first: str, second: str) -> None:
    """Oldest first: which alias moved from what to what."""
    registry.promote(second, "challenger")
    registry.promote(second)
    registry.rollback()
    assert [(change.alias, change.before, change.version) for change in registry.history()] == [
        ("champion", None, first),
        ("challenger", None, second),
        ("champion", first, second),
        ("champion", second, first),
    ]
    times = [change.at for change in registry.history()]
    assert times == sorted(times)


def test_versions_are_listed_the_newest_first(registry: Registry, first: str, second: str) -> None:
    """By when they came in; what is no version is not listed."""
    (registry.folder / "notes").mkdir()
    assert registry.versions() == [second, first]


@pytest.mark.parametrize(
    "reference",
    ["../x", "..", ".", "", "/etc", "no-such-model", "original-0000000000", "Champion", "a/b", "x\0y", "labels"],
)
def test_a_reference_to_nothing_is_not_found(registry: Registry, first: str, reference: str) -> None:
    """Unknown versions, unknown aliases and paths that lead elsewhere are all simply not there."""
    for ask in (
        registry.resolve,
        registry.path,
        registry.read,
        registry.load_predictor,
        registry.promote,
        registry.label_revisions,
    ):
        with pytest.raises(ModelNotFound, match=re.escape(repr(reference))):
            ask(reference)
    assert registry.aliases() == {"champion": first}


def test_a_version_that_vanished_is_not_found(registry: Registry, first: str, second: str) -> None:
    """An alias whose folder somebody removed says so."""
    registry.promote(second, "challenger")
    shutil.rmtree(registry.folder / second)
    with pytest.raises(ModelNotFound, match="gone"):
        registry.load_predictor("challenger")
    assert_still_served(registry, first)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"aliases": [], "history": []}', '{"aliases": {}}'])
def test_damaged_aliases_are_refused_by_name(registry: Registry, content: str) -> None:
    """Never taken for a registry without models."""
    (registry.folder / "aliases.json").write_text(content)
    with pytest.raises(BundleUnrecognised, match=r"aliases\.json"):
        registry.aliases()


# What is damaged does not become champion

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
        bundles.edit_json("manifest.json", lambda m: m.update(format_version=3)),
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
    """Refused with its reason; the aliases and the serving champion stay as they were."""
    change(registry.folder / second)
    if redo:
        bundles.redo_hashes(registry.folder / second)
    before = (registry.folder / "aliases.json").read_bytes()
    with pytest.raises(error):
        registry.promote(second)
    assert (registry.folder / "aliases.json").read_bytes() == before
    assert_still_served(registry, first)


def test_no_rolling_back_to_a_damaged_version(registry: Registry, first: str, second: str) -> None:
    """A previous champion that rotted on disk is refused like any other."""
    registry.promote(second)
    os.truncate(registry.folder / first / "network.tflite", 10)
    with pytest.raises(BundleDamaged):
        registry.rollback()
    assert_still_served(registry, second)


def test_a_bundle_that_does_not_prove_itself_is_not_added(registry: Registry, first: str) -> None:
    """A golden answer that the network does not give: refused before it is a version, and nothing is left of it."""
    with registry.incoming() as folder:
        bundles.write(folder, registry.read(first).content, registry.path(first) / bundle.KERAS, "liar")
        bundles.edit_json("golden.json", lambda g: g.update(probabilities=[0.0, 0.0, 0.0, 1.0]))(folder)
        bundles.redo_hashes(folder)
        with pytest.raises(GoldenClipFailed):
            registry.add(folder)
    assert registry.versions() == [first]
    assert not list(registry.folder.glob(".incoming-*"))


def test_adding_what_is_there_changes_nothing(registry: Registry, first: str) -> None:
    """The same model is the same version, and the one on disk is not touched."""
    manifest = registry.path(first) / bundle.MANIFEST
    before = (manifest.stat().st_ino, manifest.stat().st_mtime_ns)
    content = registry.read(first).content
    assert bundles.add(registry, content, registry.path(first) / bundle.KERAS, "original") == first
    assert (manifest.stat().st_ino, manifest.stat().st_mtime_ns) == before
    assert registry.versions() == [first]


# Labels


def test_renaming_adds_a_revision_and_keeps_the_old(registry: Registry, first: str) -> None:
    """The current names are the last given; every earlier revision can be read; the bundle itself stays."""
    files = {path: path.read_bytes() for path in registry.path(first).iterdir()}
    assert registry.rename_classes("champion", NAMES).revision == 2
    swapped = [("ok", "Fine"), *NAMES[1:]]
    assert registry.rename_classes(first, swapped).revision == 3
    found = registry.label_revisions(first)
    assert [(r.revision, r.labels.classes[0].message) for r in found] == [
        (1, "Component OK"),
        (2, "Alles gut"),
        (3, "Fine"),
    ]
    assert [label.anomalous for label in found[-1].labels.classes] == [False, True, True, True]
    assert {path: path.read_bytes() for path in registry.path(first).iterdir()} == files


def test_a_renamed_model_answers_under_its_new_names(registry: Registry) -> None:
    """From the next load on, with the number of the revision."""
    registry.rename_classes("champion", NAMES)
    predictor = registry.load_predictor("champion")
    verdict = predictor.predict(predictor.decode(sounds.recording(sounds.fan(1))))
    assert [label.message for label in verdict.classes] == [message for _, message in NAMES]
    assert verdict.worst.label.message in {message for _, message in NAMES}
    assert verdict.labels_revision == 2


def test_renaming_to_what_it_is_called_adds_nothing(registry: Registry) -> None:
    """The same names again are no new revision."""
    registry.rename_classes("champion", NAMES)
    assert registry.rename_classes("champion", NAMES).revision == 2
    assert len(registry.label_revisions("champion")) == 2


@pytest.mark.parametrize("names", [NAMES[:3], [*NAMES, ("fifth", "Fifth")], [], [("same", "Same")] * 4])
def test_names_that_do_not_fit_are_refused(registry: Registry, names: list[tuple[str, str]]) -> None:
    """One distinct name for each class, or nothing changes."""
    with pytest.raises(InvalidClassLabels):
        registry.rename_classes("champion", names)
    assert len(registry.label_revisions("champion")) == 1


def test_labels_belong_to_a_version_and_not_to_an_alias(registry: Registry, first: str, second: str) -> None:
    """A new champion keeps its own names, and so does the old one."""
    registry.rename_classes("champion", NAMES)
    registry.promote(second)
    assert registry.label_revisions("champion")[-1].revision == 1
    assert registry.label_revisions(first)[-1].revision == 2


@pytest.mark.parametrize(
    "content", ["", "{", "5", '[{"revision": 2}]', '[{"revision": 2, "created": "", "labels": 5}]']
)
def test_damaged_labels_are_refused_by_name(registry: Registry, first: str, content: str) -> None:
    """With the file to remove."""
    registry.rename_classes(first, NAMES)
    (registry.folder / "labels" / f"{first}.json").write_text(content)
    with pytest.raises(ModelError):
        registry.label_revisions(first)


# What pollers see


def test_state_changes_with_promotion_and_renaming_alone(registry: Registry, first: str, second: str) -> None:
    """A poller sees each change of what serves, and nothing where there was none."""
    seen = [registry.champion_stamp()]

    def changed() -> bool:
        seen.append(registry.champion_stamp())
        return seen[-1] != seen[-2]

    assert not changed()
    registry.promote(second)
    assert changed()
    registry.promote(second)
    assert not changed()
    registry.rename_classes("champion", NAMES)
    assert changed()
    registry.rename_classes("champion", [("ok", "Fine"), *NAMES[1:]])
    assert changed()
    registry.rollback()
    assert changed()


def test_state_of_an_empty_home_changes_with_the_first_champion(home: Path, tmp_path: Path) -> None:
    """A service that waits for its first model sees it come."""
    registry, archive = Registry(tmp_path / "empty"), tmp_path / "model.zip"
    before = registry.champion_stamp()
    Registry(home).export("champion", archive)
    version = registry.add_archive(archive)
    registry.promote(version)
    assert registry.champion_stamp() != before


# Archives


def test_an_exported_model_is_the_same_version_elsewhere(registry: Registry, first: str, tmp_path: Path) -> None:
    """Through one file to another machine: same version, same content, and it serves."""
    registry.export("champion", tmp_path / "model.zip")
    other = Registry(tmp_path / "other")
    assert other.add_archive(tmp_path / "model.zip") == first
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
    ids=["leads-out", "foreign", "empty-manifest", "no-json"],
)
def test_a_foreign_archive_leaves_nothing(
    registry: Registry, first: str, tmp_path: Path, make: Callable[[zipfile.ZipFile], None], error: type[ModelError]
) -> None:
    """Refused, with the registry as it was and nothing beside it."""
    with zipfile.ZipFile(tmp_path / "foreign.zip", "w") as archive:
        make(archive)
    before = tree(tmp_path)
    with pytest.raises(error):
        registry.add_archive(tmp_path / "foreign.zip")
    assert tree(tmp_path) == before
    assert_still_served(registry, first)


def test_what_is_no_zip_leaves_nothing(registry: Registry, tmp_path: Path) -> None:
    """A recording handed in for a model, say."""
    (tmp_path / "sound.wav").write_bytes(sounds.recording(sounds.fan(1)))
    before = tree(tmp_path)
    with pytest.raises(BundleUnrecognised, match=r"sound\.wav"):
        registry.add_archive(tmp_path / "sound.wav")
    assert tree(tmp_path) == before


def tree(folder: Path) -> set[str]:
    """Every file and folder below, the lock apart."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.name != ".lock"}


# Several processes, and ones that die


def promote_in_turn(home: Path, versions: list[str], times: int) -> None:
    """Switch the champion to and fro."""
    registry = Registry(home)
    for i in range(times):
        registry.promote(versions[i % len(versions)])


def test_promotions_at_once_leave_the_aliases_whole(home: Path, registry: Registry, first: str, second: str) -> None:
    """Three processes promote while this one reads: every reading is whole, and every change is in the history."""
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
    """Give the champion's classes one name after another."""
    for i in range(times):
        Registry(home).rename_classes("champion", [(f"name {who} {i}", "Message"), *NAMES[1:]])


def test_renamings_at_once_lose_none(home: Path, registry: Registry) -> None:
    """Three processes rename ten times each: every revision is kept, under a number of its own."""
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
    """Half a bundle is left aside: it is no version, it stops nobody, and a day later it is swept up."""
    done = subprocess.run([sys.executable, "-c", DIE_WHILE_WRITING, str(home)], check=False, timeout=60)
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
    """The lock goes with its process, and what it had half written is not read."""
    subprocess.run([sys.executable, "-c", DIE_WHILE_PROMOTING, str(home)], check=False, timeout=60)
    assert registry.aliases() == {"champion": first}
    assert registry.promote(second) == second


def test_a_failed_import_leaves_no_folder(registry: Registry, first: str) -> None:
    """An exception on the way in takes the half-written bundle with it."""

    def fail_half_way() -> None:
        with registry.incoming() as folder:
            (folder / "spec.json").write_text("{")
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        fail_half_way()
    assert registry.versions() == [first]
    assert not list(registry.folder.glob(".incoming-*"))


def test_the_aliases_file_is_plain_json(registry: Registry, first: str) -> None:
    """A person with an editor can read what serves."""
    assert json.loads((registry.folder / "aliases.json").read_text())["aliases"] == {"champion": first}
