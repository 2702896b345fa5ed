"""JSON bodies of all routes: values made from the schema, of which one place is changed, and damaged text."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.fuzz.odd_values import ODD_TEXTS, change_value, json_text, odd_value
from benchmarks.fuzz.service import DATASET, Service, operations, packed, resolve, run_service

JSON = "application/json"
TYPES = (JSON, "application/json; charset=utf-16", "text/plain", "application/x-www-form-urlencoded", "")


class JsonBodies:
    """Bodies for a running service."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self.memory_bytes, self.memory = service.memory_bytes, service.memory
        self._routes = [
            (method, path, operation["requestBody"]["content"][JSON]["schema"])
            for method, path, operation in operations(service.schema)
            if JSON in operation.get("requestBody", {}).get("content", {})
        ]

    def make(self, random: Random) -> bytes:
        """Return the bytes of one request."""
        method, path, schema = random.choice(self._routes)
        value = self._value(random, schema)
        for _ in range(random.randrange(3)):
            value = change_value(random, value)
        kind = JSON if random.random() < 0.9 else random.choice(TYPES)
        headers = [("content-type", kind)]
        if random.random() < 0.1:
            headers.append(("idempotency-key", random.choice(("a", "b", "x" * 300, "=1", "\xe9"))))
        return packed(method, self._path(random, path), headers, json_text(random, value))

    def _path(self, random: Random, path: str) -> str:
        names = {
            "name": random.choice((DATASET, "other")),
            "recording": random.choice((self._service.recording, "0" * 64)),
            "version": random.choice(("champion", self._service.version, "previous", "none")),
            "alias": random.choice(("champion", "challenger", "previous")),
            "machine_id": "fan-3",
        }
        return path.format_map(names)

    def _value(self, random: Random, schema: dict[str, Any]) -> Any:
        """Return a value that mostly fits a schema."""
        schema = resolve(self._service.schema, schema)
        if choices := schema.get("anyOf") or schema.get("oneOf"):
            return self._value(random, random.choice(choices))
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return random.choice(schema["enum"])
        if random.random() < 0.3 and schema.get("examples"):
            return random.choice(schema["examples"])
        if "properties" in schema:
            required = schema.get("required", ())
            return {
                name: self._value(random, part)
                for name, part in schema["properties"].items()
                if name in required or random.random() < 0.5
            }
        match schema.get("type"):
            case "array":
                return [self._value(random, schema.get("items", {})) for _ in range(random.randrange(4))]
            case "string":
                return random.choice((DATASET, self._service.version, "champion", *ODD_TEXTS))
            case "integer":
                return random.choice((0, 1, 10, -1, 10**9))
            case "number":
                return random.choice((0.0, 0.5, 1.0, -1.0, 1e300))
            case "boolean":
                return random.random() < 0.5
            case "null":
                return None
        return odd_value(random)

    def check(self, data: bytes) -> str:
        """Send one body."""
        return self._service.send(data)


@contextmanager
def open_target(folder: Path) -> Iterator[JsonBodies]:
    """Start a service."""
    with run_service(folder) as service:
        yield JsonBodies(service)
