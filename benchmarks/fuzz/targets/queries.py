"""Paths and query strings of all routes: odd values, repetitions, broken percent codes, unknown and many names."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from urllib.parse import quote

from benchmarks.fuzz.odd_values import ODD_TEXTS
from benchmarks.fuzz.service import DATASET, Service, operations, packed, recording, run_service

VALUES = (
    "normal",
    "abnormal",
    "queued",
    "scoring",
    "retraining",
    "csv",
    "json",
    "true",
    "0",
    "1",
    "-1",
    "50",
    "1000",
    "100000",
    DATASET,
    "fan-3",
    *ODD_TEXTS,
)
BROKEN = ("%", "%0", "%zz", "%00", "%ff%fe", "%c0%ae", "+", "&", "=", ";", "%26", "?", "%0d%0a", "[]", "[0]")


class Queries:
    """Request targets for a running service."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._sound = recording()
        self.memory_bytes, self.memory = service.memory_bytes, service.memory
        self._operations = operations(service.schema)

    def make(self, random: Random) -> bytes:
        """Return the bytes of one request."""
        method, path, operation = random.choice(self._operations)
        names = [each["name"] for each in operation.get("parameters", ()) if each["in"] == "query"]
        places = {
            each["name"]: self._segment(random) for each in operation.get("parameters", ()) if each["in"] == "path"
        }
        query = "&".join(self._pair(random, names) for _ in range(random.choice((0, 1, 1, 2, 5, 1500))))
        target = path.format_map(places) + ("?" + query if query or random.random() < 0.1 else "")
        if random.random() < 0.05:
            target = random.choice((target + "/", "/" + target, target + "#a", "http://other" + target, target.upper()))
        body, headers = None, [("accept", random.choice(("*/*", "text/html", "application/json", "")))]
        if method != "GET":
            upload = "predict" in path or "inference" in path
            body = self._sound if upload else b"{}"
            headers.append(("content-type", "audio/wav" if upload else "application/json"))
        if method == "DELETE" and DATASET in target:
            method = "GET"  # the dataset stays for the other inputs
        return packed(method, target, headers, body)

    def _segment(self, random: Random) -> str:
        known = (DATASET, self._service.version, self._service.recording, "champion", "fan-3")
        if random.random() < 0.5:
            return random.choice(known)
        return self._encoded(random, random.choice(ODD_TEXTS)) or "a"

    def _pair(self, random: Random, names: list[str]) -> str:
        name = (
            random.choice(names) if names and random.random() < 0.9 else self._encoded(random, random.choice(ODD_TEXTS))
        )
        if random.random() < 0.05:
            return name
        return f"{name}={self._encoded(random, random.choice(VALUES))}"

    def _encoded(self, random: Random, text: str) -> str:
        """Return a text for a query, always without spaces and control characters, sometimes broken."""
        coded = quote(text[:3000].encode("utf-8", "surrogatepass"), safe="/=<>'()[]{};:,")
        if random.random() < 0.2:
            at = random.randrange(len(coded) + 1)
            coded = coded[:at] + random.choice(BROKEN) + coded[at:]
        return coded

    def check(self, data: bytes) -> str:
        """Send one request."""
        return self._service.send(data)


@contextmanager
def open_target(folder: Path) -> Iterator[Queries]:
    """Start a service."""
    with run_service(folder) as service:
        yield Queries(service)
