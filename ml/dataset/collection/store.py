"""Collections: datasets to which clients upload recordings and labels.

::

    <home>/datasets/<name>/journal.jsonl   all uploads, label changes and removals, one line for each
    <home>/datasets/<name>/recordings/     the files, numbered in the order of upload
    <home>/datasets/.<name>.lock           lock of the writers
    <home>/datasets/.<name>.removed-*/     a dataset that is being removed; the next removal also deletes leftovers

The journal decides what the collection contains. A file is complete before the journal names it, and the journal names
it before the client gets an answer.
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
from ml.system.audit import record_change
from ml.system.clock import timestamp
from ml.system.validation import shorten

MAX_FILE_NAME = 255
NO_REQUEST = "-"


class AddResult(NamedTuple):
    """Result of an upload: whether the recording is new and, if not, whether its annotation changed."""

    recording: CollectionRecording
    added: bool
    relabelled: bool


class Collection:
    """Collection of a home, whether or not it exists yet. Threads and processes can share it.

    The state is kept in memory, so that a later call reads only the lines appended since.

    Args:
        home: folder that contains ``datasets/``; created with the first write.
        name: name of the dataset.

    Raises:
        InvalidName: the name is not allowed.
    """

    def __init__(self, home: Path, name: str) -> None:
        self.name = name
        self._home = home
        self.folder = dataset_folder(home, name)
        self._journal = self.folder / JOURNAL
        self._reader = JournalReader(self._journal)
        self._state = CollectionState()
        self._state_lock = threading.Lock()
        self._cleaned = False

    # Reading. Each method raises DatasetNotFound if there is no such dataset, DatasetReadOnly if it is no collection.

    def current_state(self) -> CollectionState:
        """Return the state after all complete lines; later lines give a new state and do not change this one."""
        with self._state_lock, self._translate_missing():
            from_start, lines = self._reader.new_lines()
            if from_start or lines:
                self._state = (CollectionState() if from_start else self._state).with_lines(lines)
            return self._state

    def recordings(self, at: str | None = None) -> tuple[CollectionRecording, ...]:
        """Return all recordings in the order of upload, now or at a version.

        Raises:
            DatasetVersionNotFound
        """
        with self._translate_missing():
            found = self.current_state() if at is None else read_state(self.folder, at)
        return tuple(found.recordings.values())

    def recording(self, recording_id: str) -> CollectionRecording:
        """Return one recording by its id.

        Raises:
            RecordingNotFound
        """
        found = self.current_state().recordings.get(recording_id)
        if found is None:
            raise RecordingNotFound(f"{self.name} contains no recording {shorten(recording_id)!r}.")
        return found

    def file(self, recording_id: str) -> Path:
        """Return the file of a recording.

        Raises:
            RecordingNotFound: there is no such recording, or its file was lost.
        """
        file = self.folder / self.recording(recording_id).path
        if not file.is_file():
            raise RecordingNotFound(f"{self.name} lists the recording {recording_id}, but its file does not exist.")
        return file

    @property
    def version(self) -> str:
        """Version: the number of journal lines."""
        return self.current_state().version

    @property
    def damaged(self) -> int:
        """Number of journal lines that cannot be applied."""
        return self.current_state().damaged

    def dataset(self, at: str | None = None, *, snr_db: float | None = None) -> Dataset:
        """Return the labelled recordings, now or at a version.

        Raises:
            DatasetVersionNotFound
            DatasetEmpty: there is no recording with a label.
        """
        with self._translate_missing():
            listing = list_collection(self.folder, at)
        return index_listing(listing, self.folder, snr_db=snr_db)

    # Writing. Each method raises StorageFull if the disk is full, and then changes nothing.

    def create(self, request_id: str = NO_REQUEST) -> None:
        """Create the collection, empty.

        Raises:
            DatasetExists: the collection or a folder of that name exists.
        """
        with self._write_lock():
            if not is_vacant(self.folder):
                raise DatasetExists(f"There is already a dataset {self.name!r}.")
            self._make(request_id)
        record_change(self._home, "dataset.create", self.name)

    def delete(self) -> None:
        """Remove the collection with all recordings; it disappears in one step.

        Raises:
            DatasetNotFound, DatasetReadOnly
        """
        require_collection(self.folder)
        with self._write_lock():
            require_collection(self.folder)
            hide(self.folder)
        record_change(self._home, "dataset.remove", self.name)
        delete_hidden(self.folder.parent)

    def add(
        self,
        content: bytes | bytearray,
        facts: AudioInfo,
        file_name: str,
        changes: AnnotationChanges,
        request_id: str = NO_REQUEST,
    ) -> AddResult:
        """Add a recording; create the collection if it does not exist. The same samples are kept once.

        Args:
            content: content of the file.
            facts: measured facts of the file.
            file_name: file name that the client gave; for display.
            changes: annotation. If the same samples exist already, values that differ change their annotation.
            request_id: id of the request; stored with the recording.

        Raises:
            DatasetReadOnly, InvalidRecordingLabels
        """
        changes = check_annotation(changes)
        self.require_writable()
        with self._write_lock():
            self.require_writable()
            known = self._find(facts.audio_hash)
            if known is not None and (self.folder / known.path).is_file():
                recording = self._relabel(known, changes, request_id)
                return AddResult(recording, added=False, relabelled=recording is not known)
            # A recording whose file was lost keeps its annotation.
            labels = (known.annotation if known else Annotation()).with_changes(changes)
            with self._create_if_missing(request_id):
                recording = self._store(content, facts, file_name, labels, request_id)
        return AddResult(recording, added=True, relabelled=False)

    def relabel(
        self, recording_id: str, changes: AnnotationChanges, request_id: str = NO_REQUEST
    ) -> CollectionRecording:
        """Change the annotation of a recording as a new revision; earlier revisions are kept.

        Args:
            recording_id: id of the recording.
            changes: fields to change; None clears a field.
            request_id: id of the request; stored with the change.

        Raises:
            DatasetNotFound, DatasetReadOnly, RecordingNotFound, InvalidRecordingLabels
        """
        changes = check_annotation(changes)
        require_collection(self.folder)
        with self._write_lock():
            known = self.recording(recording_id)
            found = self._relabel(known, changes, request_id)
        if found is not known:
            before, after = known.annotation.to_dict(), known.annotation.differences(found.annotation)
            before = {name: before[name] for name in after}
            record_change(self._home, "recording.label", f"{self.name}/{recording_id}", before=before, after=after)
        return found

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
        record_change(self._home, "recording.remove", f"{self.name}/{recording_id}")

    # The journal

    def _find(self, recording_id: str) -> CollectionRecording | None:
        return self.current_state().recordings.get(recording_id) if is_collection(self.folder) else None

    def _append(self, kind: str, request_id: str, **facts: Any) -> None:
        append_entry(self._journal, _entry(kind, request_id, **facts))

    def _relabel(self, known: CollectionRecording, given: AnnotationChanges, request_id: str) -> CollectionRecording:
        after = known.annotation.with_changes(given)
        if after == known.annotation:
            return known
        self._append(LABELLED, request_id, id=known.id, labels=known.annotation.differences(after))
        return self.recording(known.id)

    def _store(
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
        """Refuse a plain folder; a collection that does not exist can be created.

        Raises:
            DatasetReadOnly
        """
        if not is_vacant(self.folder):
            require_collection(self.folder)

    @contextmanager
    def _write_lock(self) -> Iterator[None]:
        with write_lock(self.folder):
            if not self._cleaned and is_collection(self.folder):
                self._clean()
            yield

    def _clean(self) -> None:
        """Delete orphan files, once; not with a damaged line, which may have named one of them."""
        found = self.current_state()
        if not found.damaged:
            delete_orphans(self.folder, {recording.path for recording in found.recordings.values()})
        self._cleaned = True

    def _make(self, request_id: str) -> None:
        make(self.folder, _entry(CREATED, request_id, format=FORMAT, id=uuid.uuid4().hex))

    @contextmanager
    def _create_if_missing(self, request_id: str) -> Iterator[None]:
        """Create the collection for its first recording; delete it again if adding the recording fails."""
        if is_collection(self.folder):
            yield
            return
        self._make(request_id)
        try:
            yield
        except BaseException:  # also Ctrl-C must not leave an empty collection
            hide(self.folder)
            delete_hidden(self.folder.parent)
            raise

    @contextmanager
    def _translate_missing(self) -> Iterator[None]:
        """Raise DatasetNotFound or DatasetReadOnly for a missing journal."""
        try:
            yield
        except (FileNotFoundError, NotADirectoryError):
            require_collection(self.folder)
            raise  # the collection was created in the meantime


def _entry(kind: str, request_id: str, **facts: Any) -> dict[str, Any]:
    return {"kind": kind, "at": timestamp(), "request_id": request_id, **facts}
