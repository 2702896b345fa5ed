"""Multipart bodies of the routes that take recordings: structure, boundaries, part headers, and changed bytes."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

from benchmarks.fuzz.odd_values import ODD_TEXTS, mutate
from benchmarks.fuzz.service import DATASET, Service, packed, recording, run_service

PATHS = ("/inference", "/v1/predict", "/v1/predict/batch", f"/v1/datasets/{DATASET}/recordings")
NAMES = ("file", "machine_id", "label", "machine", "fault", "group", "snr_db", "unknown", *ODD_TEXTS[:12])
VALUES = ("normal", "abnormal", "fan-3", "3.5", *ODD_TEXTS)
BOUNDARIES = (b"BoUnDaRy", b"-", b"a" * 70, b"a" * 5000, b"x y", b'"', b"\xff")
WORDS = (
    b"\r\n",
    b"--BoUnDaRy",
    b"--BoUnDaRy--",
    b"\r\n--BoUnDaRy\r\n",
    b"content-disposition: form-data; name=",
    b"; filename*=UTF-8''%e2%82%ac\"",
    b'; filename="',
    b"content-transfer-encoding: base64\r\n",
    b"content-type: multipart/mixed; boundary=BoUnDaRy\r\n",
    b"RIFF",
)


class Multipart:
    """Forms for a running service."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._sound = recording()
        self.memory_bytes, self.memory = service.memory_bytes, service.memory

    def make(self, random: Random) -> bytes:
        """Return the bytes of one request."""
        boundary = random.choice(BOUNDARIES) if random.random() < 0.1 else BOUNDARIES[0]
        parts = [self._part(random) for _ in range(random.choice((1, 1, 2, 3, 200)))]
        form = b"".join(b"--" + boundary + b"\r\n" + part + b"\r\n" for part in parts) + b"--" + boundary + b"--\r\n"
        if random.random() < 0.5:
            form = mutate(random, form, WORDS)
        kind = "multipart/form-data; boundary=" + boundary.decode("latin-1")
        if random.random() < 0.1:
            kind = random.choice(
                (kind + "; boundary=b", "multipart/form-data", kind.upper(), "multipart/mixed;boundary=a")
            )
        kind = kind.replace("\u0178", "y")  # capital of ÿ, which Latin-1 lacks
        return packed("POST", random.choice(PATHS), [("content-type", kind)], form)

    def _part(self, random: Random) -> bytes:
        name = random.choice(NAMES) if random.random() < 0.5 else "file"
        head = f'content-disposition: form-data; name="{name}"'
        if name == "file" or random.random() < 0.1:
            file_name = random.choice(ODD_TEXTS) if random.random() < 0.3 else "a.wav"
            head += random.choice(
                (f'; filename="{file_name}"', f"; filename*=UTF-8''{file_name}", f"; filename={file_name}")
            )
        if random.random() < 0.1:
            head += "\r\n" + random.choice(("x: " + "y" * 9000, "content-type: " + random.choice(ODD_TEXTS), "x" * 100))
        content = self._sound if name == "file" else random.choice(VALUES).encode("utf-8", "surrogatepass")
        if name == "file" and random.random() < 0.5:
            content = content[: random.choice((0, 10, 44, 100))]
        return head.encode("utf-8", "surrogatepass") + b"\r\n\r\n" + content

    def check(self, data: bytes) -> str:
        """Send one form."""
        return self._service.send(data)


@contextmanager
def open_target(folder: Path) -> Iterator[Multipart]:
    """Start a service."""
    with run_service(folder) as service:
        yield Multipart(service)
