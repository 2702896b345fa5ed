"""Another signalml service: each event with its state and its clip, by ``POST /v1/events``.

The service stores an event once, by its id, and the newer state wins; so a report may be repeated. Of several changes
that wait, only the newest state is sent. A clip is sent once for each of its versions.
"""

import json
import re
import secrets
import socket
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

from listener.alerts.alert_message import AlertMessage
from listener.alerts.outbox import Outbox
from listener.alerts.sinks.http_request import HttpAnswer, HttpRequest
from listener.alerts.sinks.sender import Sender
from listener.config.sink_types import ServiceSink
from listener.events.event import Event
from ml.errors import DeliveryFailed

API_KEY_HEADER = "X-API-Key"
EVENTS_PATH = "/v1/events"
SERVICE = "The service"
MAX_NAME = 60
CONFLICT = 409
UNREADABLE = 422  # of a report without its parts: the key was accepted
# The service refuses the clip; the event is sent without it.
CLIP_REFUSED = frozenset({413, 415, 422})


class Part(NamedTuple):
    """Part of a multipart form.

    Attributes:
        name: name of the part.
        file_name: name of its file; None for a field.
        content_type: media type.
        content: content.
    """

    name: str
    file_name: str | None
    content_type: str
    content: bytes


class ServiceSender(Sender):
    """Sender of events to another service.

    Args:
        sink: the sink.
        outbox: what the sink remembers.
        device_name: name of this device; by default, the name of this computer.
    """

    def __init__(self, sink: ServiceSink, outbox: Outbox, device_name: str) -> None:
        self._sink, self._outbox = sink, outbox
        self._origin = (device_name or socket.gethostname())[:MAX_NAME]
        self._request: HttpRequest | None = None

    def deliver(self, message: AlertMessage) -> None:
        """Report an event as it is now; a test checks the address and the key, and reports nothing."""
        event = message.current
        if event is None:
            self._check()
            return
        report = Part("event", None, "application/json", self._report(event, message.type))
        files = self._files(message, event)
        answer = self._post([report, *files])
        if files and answer.status in CLIP_REFUSED:
            answer = self._post([report])
        if answer.status == CONFLICT:
            raise DeliveryFailed(f"{SERVICE} knows this event from another device, or about another machine.", True)
        if not answer.is_success:
            raise answer.error(SERVICE, _code(answer))
        if files and event.clip is not None:
            self._outbox.remember(self._sink.name, {f"event:{event.id}": event.clip.file})

    def interrupt(self) -> None:
        """Close the connection of a delivery."""
        if self._request is not None:
            self._request.interrupt()

    def _check(self) -> None:
        answer = self._post([])
        if answer.status != UNREADABLE:
            raise answer.error(SERVICE, _code(answer))

    def _report(self, event: Event, kind: str) -> bytes:
        values = asdict(event) | {"origin": event.origin or self._origin, "change": kind.removeprefix("event.")}
        return json.dumps(values, ensure_ascii=False).encode()

    def _files(self, message: AlertMessage, event: Event) -> list[Part]:
        """Return the clip and its spectrogram, if the service does not have this version."""
        if not self._sink.send_clips or message.clip is None or event.clip is None:
            return []
        if self._outbox.fact(self._sink.name, f"event:{event.id}") == event.clip.file:
            return []
        sound = _read(message.clip)
        if sound is None:
            return []
        picture = None if message.spectrogram is None else _read(message.spectrogram)
        parts = [Part("clip", "clip.flac", "audio/flac", sound)]
        return parts if picture is None else [*parts, Part("spectrogram", "spectrogram.png", "image/png", picture)]

    def _post(self, parts: Sequence[Part]) -> HttpAnswer:
        boundary = secrets.token_hex(16)
        headers = {"Content-Type": f"multipart/form-data; boundary={boundary}", "Accept": "application/json"}
        if self._sink.api_key is not None:
            headers[API_KEY_HEADER] = self._sink.api_key.get_secret_value()
        self._request = HttpRequest(self._sink.url.rstrip("/") + EVENTS_PATH, self._sink.timeout_s, allow_private=True)
        return self._request.send("POST", multipart(parts, boundary), headers, SERVICE)


def multipart(parts: Sequence[Part], boundary: str) -> bytes:
    """Return a multipart form."""
    form = b""
    for part in parts:
        file = "" if part.file_name is None else f'; filename="{part.file_name}"'
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{part.name}"{file}\r\n'
        form += f"{head}Content-Type: {part.content_type}\r\n\r\n".encode() + part.content + b"\r\n"
    return form + f"--{boundary}--\r\n".encode()


def _read(file: Path) -> bytes | None:
    try:
        return file.read_bytes()
    except OSError:  # it was deleted to make room
        return None


def _code(answer: HttpAnswer) -> str:
    """Return the code of an error of this project, for a message; nothing else of the answer is shown."""
    try:
        code = json.loads(answer.body)["code"]
    except (ValueError, TypeError, KeyError):
        return ""
    return f", {code}" if isinstance(code, str) and re.fullmatch(r"[a-z_]{1,60}", code) else ""
