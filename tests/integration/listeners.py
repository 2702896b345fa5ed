"""Listeners in processes of their own, a writer of sound into a named pipe, and a receiver of webhooks."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from listener.config.files import source_file
from listener.live.client import ListenerClient
from listener.status import ListenerStatus, SourceStatus
from ml.errors import ListenerNotRunning
from testing.servers import PATIENCE_S, environment, wait_until
from tests.unit.listening import RATE_HZ

PROGRAM = """
import json, sys
from dataclasses import replace
from pathlib import Path
from listener.main import Listener
from listener.options import ListenerOptions
from ml.system.logs import configure_logging

configure_logging("info")
Listener(ListenerOptions(Path(sys.argv[1]), **json.loads(sys.argv[2]))).run()
"""
BLOCK_S = 0.1


class ListenerProcess:
    """One running listener.

    Args:
        home: its SIGNALML_HOME.
        options: values of :class:`ListenerOptions`.
    """

    def __init__(self, home: Path, **options: Any) -> None:
        self.home = home
        self.client = ListenerClient(home)
        self._options = json.dumps({"poll_interval_s": 0.1, **options})
        self._log = home / f"listener-{len(list(home.glob('listener-*.log')))}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def launch(self) -> None:
        """Start the process, without waiting."""
        command = [sys.executable, "-c", PROGRAM, str(self.home), self._options]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, env=environment(), stdout=log, stderr=log)

    def start(self) -> None:
        """Start the process, and wait until it answers."""
        self.launch()
        wait_until(self.answers, every_s=0.05)
        entries = source_file(self.home).read().entries
        wait_until(lambda: len(self.status().sources) == len(entries))

    def wait_for_model(self) -> None:
        """Wait until it has loaded a model: sound that arrives before is not judged."""
        wait_until(lambda: "serving" in self.log(), within_s=60)

    def answers(self) -> bool:
        """Return whether it answers; it must not have ended."""
        assert self._process is not None
        assert self._process.poll() is None, self.log()
        with suppress(ListenerNotRunning):
            return self.client.status().pid == self._process.pid
        return False

    @property
    def process(self) -> psutil.Process:
        """The process."""
        assert self._process is not None
        return psutil.Process(self._process.pid)

    def status(self) -> ListenerStatus:
        """State of the listener."""
        return self.client.status()

    def source(self, name: str = "hall") -> SourceStatus:
        """State of one of its sources."""
        return next(each for each in self.status().sources if each.name == name)

    def kill(self) -> None:
        """End it as a power cut would."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(PATIENCE_S)

    def stop(self) -> None:
        """Stop it with SIGTERM: it must end with 0, without processes left."""
        assert self._process is not None
        if self._process.poll() is not None:
            return
        children = self.process.children(recursive=True)
        self._process.send_signal(signal.SIGTERM)
        assert self._process.wait(PATIENCE_S) == 0, self.log()
        assert not psutil.wait_procs(children, timeout=5)[1]

    def log(self) -> str:
        """Return its log lines."""
        return self._log.read_text()


@contextmanager
def running(home: Path, **options: Any) -> Iterator[ListenerProcess]:
    """A listener that runs, and is stopped at the end."""
    listener = ListenerProcess(home, **options)
    listener.start()
    try:
        yield listener
        listener.stop()
    finally:
        with suppress(psutil.NoSuchProcess):
            listener.kill()


class PipeWriter:
    """Writer of 16-bit samples into a named pipe, faster than real time.

    Args:
        path: the named pipe; it is made.
        speed: multiple of real time.
    """

    def __init__(self, path: Path, speed: float) -> None:
        os.mkfifo(path)
        self._path, self._speed = path, speed
        self._file = -1

    def open(self) -> None:
        """Wait for a reader."""
        self._file = os.open(self._path, os.O_RDWR)  # also without a reader: its end does not end the writer

    def play(self, samples: NDArray[np.float32], speed: float | None = None) -> None:
        """Write samples, and return when they are written; at the usual speed, or at another one."""
        coded = np.round(samples * 32_768).clip(-32_768, 32_767).astype("<i2")
        step, due = round(BLOCK_S * RATE_HZ), time.monotonic()
        for start in range(0, len(coded), step):
            os.write(self._file, coded[start : start + step].tobytes())
            due += BLOCK_S / (speed or self._speed)
            time.sleep(max(0.0, due - time.monotonic()))

    def close(self) -> None:
        """Close the pipe."""
        os.close(self._file)


class Receiver:
    """Receiver of webhooks, which remembers what it got."""

    def __init__(self) -> None:
        self.got: list[dict[str, Any]] = []
        self.ids: list[str] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                content = self.rfile.read(int(self.headers["content-length"]))
                receiver.got.append(json.loads(content))
                receiver.ids.append(self.headers["webhook-id"])
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/"

    def close(self) -> None:
        """Stop it."""
        self._server.shutdown()
        self._server.server_close()
