"""Real servers, each in its own process, started and stopped as a user does it."""

import http.client
import io
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, Self

import httpx
import psutil

ROOT = Path(__file__).parents[1]
# Longest wait before something counts as hanging. Not a promise of the product: a busy machine must not fail a test.
PATIENCE_S = 240.0
# Number of computing threads, set for the test process only: other processes have the default.
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
PROBLEM_KEYS = {"type", "title", "status", "detail", "code", "request_id"}


def environment(**settings: object) -> dict[str, str]:
    """Return this environment with ``settings`` as its only SIGNALML_ settings: ``port=1`` is SIGNALML_PORT."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SIGNALML_", *THREADS))}
    given = {f"SIGNALML_{name.upper()}": str(value) for name, value in settings.items()}
    return kept | {"PYTHONPATH": str(ROOT), "SIGNALML_PROCESSES": "1"} | given


def wait_until(holds: Callable[[], Any], within_s: float = PATIENCE_S, every_s: float = 0.02) -> Any:
    """Call ``holds`` until it returns a true value, within ``within_s``; returns this value."""
    deadline = time.monotonic() + within_s
    while not (found := holds()):
        assert time.monotonic() < deadline, f"not within {within_s} s"
        time.sleep(every_s)
    return found


class Answer(NamedTuple):
    """An answer read from a raw socket."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    def json(self) -> Any:
        """The body."""
        return json.loads(self.content)


class MemoryGrowth:
    """Largest memory growth of some processes together, while they are watched."""

    def __init__(self, processes: Sequence[psutil.Process]) -> None:
        self._processes = processes
        self._before = self._most = self._now()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    @property
    def growth(self) -> int:
        """Largest growth, in bytes."""
        return max(self._most, self._now()) - self._before

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _now(self) -> int:
        return sum(process.memory_info().rss for process in self._processes)

    def _watch(self) -> None:
        while not self._done.wait(0.005):
            self._most = max(self._most, self._now())


