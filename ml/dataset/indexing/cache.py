"""What was measured of files once, so that a second look reads only those that have changed.

A text of JSON lines: the first has the format and a SHA-256 of the rest, each other one a file by its resolved path,
size and time of change. It is written whole; one that is damaged, or of another format, is as good as none.
"""

import hashlib
import json
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ml.audio.info import AudioInfo
from ml.dataset.entries import FileRefusal
from ml.system.atomic import write_atomic

# Raise it with any change of what a survey measures or refuses.
FORMAT = 1
Key = tuple[str, int, int]
InfoOrRefusal = AudioInfo | FileRefusal


def key_of(file: Path) -> Key:
    """A file as it lies there now.

    Raises:
        OSError: it does not.
    """
    file = file.resolve()
    state = file.stat()
    return str(file), state.st_size, state.st_mtime_ns


def read(file: Path | None) -> dict[Key, InfoOrRefusal]:
    """What is known; nothing where there is no cache or it is damaged."""
    if file is None:
        return {}
    try:
        head, body = file.read_bytes().split(b"\n", 1)
        if json.loads(head) != _head(body):
            return {}
        return dict(_parse_line(json.loads(line)) for line in body.splitlines())
    except (OSError, ValueError, TypeError, KeyError):
        return {}


def write(file: Path | None, known: dict[Key, InfoOrRefusal], root: Path) -> None:
    """Keep what is known, less the files below ``root`` that are there no longer.

    A cache that cannot be written is done without: it saves time and nothing else.
    """
    if file is None:
        return
    inside = str(root.resolve())
    body = b"".join(
        _line(key, found) for key, found in sorted(known.items()) if not key[0].startswith(inside) or _is_now(key)
    )
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(file, json.dumps(_head(body)).encode() + b"\n" + body)


def _head(body: bytes) -> dict[str, Any]:
    return {"format": FORMAT, "sha256": hashlib.sha256(body).hexdigest()}


def _line(key: Key, found: InfoOrRefusal) -> bytes:
    kind = "refusal" if isinstance(found, FileRefusal) else "survey"
    return json.dumps([*key, kind, asdict(found)]).encode() + b"\n"


def _parse_line(line: list[Any]) -> tuple[Key, InfoOrRefusal]:
    path, size, mtime_ns, kind, facts = line
    return (path, size, mtime_ns), FileRefusal(**facts) if kind == "refusal" else AudioInfo(**facts)


def _is_now(key: Key) -> bool:
    try:
        return key_of(Path(key[0])) == key
    except OSError:
        return False
