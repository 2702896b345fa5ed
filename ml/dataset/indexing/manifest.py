"""Manifest: a table of recordings.

The columns are ``path``, ``label`` and optionally ``machine``, ``machine_id``, ``snr_db``, ``fault``, ``group``,
``section``, ``domain`` and ``split``. For other forms of tables see :mod:`ml.dataset.indexing.table`.
"""

import math
import os
import unicodedata
from dataclasses import replace
from pathlib import Path, PurePosixPath

from ml.dataset.annotations import Annotation
from ml.dataset.entries import NORMAL, Contradiction, FileRefusal, machine_name
from ml.dataset.indexing.class_words import split_named
from ml.dataset.indexing.layouts import read_mimii_path
from ml.dataset.indexing.listing import ListedRecording, Listing, stays_within
from ml.dataset.indexing.scan import passed_over, scan_folder
from ml.dataset.indexing.table import (
    NO_FAULT,
    TABLE_SUFFIXES,
    Table,
    has_manifest_columns,
    may_have_labels,
    read_table,
    slashes,
)
from ml.errors import DatasetEmpty, DatasetError, InvalidManifest

NAME = "manifest.csv"
# The paths of a manifest are relative to its folder, to this folder next to it, or to the folder above.
RECORDINGS = "recordings"
ManifestRow = dict[str, str]


def has_manifest(folder: Path, within: Path | None) -> bool:
    """Return whether the table ``manifest.csv`` of a folder has the required columns.

    Args:
        folder: the folder.
        within: the table must be in this folder, after links; None allows every file that can be read.

    Raises:
        InvalidManifest: the file cannot be read.
    """
    return _may_read(folder / NAME, within) and has_manifest_columns(folder / NAME)


def list_manifest(file: Path, within: Path | None = None) -> Listing:
    """List the recordings of a manifest.

    Paths are absolute, or relative to the manifest's folder or, if none of the files is there, to the folder
    ``recordings`` next to the manifest or to the folder above. An invalid row is a refusal. If a file is listed twice,
    the first row is used; another label of it is a contradiction.

    Args:
        file: the manifest.
        within: all files must be in this folder, after links; None allows every file that can be read.

    Raises:
        DatasetNotFound, InvalidManifest, DatasetEmpty
    """
    table = read_table(file)
    if not table.rows:
        raise DatasetEmpty(f"{file} has a header but no rows.")
    finder = _FileFinder(_root(table, within), within)
    listing = Listing(finder.root, "manifest", explicit_sessions=True)
    seen: dict[str, ListedRecording] = {}
    for row in table.rows:
        try:
            recording = _recording(table, row, finder)
            _refuse_double(recording, seen, listing)
        except _RowRefused as refused:
            listing.refusals.append(FileRefusal(row["path"] or "(no path)", refused.code, str(refused)))
        else:
            listing.recordings.append(recording)
            listing.explicit_sessions &= bool(row.get("group"))
            _note_fault(listing, recording, row.get("fault", ""))
            _note_other_label(listing, recording, table, row)
    return listing


def pass_over_unlisted(listing: Listing, folder: Path, within: Path | None) -> Listing:
    """Add the recordings of the manifest's folder that it does not list to what is passed over."""
    scan = scan_folder(folder, within)
    paths = [each.path for each in listing.recordings] + [each.path for each in listing.refusals]
    listed = {os.path.realpath(listing.root / path) for path in paths}
    unlisted = [file for file in scan.files if scan.real[file] not in listed]
    listing.passed_over += [passed_over(str(file), "not_listed") for file in unlisted]
    listing.passed_over += [each for each in scan.passed_over if each.path != NAME]
    return listing


