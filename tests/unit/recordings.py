"""Recordings for tests of collections, and the content of a collection."""

import json
from pathlib import Path

from ml.audio.info import read_info
from ml.dataset.collection.store import AddResult, Collection
from tests import sounds

NAME = "hall-3"


def sound(seed: int, seconds: float = 0.5) -> bytes:
    """A recording that differs for each seed."""
    return sounds.recording(sounds.noise(round(seconds * 8000), seed=seed), rate_hz=8000)


def put(collection: Collection, content: bytes | int, file_name: str = "a.wav", **given: str | float) -> AddResult:
    """Put a recording, given as bytes or as a seed, into a collection."""
    content = sound(content) if isinstance(content, int) else content
    return collection.add(content, read_info(content), file_name, given, "request-1")


def seen(home: Path) -> list[tuple[str, str | None]]:
    """Names and labels, as a new process reads them."""
    return [(r.file_name, r.annotation.label) for r in Collection(home, NAME).recordings()]


def files(collection: Collection) -> set[str]:
    """The files in the collection's folder of recordings, hidden files too."""
    return {f"recordings/{file.name}" for file in (collection.folder / "recordings").iterdir()}


def lengthened(folder: Path, count: int) -> None:
    """Extend the journal of a dataset with one recording to ``count`` more, all of the same file."""
    created, first = (folder / "journal.jsonl").read_bytes().splitlines()
    entry, lines = json.loads(first), [created]
    for number in range(1, count + 1):
        entry |= {"number": number, "survey": entry["survey"] | {"audio_hash": f"{number:032x}"}}
        lines.append(json.dumps(entry).encode())
    (folder / "journal.jsonl").write_bytes(b"\n".join([*lines, b""]))
