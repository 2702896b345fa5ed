"""A device that writes events and delivers their alerts to real receivers."""

import re
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from listener.alerts.delivery import Delivery
from listener.alerts.outbox import Counts, Outbox
from listener.config.sink_types import Sink
from listener.events.event import Change, Event
from listener.events.store import EventStore
from listener.options import ListenerOptions
from listener.status import SinkStatus
from testing.servers import wait_until
from tests.unit.alerts import ended, event


class AlertingDevice:
    """Listener without sound.

    Args:
        home: its SIGNALML_HOME.
        sinks: its sinks.
    """

    def __init__(self, home: Path, *sinks: Sink) -> None:
        self.options = ListenerOptions(home, device_name="press-room")
        self.store = EventStore(home, create=True)
        self.outbox = Outbox(self.store)
        self.delivery = Delivery(self.options, self.store, self.options.clips_folder)
        self.use(*sinks)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.delivery.stop()
        self.store.close()

    def use(self, *sinks: Sink) -> None:
        """Use these sinks from now on."""
        self.delivery.update({each.name: each for each in sinks})

    def changes(self, event: Event, change: Change) -> Event:
        """Write a change of an event with its alerts."""
        self.store.save(event, change, self.delivery.route(event, change))
        return event

    def begins(self, machine_id: str = "fan-3", **values: Any) -> Event:
        """An event begins."""
        return self.changes(event(machine_id, **values), "began")

    def ends(self, event: Event) -> Event:
        """An event ends."""
        return self.changes(ended(event), "ended")

    def status(self, name: str) -> SinkStatus:
        """State of a sink."""
        return next(each for each in self.delivery.statuses() if each.name == name)

    def status_counts(self) -> dict[str, Counts]:
        """Number of alerts that wait and were given up, for each sink that has any."""
        return self.outbox.counts()

    def wait_ready(self, name: str) -> None:
        """Wait until the thread of a sink looks at the outbox."""
        wait_until(lambda: self.delivery._workers[name]._sender is not None)

    def wait_delivered(self, name: str, number: int = 1, within_s: float = 30.0) -> None:
        """Wait until a number of alerts was delivered."""
        wait_until(lambda: self.status(name).delivered >= number, within_s)

    def wait_failed(self, name: str, within_s: float = 30.0) -> str:
        """Wait until an attempt has failed; returns why."""
        return str(wait_until(lambda: self.status(name).last_error, within_s))


class RawServer:
    """Server that does with each connection what a function does: a receiver that is wrong, slow or hostile."""

    def __init__(self, behave: Callable[[socket.socket], None]) -> None:
        self._behave = behave
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/"
        self.connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                self._behave(connection)
            except OSError:
                return


def read_request(connection: socket.socket) -> bytes:
    """Read one HTTP request; returns its body."""
    content = b""
    while b"\r\n\r\n" not in content:
        content += connection.recv(65536)
    head, _, body = content.partition(b"\r\n\r\n")
    length = int(re.findall(rb"(?i)content-length: (\d+)", head)[0])
    while len(body) < length:
        body += connection.recv(65536)
    return body


def drip(connection: socket.socket, content: bytes, every_s: float = 0.1) -> None:
    """Send one byte now and then."""
    for each in content:
        connection.sendall(bytes([each]))
        time.sleep(every_s)
