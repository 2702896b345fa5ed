"""Folders of the versions: bundles that are added, replaced if they are damaged, and removed, each in one step.

::

    <models>/<version>/      bundle, never changed after it was added
    <models>/.incoming-*/    bundle that is being added; leftovers are deleted after a day
    <models>/.removed-*/     removed version; deleted at once, or before the next bundle is added

The writer must hold the registry's lock, except for :meth:`VersionFolders.incoming`.
"""

import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ml.errors import ModelError
from ml.models import bundle
from ml.models.names import VERSION_PATTERN
from ml.system.atomic import lock_folder, make_folder, sync_folder
from ml.system.names import child

INCOMING, REMOVED = ".incoming-", ".removed-"
INCOMING_KEPT_S = 24 * 3600


class VersionFolders:
    """Folders of the versions of one home.

    Args:
        models: the folder that contains them; created with the first write.
    """

    def __init__(self, models: Path) -> None:
        self._models = models

    def versions(self) -> list[str]:
        """Return all versions, the newest first."""
        if not self._models.is_dir():
            return []
        found = [path for path in self._models.iterdir() if path.is_dir() and VERSION_PATTERN.fullmatch(path.name)]
        return [
            path.name for path in sorted(found, key=lambda path: (path.stat().st_mtime_ns, path.name), reverse=True)
        ]

    def has(self, version: str) -> bool:
        """Return whether there is a version of exactly this name."""
        return VERSION_PATTERN.fullmatch(version) is not None and (self._models / version).is_dir()

    @contextmanager
    def incoming(self) -> Iterator[Path]:
        """Provide an empty folder for a bundle; it is deleted afterwards unless :meth:`place` has moved it."""
        make_folder(self._models)
        self.delete_leftovers()
        folder = self._hidden(INCOMING)
        folder.mkdir()
        with lock_folder(folder):
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    def place(self, folder: Path, version: str) -> bool:
        """Make a verified folder the folder of a version; return whether it was needed.

        An intact folder of this version stays, a damaged one is replaced.
        """
        target = child(self._models, version)
        if _is_intact(target):
            return False
        replaced = self._hidden(INCOMING)
        if target.exists():
            target.rename(replaced)
        try:
            folder.rename(target)
        except BaseException:  # also Ctrl-C: the folder that was here stays
            if replaced.exists():
                replaced.rename(target)
            raise
        sync_folder(self._models)
        shutil.rmtree(replaced, ignore_errors=True)
        return True

    def hide(self, version: str) -> None:
        """Remove a version in one step; :meth:`delete_leftovers` frees its space."""
        child(self._models, version).rename(self._hidden(REMOVED))

    def delete_leftovers(self) -> None:
        """Delete old folders that no process holds. Age alone is no reason: the clock can be set forward."""
        for left in self._models.glob(f"{REMOVED}*"):
            shutil.rmtree(left, ignore_errors=True)
        for left in self._models.glob(f"{INCOMING}*"):
            # Another process may delete it at the same time, or still write into it.
            with suppress(FileNotFoundError, BlockingIOError):
                if time.time() - left.stat().st_mtime > INCOMING_KEPT_S:
                    with lock_folder(left):
                        shutil.rmtree(left, ignore_errors=True)

    def _hidden(self, prefix: str) -> Path:
        return self._models / f"{prefix}{uuid.uuid4().hex}"


def _is_intact(folder: Path) -> bool:
    try:
        bundle.verify(folder)
    except ModelError:
        return False
    return True
