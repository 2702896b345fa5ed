"""A folder that is written under another name first is complete or absent."""

import errno
from pathlib import Path

import pytest

from ml.errors import InvalidParameter, StorageFull
from ml.system.atomic import atomic_folder, require_free_space


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_folder_appears_when_it_is_complete(tmp_path: Path) -> None:
    """The folder is hidden until then; its parents are made."""
    with atomic_folder(tmp_path / "new" / "target") as folder:
        (folder / "file").write_text("content")
        assert names(tmp_path / "new") == [".target.incomplete"]
    assert (tmp_path / "new" / "target" / "file").read_text() == "content"
    assert names(tmp_path / "new") == ["target"]


def test_leftovers_of_a_killed_run_are_removed(tmp_path: Path) -> None:
    """Leftovers do not become part of the next folder."""
    (tmp_path / ".target.incomplete" / "folder").mkdir(parents=True)
    (tmp_path / ".target.incomplete" / "folder" / "old").write_text("old")
    (tmp_path / ".target.incomplete" / "old").symlink_to(tmp_path)
    with atomic_folder(tmp_path / "target"):
        pass
    assert names(tmp_path) == ["target"]
    assert names(tmp_path / "target") == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_reported(tmp_path: Path, number: int) -> None:
    """The error is StorageFull, and nothing is left."""
    with pytest.raises(StorageFull, match=r"filled up while .*target was written"), atomic_folder(tmp_path / "target"):
        raise OSError(number, "from the system")
    assert names(tmp_path) == []


@pytest.mark.parametrize("failure", [OSError(errno.EIO, "broken disk"), KeyboardInterrupt()])
def test_a_failure_leaves_nothing(tmp_path: Path, failure: BaseException) -> None:
    """The failure itself is raised."""
    with pytest.raises(type(failure)), atomic_folder(tmp_path / "target"):
        raise failure
    assert names(tmp_path) == []


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    """The second writer of a folder is refused, and the first one finishes."""
    with atomic_folder(tmp_path / "target") as folder:
        (folder / "file").write_text("content")
        with pytest.raises(InvalidParameter, match="made by another process"), atomic_folder(tmp_path / "target"):
            pass
    assert names(tmp_path / "target") == ["file"]


def test_a_file_or_a_dangling_link_is_not_replaced(tmp_path: Path) -> None:
    """Only an empty folder is replaced."""
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    message = "is a file or a link: a new folder, or an empty one, was expected"
    for name in ("file", "link"):
        with pytest.raises(InvalidParameter, match=message), atomic_folder(tmp_path / name):
            pass
    assert names(tmp_path) == ["file", "link"]


def test_free_space_is_measured_where_the_folder_will_be(tmp_path: Path) -> None:
    """The folder and its parent need not exist yet."""
    require_free_space(tmp_path / "a" / "b", 1000)
    with pytest.raises(StorageFull, match="MB are free"):
        require_free_space(tmp_path / "a" / "b", 10**18)
