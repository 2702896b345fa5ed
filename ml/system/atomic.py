"""Files and folders that appear whole or not at all, and a look at the disk before they are written."""

import errno
import fcntl
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ml.errors import InvalidParameter, StorageFull

# File systems keep books too: what is written takes a little more than its bytes.
OVERHEAD = 1.02


def write_atomic(path: Path, content: bytes | bytearray, mode: int = 0o666) -> None:
    """Write aside, flush to disk, rename: a reader or a power cut sees the old file or the new one.

    ``mode`` is what the file may at most be, under the umask.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:  # Ctrl-C too: never half a file
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make renames and new files in ``folder`` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def to_json(value: Any) -> bytes:
    """JSON as it is written everywhere here: sorted, indented, no NaN."""
    return json.dumps(value, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False).encode() + b"\n"


@contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Hold an exclusive lock between processes; it goes with the process, however that ends."""
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """A hidden folder beside ``target`` to write into, renamed to it at the end.

    What a killed run left there is cleared away by the next. Where the work fails, nothing is left, and a full disk is
    said to be one.

    Args:
        target: where the folder shall appear; may exist if it is empty.

    Yields:
        the hidden folder, empty.

    Raises:
        InvalidParameter: ``target`` is in use, or another process is making it.
        StorageFull: the disk filled up on the way.
    """
    require_vacant(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    incomplete = target.with_name(f".{target.name}.incomplete")
    incomplete.mkdir(exist_ok=True)
    with _lock_folder(incomplete, target), translate_disk_full(target, "nothing of it was kept"):
        try:
            _clear(incomplete)
            yield incomplete
            incomplete.rename(target)
        except BaseException:  # a kill by Ctrl-C leaves nothing either
            shutil.rmtree(incomplete, ignore_errors=True)
            raise
    sync_folder(target.parent)


@contextmanager
def translate_disk_full(target: Path, kept: str) -> Iterator[None]:
    """Say that the disk is full where the system only has an error number.

    Args:
        target: what is being written.
        kept: what became of it, in a few words.

    Raises:
        StorageFull: the disk, or the user's share of it, is full.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFull(f"The disk filled up while {target} was written: {kept}.") from error
        raise


def require_vacant(target: Path) -> None:
    """Refuse a target that something would be lost or mixed up in.

    Raises:
        InvalidParameter: it is a file or a link, or a folder that is not empty.
    """
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise InvalidParameter(f"{target} is in the way, and no folder: a new folder, or an empty one, was expected.")
    if target.is_dir() and any(target.iterdir()):
        raise InvalidParameter(f"{target} exists and is not empty: a new folder, or an empty one, was expected.")


def require_free_space(folder: Path, needed_bytes: int) -> None:
    """Look whether so much can be written below ``folder``, which need not exist yet.

    Raises:
        StorageFull: with what is needed and what is free.
    """
    existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.is_dir())
    free_bytes = shutil.disk_usage(existing).free
    if needed_bytes * OVERHEAD > free_bytes:
        raise StorageFull(
            f"{folder} needs {_megabytes(needed_bytes * OVERHEAD)}; {_megabytes(free_bytes)} are free on its disk."
        )


@contextmanager
def _lock_folder(aside: Path, target: Path) -> Iterator[None]:
    """A lock on the folder itself: it goes with the process, however that ends, and leaves no file behind."""
    descriptor = os.open(aside, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise InvalidParameter(f"{target} is being made by another process: wait for it, or name another.") from error
    finally:
        os.close(descriptor)


def _clear(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _megabytes(count: float) -> str:
    return f"{count / 1e6:,.0f} MB"
