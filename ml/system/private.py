"""Private home: only the user of the service can read its recordings, keys, jobs and records."""

import logging
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from ml.system.audit import FILE as AUDIT_FILE

logger = logging.getLogger("signalml.home")
FOLDER_MODE, OTHERS = 0o700, 0o077
# Entries of a home. A home with other entries too is also used for something else, so its own mode stays.
ENTRIES = frozenset(
    {"api-keys.json", "broker", "datasets", "features", "jobs", "listener", "machines", "models"}
    | {"sessions.json", "signing-keys", "training", "trusted-keys", "lost+found"}
)


def create_private(home: Path) -> None:
    """Make the home, if there is none, so that only its user can read it."""
    if not home.is_dir():
        home.parent.mkdir(parents=True, exist_ok=True)
        home.mkdir(mode=FOLDER_MODE, exist_ok=True)


def make_private(home: Path) -> int:
    """Take the rights of other users on a home away; new files of this process are private too.

    Two levels are changed; what is below them cannot be reached by others any more. Links are not followed.

    Args:
        home: SIGNALML_HOME; it is made if it does not exist.

    Returns:
        Number of files and folders that were changed.
    """
    os.umask(OTHERS)
    create_private(home)
    changed = 0
    try:
        changed = sum(map(_take_rights, _private_paths(home)))
    except OSError as error:  # the home belongs to another user, or cannot be written
        logger.warning("other users may read %s: its permissions cannot be changed (%s)", home, error)
    if changed:
        logger.warning(
            "the permissions of %d files and folders in %s were reduced to its user; SIGNALML_SHARED_HOME=true keeps "
            "them",
            changed,
            home,
        )
    return changed


def _private_paths(home: Path) -> Iterator[Path]:
    entries = [path for path in home.iterdir() if _is_of_the_service(path.name) or path.name.startswith(".")]
    if all(path in entries for path in home.iterdir()):
        yield home
    for entry in entries:
        if _is_of_the_service(entry.name):
            yield entry
            if entry.is_dir() and not entry.is_symlink():
                yield from entry.iterdir()


def _is_of_the_service(name: str) -> bool:
    return name in ENTRIES or name.startswith(AUDIT_FILE)


def _take_rights(path: Path) -> bool:
    """Take the rights of other users on a file or folder away; return whether it had any."""
    try:
        mode = stat.S_IMODE(path.lstat().st_mode)
        if path.is_symlink() or not mode & OTHERS:
            return False
        path.chmod(mode & ~OTHERS)
    except FileNotFoundError:  # deleted by another process meanwhile
        return False
    return True
