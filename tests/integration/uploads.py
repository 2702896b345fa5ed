"""Recordings and headers that many tests upload, and the request of a verdict."""

from typing import Any

import httpx

from testing.servers import ServerProcess
from tests import sounds

WAV_TYPE = {"content-type": "audio/wav"}
JSON_TYPE = {"content-type": "application/json"}
# One header line of a raw request.
RAW_WAV = ("content-type", "audio/wav")
CHUNKED = ("transfer-encoding", "chunked")
UPLOADS = ("/inference", "/v1/predict", "/v1/predict/batch")
SECOND = sounds.noise(16_000)
GOOD = sounds.recording(SECOND)
PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(2000)
Body = dict[str, Any]


def judged(client: httpx.Client | ServerProcess, wav: bytes) -> Body:
    """Return the full answer to a recording, over the connection of a client."""
    client = client.client if isinstance(client, ServerProcess) else client
    answer = client.post("/v1/predict", content=wav, headers=WAV_TYPE)
    assert answer.status_code == 200, answer.text
    found: Body = answer.json()
    return found
