"""Lock of a home: one listener at a time."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

from listener.options import ListenerOptions
from ml.errors import ListenerRunsAlready
from ml.system.atomic import make_folder

LOCK_FILE = ".listener.lock"


@contextmanager
def hold_listener_lock(options: ListenerOptions) -> Iterator[None]:
    """Hold the lock; the end of the process releases it in every case.

    Raises:
        ListenerRunsAlready: another listener runs in this home.
    """
    make_folder(options.folder)
    with (options.folder / LOCK_FILE).open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ListenerRunsAlready(
                "Another listener runs in this home, and  signalml listen --watch  shows it; stop it first, or choose "
                "another home with SIGNALML_HOME."
            ) from error
        yield
