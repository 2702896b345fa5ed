"""Server of the local socket of the listener: state, live values, sound, tests of sinks.

It never delays the judging: a client that reads too slowly is disconnected, and the number of clients is limited. The
mel spectrum is computed only while somebody watches.
"""

import io
import json
import logging
import secrets
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

import numpy as np
import soundfile

from listener.live.protocol import (
    MAX_REQUEST_BYTES,
    SOCKET_FILE,
    error_to_message,
    receive_line,
    short_address,
    socket_folder,
    to_line,
)
from listener.options import ListenerOptions
from listener.sources.level import STEP_S
from listener.sources.source_listener import SourceListener
from listener.status import ListenerStatus, SourceStatus
from ml.errors import ClipNotFound, EntryNotFound, ListenerError, ListenerNotRunning, SignalMLError
from ml.models.predictor import Predictor
from ml.system.atomic import make_folder
from ml.system.clock import timestamp

logger = logging.getLogger("signalml.listener")
MOST_CLIENTS = 32
WAIT_S = 5.0  # for a request, and for a client that does not read
SENT_BYTES = 16 * 1024  # that wait in the system for a client: some seconds of live values
MEL_S = 0.3  # sound of one column
MOST_BANDS = 64
STOP_WITHIN_S = 2.0


class LiveView(Protocol):
    """What the server shows."""

    def status(self) -> ListenerStatus:
        """Return the state of the listener."""

    def source(self, name: str) -> SourceListener | None:
        """Return a source that runs."""

    def source_status(self, name: str) -> SourceStatus | None:
        """Return the state of a source; None if there is none of this name."""

    def predictor(self, reference: str) -> Predictor | None:
        """Return the predictor of a model; None without one."""

    def test_sink(self, name: str) -> None:
        """Send a test alert to a sink, and wait for it."""


