"""Atomic files and folders: they appear complete or not at all. Also checks of free disk space."""

import errno
import fcntl
import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ml.errors import InvalidParameter, StorageFull

# Needed space per byte of content: a file system also stores metadata.
OVERHEAD = 1.02


def write_atomic(path: Path, content: bytes | bytearray, mode: int = 0o666) -> None:
    """Write a file under a temporary name, flush it to disk and rename it.

    A reader, or a start after a power cut, finds the old file or the new one.

    Args:
        path: the file.
        content: its bytes.
        mode: permissions of the file; the umask removes some of them.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:  # also Ctrl-C: no incomplete file stays
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Flush a folder to disk, so that renames and new files in it survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file(file: Path) -> None:
    """Flush a file to disk that another library has written, so that its content survives a power cut."""
    with file.open("rb") as written:
        os.fsync(written.fileno())


def make_folder(folder: Path) -> None:
    """Make a folder and its parents, as far as they are missing, so that they survive a power cut."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def to_json(value: Any) -> bytes:
    """Return a value as indented JSON with sorted keys, the format of all JSON files of this project.

    Raises:
        ValueError: the value has NaN or an infinite number.
    """
    return json.dumps(value, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False).encode() + b"\n"


@contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Hold an exclusive lock between processes; the end of the process releases it in every case."""
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def passing_lock(path: Path) -> Iterator[None]:
    """Hold an exclusive lock between processes whose file is deleted at the end, for locks of ever new names."""
    while True:
        with path.open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            # Another process may have deleted the file while this one waited; a third one may hold its successor.
            if not _is_at(path, file.fileno()):
                continue
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
            return


def _is_at(path: Path, descriptor: int) -> bool:
    """Return whether an open file is still the file at a path."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


@contextmanager
def own_temporary_folder() -> Iterator[None]:
    """Give the libraries of this process a folder of its own for temporary files, and delete it at the end.

    TensorFlow writes a file for each function that it converts, and deletes them when Python exits. A process of a
    worker ends without that.
    """
    before = tempfile.tempdir
    with tempfile.TemporaryDirectory(prefix="signalml-", ignore_cleanup_errors=True) as folder:
        tempfile.tempdir = folder
        try:
            yield
        finally:
            tempfile.tempdir = before


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """Make a hidden folder next to ``target`` to write into, and rename it to ``target`` at the end.

    The files of a killed run are deleted by the next run. After an error, nothing is left.

    Args:
        target: the folder to make; it may exist if it is empty.

    Yields:
        The hidden folder, empty.

    Raises:
        InvalidParameter: ``target`` is not empty or not a folder, or another process is making it.
        StorageFull: the disk is full.
    """
    require_vacant(target)
    make_folder(target.parent)
    incomplete = target.with_name(f".{target.name}.incomplete")
    incomplete.mkdir(exist_ok=True)
    with _lock_incomplete(incomplete, target), translate_disk_full(target, "nothing of it was kept"):
        try:
            _clear(incomplete)
            yield incomplete
            incomplete.rename(target)
        except BaseException:  # also Ctrl-C: no incomplete folder stays
            shutil.rmtree(incomplete, ignore_errors=True)
            raise
    sync_folder(target.parent)


@contextmanager
def translate_disk_full(target: Path, kept: str) -> Iterator[None]:
    """Translate the system's error of a full disk to :class:`StorageFull`.

    Args:
        target: the file or folder that is written.
        kept: end of the message: which part was kept.

    Raises:
        StorageFull: the disk, or the user's quota, is full.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFull(f"The disk filled up while {target} was written: {kept}.") from error
        raise


def require_vacant(target: Path) -> None:
    """Check that a target is absent or an empty folder, so that no files are lost or mixed.

    Raises:
        InvalidParameter: the target is a file, a link or a folder with content.
    """
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise InvalidParameter(f"{target} is a file or a link: a new folder, or an empty one, was expected.")
    if target.is_dir() and any(target.iterdir()):
        raise InvalidParameter(f"{target} exists and is not empty: a new folder, or an empty one, was expected.")


def require_free_space(folder: Path, needed_bytes: int) -> None:
    """Check that the disk of ``folder`` has enough free space; the folder does not have to exist.

    Raises:
        StorageFull: the space is too small; the message has the needed and the free space.
    """
    existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.is_dir())
    free_bytes = shutil.disk_usage(existing).free
    if needed_bytes * OVERHEAD > free_bytes:
        raise StorageFull(
            f"{folder} needs {_megabytes(needed_bytes * OVERHEAD)}; {_megabytes(free_bytes)} are free on its disk."
        )


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Lock a folder itself: the end of the process releases the lock, and there is no lock file.

    Raises:
        BlockingIOError: another process holds the lock.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _lock_incomplete(incomplete: Path, target: Path) -> Iterator[None]:
    try:
        with lock_folder(incomplete):
            yield
    except BlockingIOError as error:
        raise InvalidParameter(
            f"{target} is being made by another process: wait for it, or choose another folder."
        ) from error


def _clear(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _megabytes(count: float) -> str:
    return f"{count / 1e6:,.0f} MB"
