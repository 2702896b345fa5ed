"""The home is private: a new one, one that was made before, and what services write into it."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ml.system.private import create_private, make_private


@pytest.fixture(autouse=True)
def usual_umask() -> Iterator[None]:
    """The usual umask, which lets others read; restored after the test."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    """Permissions of a file or folder."""
    return path.lstat().st_mode & 0o777


def old_home(folder: Path) -> Path:
    """A home that others can read, as it was made before."""
    home = folder / "home"
    for name in ("models/fan-0123456789", "datasets/hall", "broker", "machines", "jobs"):
        (home / name).mkdir(parents=True)
    for name in ("api-keys.json", "broker/appendonly.aof", "machines/health.sqlite3", "models/aliases.json"):
        (home / name).write_text("{}")
    return home


def test_a_new_home_is_private(tmp_path: Path) -> None:
    """Only its user can read it; the folders above it are as usual, and an existing one stays."""
    home = tmp_path / "a" / "home"
    create_private(home)
    assert (mode(home), mode(home.parent)) == (0o700, 0o755)
    home.chmod(0o750)
    create_private(home)
    assert mode(home) == 0o750


def test_a_home_that_was_made_before_becomes_private(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Its folders and the files of its first two levels lose the rights of others, which is logged once."""
    home = old_home(tmp_path)
    with caplog.at_level(logging.WARNING):
        assert make_private(home) > 8
        assert make_private(home) == 0
    assert [record.getMessage().split(" of ")[0] for record in caplog.records] == ["the permissions"]
    assert {mode(path) for path in home.rglob("*") if path.is_file()} == {0o600}
    assert {mode(path) for path in (home, *home.iterdir(), home / "models" / "fan-0123456789")} >= {0o700}
    assert mode(home) == 0o700


def test_what_a_service_writes_is_private(tmp_path: Path) -> None:
    """Its umask takes the rights of others away."""
    make_private(tmp_path / "home")
    (tmp_path / "home" / "jobs").mkdir()
    (tmp_path / "home" / "jobs" / "rows").write_text("")
    assert (mode(tmp_path / "home" / "jobs"), mode(tmp_path / "home" / "jobs" / "rows")) == (0o700, 0o600)


def test_links_are_not_followed(tmp_path: Path) -> None:
    """A dataset can be a link to recordings elsewhere, which keep their permissions."""
    home, recordings = old_home(tmp_path), tmp_path / "recordings"
    recordings.mkdir(mode=0o755)
    (recordings / "a.wav").write_bytes(b"")
    (home / "datasets" / "linked").symlink_to(recordings)
    (home / "features").symlink_to(recordings)
    make_private(home)
    assert (mode(recordings), mode(recordings / "a.wav")) == (0o755, 0o644)


def test_a_folder_that_is_used_for_something_else_keeps_its_mode(tmp_path: Path) -> None:
    """Only the entries of a home become private, not what lies beside them."""
    home = old_home(tmp_path)
    (home / "letters.txt").write_text("")
    make_private(home)
    assert (mode(home), mode(home / "letters.txt"), mode(home / "models")) == (0o755, 0o644, 0o700)


def test_a_home_of_another_user_is_used_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The service starts, and its log states that others may read the home."""

    def refused(*_: object) -> None:
        raise PermissionError("not the owner")

    home = old_home(tmp_path)
    monkeypatch.setattr(Path, "chmod", refused)
    assert make_private(home) == 0
    assert "other users may read" in caplog.text
