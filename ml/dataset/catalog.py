"""Datasets of a home by name: version, items to score and recordings to train on.

A job uses the dataset version that it started with. A collection can be read at any of its versions. A plain folder
cannot: the job continues with its present content.
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
from ml.dataset.indexing.build import index, index_listing, read_infos, sort_with_sessions, verified_infos
from ml.dataset.indexing.cache import InfoOrRefusal
from ml.dataset.indexing.collection_listing import list_collection
from ml.dataset.indexing.layouts import CLASS_UNKNOWN
from ml.dataset.indexing.listing import ListedRecording, natural_key, stays_within
from ml.dataset.indexing.scan import scan_folder
from ml.dataset.paths import NAME_PATTERN, dataset_folder, datasets_folder, index_cache_file
from ml.errors import DatasetEmpty, DatasetNotFound, RecordingNotFound
from ml.system.progress import ProgressCallback, ignore_progress

MAX_NAMES_SHOWN = 10  # dataset names in one error message


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoringItem:
    """One file of a dataset: a recording to score, or the reason why it cannot be scored.

    Attributes:
        path: path relative to the dataset's folder, with slashes.
        id: hash of the samples; None where the file cannot be read.
        name: file name that the client gave, or the path.
        annotation: known facts of the recording.
        duration_s: duration in seconds.
        error: stable code, colon and sentence; with an error, only path and name are known.
    """

    path: str
    id: str | None = None
    name: str
    annotation: Annotation = NOTHING_KNOWN
    duration_s: float | None = None
    error: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, in one level."""
        facts = {"path": self.path, "id": self.id, "name": self.name, "duration_s": self.duration_s}
        return facts | self.annotation.to_dict() | {"error": self.error}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "ScoringItem":
        """Create an item from the values of :meth:`to_dict`."""
        facts = {name: values[name] for name in ("path", "id", "name", "duration_s", "error")}
        return cls(annotation=Annotation.from_dict(values), **facts)


def dataset_names(home: Path) -> list[str]:
    """Return the names of all collections and folders of a home, in alphabetical order."""
    folder = datasets_folder(home)
    if not folder.is_dir():
        return []
    return sorted(path.name for path in folder.iterdir() if NAME_PATTERN.fullmatch(path.name) and path.is_dir())


def require_dataset(home: Path, name: str, *, list_others: bool = False) -> Path:
    """Return the folder of a dataset.

    Raises:
        InvalidName
        DatasetNotFound: there is no such dataset; with ``list_others`` the message lists the existing ones.
    """
    folder = dataset_folder(home, name)
    if not folder.is_dir():
        if not list_others:
            raise DatasetNotFound(f"There is no dataset {name!r}.")
        names = dataset_names(home)
        more = f" and {len(names) - MAX_NAMES_SHOWN} more" if len(names) > MAX_NAMES_SHOWN else ""
        existing = ", ".join(names[:MAX_NAMES_SHOWN]) or "none"
        raise DatasetNotFound(f"There is no dataset {name!r}; existing datasets: {existing}{more}.")
    return folder


def dataset_version(
    home: Path, name: str, *, processes: int | None = None, report: ProgressCallback = ignore_progress
) -> str:
    """Return the version that a job uses.

    For a collection it is the number of journal lines. For a folder it is the fingerprint of its index, which reads all
    files; without labelled recordings it is a hash of paths and samples.

    Raises:
        InvalidName, DatasetNotFound
        DatasetEmpty: the folder has no recording.
    """
    folder = require_dataset(home, name)
    if is_collection(folder):
        return Collection(home, name).version
    try:
        cache = index_cache_file(home)
        return index(folder, within=folder, cache=cache, processes=processes, report=report).fingerprint
    except DatasetEmpty:
        facts = [(item.path, item.id) for item in _folder_items(home, folder, processes, report)]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def list_items(
    home: Path, name: str, version: str, *, processes: int | None = None, report: ProgressCallback = ignore_progress
) -> tuple[ScoringItem, ...]:
    """Return all files of a dataset in recording order; an item that cannot be scored has an error.

    Args:
        home: folder that contains ``datasets/``.
        name: name of the dataset.
        version: version of a collection; a folder is always read as it is now.
        processes: number of processes that read a folder's files; None chooses by cores and files.
        report: called after each file that is read.

    Raises:
        InvalidName, DatasetNotFound, DatasetVersionNotFound
        DatasetEmpty: there is no recording at all.
    """
    folder = require_dataset(home, name)
    if is_collection(folder):
        return tuple(_collection_items(home, folder, version, processes, report))
    return tuple(_folder_items(home, folder, processes, report))