def note_tables(listing: Listing, folder: Path, within: Path | None) -> Listing:
    """Add contradictions between guessed labels and tables in the same folder that state other labels.

    A flat dataset is read without its tables, because they can be anything. But if one of them is a manifest of another
    name, its faults must not be learned as normal sound. Neither must they if it has labels that cannot be read.
    """
    known = {os.path.realpath(listing.root / each.path): each for each in listing.recordings}
    for name in [each.path for each in listing.passed_over if each.path.lower().endswith(TABLE_SUFFIXES)]:
        if not _may_read(folder / name, within):
            continue
        try:
            stated = list_manifest(folder / name, within)
        except InvalidManifest as error:
            if PurePosixPath(name).name.lower() == NAME or _has_labels(folder / name, listing, of_any_file=True):
                _note_unread(listing, str(error))
            continue
        except DatasetEmpty:
            continue
        for each in stated.recordings:
            found = known.get(os.path.realpath(stated.root / each.path))
            if found is not None and found.annotation.label != each.annotation.label:
                _note_guess(listing, found, f"{name} states {each.annotation.label}.")
        if not stated.recordings and _has_labels(folder / name, listing):
            first = stated.refusals[0]
            _note_unread(listing, f"{name}: {first.path}: {first.reason}")
    return listing


def reason_unused(folder: Path, within: Path | None) -> str:
    """Return why the table ``manifest.csv`` of a folder is not read as a manifest, after a space; empty without one."""
    if not _may_read(folder / NAME, within):
        return ""
    try:
        read_table(folder / NAME)
    except DatasetError as error:
        return f" {error}"
    return ""


def _may_read(table: Path, within: Path | None) -> bool:
    """Return whether there is a table, and no link to it leads out of the folder that it must be in."""
    return table.is_file() and (within is None or stays_within(within, table))


def _has_labels(table: Path, listing: Listing, *, of_any_file: bool = False) -> bool:
    """Return whether a table seems to have labels of the recordings or, by its columns, of any files."""
    names = {name for each in listing.recordings for name in (each.path, PurePosixPath(each.path).stem)}
    try:
        return (of_any_file and has_manifest_columns(table)) or may_have_labels(table, names)
    except InvalidManifest:
        return False


def _note_unread(listing: Listing, reason: str) -> None:
    for recording in listing.recordings:
        _note_guess(listing, recording, f"a table beside it is not read: {reason}")


def _note_guess(listing: Listing, recording: ListedRecording, reason: str) -> None:
    label = recording.annotation.label or NORMAL
    listing.contradictions.append(Contradiction(recording.path, label, f"Its label {label} is a guess, and {reason}"))


class _RowRefused(Exception):
    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code


def _root(table: Table, within: Path | None) -> Path:
    """Return the first folder that has any of the files: the manifest's, ``recordings`` in it, or the one above."""
    here = table.file.parent
    folders = [here, here / RECORDINGS] + ([] if within is not None else [here.parent])
    for folder in folders:
        if any(os.path.isfile(folder / slashes(row["path"])) for row in table.rows if row["path"]):  # noqa: PTH113 - as in _FileFinder
            return folder
    return here


def _recording(table: Table, row: ManifestRow, finder: "_FileFinder") -> ListedRecording:
    label = table.label(row["label"])
    if label is None:
        raise _RowRefused(InvalidManifest.code, f"Its label is {row['label']!r}; normal or abnormal was expected.")
    path = finder.find(row["path"])
    annotation = Annotation(
        label=label,
        machine=row.get("machine") or None,
        machine_id=row.get("machine_id") or None,
        snr_db=_snr(row.get("snr_db", "")),
        fault=(row.get("fault") or None) if label == "abnormal" else None,
        session=row.get("group") or None,
        section=row.get("section") or None,
        domain=row.get("domain") or None,
        split=split_named(row.get("split", "")),
    )
    if table.original:
        annotation = _from_path(annotation, path)
    scope = machine_name(annotation.machine, annotation.machine_id)
    return ListedRecording(path=path, annotation=annotation, session_scope=scope)


def _from_path(annotation: Annotation, path: str) -> Annotation:
    """Add machine, id and SNR from a path of MIMII, which the original project's table does not have."""
    found = read_mimii_path(PurePosixPath(path))
    if found is None:
        return annotation
    return replace(annotation, machine=found.machine, machine_id=found.machine_id, snr_db=found.snr_db)


