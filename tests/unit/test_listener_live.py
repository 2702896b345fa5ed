"""The local socket of a listener: state, live values and sound; clients that are slow, many or wrong."""

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import numpy as np
import pytest

from listener.config.source_types import PipeSource
from listener.live import server as live
from listener.live.client import ListenerClient
from listener.live.protocol import SOCKET_FILE, to_line
from listener.main import Listener
from listener.options import ListenerOptions
from listener.sound import SoundBlock, SoundReceiver
from ml.errors import ClipNotFound, EntryNotFound, ListenerError, ListenerNotRunning, ListenerRunsAlready
from testing.servers import wait_until
from tests.unit import listening
from tests.unit.listening import RATE_HZ, healthy


class Player:
    """Reader that plays one sound and then waits for its end."""

    def __init__(self, sound: np.ndarray) -> None:
        self._sound = sound
        self._stopped = threading.Event()

    def run(self, receiver: SoundReceiver) -> None:
        """Play the sound at once."""
        receiver.report_state("listening")
        if len(self._sound):
            receiver.receive(SoundBlock(self._sound, RATE_HZ, time.time()))
        self._stopped.wait()

    def stop(self) -> None:
        """End."""
        self._stopped.set()


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """The home of a listener that runs in a thread, with a source that sent sound, and one that sent none."""
    home = tmp_path / "home"
    listening.make_home(home)
    leave_sockets(home)
    sources = tuple(PipeSource(name=name, machine_id=f"m-{name}", clip_s=3.0) for name in ("hall", "mute"))
    options = ListenerOptions(home, poll_interval_s=0.02, sources=sources)
    listener = Listener(options, lambda entry, _: Player(healthy(4.0) if entry.name == "hall" else np.empty((0, 1))))
    thread = threading.Thread(target=listener.run)
    thread.start()
    wait_until(lambda: thread.is_alive() and answers(home))
    yield home
    listener.stop()
    thread.join()


def answers(home: Path) -> bool:
    """Whether the listener answers."""
    with suppress(ListenerNotRunning):
        return bool(ListenerClient(home).status().started_at)
    return False


def leave_sockets(home: Path) -> None:
    """Leave what a killed listener can leave: its socket, and one without its final name."""
    (home / "listener").mkdir()
    folder = os.open(home / "listener", os.O_RDONLY)  # the path of a socket has at most 107 bytes
    for name in (SOCKET_FILE, f".{SOCKET_FILE}.12ab"):
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(f"/proc/self/fd/{folder}/{name}")
    os.close(folder)


@pytest.fixture
def client(home: Path) -> ListenerClient:
    """A client of the listener."""
    client = ListenerClient(home)
    wait_until(lambda: len(client.status().sources) == 2 and client.status().sources[0].state == "listening")
    return client


def connected(home: Path) -> socket.socket:
    """A raw connection."""
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(str(home / "listener" / SOCKET_FILE))
    connection.settimeout(10)
    return connection


def test_state_live_values_and_sound(home: Path, client: ListenerClient) -> None:
    """The state of all sources, values ten times a second with a column of the spectrum, and the last sound."""
    assert [source.name for source in client.status().sources] == ["hall", "mute"]
    assert len(list((home / "listener").glob(f"*{SOCKET_FILE}*"))) == 1
    wait_until(lambda: next(iter(client.live("hall")))["mel"])
    began = time.monotonic()
    with closing(client.live("hall")) as values:
        shown = [next(values) for _ in range(5)]
    assert 0.3 <= time.monotonic() - began <= 5
    assert -40 < shown[-1]["level_dbfs"] < -10
    assert len(shown[-1]["mel"]) == 64
    assert len(json.dumps(shown[-1])) < 1000
    assert client.sound("hall", 2.0)[:4] == b"fLaC"
    with closing(client.live("mute")) as values:
        assert next(values)["mel"] is None


def test_what_is_not_there_has_its_error(client: ListenerClient, tmp_path: Path) -> None:
    """Unknown sources and sinks, a source without sound, and a home without a listener."""
    with pytest.raises(EntryNotFound, match="'none'"):
        next(client.live("none"))
    with pytest.raises(EntryNotFound):
        client.test_sink("none")
    with pytest.raises(ClipNotFound):
        client.sound("mute", 1.0)
    with pytest.raises(ListenerError, match="3600"):
        client.sound("hall", -1.0)
    with pytest.raises(ListenerNotRunning, match="signalml listen"):
        ListenerClient(tmp_path / "other").status()


def test_a_second_listener_is_refused(client: ListenerClient, home: Path) -> None:
    """The lock of the home is held until the first one ends."""
    with pytest.raises(ListenerRunsAlready):
        Listener(ListenerOptions(home)).run()
    assert client.status().sources


@pytest.mark.parametrize("request_", [b"no json\n", b'"text"\n', b'{"request": "format"}\n', b"x" * 5000])
def test_a_wrong_request_gets_an_error(home: Path, client: ListenerClient, request_: bytes) -> None:
    """Text that is no request, or too long, is answered with an error, and the next client is served."""
    with connected(home) as connection:
        connection.sendall(request_)
        assert b'"error"' in connection.recv(1000)
    assert client.status().sources


def test_a_client_that_does_not_read_is_disconnected(
    home: Path, client: ListenerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its thread ends, and it delays nobody."""
    monkeypatch.setattr(live, "WAIT_S", 0.3)
    monkeypatch.setattr(live, "STEP_S", 0.001)
    with connected(home) as connection:
        connection.sendall(to_line({"request": "live", "source": "hall"}))
        wait_until(lambda: clients() == 1, within_s=10)
        assert client.status().sources
        wait_until(lambda: clients() == 0, within_s=20)


def clients() -> int:
    """Number of clients that are being served."""
    return sum(thread.name == "live-client" for thread in threading.enumerate())


def test_the_number_of_clients_is_limited(home: Path, client: ListenerClient) -> None:
    """More clients than places are refused with a sentence; when one leaves, its place is free."""
    connections = [connected(home) for _ in range(live.MOST_CLIENTS)]
    wait_until(lambda: clients() == live.MOST_CLIENTS)
    with pytest.raises(ListenerNotRunning, match="32 clients"):
        client.status()
    for connection in connections:
        connection.close()
    wait_until(lambda: clients() == 0)
    assert client.status().sources
