"""Datasets that grow: recordings that clients put in, and what people say of them.

::

    <home>/datasets/<name>/journal.jsonl   the truth: what was uploaded, labelled and removed, a line for each
    <home>/datasets/<name>/recordings/     the files, numbered in the order of their upload
    <home>/datasets/.<name>.lock           held by whoever writes
    <home>/datasets/.<name>.removed-*/     a dataset that is being removed; the next removal sweeps up one left behind

A file is there whole before the journal names it, and the journal names it before anybody is told.
"""

import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from ml.audio.info import AudioInfo
from ml.dataset.annotations import Annotation, AnnotationChanges, check_annotation
from ml.dataset.collection.folder import (
    delete_hidden,
    delete_orphans,
    hide,
    is_vacant,
    make,
    require_collection,
    write_lock,
)
from ml.dataset.collection.journal import JournalReader, append_entry
from ml.dataset.collection.state import (
    CREATED,
    FORMAT,
    JOURNAL,
    LABELLED,
    RECORDED,
    REMOVED,
    CollectionRecording,
    CollectionState,
    is_collection,
    path_of,
    read_state,
)
from ml.dataset.entries import Dataset
from ml.dataset.indexing.build import index_listing
from ml.dataset.indexing.collection_listing import list_collection
from ml.dataset.paths import dataset_folder
from ml.errors import DatasetExists, RecordingNotFound
from ml.system.atomic import write_atomic
from ml.system.clock import timestamp

MAX_FILE_NAME = 255
NO_REQUEST = "-"


class AddResult(NamedTuple):
    """What became of an upload: whether it is new, and, where it is not, whether it changed the labels."""

    recording: CollectionRecording
    added: bool
    relabelled: bool


