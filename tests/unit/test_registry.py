"""The registry: versions do not change, aliases change as a whole, and pollers see each change."""

import fcntl
import json
import re
import shutil
from pathlib import Path

import pytest

from ml.errors import AliasNotSet, BundleUnrecognised, Cancelled, ChampionChanged, ModelError, ModelNotFound
from ml.models.registry import Registry
from tests.unit import bundles
from tests.unit.registries import NAMES, assert_still_served


def test_an_empty_home_has_nothing(tmp_path: Path) -> None:
    """Reading makes no folders and finds no models; without a champion the message has the remedy."""
    registry = Registry(tmp_path / "new")
    assert (registry.versions(), registry.aliases(), registry.history()) == ([], {}, [])
    with pytest.raises(AliasNotSet, match="signalml models import"):
        registry.resolve("champion")
    with pytest.raises(AliasNotSet, match="challenger"):
        registry.resolve("challenger")
    assert not (tmp_path / "new").exists()


def test_promoting_makes_the_old_champion_previous(registry: Registry, first: str, second: str) -> None:
    """The old champion gets the alias previous."""
    assert registry.promote(second) == second
    assert registry.aliases() == {"champion": second, "previous": first}
    assert_still_served(registry, second)


def test_a_rollback_swaps_champion_and_previous(registry: Registry, first: str, second: str) -> None:
    """A second rollback swaps them again."""
    registry.promote(second)
    assert registry.rollback() == first
    assert registry.aliases() == {"champion": first, "previous": second}
    assert registry.rollback() == second
    assert registry.aliases() == {"champion": second, "previous": first}


def test_the_first_champion_cannot_be_rolled_back(registry: Registry, first: str) -> None:
    """There is no previous version."""
    with pytest.raises(AliasNotSet, match="previous"):
        registry.rollback()
    assert registry.aliases() == {"champion": first}


def test_a_challenger_is_not_served(registry: Registry, first: str, second: str) -> None:
    """It is found by its alias; the champion stays."""
    registry.promote(second, "challenger")
    assert registry.aliases() == {"champion": first, "challenger": second}
    assert registry.resolve("challenger") == second


def test_a_promoted_challenger_loses_its_alias(registry: Registry, first: str, second: str) -> None:
    """Promoted by its alias, it becomes champion, and there is no challenger."""
    registry.promote(second, "challenger")
    registry.promote("challenger")
    assert registry.aliases() == {"champion": second, "previous": first}


def test_another_challenger_stays_when_the_champion_changes(registry: Registry, first: str, second: str) -> None:
    """Only the promoted version loses the alias challenger."""
    third = bundles.further(registry, 0.75)
    registry.promote(third, "challenger")
    registry.promote(second)
    assert registry.aliases() == {"champion": second, "challenger": third, "previous": first}


def test_promoting_the_champion_again_changes_nothing(registry: Registry, first: str, second: str) -> None:
    """Neither the aliases nor the history change."""
    registry.promote(second)
    before = (registry.aliases(), registry.history())
    registry.promote(second)
    assert (registry.aliases(), registry.history()) == before


def test_a_champion_is_replaced_only_if_it_is_the_expected_one(registry: Registry, first: str, second: str) -> None:
    """A promotion that expects another champion, or none, is refused by name; nothing changes."""
    third = bundles.further(registry, 0.75)
    for expected in (None, third):
        with pytest.raises(ChampionChanged, match=f"{first} is champion now"):
            registry.promote(second, expected_version=expected)
    assert registry.aliases() == {"champion": first}
    registry.promote(second, expected_version=first)
    assert registry.aliases() == {"champion": second, "previous": first}


def test_the_first_champion_replaces_none(registry: Registry, first: str) -> None:
    """If there is no champion, none must be expected."""
    (registry.folder / "aliases.json").unlink()
    with pytest.raises(ChampionChanged, match="No model is champion now"):
        registry.promote(first, expected_version="fan-0123456789")
    assert registry.promote(first, expected_version=None) == first
    assert registry.aliases() == {"champion": first}


