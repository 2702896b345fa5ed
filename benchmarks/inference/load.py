"""An HTTP load client that costs little beside what it measures: a process of its own, and requests built once.

Each client is a thread with one connection, kept alive where the server keeps it, that sends the recordings in turn and
waits for each answer. ``python -m benchmarks.inference.load --port 5000 --clients 16`` prints what it measured as JSON.

It acknowledges what it receives at once (``TCP_QUICKACK``): a server that sends headers and body apart would otherwise
be charged 40 ms for the client's delayed acknowledgement.
"""

import argparse
import json
import resource
import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from benchmarks.inference.samples import BenchmarkRecording, default_data, read_recordings

HOST = "127.0.0.1"
BOUNDARY = "----signalml-benchmark"
TIMEOUT_S = 60.0
QUICK_ACK = getattr(socket, "TCP_QUICKACK", None)
ROUTES = {"/inference": "multipart/form-data", "/v1/predict": "audio/wav"}


@dataclass(frozen=True, slots=True)
class Request:
    """All bytes of one request, and the message that is its right answer."""

    wire: bytes
    message: str


@dataclass(frozen=True, slots=True)
class Measurement:
    """What a run measured, in its steady part: after a lead-in, before the clients stop.

    ``wrong`` counts answers with another status than 200 or another message, and broken connections, over the whole
    run. ``client_cpu_share`` is what this process took of one core.
    """

    clients: int
    seconds: float
    latencies_ms: list[float]
    wrong: int
    first_problem: str | None
    client_cpu_share: float

    @property
    def throughput_per_s(self) -> float:
        """Right answers per second."""
        return len(self.latencies_ms) / self.seconds


