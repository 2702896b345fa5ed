"""Manifests of recordings: structure, odd cells, encodings, and changed bytes."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import psutil

from benchmarks.fuzz.odd_values import ODD_TEXTS, mutate
from benchmarks.fuzz.service import recording
from ml.dataset.indexing.build import index
from ml.errors import SignalMLError

COLUMNS = (
    "path",
    "label",
    "machine",
    "machine_id",
    "snr_db",
    "fault",
    "group",
    "file",
    "filename",
    "filePath",
    "class",
    "target",
    "anomaly",
    "split",
    "section",
    "domain",
    "time",
)
CELLS = (
    "normal",
    "abnormal",
    "True",
    "False",
    "0",
    "1",
    "a.wav",
    "./a.wav",
    "../a.wav",
    "b/c.wav",
    "3.5",
    "1e400",
    *ODD_TEXTS,
)
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "latin-1")
WORDS = (b",", b";", b"\t", b'"', b'""', b"\n", b"\r", b"\0", b"path", b"label", b"a.wav", b"\xff", b"\xef\xbb\xbf")


class Manifest:
    """Manifests in a folder with two recordings."""

    memory_bytes = 150_000_000

    def __init__(self, folder: Path) -> None:
        self._file = folder / "manifest.csv"
        (folder / "b").mkdir()
        for name in ("a.wav", "b/c.wav"):
            (folder / name).write_bytes(recording())

    def make(self, random: Random) -> bytes:
        """Return the bytes of one file."""
        columns = ["path", "label", *random.sample(COLUMNS, random.randrange(6))]
        if random.random() < 0.2:
            columns = random.sample(COLUMNS, random.choice((1, 2, 8)))
        random.shuffle(columns)
        rows = [[self._cell(random, name) for name in columns] for _ in range(random.choice((0, 1, 3, 30)))]
        mark = random.choice((",", ",", ",", ";", "\t", "|"))
        end = random.choice(("\n", "\r\n", "\r"))
        text = end.join(mark.join(row) for row in (columns, *rows))
        content = text.encode(random.choice(ENCODINGS) if random.random() < 0.2 else "utf-8", "replace")
        return mutate(random, content, WORDS) if random.random() < 0.5 else content

    def _cell(self, random: Random, column: str) -> str:
        if random.random() < 0.4:
            cell = random.choice(CELLS)
            return '"' + cell.replace('"', '""') + '"' if random.random() < 0.3 else cell
        return {"path": "a.wav", "file": "b/c.wav", "label": "normal"}.get(column, "")

    def check(self, data: bytes) -> str:
        """Index one manifest."""
        self._file.write_bytes(data)
        try:
            index(self._file, processes=1)
        except SignalMLError as error:
            return error.code
        return "accepted"

    def memory(self) -> int:
        """Return the resident memory of this process."""
        return int(psutil.Process(os.getpid()).memory_info().rss)


@contextmanager
def open_target(folder: Path) -> Iterator[Manifest]:
    """Write the recordings."""
    yield Manifest(folder)
