"""Request lines, headers and framing, as raw bytes: lengths, chunks, doubled and odd headers, changed bytes."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

from benchmarks.fuzz.odd_values import ODD_TEXTS, mutate
from benchmarks.fuzz.service import DATASET, Service, recording, run_service

NAMES = (
    "content-length",
    "transfer-encoding",
    "content-type",
    "content-encoding",
    "expect",
    "connection",
    "upgrade",
    "host",
    "origin",
    "referer",
    "sec-fetch-site",
    "x-forwarded-for",
    "x-forwarded-host",
    "forwarded",
    "x-request-id",
    "x-api-key",
    "authorization",
    "idempotency-key",
    "if-none-match",
    "if-match",
    "if-range",
    "range",
    "last-event-id",
    "accept",
    "accept-encoding",
    "cookie",
    "te",
    "trailer",
    "via",
    "x-http-method-override",
)
VALUES = (
    "0",
    "-1",
    "5",
    "+5",
    "0x5",
    "5, 5",
    "9" * 20,
    "9" * 5000,
    "chunked",
    "gzip, chunked",
    "identity",
    "100-continue",
    "keep-alive, upgrade",
    "close",
    "h2c",
    "websocket",
    "bytes=0-",
    "bytes=-1",
    "bytes=5-1",
    "bytes=0-0,2-2",
    "bytes=" + "0-1," * 500,
    "bytes=" + "9" * 400 + "-",
    "Bearer a",
    "Bearer " + "a" * 9000,
    'W/"1"',
    "*",
    "localhost",
    "evil.example:99999",
    "[::1]",
    "null",
    "cross-site",
    "application/json",
    "multipart/form-data; boundary=BoUnDaRy",
    "audio/wav",
    "gzip",
    "br",
)
CHUNKS = (
    b"5\r\nhello\r\n0\r\n\r\n",
    b"ffffffffffffffff\r\n",
    b"-1\r\n",
    b"5;a=b\r\nhello\r\n0\r\nx: y\r\n\r\n",
    b"0\r\n\r\n",
)
WORDS = (b"\r\n", b"\n", b"\0", b": ", b"\r\n\r\n", b" HTTP/1.1", b" HTTP/1.0", b"HTTP/2.0", b"\x16\x03\x01", b"\xff")


class Headers:
    """Raw requests for a running service."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._sound = recording(0.1)
        self.memory_bytes, self.memory = service.memory_bytes, service.memory
        audio = f"/v1/datasets/{DATASET}/recordings/{service.recording}/audio"
        self._paths = (
            "/",
            "/readyz",
            "/metrics",
            "/v1/predict",
            "/inference",
            "/v1/jobs",
            "/v1/jobs/diagnostic",
            audio,
        )

    def make(self, random: Random) -> bytes:
        """Return the bytes of one connection."""
        content = b"".join(self._one(random) for _ in range(random.choice((1, 1, 1, 2))))
        return mutate(random, content, WORDS) if random.random() < 0.5 else content

    def _one(self, random: Random) -> bytes:
        method = random.choice(
            ("GET", "GET", "POST", "POST", "HEAD", "OPTIONS", "PUT", "TRACE", "CONNECT", "get", "M-SEARCH")
        )
        body = random.choice((b"", b"{}", self._sound, *CHUNKS))
        headers = [("host", "localhost")]
        if body in CHUNKS:
            headers.append(("transfer-encoding", "chunked"))
        elif random.random() < 0.9:
            headers.append(("content-length", str(len(body))))
        for _ in range(random.choice((0, 1, 2, 5, 300))):
            value = random.choice(VALUES) if random.random() < 0.7 else random.choice(ODD_TEXTS)[:9000]
            headers.append((random.choice(NAMES), value.replace("\r", " ").replace("\n", " ")))
        random.shuffle(headers)
        head = f"{method} {random.choice(self._paths)} HTTP/1.1\r\n" + "".join(f"{n}: {v}\r\n" for n, v in headers)
        return head.encode("utf-8", "surrogatepass") + b"\r\n" + body

    def check(self, data: bytes) -> str:
        """Send the bytes; the service may close the connection of what is no request."""
        return self._service.send(data, may_be_cut=True)


@contextmanager
def open_target(folder: Path) -> Iterator[Headers]:
    """Start a service."""
    with run_service(folder) as service:
        yield Headers(service)
