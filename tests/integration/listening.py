"""Events for tests of the API: written by the store, as a listener writes them."""

import json
from pathlib import Path
from typing import Any

from listener.events.clip_files import write_files
from listener.events.event import Event, new_event_id
from listener.events.store import EventStore
from testing.servers import ServerProcess
from tests import sounds

BEGAN, ENDED = "2026-11-22T10:00:00.000+00:00", "2026-11-22T10:10:00.000+00:00"
CLIP = sounds.flac(sounds.fan(2.0))
PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x10\x00\x00\x00\x10" + bytes(20)
BAND = {"low_hz": 413.0, "high_hz": 851.0, "db": 6.2, "sigma": 7.9, "share": 0.61, "hall_db": None}


def make_event(machine_id: str = "fan-3", **values: Any) -> Event:
    """An event that has ended."""
    facts: dict[str, Any] = {
        "id": new_event_id(),
        "machine_id": machine_id,
        "source": "hall-3",
        "began": BEGAN,
        "updated": ENDED,
        "ended": ENDED,
        "state": "ended",
        "score": 0.93,
        "threshold": 0.5,
        "label": "imbalance",
        "version": "original-47a1c71740",
        "clips": 12,
        "anomalous": 9,
        "reasons": (BAND,),
        "quality": {"duration_s": 10.0, "channel_faults": [{"channel": 1, "fault": "dead"}], "codec": None},
        "missing_clip": "no_sound",
    }
    return Event(**facts | values)


def save_event(home: Path, *, clip: bool = False, **values: Any) -> Event:
    """Save an event, perhaps with a clip and its picture."""
    event = make_event(**values)
    if clip:
        event = event.changed(clip=write_files(home, event.id, BEGAN, 2.0, CLIP, PNG), missing_clip=None)
    with EventStore(home, create=True) as store:
        store.save(event.changed(state="active", ended=None), "began")
        if event.state != "active":
            store.save(event, event.state)
    return event


def report(**values: Any) -> dict[str, Any]:
    """An event as another device reports it."""
    event = make_event(**{"origin": "press-room"} | values)
    with_clip = {"clip": {"began": BEGAN}} if event.clip is None else {}
    shown = {name: getattr(event, name) for name in Event.__dataclass_fields__}
    return json.loads(json.dumps(shown)) | with_clip


def send(server: ServerProcess, event: object, clip: bytes | None = None, png: bytes | None = None, **more: Any) -> Any:
    """Send a report; ``event`` is its JSON, or a text."""
    parts: dict[str, Any] = {"event": (None, event if isinstance(event, (str, bytes)) else json.dumps(event))}
    if clip is not None:
        parts["clip"] = ("clip.flac", clip, "audio/flac")
    if png is not None:
        parts["spectrogram"] = ("clip.png", png, "image/png")
    return server.client.post("/v1/events", files=parts, **more)
