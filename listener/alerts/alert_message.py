"""What a sink sends about one alert: an event at a change, a digest of many, or a test."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from listener.alerts.digest import Digest
from listener.events.event import Event

TEST_TEXT = "This is a test alert. Alerts of this sink arrive here."


@dataclass(frozen=True, slots=True)
class AlertMessage:
    """One message.

    Attributes:
        id: the same for every attempt: ``<event>-<number of the change>``, ``digest-...`` or ``test-...``.
        type: ``event.`` and the change, such as ``event.began``; ``events.digest``; or ``test``.
        timestamp: time of the change, ISO 8601, UTC.
        event: the event at this change; None for a digest or a test.
        current: the event as it is now; None for a digest or a test.
        digest: the digest; None for an event or a test.
        clip, spectrogram: files of the event's clip; None if there are none.
    """

    id: str
    type: str
    timestamp: str
    event: Event | None = None
    current: Event | None = None
    digest: Digest | None = None
    clip: Path | None = None
    spectrogram: Path | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the message as JSON types: ``id``, ``type``, ``timestamp`` and ``data``."""
        return {"id": self.id, "type": self.type, "timestamp": self.timestamp, "data": self._data()}

    def to_json(self) -> bytes:
        """Return the message as JSON, always the same bytes for the same message."""
        return json.dumps(self.to_dict(), ensure_ascii=False, separators=(",", ":")).encode()

    def _data(self) -> dict[str, Any]:
        if self.event is not None:
            return public_values(self.event)
        return {"message": TEST_TEXT} if self.digest is None else self.digest.to_dict()


def public_values(event: Event) -> dict[str, Any]:
    """Return an event as JSON types, as ``GET /v1/events`` has it: without the names of its files."""
    values = asdict(event)
    if event.clip is not None:
        clip = event.clip
        values["clip"] = {
            "began": clip.began,
            "duration_s": clip.duration_s,
            "size_bytes": clip.size_bytes,
            "spectrogram": clip.spectrogram is not None,
        }
    return values
