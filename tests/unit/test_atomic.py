"""Files and folders that are complete or absent, locks, and temporary files."""

import errno
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ml.errors import InvalidParameter, StorageFull
from ml.system import atomic
from ml.system.atomic import (
    atomic_folder,
    make_folder,
    own_temporary_folder,
    passing_lock,
    require_free_space,
)


def hold_in_turn(path: Path, inside: list[int], most: list[int]) -> None:
    for _ in range(50):
        with passing_lock(path):
            inside.append(1)
            most.append(len(inside))
            inside.pop()


def test_a_passing_lock_is_held_by_one_at_a_time_and_leaves_no_file(tmp_path: Path) -> None:
    """Of eight that want it again and again, each gets it, never two at once; its file is deleted in between."""
    inside: list[int] = []
    most: list[int] = []
    with ThreadPoolExecutor(8) as pool:
        for held in [pool.submit(hold_in_turn, tmp_path / "lock", inside, most) for _ in range(8)]:
            held.result()
    assert (len(most), set(most)) == (400, {1})
    assert names(tmp_path) == []


def leave_a_file(temporary: Path) -> None:
    tempfile.NamedTemporaryFile(delete=False).close()
    assert len(names(temporary)) == 1
    raise ZeroDivisionError


def test_a_process_has_its_own_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What libraries leave there is deleted at the end, also after an error; then the folder is the former one."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(ZeroDivisionError), own_temporary_folder():
        leave_a_file(tmp_path)
    assert names(tmp_path) == []
    assert tempfile.gettempdir() == str(tmp_path)


def test_new_folders_are_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each parent of a new folder, so that a power cut takes none of them; existing ones are left alone."""
    synced: list[Path] = []
    monkeypatch.setattr(atomic, "sync_folder", synced.append)
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")
    assert synced == [tmp_path, tmp_path / "a"]


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