@dataclass(slots=True)
class _Log:
    """What one client saw: when each right answer began and ended."""

    answers: list[tuple[float, float]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def build_request(route: str, sample: BenchmarkRecording) -> Request:
    """One upload, as the kind of body that ``route`` is measured with."""
    content_type, body = ROUTES[route], sample.content
    if content_type == "multipart/form-data":
        content_type = f"{content_type}; boundary={BOUNDARY}"
        body = _multipart(sample)
    head = (
        f"POST {route} HTTP/1.1\r\nHost: {HOST}\r\nAccept: */*\r\n"
        f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return Request(head.encode() + body, sample.message)


def _multipart(sample: BenchmarkRecording) -> bytes:
    part = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{sample.name}"\r\n'
        "Content-Type: audio/wav\r\n\r\n"
    )
    return part.encode() + sample.content + f"\r\n--{BOUNDARY}--\r\n".encode()


def message(route: str, body: bytes) -> str:
    """The label of an answer."""
    answer: dict[str, Any] = json.loads(body)
    return str(answer["Details"]["Message"] if route == "/inference" else answer["message"])


class HttpConnection:
    """Just enough HTTP/1.1 for answers with a Content-Length; connects anew where the server has hung up."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._socket: socket.socket | None = None

    def exchange(self, wire: bytes) -> tuple[int, bytes]:
        """Send a request and read its answer: status and body.

        Raises:
            OSError: the connection broke.
        """
        try:
            connection = self._connect()
            connection.sendall(wire)
            head, body = self._head(connection)
            status, length, closes = _parse(head)
            while len(body) < length:
                body += self._receive(connection)
        except OSError:
            self.close()
            raise
        if closes:
            self.close()
        return status, body

    def close(self) -> None:
        """Hang up."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _connect(self) -> socket.socket:
        if self._socket is None:
            self._socket = socket.create_connection((HOST, self._port), timeout=TIMEOUT_S)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._socket

    def _head(self, connection: socket.socket) -> tuple[bytes, bytes]:
        received = b""
        while b"\r\n\r\n" not in received:
            received += self._receive(connection)
        head, _, body = received.partition(b"\r\n\r\n")
        return head, body

    @staticmethod
    def _receive(connection: socket.socket) -> bytes:
        if QUICK_ACK is not None:
            connection.setsockopt(socket.IPPROTO_TCP, QUICK_ACK, 1)
        received = connection.recv(65_536)
        if not received:
            raise ConnectionResetError("the server hung up")
        return received


def _parse(head: bytes) -> tuple[int, int, bool]:
    """Status, length of the body, and whether the server hangs up after it."""
    first, *lines = head.decode("latin-1").split("\r\n")
    version, status = first.split()[:2]
    headers = {name.lower(): value.strip().lower() for name, _, value in (line.partition(":") for line in lines)}
    closes = version == "HTTP/1.0" or headers.get("connection") == "close"
    return int(status), int(headers.get("content-length", 0)), closes


def get(port: int, path: str) -> int:
    """The status that a GET is answered with.

    Raises:
        OSError: nobody listens yet, or the connection broke.
    """
    with _connection(port) as connection:
        wire = f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n"
        return connection.exchange(wire.encode())[0]


def post(port: int, route: str, sample: BenchmarkRecording) -> dict[str, Any]:
    """The answer to one recording.

    Raises:
        OSError: the connection broke.
        RuntimeError: another status than 200.
    """
    with _connection(port) as connection:
        status, body = connection.exchange(build_request(route, sample).wire)
    if status != 200:
        raise RuntimeError(f"{route} answered {status}: {body[:300]!r}")
    answer: dict[str, Any] = json.loads(body)
    return answer


@contextmanager
def _connection(port: int) -> Iterator[HttpConnection]:
    connection = HttpConnection(port)
    try:
        yield connection
    finally:
        connection.close()


def run(
    port: int, route: str, samples: Sequence[BenchmarkRecording], clients: int, lead_s: float, seconds: float
) -> Measurement:
    """Let ``clients`` send for ``lead_s`` and then, measured, for ``seconds``."""
    requests = [build_request(route, sample) for sample in samples]
    logs = [_Log() for _ in range(clients)]
    begin = time.perf_counter() + lead_s
    end = begin + seconds
    threads = [
        threading.Thread(target=_client, args=(number, port, route, requests, end, log))
        for number, log in enumerate(logs)
    ]
    cpu_before, wall_before = _cpu_s(), time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    cpu_share = (_cpu_s() - cpu_before) / (time.perf_counter() - wall_before)
    problems = [problem for log in logs for problem in log.problems]
    return Measurement(
        clients=clients,
        seconds=seconds,
        latencies_ms=[
            round((after - before) * 1e3, 4) for log in logs for before, after in log.answers if begin <= after < end
        ],
        wrong=len(problems),
        first_problem=problems[0] if problems else None,
        client_cpu_share=round(cpu_share, 3),
    )


def _client(number: int, port: int, route: str, requests: Sequence[Request], end: float, log: _Log) -> None:
    with _connection(port) as connection:
        for turn in count(number):
            request = requests[turn % len(requests)]
            before = time.perf_counter()
            if before >= end:
                return
            problem, after = _ask(connection, route, request)
            if problem is None:
                log.answers.append((before, after))
            else:
                log.problems.append(problem)
                time.sleep(0.01)  # a refusal is quick; do not turn it into a flood


def _ask(connection: HttpConnection, route: str, request: Request) -> tuple[str | None, float]:
    """What is wrong with the answer, if anything, and when it was complete."""
    try:
        status, body = connection.exchange(request.wire)
    except OSError as error:
        return f"connection: {error}", time.perf_counter()
    after = time.perf_counter()
    if status != 200:
        return f"status {status}: {body[:200]!r}", after
    message_found = message(route, body)
    return (None if message_found == request.message else f"{message_found!r} instead of {request.message!r}"), after


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    """Measure, and print the measurement as JSON."""
    parser = argparse.ArgumentParser(description="Load a server with recordings; print what was measured as JSON.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--route", choices=ROUTES, default="/inference")
    parser.add_argument("--clients", type=int, default=1)
    parser.add_argument("--lead", type=float, default=1.0, help="seconds before measuring starts")
    parser.add_argument("--seconds", type=float, default=5.0, help="seconds measured")
    parser.add_argument("--data", type=Path, default=default_data(), help="folder with seed/ in it")
    options = parser.parse_args()
    samples = read_recordings(options.data)
    measured = run(options.port, options.route, samples, options.clients, options.lead, options.seconds)
    json.dump(asdict(measured), sys.stdout)


if __name__ == "__main__":
    main()