def _refuse_double(recording: ListedRecording, seen: dict[str, ListedRecording], listing: Listing) -> None:
    """Refuse a row of a file that an earlier row has; another label is a contradiction of the earlier row."""
    first = seen.setdefault(os.path.realpath(listing.root / recording.path), recording)
    if first is recording:
        return
    if first.annotation.label != recording.annotation.label:
        label = first.annotation.label or NORMAL
        reason = f"The manifest lists it as {label}, and again as {recording.annotation.label}."
        listing.contradictions.append(Contradiction(first.path, label, reason))
    raise _RowRefused(InvalidManifest.code, "The manifest lists it more than once; the first row is used.")


def _note_fault(listing: Listing, recording: ListedRecording, fault: str) -> None:
    if recording.annotation.label == NORMAL and fault.lower() not in NO_FAULT:
        reason = f"Its label is normal, and the column fault has {fault!r}."
        listing.contradictions.append(Contradiction(recording.path, NORMAL, reason))


def _note_other_label(listing: Listing, recording: ListedRecording, table: Table, row: ManifestRow) -> None:
    label = recording.annotation.label or NORMAL
    if (column := table.contradicting_column(row, label)) is not None:
        reason = f"Its label is {label}, and the column {column} has {row[column]!r}."
        listing.contradictions.append(Contradiction(recording.path, label, reason))


def _snr(text: str) -> float | None:
    if not text:
        return None
    try:
        value = float(text.replace(",", "."))
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise _RowRefused(InvalidManifest.code, f"Its snr_db is {text!r}; a number in dB was expected.")
    return value


class _FileFinder:
    """Finder of the files of a manifest; a folder is listed only for names in another Unicode normal form."""

    def __init__(self, root: Path, within: Path | None) -> None:
        self.root, self._within = root, within
        self._names: dict[Path, dict[str, str]] = {}

    def find(self, text: str) -> str:
        """Return the path relative to the root, or the path as it is outside of the root.

        Raises:
            _RowRefused: there is no such file, or it is not in the folder that it must be in.
        """
        if not text or "\0" in text:
            raise _RowRefused(InvalidManifest.code, "The row has no valid path.")
        file = Path(os.path.normpath(self.root / slashes(text)))
        if not text.isascii() and not os.path.exists(file):  # noqa: PTH110 - as below
            file = self._find_normalised(file)
        if self._within is not None and not (file.is_relative_to(self.root) and stays_within(self._within, file)):
            raise _RowRefused("path_outside", f"It is outside {self._within}; a path inside it was expected.")
        if not os.path.isfile(file):  # noqa: PTH113 - False, not an error, for a name that is too long
            kind = "is not a file" if os.path.exists(file) else "does not exist"  # noqa: PTH110 - as above
            raise _RowRefused("file_missing", f"The manifest lists it, but it {kind}.")
        if file.is_relative_to(self.root):
            return PurePosixPath(file.relative_to(self.root)).as_posix()
        outside = PurePosixPath(os.path.normpath(slashes(text)))
        return str(file) if outside.is_absolute() else str(outside)

    def _find_normalised(self, file: Path) -> Path:
        """Return the existing path whose names are equal after normalisation; the path itself without one."""
        found = Path(file.parts[0])
        for part in file.parts[1:]:
            exact = os.path.exists(found / part)  # noqa: PTH110 - as in find
            found /= part if exact else self._names_in(found).get(_normal_form(part), part)
        return found

    def _names_in(self, folder: Path) -> dict[str, str]:
        if folder not in self._names:
            try:
                self._names[folder] = {_normal_form(name): name for name in sorted(os.listdir(folder))}  # noqa: PTH208 - names, not paths
            except OSError:
                self._names[folder] = {}
        return self._names[folder]


def _normal_form(name: str) -> str:
    return unicodedata.normalize("NFC", name)