class ServerProcess:
    """One running ``signalml serve``.

    Args:
        home: its SIGNALML_HOME.
        folder: its working folder, with its temporary files and its log.
        settings: ``body_timeout_s=2`` is SIGNALML_BODY_TIMEOUT_S.
    """

    # Arguments of Python. A subclass can change a constant first.
    launched: Sequence[str] = ("-m", "cli.main")

    def __init__(self, home: Path, folder: Path, **settings: object) -> None:
        self.home = home
        self.folder = folder
        self._settings = {"inference_threads": 2} | settings
        self._log = folder / "server.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    def launch(self) -> Self:
        """Start the server on a free port, without waiting."""
        self.port = free_port()
        self.folder.mkdir(parents=True, exist_ok=True)
        settings = environment(home=self.home, port=self.port, **self._settings) | {"TMPDIR": str(self.folder)}
        with self._log.open("wb") as log:
            command = [sys.executable, *self.launched, "serve"]
            self._process = subprocess.Popen(command, cwd=self.folder, env=settings, stdout=log, stderr=log)
        self.client = httpx.Client(base_url=self.base_url, trust_env=False, timeout=PATIENCE_S)
        return self

    def start(self, wait_for: str = "/readyz") -> Self:
        """Start the server, and wait until ``wait_for`` is answered with 200."""
        self.launch()
        deadline = time.monotonic() + PATIENCE_S
        while not self._answers(wait_for):
            assert self._process is not None
            assert self._process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.05)
        return self

    @property
    def base_url(self) -> str:
        """Base URL of the server."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Process id of the server; with several API processes, of their parent."""
        assert self._process is not None
        return self._process.pid

    def log(self) -> str:
        """Return stdout and stderr so far."""
        return self._log.read_text()

    def lines(self) -> list[dict[str, Any]]:
        """Return the log lines that are JSON."""
        return [json.loads(line) for line in self.log().splitlines() if line.startswith("{")]

    def processes(self) -> list[psutil.Process]:
        """Return the started process and its children."""
        parent = psutil.Process(self.pid)
        return [parent, *parent.children(recursive=True)]

    def worked_s(self) -> float:
        """Return the CPU time of its processes so far, in seconds."""
        times = [process.cpu_times() for process in self.processes()]
        return sum(each.user + each.system for each in times)

    def watched(self) -> MemoryGrowth:
        """Return a watch of its memory."""
        return MemoryGrowth(self.processes())

    def stop(self, bugs_expected: bool = False) -> None:
        """Stop the server with SIGTERM: the exit status must be 0, and the log must have no traceback."""
        if self._process is None:
            return
        status = self.kill(signal.SIGTERM)
        assert status == 0, f"exit status {status}, after: {self.log()[-1000:]}"
        assert bugs_expected or "Traceback" not in self.log(), self.log().partition("Traceback")[2][:3000]

    def kill(self, number: signal.Signals = signal.SIGKILL) -> int:
        """Send a signal, and wait for the end; returns the exit status."""
        assert self._process is not None
        self.client.close()
        process, self._process = self._process, None
        process.send_signal(number)
        try:
            return process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise

    def afresh(self, method: str, path: str, **request: Any) -> httpx.Response:
        """Return the answer to a request over a new connection, which any of several processes can take."""
        return httpx.request(method, f"{self.base_url}{path}", trust_env=False, timeout=PATIENCE_S, **request)

    def connect(self) -> socket.socket:
        """Return a raw connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_S)

    def exchange(self, *pieces: bytes) -> Answer:
        """Send bytes over a new connection, and read the first answer."""
        with self.connect() as connection:
            for piece in pieces:
                connection.sendall(piece)
            return read_answer(connection)

    def _answers(self, path: str) -> bool:
        try:
            return self.client.get(path).status_code == 200
        except httpx.TransportError:
            return False


Serve = Callable[..., ServerProcess]
PORTS = 20_000, 32_000


def free_port() -> int:
    """Return a free port below those that the system gives to outgoing connections, which could take it meanwhile."""
    while True:
        port = random.SystemRandom().randint(*PORTS)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def read_answer(connection: socket.socket) -> Answer:
    """Read one answer from a raw connection, and no byte after it."""
    head = bytearray()
    while not head.endswith(b"\r\n\r\n"):
        head += _received(connection, 1)
    status, _, fields = head.partition(b"\r\n")
    headers = {name.lower(): value for name, value in http.client.parse_headers(io.BytesIO(fields)).items()}
    if status.startswith(b"HTTP/1.1 100 "):
        return read_answer(connection)
    content, length = bytearray(), int(headers.get("content-length", 0))  # 204 states no length
    while len(content) < length:
        content += _received(connection, length - len(content))
    return Answer(int(status.split()[1]), headers, bytes(content))


def _received(connection: socket.socket, most: int) -> bytes:
    received = connection.recv(most)
    if not received:
        raise ConnectionResetError("The connection ended before an answer was complete.")
    return received


def assert_problem(answer: httpx.Response | Answer, status: int, code: str) -> dict[str, Any]:
    """Assert that an answer is a problem with this status and code; returns its body."""
    found = answer.status_code if isinstance(answer, httpx.Response) else answer.status
    assert found == status, answer.content
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert set(body) == PROBLEM_KEYS
    assert (body["status"], body["code"], body["type"]) == (status, code, f"urn:signalml:problem:{code}")
    assert body["title"]
    assert body["detail"]
    assert body["request_id"] == answer.headers["x-request-id"]
    return body


def multipart(*parts: tuple[str, str | None, bytes], boundary: bytes = b"BoUnDaRy") -> bytes:
    """Return a multipart form of (part name, file name or None, content)."""
    form = b""
    for name, file_name, content in parts:
        form += b"--" + boundary + b'\r\ncontent-disposition: form-data; name="' + name.encode() + b'"'
        if file_name is not None:
            form += b'; filename="' + file_name.encode() + b'"\r\ncontent-type: application/octet-stream'
        form += b"\r\n\r\n" + content + b"\r\n"
    return form + b"--" + boundary + b"--\r\n"


def request(method: str, path: str, headers: Sequence[tuple[str, str]] = (), body: bytes | None = None) -> bytes:
    """Return the bytes of a request; Content-Length is added for a body unless ``headers`` has it."""
    lines = [f"{method} {path} HTTP/1.1", "host: localhost", *(f"{name}: {value}" for name, value in headers)]
    if body is not None and not any(name.lower() in ("content-length", "transfer-encoding") for name, _ in headers):
        lines.append(f"content-length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + (body or b"")


MULTIPART_TYPE = ("content-type", "multipart/form-data; boundary=BoUnDaRy")


@contextmanager
def run_servers(root: Path) -> Iterator[Serve]:
    """Yield a function that starts servers; at the end each is stopped, see :meth:`ServerProcess.stop`."""
    servers: list[ServerProcess] = []

    def serve(
        home: Path, wait_for: str = "/readyz", kind: type[ServerProcess] = ServerProcess, **settings: object
    ) -> ServerProcess:
        server = kind(home, root / f"server-{len(servers)}", **settings)
        servers.append(server)
        return server.start(wait_for)

    try:
        yield serve
    finally:
        failures = []
        for server in servers:
            try:
                server.stop()
            except (AssertionError, subprocess.TimeoutExpired) as failure:
                failures.append(failure)
        if failures:
            raise failures[0]
