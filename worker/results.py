"""Files of a job in ``<home>/jobs/<id>/``.

::

    plan-<token>/part-00007.json    items of a part, as they were at the start of the job
    part-00007-<at>-<token>.ndjson  rows of a part, from item <at> on
    rows-<token>.ndjson             all rows in order; the result, if the record names it

Each name contains the token of the lease that wrote the file, and the record lists the files that count. So files from
an attempt that has lost its lease are ignored.
"""

import csv
import io
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ml.system.atomic import atomic_folder, make_folder, sync_folder, to_json, translate_disk_full, write_atomic
from ml.system.names import PATH_NAME, child
from ml.system.server_paths import hide_folders
from ml.system.text import csv_row
from worker.jobs import JOB_ID

FOLDER = "jobs"
ResultRow = Mapping[str, Any]
NOTHING_LOST = "earlier results are kept; free some space and submit the job again"


class JobFolder:
    """Folder of one job.

    Args:
        home: SIGNALML_HOME.
        job: id of the job.

    Raises:
        InvalidName: the id is no id of a job. Every method raises it for a name that is no name of a file here.
    """

    def __init__(self, home: Path, job: str) -> None:
        self.path = child(home / FOLDER, job, JOB_ID)
        self._home = home

    def write_plan(self, parts: Sequence[Any], token: int) -> str:
        """Write the items of each part as plain values; return the name of the plan.

        Raises:
            StorageFull: the disk is full.
        """
        name = f"plan-{token}"
        with atomic_folder(child(self.path, name)) as folder:
            for number, items in enumerate(parts):
                write_atomic(folder / f"part-{number:05d}.json", to_json(items))
        return name

    def planned(self, plan: str, part: str) -> Any:
        """Return the items of a part."""
        return json.loads(child(child(self.path, plan), f"{part}.json").read_bytes())

    def write_part(self, part: str, at: int, token: int, rows: Iterable[ResultRow]) -> str:
        """Write rows of a part, from its item ``at`` on; return the name of the file.

        Raises:
            StorageFull: the disk is full.
        """
        name = f"{part}-{at:06d}-{token}.ndjson"
        with translate_disk_full(self.path / name, NOTHING_LOST):
            write_atomic(child(self.path, name), b"".join(_line(self._without_folders(row)) for row in rows))
        return name

    def _without_folders(self, row: ResultRow) -> ResultRow:
        """Return a row whose error does not describe the folders of this computer."""
        return {**row, "error": hide_folders(row["error"], self._home)} if row.get("error") else row

    def merge_parts(self, files: Sequence[str], token: int) -> str:
        """Merge the rows of all parts into one file; return its name.

        Raises:
            StorageFull: the disk is full.
        """
        name = f"rows-{token}.ndjson"
        incomplete = self.path / f".{name}"
        make_folder(self.path)
        with translate_disk_full(self.path / name, NOTHING_LOST):
            try:
                with incomplete.open("wb") as out:
                    for file in files:
                        with child(self.path, file).open("rb") as part:
                            shutil.copyfileobj(part, out)
                    out.flush()
                    os.fsync(out.fileno())
                incomplete.replace(self.path / name)
            finally:
                incomplete.unlink(missing_ok=True)
        sync_folder(self.path)
        return name

    def has(self, name: str) -> bool:
        """Return whether there is a file of this name; no other text is a name."""
        return bool(PATH_NAME.fullmatch(name)) and (self.path / name).is_file()

    def rows(self, name: str) -> Iterator[dict[str, Any]]:
        """Yield the rows of a result."""
        with child(self.path, name).open("rb") as lines:
            for line in lines:
                yield json.loads(line)

    def keep_only(self, name: str) -> None:
        """Delete all files except this one."""
        for each in self.path.iterdir():
            if each.name == name:
                continue
            if each.is_dir():
                shutil.rmtree(each, ignore_errors=True)
            else:
                each.unlink(missing_ok=True)

    def delete(self) -> None:
        """Delete the folder."""
        shutil.rmtree(self.path, ignore_errors=True)


def as_csv(rows: Iterable[ResultRow]) -> Iterator[bytes]:
    """Yield a header and one CSV line per row.

    Numbers keep all digits; lists are joined by ``;``. No text is a formula (:mod:`ml.system.text`).
    """
    for number, row in enumerate(rows):
        if number == 0:
            yield _cells(row.keys())
        yield _cells(map(_cell, row.values()))


def as_json(rows: Iterable[ResultRow]) -> Iterator[bytes]:
    """Yield one JSON array with one object per line."""
    before = b"[\n"
    for row in rows:
        yield before + _line(row).rstrip(b"\n")
        before = b",\n"
    yield b"[]\n" if before == b"[\n" else b"\n]\n"


def as_ndjson(rows: Iterable[ResultRow]) -> Iterator[bytes]:
    """Yield one JSON object per line."""
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
    """Return one CSV line. Bytes of file names that are not text are written as escapes."""
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(csv_row(values))
    return line.getvalue().encode(errors="backslashreplace")
