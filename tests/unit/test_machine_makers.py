"""An API key that names new machines takes no place of the machines of others."""

import sqlite3
from dataclasses import replace
from pathlib import Path

from ml.machines.ledger import Ledger
from tests.unit.ledgers import FILE, observation, states


def record(home: Path, machine_id: str, made_by: str | None, verdict: str = ".", **settings: int) -> bool:
    """Record one verdict for a key; whether it had a place."""
    with Ledger(home, create=True, **{"machines_kept": 3} | settings) as ledger:
        return not ledger.record([replace(observation(verdict, machine_id), made_by=made_by)])


def test_a_key_takes_the_places_of_its_own_machines_only(tmp_path: Path) -> None:
    """The one without a recording for the longest time; a key without machines gets no place."""
    assert record(tmp_path, "real", "owner")
    assert record(tmp_path, "a", "stranger")
    assert record(tmp_path, "b", "stranger")
    assert record(tmp_path, "a", "stranger")
    assert record(tmp_path, "c", "stranger")
    assert list(states(tmp_path)) == ["a", "c", "real"]
    assert not record(tmp_path, "d", "third")
    assert list(states(tmp_path)) == ["a", "c", "real"]


def test_a_verdict_on_a_known_machine_is_always_recorded(tmp_path: Path) -> None:
    """Whichever key made the machine; it stays the machine of that key."""
    for name in ("a", "b", "c"):
        assert record(tmp_path, name, "owner")
    assert record(tmp_path, "a", "third")
    assert not record(tmp_path, "d", "third")
    assert record(tmp_path, "d", "owner")
    assert list(states(tmp_path)) == ["a", "c", "d"]


def test_without_a_key_any_machine_is_replaced(tmp_path: Path) -> None:
    """As in earlier versions; so does a key with the scope admin."""
    for name in ("a", "b", "c"):
        record(tmp_path, name, "owner")
    assert record(tmp_path, "d", None)
    assert list(states(tmp_path)) == ["b", "c", "d"]
    # The machine d was made without a key, so no key replaces it.
    assert not record(tmp_path, "e", "third")


def test_the_machines_of_one_key_can_be_limited(tmp_path: Path) -> None:
    """Places are left, and the key still replaces its own machine."""
    for name in ("a", "b", "c"):
        assert record(tmp_path, name, "owner", machines_per_key=2)
    assert list(states(tmp_path)) == ["b", "c"]
    assert record(tmp_path, "d", "third", machines_per_key=2)


def test_a_smaller_limit_removes_nothing_for_a_key_that_gets_no_place(tmp_path: Path) -> None:
    """With too few machines of its own, none of them is removed either."""
    for name, key in (("a", "owner"), ("b", "owner"), ("c", "stranger")):
        record(tmp_path, name, key)
    assert not record(tmp_path, "d", "stranger", machines_kept=2)
    assert list(states(tmp_path)) == ["a", "b", "c"]


def test_one_verdict_without_a_place_does_not_lose_the_others(tmp_path: Path) -> None:
    """They are in one transaction."""
    for name in ("a", "b", "c"):
        record(tmp_path, name, "owner")
    with Ledger(tmp_path, create=True, machines_kept=3) as ledger:
        sent = [replace(observation("!", name), made_by="third") for name in ("new", "a")]
        assert ledger.record(sent) == sent[:1]
        assert ledger.health("a", latest=1).latest[0].anomalous


def test_a_file_of_an_earlier_version_is_used(tmp_path: Path) -> None:
    """It has no table of makers: its machines are nobody's, and stay."""
    record(tmp_path, "old", None)
    with sqlite3.connect(tmp_path / FILE) as db:
        db.execute("DROP TABLE makers")
    db.close()
    assert states(tmp_path) == {"old": "normal"}
    assert record(tmp_path, "a", "owner", machines_kept=2)
    assert record(tmp_path, "b", "owner", machines_kept=2)
    assert list(states(tmp_path)) == ["b", "old"]