class LiveServer:
    """Server of the local socket.

    Args:
        options: options of the listener.
        view: what it shows.
    """

    def __init__(self, options: ListenerOptions, view: LiveView) -> None:
        self._folder = socket_folder(options.home)
        self._view = view
        self._socket = socket.socket(socket.AF_UNIX)
        self._places = threading.BoundedSemaphore(MOST_CLIENTS)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._accept, name="live", daemon=True)

    def start(self) -> Callable[[], None]:
        """Open the socket, in place of one that a killed listener left, and start the thread.

        Returns:
            The function that closes it.

        Raises:
            OSError: the socket cannot be opened.
        """
        make_folder(self._folder)
        for left in self._folder.glob(f".{SOCKET_FILE}.*"):  # of a listener that was killed here
            left.unlink(missing_ok=True)
        temporary = f".{SOCKET_FILE}.{secrets.token_hex(4)}"
        with short_address(self._folder, temporary) as address:
            self._socket.bind(address)
        path = self._folder / temporary
        path.chmod(0o600)  # under a name that no client knows
        self._socket.listen(MOST_CLIENTS)
        path.rename(self._folder / SOCKET_FILE)
        self._socket.settimeout(STEP_S * 5)
        self._thread.start()
        return self.stop

    def stop(self) -> None:
        """Close the socket and all connections."""
        self._stopped.set()
        self._thread.join(STOP_WITHIN_S)
        self._socket.close()
        (self._folder / SOCKET_FILE).unlink(missing_ok=True)

    def _accept(self) -> None:
        while not self._stopped.is_set():
            try:
                connection, _ = self._socket.accept()
            except TimeoutError:
                continue
            except OSError as error:  # such as too many open files
                logger.warning("a client of the listener cannot connect: %s", error)
                self._stopped.wait(STEP_S)
                continue
            if not self._places.acquire(blocking=False):
                self._refuse(connection)
                continue
            threading.Thread(target=self._serve, args=(connection,), name="live-client", daemon=True).start()

    def _refuse(self, connection: socket.socket) -> None:
        refusal = ListenerNotRunning(f"{MOST_CLIENTS} clients are connected to the listener already.")
        with connection, suppress(OSError):
            connection.settimeout(STEP_S)
            connection.recv(MAX_REQUEST_BYTES)  # without it, the client would not get the answer
            connection.sendall(to_line(error_to_message(refusal)))

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection, suppress(OSError):
                connection.settimeout(WAIT_S)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SENT_BYTES)
                try:
                    request = json.loads(receive_line(connection, MAX_REQUEST_BYTES) or b"{}")
                    self._answer(connection, request if isinstance(request, dict) else {})
                except SignalMLError as error:
                    connection.sendall(to_line(error_to_message(error)))
                except ValueError:
                    connection.sendall(to_line(error_to_message(ListenerError("One line of JSON was expected."))))
        except Exception:  # a bug must not end the listener, nor stay unknown
            logger.exception("unexpected error while a client was answered")
        finally:
            self._places.release()

    def _answer(self, connection: socket.socket, request: dict[str, Any]) -> None:
        kind = request.get("request")
        if kind == "status":
            connection.sendall(to_line({"status": self._view.status().to_dict()}))
        elif kind == "live":
            self._send_live(connection, self._source(request))
        elif kind == "sound":
            self._send_sound(connection, self._source(request), request.get("seconds"))
        elif kind == "test_sink":
            self._view.test_sink(str(request.get("sink")))
            connection.sendall(to_line({"delivered": True}))
        else:
            raise ListenerError("The request is not known; status, live, sound or test_sink was expected.")

    def _source(self, request: dict[str, Any]) -> SourceListener:
        name = str(request.get("source"))
        found = self._view.source(name)
        if found is None:
            raise EntryNotFound(f"No source {name!r} runs.")
        return found

    def _send_live(self, connection: socket.socket, source: SourceListener) -> None:
        name, due = source.entry.name, time.monotonic()
        while not self._stopped.is_set():
            now, status = self._view.source(name), self._view.source_status(name)  # it can be replaced meanwhile
            if now is None or status is None:
                break
            connection.sendall(to_line(self._live_values(now, status)))
            due = max(due + STEP_S, time.monotonic())
            self._stopped.wait(due - time.monotonic())
        connection.sendall(to_line({"end": True}))

    def _live_values(self, source: SourceListener, status: SourceStatus) -> dict[str, Any]:
        return {
            "at": timestamp(),
            "state": status.state,
            "level_dbfs": None if status.level_dbfs is None else round(status.level_dbfs, 1),
            "score": status.score,
            "threshold": status.threshold,
            "verdict": status.verdict,
            "machine_state": status.machine_state,
            "event": status.event,
            "mel": mel_column(source, self._view.predictor(source.entry.model)),
        }

    def _send_sound(self, connection: socket.socket, source: SourceListener, seconds: object) -> None:
        if not isinstance(seconds, (int, float)) or not 0 < seconds <= 3600:
            raise ListenerError("seconds must be a number above 0, and at most 3600.")
        block = source.ring.last(seconds)
        if block is None:
            raise ClipNotFound(f"The source {source.entry.name} has sent no sound yet.")
        file = io.BytesIO()
        soundfile.write(file, np.clip(block.samples, -1, 1), block.sample_rate_hz, "PCM_16", format="FLAC")
        content = file.getvalue()
        connection.settimeout(WAIT_S)
        connection.sendall(to_line({"bytes": len(content)}))
        connection.sendall(content)


def mel_column(source: SourceListener, predictor: Predictor | None) -> list[int] | None:
    """Return the level of each mel band of the last sound, in whole dB; None without a model or sound."""
    block = source.ring.last(MEL_S)
    if predictor is None or block is None or len(block.samples) < 2:
        return None
    extractor = predictor.extractor
    samples = extractor.resample(np.ascontiguousarray(block.samples.mean(axis=1)), block.sample_rate_hz)
    column = extractor.log_mel_and_power(samples)[0].mean(axis=0)
    parts = np.array_split(column, min(MOST_BANDS, len(column)))
    return [round(float(part.mean())) for part in parts]
