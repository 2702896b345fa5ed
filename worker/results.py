"""What comes of a job, on disk in ``<home>/jobs/<id>/``.

::

    plan-<token>/part-00007.json    the items of a part, as they were when the job began
    part-00007-<at>-<token>.ndjson  rows of a part from one item on
    rows-<token>.ndjson             all rows, in order; its name in the record makes it the result

Every name holds the token of the lease under which it was written, and the record names the files that count: an
attempt that was given up and comes back can write, and changes nothing.
"""

import csv
import io
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ml.system.atomic import atomic_folder, sync_folder, to_json, translate_disk_full, write_atomic

FOLDER = "jobs"
ResultRow = Mapping[str, Any]
NOTHING_LOST = "what was done before is kept, and the job can be asked for again"


class JobFolder:
    """The files of one job.

    Args:
        home: SIGNALML_HOME.
        job: its id.
    """

    def __init__(self, home: Path, job: str) -> None:
        self.path = home / FOLDER / job

    def write_plan(self, parts: Sequence[Any], token: int) -> str:
        """Keep what each part is to work on, as plain values; returns the plan's name.

        Raises:
            StorageFull
        """
        name = f"plan-{token}"
        with atomic_folder(self.path / name) as folder:
            for number, work in enumerate(parts):
                write_atomic(folder / f"part-{number:05d}.json", to_json(work))
        return name

    def planned(self, plan: str, part: str) -> Any:
        """What a part is to work on."""
        return json.loads((self.path / plan / f"{part}.json").read_bytes())

    def write_part(self, part: str, at: int, token: int, rows: Iterable[ResultRow]) -> str:
        """Keep rows of a part, from its item ``at`` on; returns the file's name.

        Raises:
            StorageFull
        """
        name = f"{part}-{at:06d}-{token}.ndjson"
        with translate_disk_full(self.path / name, NOTHING_LOST):
            write_atomic(self.path / name, b"".join(_line(row) for row in rows))
        return name

    def merge_parts(self, files: Sequence[str], token: int) -> str:
        """Put the rows of all parts into one file; returns its name.

        Raises:
            StorageFull
        """
        name = f"rows-{token}.ndjson"
        aside = self.path / f".{name}"
        self.path.mkdir(parents=True, exist_ok=True)
        with translate_disk_full(self.path / name, NOTHING_LOST):
            try:
                with aside.open("wb") as out:
                    for file in files:
                        with (self.path / file).open("rb") as part:
                            shutil.copyfileobj(part, out)
                    out.flush()
                    os.fsync(out.fileno())
                aside.replace(self.path / name)
            finally:
                aside.unlink(missing_ok=True)
        sync_folder(self.path)
        return name

    def rows(self, name: str) -> Iterator[dict[str, Any]]:
        """The rows of a result, one after another."""
        with (self.path / name).open("rb") as lines:
            for line in lines:
                yield json.loads(line)

    def keep_only(self, name: str) -> None:
        """Clear away what the result was made of."""
        for each in self.path.iterdir():
            if each.name == name:
                continue
            if each.is_dir():
                shutil.rmtree(each, ignore_errors=True)
            else:
                each.unlink(missing_ok=True)

    def delete(self) -> None:
        """Remove everything."""
        shutil.rmtree(self.path, ignore_errors=True)


def as_csv(rows: Iterable[ResultRow]) -> Iterator[bytes]:
    """A header and a line per row. Numbers read back as the same; probabilities and the like are joined by ``;``."""
    for number, row in enumerate(rows):
        if number == 0:
            yield _cells(row.keys())
        yield _cells(map(_cell, row.values()))


def as_json(rows: Iterable[ResultRow]) -> Iterator[bytes]:
    """One array, an object a line."""
    before = b"[\n"
    for row in rows:
        yield before + _line(row).rstrip(b"\n")
        before = b",\n"
    yield b"[]\n" if before == b"[\n" else b"\n]\n"


def as_ndjson(rows: Iterable[ResultRow]) -> Iterator[bytes]:
    """An object a line."""
    return map(_line, rows)


def _line(row: ResultRow) -> bytes:
    return json.dumps(row, allow_nan=False).encode() + b"\n"


def _cell(value: object) -> object:
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list):
        return ";".join(map(repr, value))
    return str(value).lower() if isinstance(value, bool) else value


def _cells(values: Iterable[object]) -> bytes:
    """A line. A file's name may be bytes that are no text: they are written as escapes, not refused."""
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(values)
    return line.getvalue().encode(errors="backslashreplace")
