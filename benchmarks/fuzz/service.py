"""A real server for the targets that are routes, and the rules that every answer keeps."""

import io
import json
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import soundfile

from benchmarks.fuzz.running import Fault
from benchmarks.jobs.homes import add_model
from testing.jobs import Broker
from testing.servers import Answer, ServerProcess, read_answer, request

MEMORY_BYTES = 150_000_000
ANSWER_S = 20.0
# Time in which the answer to raw bytes is expected, if there is one.
GLANCE_S = 0.2
READ_WHOLE_BYTES = 60_000
DATASET = "hall-3"
# 5xx that a route may answer: a model, a queue or a place is missing, or the disk is full.
REFUSED_LATER = (503, 507)


def recording(seconds: float = 0.5) -> bytes:
    """Return a short WAV recording of noise."""
    samples = np.random.default_rng(0).normal(0, 0.1, round(16_000 * seconds))
    file = io.BytesIO()
    soundfile.write(file, samples, 16_000, "PCM_16", format="WAV")
    return file.getvalue()


class Service:
    """A server with a model, a dataset of one recording, and a queue that nobody works on."""

    memory_bytes = MEMORY_BYTES

    def __init__(self, server: ServerProcess) -> None:
        self.server = server
        self._process = psutil.Process(server.pid)
        self.schema: dict[str, Any] = server.client.get("/openapi.json").json()
        sent = server.client.post(f"/v1/datasets/{DATASET}/recordings", files={"file": ("a.wav", recording())})
        assert sent.status_code < 300, sent.text
        self.recording: str = server.client.get(f"/v1/datasets/{DATASET}/recordings").json()["recordings"][0]["id"]
        self.version: str = server.client.get("/v1/models/champion").json()["version"]

    def memory(self) -> int:
        """Return the resident memory of the server."""
        return int(self._process.memory_info().rss)

    def send(self, data: bytes, *, may_be_cut: bool = False) -> str:
        """Send the bytes of a request on a connection of its own, and check the answer.

        Args:
            data: the bytes.
            may_be_cut: whether the bytes need not be a complete request: the server may wait for more of it, or close
                the connection without an answer.

        Returns:
            The status, and the code of a problem.

        Raises:
            Fault: the server ended, hung, answered 5xx or not at all, or refused without a problem.
        """
        try:
            answer = self._exchange(data, GLANCE_S if may_be_cut else ANSWER_S)
        except (TimeoutError, ConnectionError) as error:
            if not psutil.pid_exists(self.server.pid) or self._process.status() == psutil.STATUS_ZOMBIE:
                raise Fault(f"the server ended: {self.server.log()[-500:]}") from error
            # A server that closes while bytes still arrive resets the connection, and the answer can be lost.
            if may_be_cut or len(data) > READ_WHOLE_BYTES:
                self._require_life()
                return "closed"
            raise Fault(f"no answer: {type(error).__name__}") from error
        if answer.status >= 500 and answer.status not in REFUSED_LATER:
            raise Fault(f"{answer.status}: {_last_error(self.server)}")
        if answer.status >= 400 and answer.headers.get("content-type") != "application/problem+json":
            raise Fault(f"{answer.status} of type {answer.headers.get('content-type')}")
        return (
            f"{answer.status} {answer.json()['code']}"
            # What follows the answer to a HEAD request is the next answer.
            if answer.status >= 400 and answer.content and not data.startswith(b"HEAD")
            else str(answer.status)
        )

    def _exchange(self, data: bytes, seconds: float) -> Answer:
        with socket.create_connection(("127.0.0.1", self.server.port), timeout=ANSWER_S) as connection:
            with suppress(BrokenPipeError, ConnectionResetError):  # refused before its end; the answer may be there
                connection.sendall(data)
            connection.settimeout(seconds)
            return read_answer(connection)

    def _require_life(self) -> None:
        try:
            self._exchange(packed("GET", "/livez"), ANSWER_S)
        except (TimeoutError, ConnectionError) as error:
            raise Fault(f"the server answers nothing any more: {type(error).__name__}") from error


def _last_error(server: ServerProcess) -> str:
    errors = [line.get("exception", "") for line in server.lines() if line.get("exception")]
    return errors[-1].strip().splitlines()[-1] if errors else "no exception in the log"


@contextmanager
def run_service(folder: Path) -> Iterator[Service]:
    """Start a server with all that it needs in an empty folder."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    home = add_model(folder / "home")
    broker = Broker(folder / "broker").start()
    server = ServerProcess(home, folder / "server", redis_url=broker.url, log_level="error").start()
    try:
        yield Service(server)
    finally:
        server.kill()
        broker.kill()


def packed(method: str, path: str, headers: Sequence[tuple[str, str]] = (), body: bytes | None = None) -> bytes:
    """Return the bytes of a request whose connection is closed after its answer."""
    return request(method, path, [*headers, ("connection", "close")], body)


def operations(schema: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    """Return method, path and description of every operation, without event streams, which need not end."""
    return [
        (method.upper(), path, operation)
        for path, methods in schema["paths"].items()
        for method, operation in methods.items()
        if not path.endswith("/events")
    ]


def resolve(schema: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    """Return a part of the schema, following its reference."""
    while "$ref" in part:
        part = schema["components"]["schemas"][part["$ref"].rpartition("/")[2]]
    return part


def dump(value: Any) -> str:
    """Return compact JSON, for messages."""
    return json.dumps(value, separators=(",", ":"))
