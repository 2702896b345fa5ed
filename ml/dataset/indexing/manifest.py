"""Manifest: a CSV table of recordings.

The columns are ``path``, ``label`` and optionally ``machine``, ``machine_id``, ``snr_db``, ``fault`` and ``group``.
"""

import csv
import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from ml.dataset.annotations import Annotation
from ml.dataset.entries import ABNORMAL, NORMAL, FileRefusal, Label, machine_name
from ml.dataset.indexing.listing import ListedRecording, Listing, stays_within
from ml.errors import DatasetEmpty, DatasetNotFound, InvalidManifest
from ml.system.text import from_csv_cell

NAME = "manifest.csv"
REQUIRED = ("path", "label")
# The paths of a manifest are relative to its folder, or to this folder next to the manifest.
RECORDINGS = "recordings"
ManifestRow = dict[str, str]


def is_manifest(file: Path) -> bool:
    """Return whether a file is a table with the required columns.

    Raises:
        InvalidManifest: the file cannot be read.
    """
    return file.is_file() and set(REQUIRED) <= set(_columns(file))


def list_manifest(file: Path) -> Listing:
    """List the recordings of a manifest.

    Paths are relative to the manifest's folder or, if none of the files is there, to the folder ``recordings`` next to
    the manifest. An invalid row is a refusal.

    Raises:
        DatasetNotFound, InvalidManifest, DatasetEmpty
    """
    rows = list(_rows(file))
    if not rows:
        raise DatasetEmpty(f"{file} has a header but no rows.")
    listing = Listing(_root(file, rows), "manifest")
    seen: set[str] = set()
    listing.explicit_sessions = True
    for row in rows:
        try:
            recording = _recording(row, listing.root)
            if recording.path in seen:
                raise _RowRefused(InvalidManifest.code, "The manifest lists it more than once; the first row is used.")
        except _RowRefused as refused:
            listing.refusals.append(FileRefusal(row["path"] or "(no path)", refused.code, str(refused)))
        else:
            seen.add(recording.path)
            listing.recordings.append(recording)
            listing.explicit_sessions &= bool(row.get("group"))
    return listing


class _RowRefused(Exception):
    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code


def _rows(file: Path) -> Iterator[ManifestRow]:
    columns = _columns(file)
    if missing := [name for name in REQUIRED if name not in columns]:
        raise InvalidManifest(
            f"{file} has the columns {', '.join(columns) or '(none)'}; {' and '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} needed, with commas between columns."
        )
    for cells in _lines(file):
        if any(cells):
            yield dict(zip(columns, [*cells, *[""] * len(columns)], strict=False))


def _columns(file: Path) -> list[str]:
    for cells in _lines(file, header=True):
        return [cell.lower() for cell in cells]
    return []


def _lines(file: Path, *, header: bool = False) -> Iterator[list[str]]:
    """Yield the header only, or all lines after it; blank lines are skipped."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as text:
            lines = (
                [from_csv_cell(cell.strip()) for cell in cells]
                for cells in csv.reader(text)
                if any(map(str.strip, cells))
            )
            if header:
                yield from [next(lines, [])]
            else:
                next(lines, None)
                yield from lines
    except FileNotFoundError as error:
        raise DatasetNotFound(f"{file} does not exist; a folder of recordings or a manifest was expected.") from error
    except OSError as error:
        raise InvalidManifest(f"{file} cannot be read: {error.strerror or error}.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InvalidManifest(f"{file} cannot be read as a table in UTF-8: {error}") from error


def _root(file: Path, rows: list[ManifestRow]) -> Path:
    """Return the manifest's folder, or the folder ``recordings`` in it if only that has any of the files."""
    recordings = file.parent / RECORDINGS
    found_here, found_below = (
        any(os.path.isfile(folder / row["path"]) for row in rows)  # noqa: PTH113 - as in _path
        for folder in (file.parent, recordings)
    )
    if not found_here and found_below:
        return recordings
    return file.parent


def _recording(row: ManifestRow, root: Path) -> ListedRecording:
    label, machine, machine_id = _label(row["label"]), row.get("machine") or None, row.get("machine_id") or None
    path = _path(row["path"], root)
    return ListedRecording(
        path=path,
        annotation=Annotation(
            label=label,
            machine=machine,
            machine_id=machine_id,
            snr_db=_snr(row.get("snr_db", "")),
            fault=(row.get("fault") or None) if label == "abnormal" else None,
            session=row.get("group") or None,
        ),
        session_scope=machine_name(machine, machine_id),
    )


def _label(text: str) -> Label:
    if text.lower() == NORMAL:
        return NORMAL
    if text.lower() == ABNORMAL:
        return ABNORMAL
    raise _RowRefused(InvalidManifest.code, f"Its label is {text!r}; normal or abnormal was expected.")


def _snr(text: str) -> float | None:
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise _RowRefused(InvalidManifest.code, f"Its snr_db is {text!r}; a number in dB was expected.")
    return value


def _path(text: str, root: Path) -> str:
    """Return the path relative to ``root``; refuse one that is outside ``root`` or is no file."""
    if not text or "\0" in text:
        raise _RowRefused(InvalidManifest.code, "The row has no valid path.")
    file = Path(os.path.normpath(root / text.replace("\\", "/")))
    if not file.is_relative_to(root) or not stays_within(root, file):
        raise _RowRefused("path_outside", f"It is outside {root}; a path inside it was expected.")
    if not os.path.isfile(file):  # noqa: PTH113 - False, not an error, for a name that is too long
        kind = "is not a file" if os.path.exists(file) else "does not exist"  # noqa: PTH110 - as above
        raise _RowRefused("file_missing", f"The manifest lists it, but it {kind}.")
    return PurePosixPath(file.relative_to(root)).as_posix()
