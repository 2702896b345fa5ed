"""Folder of a collection: create, check, clean and delete it.

Callers of functions that write must hold :func:`write_lock`, except for :func:`delete_hidden`.
"""

import re
import shutil
import uuid
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ml.dataset.collection.journal import encode_entry
from ml.dataset.collection.state import JOURNAL, RECORDINGS, is_collection
from ml.errors import DatasetNotFound, DatasetReadOnly
from ml.system.atomic import atomic_folder, file_lock, make_folder, sync_folder, translate_disk_full, write_atomic

REMOVED = re.compile(r"\..+\.removed-[0-9a-f]{32}")


@contextmanager
def write_lock(folder: Path) -> Iterator[None]:
    """Hold the lock of a collection between threads and processes, whether or not the collection exists.

    Raises:
        StorageFull: the disk became full while the lock was held.
    """
    # Only the folder's name, because clients see the message.
    with translate_disk_full(Path(folder.name), "nothing of it was kept"):
        make_folder(folder.parent)
        # The lock file is next to the folder, so it stays the same file if the folder is deleted and created again.
        with file_lock(folder.with_name(f".{folder.name}.lock")):
            yield


def is_vacant(folder: Path) -> bool:
    """Return whether a collection can be created: the folder does not exist, or is empty."""
    return not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))


def require_collection(folder: Path) -> None:
    """Refuse a folder that is no collection.

    Raises:
        DatasetNotFound: the folder does not exist.
        DatasetReadOnly: it is a plain folder of recordings.
    """
    if is_collection(folder):
        return
    if folder.is_dir():
        raise DatasetReadOnly(
            f"{folder.name} is a plain folder, not a collection: jobs and signalml inspect can read its recordings; "
            "add, label and remove them in the folder itself."
        )
    raise DatasetNotFound(f"There is no dataset {folder.name!r}.")


def make(folder: Path, first: Mapping[str, Any]) -> None:
    """Create an empty collection in one step; ``first`` is the first entry of its journal."""
    with atomic_folder(folder) as incomplete:
        (incomplete / RECORDINGS).mkdir()
        write_atomic(incomplete / JOURNAL, encode_entry(first))


def hide(folder: Path) -> None:
    """Hide a collection in one step, by renaming it; :func:`delete_hidden` deletes it later."""
    folder.rename(folder.with_name(f".{folder.name}.removed-{uuid.uuid4().hex}"))
    sync_folder(folder.parent)


def delete_hidden(datasets: Path) -> None:
    """Delete hidden collections, also those that a killed process left."""
    for left in datasets.iterdir():
        if REMOVED.fullmatch(left.name):
            shutil.rmtree(left, ignore_errors=True)


def delete_orphans(folder: Path, named: Collection[str]) -> None:
    """Delete files that no journal line names; a process that is killed during an upload leaves one."""
    for file in (folder / RECORDINGS).iterdir():
        if f"{RECORDINGS}/{file.name}" not in named:
            file.unlink(missing_ok=True)