class Collection:
    """One dataset of a home, whether or not it is there yet; safe under threads and beside other processes.

    What was read of its journal is kept, so that another look reads only what was appended since.

    Args:
        home: the folder that holds ``datasets/``; made when it is first written to.
        name: of the dataset.

    Raises:
        InvalidName: from the constructor.
    """

    def __init__(self, home: Path, name: str) -> None:
        self.name = name
        self.folder = dataset_folder(home, name)
        self._journal = self.folder / JOURNAL
        self._follower = JournalReader(self._journal)
        self._state = CollectionState()
        self._reading = threading.Lock()
        self._swept = False

    # Reading; each raises DatasetNotFound where there is no such dataset, DatasetReadOnly where it is no collection.

    def current_state(self) -> CollectionState:
        """The collection after every whole line; the next one makes another of it, and never changes this one."""
        with self._reading, self._translate_missing():
            from_start, lines = self._follower.new_lines()
            if from_start or lines:
                self._state = (CollectionState() if from_start else self._state).with_lines(lines)
            return self._state

    def recordings(self, at: str | None = None) -> tuple[CollectionRecording, ...]:
        """All recordings in the order of their upload, now or at a version.

        Raises:
            DatasetVersionNotFound
        """
        with self._translate_missing():
            found = self.current_state() if at is None else read_state(self.folder, at)
        return tuple(found.recordings.values())

    def recording(self, recording_id: str) -> CollectionRecording:
        """One recording by its id.

        Raises:
            RecordingNotFound
        """
        found = self.current_state().recordings.get(recording_id)
        if found is None:
            raise RecordingNotFound(f"{self.name} holds no recording {recording_id!r}.")
        return found

    def file(self, recording_id: str) -> Path:
        """The file of a recording.

        Raises:
            RecordingNotFound: there is no such recording, or its file was lost.
        """
        file = self.folder / self.recording(recording_id).path
        if not file.is_file():
            raise RecordingNotFound(f"{self.name} lists the recording {recording_id}, and its file does not exist.")
        return file

    @property
    def version(self) -> str:
        """How many lines its journal has."""
        return self.current_state().version

    @property
    def damaged(self) -> int:
        """How many of them say nothing that can be understood."""
        return self.current_state().damaged

    def dataset(self, at: str | None = None, *, snr_db: float | None = None) -> Dataset:
        """What can be trained on, now or at a version.

        Raises:
            DatasetVersionNotFound
            DatasetEmpty: no recording is there and labelled.
        """
        with self._translate_missing():
            listing = list_collection(self.folder, at)
        return index_listing(listing, self.folder, snr_db=snr_db)

    # Writing; each raises StorageFull where the disk is, and leaves everything as it was.

    def create(self, request_id: str = NO_REQUEST) -> None:
        """Make it, empty.

        Raises:
            DatasetExists: it is there, or a folder is in its place.
        """
        with self._write_lock():
            if not is_vacant(self.folder):
                raise DatasetExists(f"There is a dataset {self.name!r} already.")
            self._make(request_id)

    def delete(self) -> None:
        """Remove it with all its recordings: from one moment to the next it is not there.

        Raises:
            DatasetNotFound, DatasetReadOnly
        """
        require_collection(self.folder)
        with self._write_lock():
            require_collection(self.folder)
            hide(self.folder)
        delete_hidden(self.folder.parent)

    def add(
        self,
        content: bytes | bytearray,
        facts: AudioInfo,
        file_name: str,
        changes: AnnotationChanges,
        request_id: str = NO_REQUEST,
    ) -> AddResult:
        """Put a recording in; the dataset is made if it is not there. The same sound is kept once.

        Args:
            content: the file.
            facts: its survey.
            file_name: as the client named it; kept to be shown.
            changes: what is said of it. Of a sound that is there already, what is given and differs is a relabelling.
            request_id: kept with it.

        Raises:
            DatasetReadOnly, RecordingLabelsInvalid
        """
        changes = check_annotation(changes)
        self.require_writable()
        with self._write_lock():
            self.require_writable()
            known = self._known(facts.audio_hash)
            if known is not None and (self.folder / known.path).is_file():
                recording = self._relabel(known, changes, request_id)
                return AddResult(recording, added=False, relabelled=recording is not known)
            # One that the journal names and whose file was lost keeps what was said of it.
            labels = (known.annotation if known else Annotation()).with_changes(changes)
            with self._create_if_missing(request_id):
                recording = self._put_in(content, facts, file_name, labels, request_id)
        return AddResult(recording, added=True, relabelled=False)

    def relabel(
        self, recording_id: str, changes: AnnotationChanges, request_id: str = NO_REQUEST
    ) -> CollectionRecording:
        """Change what is said of a recording, as a new revision; the earlier ones are kept.

        Args:
            recording_id: of which.
            changes: the fields to change; None clears one.
            request_id: kept with the change.

        Raises:
            DatasetNotFound, DatasetReadOnly, RecordingNotFound, RecordingLabelsInvalid
        """
        changes = check_annotation(changes)
        require_collection(self.folder)
        with self._write_lock():
            return self._relabel(self.recording(recording_id), changes, request_id)

    def remove(self, recording_id: str, request_id: str = NO_REQUEST) -> None:
        """Remove a recording and its file.

        Raises:
            DatasetNotFound, DatasetReadOnly, RecordingNotFound
        """
        require_collection(self.folder)
        with self._write_lock():
            known = self.recording(recording_id)
            self._append(REMOVED, request_id, id=recording_id)
            (self.folder / known.path).unlink(missing_ok=True)

    # The journal

    def _known(self, recording_id: str) -> CollectionRecording | None:
        return self.current_state().recordings.get(recording_id) if is_collection(self.folder) else None

    def _append(self, kind: str, request_id: str, **facts: Any) -> None:
        append_entry(self._journal, _entry(kind, request_id, **facts))

    def _relabel(self, known: CollectionRecording, given: AnnotationChanges, request_id: str) -> CollectionRecording:
        after = known.annotation.with_changes(given)
        if after == known.annotation:
            return known
        self._append(LABELLED, request_id, id=known.id, labels=known.annotation.differences(after))
        return self.recording(known.id)

    def _put_in(
        self, content: bytes | bytearray, facts: AudioInfo, file_name: str, labels: Annotation, request_id: str
    ) -> CollectionRecording:
        number = self.current_state().last_number + 1
        file = self.folder / path_of(number, facts)
        write_atomic(file, content)
        try:
            self._append(
                RECORDED,
                request_id,
                number=number,
                file_name=file_name[-MAX_FILE_NAME:],
                labels=labels.to_dict(),
                survey=asdict(facts),
            )
        except OSError:
            file.unlink(missing_ok=True)
            raise
        return self.recording(facts.audio_hash)

    # The folder

    def require_writable(self) -> None:
        """Refuse a folder that was laid there by hand; what is not there can be made.

        Raises:
            DatasetReadOnly
        """
        if not is_vacant(self.folder):
            require_collection(self.folder)

    @contextmanager
    def _write_lock(self) -> Iterator[None]:
        with write_lock(self.folder):
            if not self._swept and is_collection(self.folder):
                self._sweep()
            yield

    def _sweep(self) -> None:
        """Once; and not where a damaged line may be the one that named a file."""
        found = self.current_state()
        if not found.damaged:
            delete_orphans(self.folder, {recording.path for recording in found.recordings.values()})
        self._swept = True

    def _make(self, request_id: str) -> None:
        make(self.folder, _entry(CREATED, request_id, format=FORMAT, id=uuid.uuid4().hex))

    @contextmanager
    def _create_if_missing(self, request_id: str) -> Iterator[None]:
        """A collection to put the first recording into; where that fails, none is left."""
        if is_collection(self.folder):
            yield
            return
        self._make(request_id)
        try:
            yield
        except BaseException:  # whatever it is, what nobody asked for on its own is not left
            hide(self.folder)
            delete_hidden(self.folder.parent)
            raise

    @contextmanager
    def _translate_missing(self) -> Iterator[None]:
        """Say by name that it is not there, or was removed meanwhile."""
        try:
            yield
        except (FileNotFoundError, NotADirectoryError):
            require_collection(self.folder)
            raise  # it was made this very moment


def _entry(kind: str, request_id: str, **facts: Any) -> dict[str, Any]:
    return {"kind": kind, "at": timestamp(), "request_id": request_id, **facts}
