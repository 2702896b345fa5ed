"""What happens to a recording after its verdict: it is left, moved or deleted.

A recorder can replace a file at any moment, also one that was just judged. So a file is first renamed to a hidden name,
and then compared with what was judged: other content gets its name back. A name that a killed process left is restored
at the next listing.
"""

import errno
import hashlib
import logging
import os
import uuid
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path

from listener.capture.folder_files import TAKEN_PREFIX, Fingerprint, open_parent
from ml.system.atomic import make_folder, sync_folder

logger = logging.getLogger("signalml.listener")
NO_LINKS = {errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EACCES}
MOST_NAMES = 10_000
COPY_BYTES = 2**20


def delete_file(root: str, path: str, judged: Fingerprint) -> bool:
    """Delete a file if it is the one that was judged.

    Returns:
        Whether it was deleted.

    Raises:
        OSError: it cannot be deleted.
    """
    with open_parent(root, path) as (folder, name):
        taken = _take(folder, name, judged)
        if taken is None:
            return False
        os.unlink(taken, dir_fd=folder)
    return True


def move_file(root: str, path: str, judged: Fingerprint, target: Path) -> bool:
    """Move a file below another folder if it is the one that was judged. It replaces no file there.

    Args:
        root: the folder.
        path: the file, relative to it.
        judged: its state when it was judged.
        target: the other folder; the path below the root is kept.

    Returns:
        Whether it was moved.

    Raises:
        OSError: it cannot be moved; it has its name again.
    """
    goal = target / path
    make_folder(goal.parent)
    with open_parent(root, path) as (folder, name):
        taken = _take(folder, name, judged)
        if taken is None:
            return False
        try:
            _place(folder, taken, goal)
        except BaseException:  # also Ctrl-C: no recording stays without its name
            _give_back(folder, taken, name)
            raise
        os.unlink(taken, dir_fd=folder)
        sync_folder(goal.parent)
    return True


def restore(root: str, path: str) -> None:
    """Give a file its name back that a killed process renamed."""
    with suppress(OSError), open_parent(root, path) as (folder, name):
        _give_back(folder, name, name.removeprefix(TAKEN_PREFIX))


def _take(folder: int, name: str, judged: Fingerprint) -> str | None:
    """Rename a file to a hidden name; None if it is not the one that was judged, which keeps its name."""
    facts = os.stat(name, dir_fd=folder, follow_symlinks=False)
    if not Fingerprint.of(facts).has_content_of(judged):
        return None
    taken = TAKEN_PREFIX + name
    os.rename(name, taken, src_dir_fd=folder, dst_dir_fd=folder)
    # The name changes ctime. Another program can have replaced the file between the two calls.
    found = os.stat(taken, dir_fd=folder, follow_symlinks=False)
    if Fingerprint.of(found).has_content_of(judged) and found.st_ino == facts.st_ino:
        return taken
    _give_back(folder, taken, name)
    return None


def _give_back(folder: int, taken: str, name: str) -> None:
    """Rename a file back; if there is a new one of this name, under a free name beside it."""
    for free in _names(name):
        try:
            os.link(taken, free, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
        except FileExistsError:
            continue
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            if _exists(folder, free):
                continue
            os.rename(taken, free, src_dir_fd=folder, dst_dir_fd=folder)
            return
        os.unlink(taken, dir_fd=folder)
        return


def _place(folder: int, taken: str, goal: Path) -> None:
    """Link or copy a file to a free name. A file with the same content, of a move that did not end, is enough."""
    for name in _names(goal.name):
        free = goal.with_name(name)
        try:
            os.link(taken, free, src_dir_fd=folder, follow_symlinks=False)
            return
        except FileExistsError:
            if _same_content(folder, taken, free):
                return
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            if _copy(folder, taken, free):
                return
    raise OSError(errno.EEXIST, f"there are {MOST_NAMES} files of this name in the folder")


def _copy(folder: int, taken: str, goal: Path) -> bool:
    """Copy a file to a name that is free, whole or not at all; returns whether it is there."""
    if goal.exists():
        return _same_content(folder, taken, goal)
    facts = os.stat(taken, dir_fd=folder, follow_symlinks=False)
    temporary = goal.with_name(f".{goal.name}.{uuid.uuid4().hex}.part")
    try:
        with temporary.open("xb") as copy:
            for piece in _pieces(folder, taken):
                copy.write(piece)
            copy.flush()
            os.fsync(copy.fileno())
        os.utime(temporary, ns=(facts.st_atime_ns, facts.st_mtime_ns))
        try:
            os.close(os.open(goal, os.O_CREAT | os.O_EXCL | os.O_WRONLY))  # the name is ours now
        except FileExistsError:
            return False
        temporary.replace(goal)
    finally:
        temporary.unlink(missing_ok=True)
    return True


def _same_content(folder: int, taken: str, other: Path) -> bool:
    if other.is_symlink() or not other.is_file():
        return False
    if other.stat().st_size != os.stat(taken, dir_fd=folder, follow_symlinks=False).st_size:
        return False
    digest = hashlib.sha256()
    for piece in _pieces(folder, taken):
        digest.update(piece)
    with other.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest() == digest.digest()


def _pieces(folder: int, name: str) -> Iterator[bytes]:
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    with os.fdopen(descriptor, "rb") as file:
        while piece := file.read(COPY_BYTES):
            yield piece


def _names(name: str) -> Iterator[str]:
    """Yield a name, and then names with a number before the ending: ``a.wav``, ``a-1.wav``."""
    path = Path(name)
    yield name
    for number in count(1):
        if number > MOST_NAMES:
            return
        yield f"{path.stem}-{number}{path.suffix}"


def _exists(folder: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True
