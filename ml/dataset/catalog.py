"""The datasets of a home by their names: what long work needs of each, whether it is a collection or a folder.

A job is pinned to the version of a dataset that it began with. A collection can be read as it was then. A folder that
somebody laid there cannot: what is there now is gone on with.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from ml.audio.info import AudioInfo
from ml.dataset.annotations import NOTHING_KNOWN, Annotation
from ml.dataset.collection.state import is_collection
from ml.dataset.collection.store import Collection
from ml.dataset.entries import Dataset, Entry, FileRefusal
from ml.dataset.indexing.build import index, read_infos, sort_with_sessions
from ml.dataset.indexing.cache import InfoOrRefusal
from ml.dataset.indexing.collection_listing import list_collection
from ml.dataset.indexing.layouts import CLASS_UNKNOWN
from ml.dataset.indexing.listing import ListedRecording, audio_files_below, natural_key, stays_within
from ml.dataset.paths import NAME_PATTERN, dataset_folder, datasets_folder, index_cache_file
from ml.errors import DatasetEmpty, DatasetNotFound, RecordingNotFound
from ml.system.progress import ProgressCallback, ignore_progress

LISTED = 10  # names in one sentence


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoringItem:
    """One file of a dataset that can be scored, labelled or not, or why it cannot.

    Attributes:
        path: relative to the dataset's folder, with slashes.
        id: hash of its sound; None where it could not be read.
        name: the client's file name, or the path.
        annotation: what is known of it.
        duration_s: of the recording.
        error: a stable code, a colon and a sentence; then only path and name are known.
    """

    path: str
    id: str | None = None
    name: str
    annotation: Annotation = NOTHING_KNOWN
    duration_s: float | None = None
    error: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, in one level."""
        facts = {"path": self.path, "id": self.id, "name": self.name, "duration_s": self.duration_s}
        return facts | self.annotation.to_dict() | {"error": self.error}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "ScoringItem":
        """The inverse of :meth:`to_dict`."""
        facts = {name: values[name] for name in ("path", "id", "name", "duration_s", "error")}
        return cls(annotation=Annotation.from_dict(values), **facts)


def dataset_names(home: Path) -> list[str]:
    """The datasets of a home, collections and folders, in alphabetical order."""
    folder = datasets_folder(home)
    if not folder.is_dir():
        return []
    return sorted(path.name for path in folder.iterdir() if NAME_PATTERN.fullmatch(path.name) and path.is_dir())


def require_dataset(home: Path, name: str) -> Path:
    """The folder of a dataset that is there.

    Raises:
        InvalidName
        DatasetNotFound: it says which there are.
    """
    folder = dataset_folder(home, name)
    if not folder.is_dir():
        there = dataset_names(home)
        more = f" and {len(there) - LISTED} more" if len(there) > LISTED else ""
        raise DatasetNotFound(f"There is no dataset {name!r}; there are: {', '.join(there[:LISTED]) or 'none'}{more}.")
    return folder


def dataset_version(
    home: Path, name: str, *, processes: int | None = None, report: ProgressCallback = ignore_progress
) -> str:
    """What a job is pinned to: a collection's lines, or the fingerprint of a folder's index, which reads its files.

    Raises:
        InvalidName, DatasetNotFound
        DatasetEmpty: a folder without a recording that can be read.
    """
    folder = require_dataset(home, name)
    if is_collection(folder):
        return Collection(home, name).version
    try:
        return index(folder, cache=index_cache_file(home), processes=processes, report=report).fingerprint
    except DatasetEmpty:
        facts = [(item.path, item.id) for item in _of_folder(home, folder, processes, report)]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def list_items(
    home: Path, name: str, version: str, *, processes: int | None = None, report: ProgressCallback = ignore_progress
) -> tuple[ScoringItem, ...]:
    """Everything that can be scored, labelled or not, in order of recording; files that cannot are items with an error.

    Args:
        home: the folder that holds ``datasets/``.
        name: of the dataset.
        version: of a collection; a folder is read as it is now, whatever version is asked for.
        processes: how many to read a folder's files with; None decides by cores and files.
        report: told after each file that is read.

    Raises:
        InvalidName, DatasetNotFound, DatasetVersionNotFound
        DatasetEmpty: there is no recording at all.
    """
    folder = require_dataset(home, name)
    if is_collection(folder):
        return tuple(_of_collection(folder, version))
    return tuple(_of_folder(home, folder, processes, report))


