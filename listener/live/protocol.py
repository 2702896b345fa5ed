"""Local socket of the listener: its place, and messages of one line of JSON.

A client sends one request. The answer is one line, or one line after the other for ``live``; ``sound`` is followed by
the bytes of a FLAC file. Only the user of the listener can open the socket.
"""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from listener.options import LISTENER_FOLDER
from ml.errors import ListenerError, SignalMLError

SOCKET_FILE = "live.sock"
MAX_PATH_BYTES = 100  # of an address of a Unix socket; Linux has 107
MAX_REQUEST_BYTES = 4096


def socket_folder(home: Path) -> Path:
    """Return the folder of the socket."""
    return home / LISTENER_FOLDER


@contextmanager
def short_address(folder: Path, name: str) -> Iterator[str]:
    """Yield an address of a socket in a folder that is short enough, for a folder with any length of its path.

    Raises:
        OSError: the folder cannot be opened.
    """
    direct = str(folder.absolute() / name)
    if len(os.fsencode(direct)) <= MAX_PATH_BYTES:
        yield direct
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}/{name}"
    finally:
        os.close(descriptor)


def to_line(message: dict[str, Any]) -> bytes:
    """Return a message as one line of JSON."""
    return json.dumps(message, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def receive_line(connection: socket.socket, most: int) -> bytes:
    """Return the first line that arrives, without what follows; shorter if the connection ends.

    Raises:
        ListenerError: the line is longer than ``most`` bytes.
        OSError
    """
    line = b""
    while not line.endswith(b"\n"):
        if len(line) >= most:
            raise ListenerError(f"A line of more than {most} bytes was received.")
        part = connection.recv(1)
        if not part:
            break
        line += part
    return line


def error_to_message(error: SignalMLError) -> dict[str, Any]:
    """Return the answer of a request that failed."""
    return {"error": {"code": error.code, "message": str(error)}}


def error_of_message(found: dict[str, Any]) -> SignalMLError:
    """Return the error of such an answer, as it was raised in the listener."""
    kinds = {kind.code: kind for kind in _all_kinds(SignalMLError)}
    return kinds.get(str(found.get("code")), ListenerError)(str(found.get("message")))


def _all_kinds(kind: type[SignalMLError]) -> Iterator[type[SignalMLError]]:
    yield kind
    for each in kind.__subclasses__():
        yield from _all_kinds(each)