def test_repeating_a_promotion_is_no_conflict(registry: Registry, first: str, second: str) -> None:
    """A promotion that is repeated after a kill is done already."""
    registry.promote(second, expected_version=first)
    assert registry.promote(second, expected_version=first) == second


def test_a_cancelled_promotion_changes_nothing(registry: Registry, first: str, second: str) -> None:
    """The check is made under the lock, so nothing can change between it and the write."""

    def unwanted() -> None:
        with pytest.raises(BlockingIOError), (registry.folder / ".lock").open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        raise Cancelled("The job was cancelled.")

    with pytest.raises(Cancelled):
        registry.promote(second, before_write=unwanted)
    assert registry.aliases() == {"champion": first}


def test_previous_cannot_be_set(registry: Registry, first: str, second: str) -> None:
    """Only the registry sets it."""
    with pytest.raises(ModelError, match="previous"):
        registry.promote(second, "previous")
    assert registry.aliases() == {"champion": first}


def test_the_history_has_each_change_of_an_alias(registry: Registry, first: str, second: str) -> None:
    """The oldest is first, with alias, old and new version."""
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
    """They are in the order of addition; other folders are not listed."""
    (registry.folder / "notes").mkdir()
    assert registry.versions() == [second, first]


@pytest.mark.parametrize(
    "reference",
    ["../x", "..", ".", "", "/etc", "no-such-model", "original-0000000000", "Champion", "a/b", "x\0y", "labels"],
)
def test_an_unknown_reference_is_not_found(registry: Registry, first: str, reference: str) -> None:
    """Unknown versions, unknown aliases and paths are ModelNotFound."""
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


def test_a_removed_version_is_not_found(registry: Registry, first: str, second: str) -> None:
    """An alias of a removed folder has a message of its own."""
    registry.promote(second, "challenger")
    shutil.rmtree(registry.folder / second)
    with pytest.raises(ModelNotFound, match="no longer exists"):
        registry.load_predictor("challenger")
    assert_still_served(registry, first)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"aliases": [], "history": []}', '{"aliases": {}}'])
def test_damaged_aliases_are_refused_by_name(registry: Registry, content: str) -> None:
    """A damaged file is never taken for a registry without models."""
    (registry.folder / "aliases.json").write_text(content)
    with pytest.raises(BundleUnrecognised, match=r"aliases\.json"):
        registry.aliases()


def test_the_champion_stamp_changes_with_promotion_and_renaming_only(
    registry: Registry, first: str, second: str
) -> None:
    """A poller sees each change of the served model, and nothing else."""
    seen = [registry.reference_stamp("champion")]

    def changed() -> bool:
        seen.append(registry.reference_stamp("champion"))
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


def test_the_champion_stamp_of_an_empty_home_changes_with_the_first_champion(home: Path, tmp_path: Path) -> None:
    """A service that waits for its first model notices it."""
    registry, archive = Registry(tmp_path / "empty"), tmp_path / "model.zip"
    before = registry.reference_stamp("champion")
    Registry(home).export("champion", archive)
    version = registry.add_archive(archive)
    registry.promote(version)
    assert registry.reference_stamp("champion") != before


def test_the_aliases_file_is_plain_json(registry: Registry, first: str) -> None:
    """The file can be read with an editor."""
    assert json.loads((registry.folder / "aliases.json").read_text())["aliases"] == {"champion": first}


def test_a_damaged_entry_of_the_history_does_not_break_it(registry: Registry, first: str, second: str) -> None:
    """The others are listed."""
    registry.promote(second)
    file = registry.folder / "aliases.json"
    state = json.loads(file.read_bytes())
    state["history"][0:0] = ["x", {}, None, {"at": 1, "alias": 2, "version": 3, "before": None}, {"more": 1}]
    file.write_text(json.dumps(state))
    assert [change.version for change in registry.history()] == [first, second]
