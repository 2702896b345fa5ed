"""Changes in a folder: reported by the system, or looked for again and again where it reports none."""

import logging
import os
import threading
from collections.abc import Iterator

from listener.capture.mounts import has_network_mount, read_mounts
from ml.errors import MissingExtra

logger = logging.getLogger("signalml.listener")
TICK_S = 0.25
DEBOUNCE_MS, STEP_MS = 400, 50
MOST_WATCHED = 5000  # folders; the system has a limit for all programs together


def needs_polling(folder: str, wanted: bool | None) -> bool:
    """Return whether a folder must be listed again and again.

    Args:
        folder: absolute path without links.
        wanted: choice of the user; None by the file system.

    Raises:
        MissingExtra: the user wants no polling, and watchfiles is not installed.
    """
    if wanted is not None:
        if not wanted:
            _import_watchfiles()
        return wanted
    if has_network_mount(folder, read_mounts()):
        return True
    try:
        _import_watchfiles()
    except MissingExtra as error:
        logger.warning("a folder is listed again and again instead of watched: %s", error)
        return True
    return False


def changed_paths(folders: list[str], polling: bool, stopping: threading.Event) -> Iterator[set[str]]:
    """Yield the paths that changed, several times a second; an empty set without changes. Ends when it is stopped.

    Each folder is watched by itself: a watch of a whole tree would follow links out of it.

    Args:
        folders: absolute paths of the folders to watch.
        polling: whether to report no changes, only the time to list the folder.
        stopping: ends it.
    """
    if not polling and len(folders) <= MOST_WATCHED:
        try:
            yield from _watched_paths(folders, stopping)
            return
        except OSError as error:  # such as the system's limit of watches
            logger.warning("a folder is listed again and again instead of watched: %s", error.strerror or error)
    while not stopping.wait(TICK_S):
        yield set()


def _watched_paths(folders: list[str], stopping: threading.Event) -> Iterator[set[str]]:
    from watchfiles import watch

    logging.getLogger("watchfiles.main").setLevel(logging.WARNING)  # else it logs each change of a folder
    changes = watch(
        *(folder for folder in folders if os.path.isdir(folder)),  # noqa: PTH112 - a text
        watch_filter=None,
        debounce=DEBOUNCE_MS,
        step=STEP_MS,
        stop_event=stopping,
        rust_timeout=int(TICK_S * 1000),
        yield_on_timeout=True,
        raise_interrupt=False,
        force_polling=False,
        recursive=False,
        ignore_permission_denied=True,
    )
    for found in changes:
        yield {path for _, path in found}


def _import_watchfiles() -> None:
    try:
        import watchfiles  # noqa: F401 - only whether it is there
    except ImportError as error:
        raise MissingExtra("watching of a folder", "live") from error