def load_dataset(
    home: Path,
    name: str,
    version: str,
    *,
    snr_db: float | None = None,
    processes: int | None = None,
    report: ProgressCallback = ignore_progress,
) -> Dataset:
    """What can be trained on; arguments as those of :func:`list_items`, ``snr_db`` as that of :func:`ml.dataset.index`.

    Raises:
        InvalidName, DatasetNotFound, DatasetVersionNotFound, ManifestInvalid
        DatasetEmpty: no recording is there and labelled.
    """
    folder = require_dataset(home, name)
    if is_collection(folder):
        return Collection(home, name).dataset(version, snr_db=snr_db)
    return index(folder, snr_db=snr_db, cache=index_cache_file(home), processes=processes, report=report)


def item_file(home: Path, name: str, path: str) -> Path:
    """The file of an item, whether or not it exists; never one outside of the dataset's folder.

    Raises:
        InvalidName, DatasetNotFound
        RecordingNotFound: the path leads out of the folder.
    """
    folder = require_dataset(home, name)
    if "\0" in path or not stays_within(folder, folder / path):
        raise RecordingNotFound(f"{path!r} leads out of the dataset {name}; a path below its folder was expected.")
    return folder / path


def _of_collection(folder: Path, version: str) -> Iterator[ScoringItem]:
    listing = list_collection(folder, version)
    found = {recording.path: recording for recording in sort_with_sessions(listing.recordings)}
    refused = {refusal.path: refusal for refusal in listing.refusals}
    for path in sorted(found.keys() | refused.keys(), key=natural_key):
        yield (
            _item_from_refusal(refused[path])
            if path in refused
            else _item_from_listed(found[path], listing.infos[path])
        )


def _of_folder(home: Path, folder: Path, processes: int | None, report: ProgressCallback) -> list[ScoringItem]:
    """By the folder's index; recordings whose class nothing tells are read too."""
    cache = index_cache_file(home)
    root, entries, refusals = _index_folder(folder, cache, processes, report)
    unlabelled = [refusal.path for refusal in refusals if refusal.code == CLASS_UNKNOWN]
    read = read_infos([root / path for path in unlabelled], root, cache, processes, report)
    items = [
        *map(_of_entry, entries),
        *(_item_from_refusal(refusal) for refusal in refusals if refusal.code != CLASS_UNKNOWN),
        *(_item_from_info(path, found) for path, found in zip(unlabelled, read, strict=True)),
    ]
    # A manifest's paths may start in a folder below its own.
    below = PurePosixPath(os.path.relpath(root, folder))
    return sorted(
        (replace(item, path=str(below / item.path)) for item in items), key=lambda item: natural_key(item.path)
    )


def _index_folder(
    folder: Path, cache: Path, processes: int | None, report: ProgressCallback
) -> tuple[Path, tuple[Entry, ...], tuple[FileRefusal, ...]]:
    """Root, entries and refusals; where the index has no entries, each file is one whose class is unknown."""
    try:
        dataset = index(folder, cache=cache, processes=processes, report=report)
    except DatasetEmpty:
        files = [str(file) for file in audio_files_below(folder)]
        if not files:
            raise
        return folder, (), tuple(FileRefusal(file, CLASS_UNKNOWN, "Nothing tells its class.") for file in files)
    return dataset.root, dataset.entries, dataset.refusals


def _of_entry(entry: Entry) -> ScoringItem:
    return ScoringItem(
        path=entry.path,
        id=entry.audio_hash,
        name=entry.path,
        annotation=entry.annotation,
        duration_s=entry.info.duration_s,
    )


def _item_from_info(path: str, found: InfoOrRefusal) -> ScoringItem:
    if isinstance(found, FileRefusal):
        return _item_from_refusal(replace(found, path=path))
    return ScoringItem(path=path, id=found.audio_hash, name=path, duration_s=found.duration_s)


def _item_from_listed(recording: ListedRecording, facts: AudioInfo) -> ScoringItem:
    return ScoringItem(
        path=recording.path,
        id=facts.audio_hash,
        name=recording.file_name or recording.path,
        annotation=replace(recording.annotation, session=recording.annotation.session or None),
        duration_s=facts.duration_s,
    )


def _item_from_refusal(refusal: FileRefusal) -> ScoringItem:
    return ScoringItem(path=refusal.path, name=refusal.path, error=f"{refusal.code}: {refusal.reason}")
