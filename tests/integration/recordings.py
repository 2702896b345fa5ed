"""Upload recordings to a dataset over HTTP, and list them."""

from collections.abc import Callable
from typing import Any

import httpx

from testing.servers import ServerProcess
from tests.unit.recordings import sound

HALL = "/v1/datasets/hall-3"
RECORDINGS = f"{HALL}/recordings"
CONFIRMED = {"confirm": "hall-3"}
Json = dict[str, Any]


def put(
    server: ServerProcess,
    *contents: bytes | int,
    path: str = RECORDINGS,
    names: Callable[[int], str] = "{}.wav".format,
    **fields: str,
) -> httpx.Response:
    """POST recordings in one form. An integer is the seed of a recording."""
    encoded = [sound(content) if isinstance(content, int) else content for content in contents]
    files = [("file", (names(number), content)) for number, content in enumerate(encoded)]
    return server.client.post(path, files=files, data=fields)


def put_one(server: ServerProcess, content: bytes | int, **fields: str) -> Json:
    """POST one recording, which must be accepted; returns its result."""
    (result,) = put(server, content, **fields).raise_for_status().json()["results"]
    return dict(result)


def listed(server: ServerProcess, **query: str | int) -> list[Json]:
    """Return the recordings of the first page."""
    found: list[Json] = server.client.get(RECORDINGS, params=query).raise_for_status().json()["recordings"]
    return found
