"""Cache of measured facts of files, so that the next index reads only changed files.

The file has JSON lines. The first line has the format and the SHA-256 of the rest. Each other line describes one file,
identified by resolved path, size and modification time. The file is always written as a whole. A damaged cache, or one
of another format, is ignored.
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

# Increase this number if the measured facts or the refusals change.
FORMAT = 3
Key = tuple[str, int, int]
InfoOrRefusal = AudioInfo | FileRefusal


def key_of(file: Path) -> Key:
    """Return resolved path, size and modification time (ns) of a file.

    Raises:
        OSError: the file does not exist or cannot be accessed.
    """
    file = file.resolve()
    state = file.stat()
    return str(file), state.st_size, state.st_mtime_ns


def read(file: Path | None) -> dict[Key, InfoOrRefusal]:
    """Return the cached facts; empty without a cache or with a damaged one."""
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
    """Write the facts, without files below ``root`` that have changed or no longer exist.

    Write errors are ignored, because the cache only saves time.
    """
    if file is None:
        return
    inside = str(root.resolve())
    body = b"".join(
        _line(key, found) for key, found in sorted(known.items()) if not key[0].startswith(inside) or _is_current(key)
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


def _is_current(key: Key) -> bool:
    try:
        return key_of(Path(key[0])) == key
    except OSError:
        return False
