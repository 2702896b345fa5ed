"""Client of the listener of a home, over its local socket."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from listener.live.protocol import SOCKET_FILE, error_of_message, short_address, socket_folder, to_line
from listener.status import ListenerStatus
from ml.errors import ListenerNotRunning

TIMEOUT_S = 5.0
TEST_TIMEOUT_S = 90.0  # a sink has at most 60 s for one attempt
NOT_RUNNING = "No listener runs in this home: start it with `signalml listen`, or with `signalml run`."


class ListenerClient:
    """Client of the listener of a home. Each call opens a connection of its own. Safe from any thread.

    Args:
        home: SIGNALML_HOME.
    """

    def __init__(self, home: Path) -> None:
        self._folder = socket_folder(home)

    def status(self) -> ListenerStatus:
        """Return the state of the listener.

        Raises:
            ListenerNotRunning
        """
        return ListenerStatus.from_dict(self._ask({"request": "status"})["status"])

    def live(self, source: str) -> Iterator[dict[str, Any]]:
        """Yield the present values of a source ten times a second, until the iterator is closed or the source ends.

        Yields:
            ``at`` (ISO 8601, UTC), ``state``, ``level_dbfs``, ``score``, ``threshold``, ``verdict``,
            ``machine_state``, ``event``, and ``mel``: the level of each mel band in dB as whole numbers, from low to
            high frequencies, or None without sound or model.

        Raises:
            EntryNotFound: no source of this name runs.
            ListenerNotRunning: also if the listener stops meanwhile.
        """
        with self._request({"request": "live", "source": source}, TIMEOUT_S) as answer:
            yield from _messages(answer)

    def sound(self, source: str, seconds: float) -> bytes:
        """Return the last sound of a source as FLAC, at most so many seconds.

        Raises:
            EntryNotFound: no source of this name runs.
            ClipNotFound: it has sent no sound yet.
            ListenerNotRunning
        """
        request = {"request": "sound", "source": source, "seconds": seconds}
        with self._request(request, TIMEOUT_S) as answer:
            size = int(next(_messages(answer))["bytes"])
            content = answer.read(size)
        if len(content) < size:
            raise ListenerNotRunning(NOT_RUNNING)
        return content

    def test_sink(self, name: str) -> None:
        """Send a test alert to a sink, and wait until it is delivered.

        Raises:
            EntryNotFound: there is no sink of this name.
            DeliveryFailed: it was not delivered; the message has the reason.
            ListenerNotRunning
        """
        self._ask({"request": "test_sink", "sink": name}, TEST_TIMEOUT_S)

    def _ask(self, request: dict[str, Any], timeout_s: float = TIMEOUT_S) -> dict[str, Any]:
        with self._request(request, timeout_s) as answer:
            return next(_messages(answer))

    @contextmanager
    def _request(self, request: dict[str, Any], timeout_s: float) -> Iterator[IO[bytes]]:
        """Send a request, and yield the answer as a file."""
        try:
            with socket.socket(socket.AF_UNIX) as connection, short_address(self._folder, SOCKET_FILE) as address:
                connection.settimeout(timeout_s)
                connection.connect(address)
                connection.sendall(to_line(request))
                with connection.makefile("rb") as answer:
                    yield answer
        except OSError as error:  # also a timeout
            raise ListenerNotRunning(NOT_RUNNING) from error


def _messages(answer: IO[bytes]) -> Iterator[dict[str, Any]]:
    """Yield each line of an answer.

    Raises:
        SignalMLError: the request failed.
        ListenerNotRunning: the connection ended before a line was complete.
    """
    while (line := answer.readline()).endswith(b"\n"):
        message: dict[str, Any] = json.loads(line)
        if "error" in message:
            raise error_of_message(message["error"])
        if message.get("end"):
            return
        yield message
    raise ListenerNotRunning(NOT_RUNNING)
