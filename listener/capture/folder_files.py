"""Files of a folder into which other programs write: which ones count, and how they are read without following links.

Paths are relative to the folder. Each folder on the way to a file is opened from the one before and must not be a link,
so nothing outside the folder is read, moved or deleted, also if a program replaces a folder by a link meanwhile.
"""

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

# Programs write under such a name and rename the file at the end.
TEMPORARY_ENDINGS = (".part", ".partial", ".filepart", ".crdownload", ".tmp", ".temp", ".swp", ".lock", "~")
TAKEN_PREFIX = ".signalml-taken."
READ_BYTES = 2**20
BEAT_EVERY = 500  # entries of a folder


class Fingerprint(NamedTuple):
    """Facts that change if a file changes.

    Attributes:
        size: bytes.
        mtime_ns: time of the last change of its content, in nanoseconds since 1970.
        ctime_ns: time of the last change of its content, its name or its permissions, in nanoseconds since 1970.
    """

    size: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, facts: os.stat_result) -> "Fingerprint":
        """Take it from the facts of the system."""
        return cls(facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)

    def has_content_of(self, other: "Fingerprint") -> bool:
        """Return whether the content is the same, as far as the system knows; the name can differ."""
        return self[:2] == other[:2]


class FoundFile(NamedTuple):
    """File of a folder.

    Attributes:
        path: relative to the folder.
        fingerprint: its state.
    """

    path: str
    fingerprint: Fingerprint


class Listing(NamedTuple):
    """What is in a folder besides its files.

    Attributes:
        folders: device and inode of each folder, by its path relative to the first one.
        taken: files that were renamed for a move or a deletion that did not end.
        links: number of links; they are not followed.
        unreadable: folders that cannot be read, with the reason.
    """

    folders: dict[str, tuple[int, int]]
    taken: list[str]
    links: list[str]
    unreadable: dict[str, str]


def new_listing() -> Listing:
    """Return an empty listing."""
    return Listing({}, [], [], {})


def is_temporary(name: str) -> bool:
    """Return whether a file or folder is hidden or not finished, by its name.

    Example:
        >>> [is_temporary(name) for name in ("a.wav", ".a.wav", "a.wav.PART", "a.tmp")]
        [False, True, True, True]
    """
    return name.startswith(".") or name.lower().endswith(TEMPORARY_ENDINGS)


def list_files(
    root: str, listing: Listing, excluded: str | None, beat: Callable[[], None], below: str = ""
) -> Iterator[FoundFile]:
    """Yield the files of a folder and of the folders in it, without hidden, temporary and special ones and links.

    Args:
        root: the folder.
        listing: filled with the folders and the rest.
        excluded: path of a folder that is left out, relative to the root; None for none.
        beat: called now and then, to show progress; it can raise an error to end the work.
        below: path of the folder to begin with, relative to the root.

    Raises:
        OSError: the first folder cannot be read.
    """
    open_folders = [below]
    count = 0
    while open_folders:
        folder = open_folders.pop()
        try:
            entries = os.scandir(os.path.join(root, folder))  # noqa: PTH118 - of texts, for 100 000 files
            facts = os.stat(os.path.join(root, folder))  # noqa: PTH116, PTH118 - as above
        except OSError as error:
            if folder == below:
                raise
            listing.unreadable[folder] = error.strerror or str(error)
            continue
        listing.folders[folder] = (facts.st_dev, facts.st_ino)
        with entries:
            for entry in entries:
                if count % BEAT_EVERY == 0:
                    beat()
                count += 1
                path = f"{folder}/{entry.name}" if folder else entry.name
                if found := _examine(entry, path, listing, excluded, open_folders):
                    yield found


def _examine(
    entry: "os.DirEntry[str]", path: str, listing: Listing, excluded: str | None, open_folders: list[str]
) -> FoundFile | None:
    try:
        if entry.name.startswith(TAKEN_PREFIX):
            listing.taken.append(path)
        elif is_temporary(entry.name):
            pass
        elif entry.is_symlink():
            listing.links.append(path)
        elif entry.is_dir(follow_symlinks=False):
            if path != excluded:
                open_folders.append(path)
        elif entry.is_file(follow_symlinks=False):
            return FoundFile(path, Fingerprint.of(entry.stat(follow_symlinks=False)))
    except OSError:  # it was deleted meanwhile
        pass
    return None


@contextmanager
def open_parent(root: str, path: str) -> Iterator[tuple[int, str]]:
    """Open the folder of a file without following links.

    Yields:
        Its descriptor, and the name of the file in it.

    Raises:
        OSError: a folder is absent or a link.
    """
    *folders, name = path.split("/")
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for folder in folders:
            inner = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = inner
        yield descriptor, name
    finally:
        os.close(descriptor)


def fingerprint_of(root: str, path: str) -> Fingerprint | None:
    """Return the state of a file; None if it is gone, or is no regular file.

    Raises:
        OSError: the folder cannot be read.
    """
    try:
        with open_parent(root, path) as (folder, name):
            facts = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return Fingerprint.of(facts) if stat.S_ISREG(facts.st_mode) else None


def read_file(root: str, path: str, beat: Callable[[], None]) -> tuple[bytes, Fingerprint]:
    """Read a file.

    Args:
        root: the folder.
        path: the file, relative to it.
        beat: called after each piece.

    Returns:
        Its content, and its state after the last byte was read.

    Raises:
        OSError: it cannot be read, or is no regular file.
    """
    with open_parent(root, path) as (folder, name):
        # Without waiting: a named pipe can have taken the place of the file.
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode):
            raise OSError(None, "it is no regular file")
        content = bytearray()
        while len(content) <= facts.st_size and (piece := file.read(READ_BYTES)):
            content += piece
            beat()
        return bytes(content), Fingerprint.of(os.fstat(descriptor))
