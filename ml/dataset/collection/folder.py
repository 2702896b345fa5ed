"""The folder of a collection: how it is made, told from others, swept and taken away.

Everything here that writes is called by whoever holds :func:`write_lock`, except :func:`delete_hidden`.
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
from ml.system.atomic import atomic_folder, file_lock, sync_folder, translate_disk_full, write_atomic

REMOVED = re.compile(r"\..+\.removed-[0-9a-f]{32}")


@contextmanager
def write_lock(folder: Path) -> Iterator[None]:
    """Hold the lock of a collection between threads and processes, whether or not it is there yet.

    Raises:
        StorageFull: the disk filled up meanwhile.
    """
    # By its name alone: the sentence goes to clients, whom the server's folders do not concern.
    with translate_disk_full(Path(folder.name), "nothing of it was kept"):
        folder.parent.mkdir(parents=True, exist_ok=True)
        # Beside the folder, so that whoever waits for it while the folder is removed holds the lock of the next one.
        with file_lock(folder.with_name(f".{folder.name}.lock")):
            yield


def is_vacant(folder: Path) -> bool:
    """Whether a collection can be made there: nothing is in its place, or an empty folder."""
    return not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))


def require_collection(folder: Path) -> None:
    """Refuse what is no collection.

    Raises:
        DatasetNotFound: there is nothing.
        DatasetReadOnly: there is a folder of recordings.
    """
    if is_collection(folder):
        return
    if folder.is_dir():
        raise DatasetReadOnly(
            f"{folder.name} is a folder that was laid there by hand: jobs and signalml inspect read its recordings, "
            "and they are added, labelled and removed by hand."
        )
    raise DatasetNotFound(f"There is no dataset {folder.name!r}.")


def make(folder: Path, first: Mapping[str, Any]) -> None:
    """Make an empty collection, whole, whose journal begins with an entry."""
    with atomic_folder(folder) as aside:
        (aside / RECORDINGS).mkdir()
        write_atomic(aside / JOURNAL, encode_entry(first))


def hide(folder: Path) -> None:
    """Hide a collection from one moment to the next; :func:`delete_hidden` then deletes it."""
    folder.rename(folder.with_name(f".{folder.name}.removed-{uuid.uuid4().hex}"))
    sync_folder(folder.parent)


def delete_hidden(datasets: Path) -> None:
    """Delete what was taken away, also by a process that was killed before it came to this."""
    for left in datasets.iterdir():
        if REMOVED.fullmatch(left.name):
            shutil.rmtree(left, ignore_errors=True)


def delete_orphans(folder: Path, named: Collection[str]) -> None:
    """Delete files that no line names: a process was killed between the two."""
    for file in (folder / RECORDINGS).iterdir():
        if f"{RECORDINGS}/{file.name}" not in named:
            file.unlink(missing_ok=True)
