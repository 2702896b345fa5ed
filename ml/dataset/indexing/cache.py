"""Cache of measured facts of files, so that the next index decodes only changed files.

The file has JSON lines. The first line has the format and the SHA-256 of the rest. Each other line describes one file,
identified by resolved path, size and the SHA-256 of its content. Size and time alone are no key: memory cards, copies
and backups give different files the same ones. The file is always written as a whole. A damaged cache, or one of
another format, is ignored.
"""

import hashlib
import json
from collections.abc import Collection
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ml.audio.info import AudioInfo
from ml.dataset.entries import FileRefusal
from ml.system.atomic import write_atomic

# Increase this number if the measured facts, the refusals or the key change.
FORMAT = 4
DIGEST = "sha256"  # the fastest of hashlib where the processor computes it, with 1 to 2 GB/s on a core
DIGEST_DIGITS = 32
Key = tuple[str, int, str]
InfoOrRefusal = AudioInfo | FileRefusal


def key_of(file: Path, content: memoryview | None = None) -> Key:
    """Return resolved path, size and a digest of the content of a file.

    Args:
        file: the file.
        content: its content, if it is open already; None reads the file.

    Raises:
        OSError: the file does not exist or cannot be read.
    """
    file = file.resolve()
    if content is not None:
        return str(file), len(content), hashlib.new(DIGEST, content).hexdigest()[:DIGEST_DIGITS]
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, DIGEST).hexdigest()[:DIGEST_DIGITS]
        return str(file), stream.tell(), digest


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


def write(file: Path | None, known: dict[Key, InfoOrRefusal], current: Collection[Key], root: Path) -> None:
    """Write the facts, without files below ``root`` that have changed or no longer exist.

    Write errors are ignored, because the cache only saves time.

    Args:
        file: the cache; None writes nothing.
        known: facts by key.
        current: keys of the files of this index.
        root: folder of this index.
    """
    if file is None:
        return
    inside, of_index, paths = str(root.resolve()), set(current), {path for path, *_ in current}
    body = b"".join(
        _line(key, found)
        for key, found in sorted(known.items())
        if key in of_index or (key[0] not in paths and (not key[0].startswith(inside) or _has_size(key)))
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
    path, size, digest, kind, facts = line
    return (path, size, digest), FileRefusal(**facts) if kind == "refusal" else AudioInfo(**facts)


def _has_size(key: Key) -> bool:
    """Return whether a file that is not of this index still exists with its size. Its content decides later."""
    try:
        return Path(key[0]).stat().st_size == key[1]
    except OSError:
        return False