def load_dataset(
    home: Path,
    name: str,
    version: str,
    *,
    snr_db: float | None = None,
    processes: int | None = None,
    report: ProgressCallback = ignore_progress,
) -> Dataset:
    """Return the labelled recordings of a dataset.

    The arguments are those of :func:`list_items`; ``snr_db`` is that of :func:`ml.dataset.indexing.build.index`.

    Raises:
        InvalidName, DatasetNotFound, DatasetVersionNotFound, InvalidManifest
        DatasetEmpty: there is no readable recording with a label.
    """
    folder = require_dataset(home, name)
    cache = index_cache_file(home)
    if is_collection(folder):
        listing = list_collection(folder, version)
        return index_listing(listing, folder, snr_db=snr_db, cache=cache, processes=processes, report=report)
    return index(folder, snr_db=snr_db, within=folder, cache=cache, processes=processes, report=report)


def item_file(home: Path, name: str, path: str) -> Path:
    """Return the path of an item's file, whether or not the file exists.

    Raises:
        InvalidName, DatasetNotFound
        RecordingNotFound: the path leads out of the dataset's folder.
    """
    folder = require_dataset(home, name)
    if "\0" in path or not stays_within(folder, folder / path):
        raise RecordingNotFound(f"{path!r} is outside the dataset {name}; a path inside its folder was expected.")
    return folder / path


def _collection_items(
    home: Path, folder: Path, version: str, processes: int | None, report: ProgressCallback
) -> Iterator[ScoringItem]:
    listing = list_collection(folder, version)
    infos = verified_infos(listing.recordings, listing, index_cache_file(home), processes, report)
    recordings = sort_with_sessions(listing.recordings, listing.root, infos)
    found = {recording.path: recording for recording in recordings}
    refused = {refusal.path: refusal for refusal in listing.refusals}
    refused |= {path: replace(info, path=path) for path, info in infos.items() if isinstance(info, FileRefusal)}
    for path in sorted(found.keys() | refused.keys(), key=natural_key):
        yield (
            _item_from_refusal(refused[path])
            if path in refused
            else _item_from_listed(found[path], listing.infos[path])
        )


def _folder_items(home: Path, folder: Path, processes: int | None, report: ProgressCallback) -> list[ScoringItem]:
    """Return the items of a folder by its index; recordings of unknown class are read too."""
    cache = index_cache_file(home)
    root, entries, refusals = _index_folder(folder, cache, processes, report)
    unlabelled = [refusal.path for refusal in refusals if refusal.code == CLASS_UNKNOWN]
    read = read_infos([root / path for path in unlabelled], root, cache, processes, report)
    items = [
        *map(_item_from_entry, entries),
        *(_item_from_refusal(refusal) for refusal in refusals if refusal.code != CLASS_UNKNOWN),
        *(_item_from_info(path, found) for path, found in zip(unlabelled, read, strict=True)),
    ]
    # The paths of a manifest may start in its subfolder recordings.
    below = PurePosixPath(os.path.relpath(root, folder))
    return sorted(
        (replace(item, path=str(below / item.path)) for item in items), key=lambda item: natural_key(item.path)
    )


def _index_folder(
    folder: Path, cache: Path, processes: int | None, report: ProgressCallback
) -> tuple[Path, tuple[Entry, ...], tuple[FileRefusal, ...]]:
    """Return root, entries and refusals; with an empty index, each file is a refusal of unknown class."""
    try:
        dataset = index(folder, within=folder, cache=cache, processes=processes, report=report)
    except DatasetEmpty:
        files = [str(file) for file in scan_folder(folder, within=folder).files]
        if not files:
            raise
        return folder, (), tuple(FileRefusal(file, CLASS_UNKNOWN, "Its class is unknown.") for file in files)
    return dataset.root, dataset.entries, dataset.refusals


def _item_from_entry(entry: Entry) -> ScoringItem:
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
