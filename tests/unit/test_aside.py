"""A folder made aside is there whole or not at all."""

import errno
from pathlib import Path

import pytest

from ml.errors import InvalidParameter, StorageFull
from ml.system.atomic import atomic_folder, require_free_space


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_folder_appears_when_it_is_done(tmp_path: Path) -> None:
    """Until then it is hidden; parents are made."""
    with atomic_folder(tmp_path / "new" / "target") as aside:
        (aside / "file").write_text("content")
        assert names(tmp_path / "new") == [".target.incomplete"]
    assert (tmp_path / "new" / "target" / "file").read_text() == "content"
    assert names(tmp_path / "new") == ["target"]


def test_leftovers_of_a_killed_run_are_cleared_away(tmp_path: Path) -> None:
    """They do not end up in what is made next."""
    (tmp_path / ".target.incomplete" / "folder").mkdir(parents=True)
    (tmp_path / ".target.incomplete" / "folder" / "old").write_text("old")
    (tmp_path / ".target.incomplete" / "old").symlink_to(tmp_path)
    with atomic_folder(tmp_path / "target"):
        pass
    assert names(tmp_path) == ["target"]
    assert names(tmp_path / "target") == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_disk_that_fills_up_is_said_to_be_full(tmp_path: Path, number: int) -> None:
    """And nothing is left."""
    with pytest.raises(StorageFull, match=r"filled up while .*target was written"), atomic_folder(tmp_path / "target"):
        raise OSError(number, "from the system")
    assert names(tmp_path) == []


@pytest.mark.parametrize("failure", [OSError(errno.EIO, "broken disk"), KeyboardInterrupt()])
def test_whatever_goes_wrong_nothing_is_left(tmp_path: Path, failure: BaseException) -> None:
    """The failure itself comes through."""
    with pytest.raises(type(failure)), atomic_folder(tmp_path / "target"):
        raise failure
    assert names(tmp_path) == []


def test_two_at_once_are_told_apart(tmp_path: Path) -> None:
    """The second is refused, and harms nothing."""
    with atomic_folder(tmp_path / "target") as aside:
        (aside / "file").write_text("content")
        with pytest.raises(InvalidParameter, match="made by another process"), atomic_folder(tmp_path / "target"):
            pass
    assert names(tmp_path / "target") == ["file"]


def test_a_file_or_a_dangling_link_in_the_way_is_left_alone(tmp_path: Path) -> None:
    """Only a folder, and an empty one, is taken over."""
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("file", "link"):
        with pytest.raises(InvalidParameter, match="in the way"), atomic_folder(tmp_path / name):
            pass
    assert names(tmp_path) == ["file", "link"]


def test_room_is_looked_for_where_the_folder_will_be(tmp_path: Path) -> None:
    """Though neither it nor its parent exist yet."""
    require_free_space(tmp_path / "a" / "b", 1000)
    with pytest.raises(StorageFull, match="MB are free"):
        require_free_space(tmp_path / "a" / "b", 10**18)
