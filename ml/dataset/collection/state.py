"""State of a collection: its recordings after a number of journal lines.

::

    {"kind": "created", "at": ..., "request_id": ..., "format": 1}
    {"kind": "recording", "at": ..., "request_id": ..., "number": 1, "file_name": ..., "labels": {...}, "survey": {...}}
    {"kind": "labels", "at": ..., "request_id": ..., "id": ..., "labels": {changed fields}}
    {"kind": "removed", "at": ..., "request_id": ..., "id": ...}
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from ml.audio.info import AudioInfo
from ml.dataset.annotations import Annotation, AnnotationRevision, check_annotation
from ml.dataset.collection.journal import JournalReader
from ml.errors import DatasetError, DatasetVersionNotFound
from ml.system.validation import shorten

JOURNAL, RECORDINGS = "journal.jsonl", "recordings"
FORMAT = 1
CREATED, RECORDED, LABELLED, REMOVED = "created", "recording", "labels", "removed"
NUMBER_DIGITS, HASH_DIGITS = 8, 16
VERSION_PATTERN = re.compile(r"[1-9][0-9]{0,11}")


@dataclass(frozen=True, slots=True)
class CollectionRecording:
    """One recording of a collection.

    Attributes:
        number: number in the order of uploads, from 1; never used again.
        file_name: file name that the client gave; only for display.
        info: measured facts of the file.
        history: all revisions of the annotation, the current one last.
    """

    number: int
    file_name: str
    info: AudioInfo
    history: tuple[AnnotationRevision, ...]

    @property
    def id(self) -> str:
        """Hash of the samples; a collection contains the same samples only once."""
        return self.info.audio_hash

    @property
    def path(self) -> str:
        """Path of the file, relative to the collection's folder."""
        return path_of(self.number, self.info)

    @property
    def annotation(self) -> Annotation:
        """Current annotation."""
        return self.history[-1].annotation

    @property
    def uploaded(self) -> str:
        """Time of the upload, ISO 8601, UTC."""
        return self.history[0].at


# For people: a file is recognised by its bytes. All other codecs have the suffix .wav.
SUFFIX_OF_CODEC = {
    "flac": ".flac",
    "mp3": ".mp3",
    "vorbis": ".ogg",
    "opus": ".ogg",
    "aac": ".m4a",
    "alac": ".m4a",
}


def path_of(number: int, facts: AudioInfo) -> str:
    """Return the path of an upload; the natural order of paths is the order of uploads."""
    suffix = SUFFIX_OF_CODEC.get(facts.codec, ".wav")
    return f"{RECORDINGS}/{number:0{NUMBER_DIGITS}d}-{facts.audio_hash[:HASH_DIGITS]}{suffix}"


@dataclass(slots=True)
class CollectionState:
    """State of a collection after a number of journal lines; further lines give a new state.

    Attributes:
        recordings: recordings by id, in the order of upload.
        lines: number of lines.
        damaged: number of lines that could not be applied.
        last_number: highest number of any recording so far.
    """

    recordings: dict[str, CollectionRecording] = field(default_factory=dict)
    lines: int = 0
    damaged: int = 0
    last_number: int = 0
    # Revisions of this reading that are not in the histories yet: a history that grew with each line would be copied
    # with each line.
    _new: dict[str, list[AnnotationRevision]] = field(default_factory=dict, repr=False)

    @property
    def version(self) -> str:
        """Version that a job uses: the number of lines."""
        return str(self.lines)

    def with_lines(self, lines: Iterable[bytes]) -> "CollectionState":
        """Return the state after further lines. A damaged line is counted and skipped."""
        found = replace(self, recordings=dict(self.recordings), _new={})
        found._apply_lines(lines)
        return found

    def _apply_lines(self, lines: Iterable[bytes]) -> None:
        for line in lines:
            self.lines += 1
            try:
                self._apply(json.loads(line))
            # A damaged line may lack a field, or name a recording that does not exist.
            except (ValueError, TypeError, LookupError, RecursionError, OverflowError, AttributeError, DatasetError):
                self.damaged += 1
        for recording_id in list(self._new):
            self._keep_revisions(recording_id)

    def _apply(self, entry: dict[str, Any]) -> None:
        kind = entry["kind"]
        if kind == RECORDED:
            self._record(entry)
        elif kind == LABELLED:
            self._label(entry)
        elif kind == REMOVED:
            del self.recordings[entry["id"]]
            self._new.pop(entry["id"], None)
        elif kind != CREATED:
            raise ValueError(f"unknown kind of entry {kind!r}")

    def _record(self, entry: dict[str, Any]) -> None:
        facts, number = AudioInfo(**entry["survey"]), int(entry["number"])
        if not (facts.bytes >= 0 and facts.duration_s >= 0):  # a TypeError, if one is no number
            raise ValueError("a size or a duration is negative")
        bytes.fromhex(facts.audio_hash)  # raises unless it is hexadecimal: it becomes a part of a path
        self._keep_revisions(facts.audio_hash)
        before = self.recordings.get(facts.audio_hash)
        history = before.history if before else ()
        revision = _revision(entry, history[-1].annotation if history else Annotation())
        recording = CollectionRecording(number, str(entry["file_name"]), facts, (*history, revision))
        # A recording that is uploaded again, because its file was lost, moves to the end.
        self.recordings.pop(recording.id, None)
        self.recordings[recording.id] = recording
        self.last_number = max(self.last_number, number)

    def _label(self, entry: dict[str, Any]) -> None:
        known = self.recordings[entry["id"]]
        new = self._new.get(known.id)
        revision = _revision(entry, new[-1].annotation if new else known.annotation)
        self._new.setdefault(known.id, []).append(revision)

    def _keep_revisions(self, recording_id: str) -> None:
        """Add the new revisions of a recording to its history."""
        if new := self._new.pop(recording_id, None):
            known = self.recordings[recording_id]
            self.recordings[recording_id] = replace(known, history=(*known.history, *new))


def _revision(entry: dict[str, Any], before: Annotation) -> AnnotationRevision:
    changed, after = _changed(before, tuple(entry["labels"].items()))
    return AnnotationRevision(str(entry["at"]), str(entry["request_id"]), changed, after)


# Most recordings of a dataset have one of a few annotations: checking each again took half of the time of a reading.
@lru_cache(4096)
def _changed(before: Annotation, labels: tuple[tuple[str, Any], ...]) -> tuple[tuple[str, ...], Annotation]:
    """Return the names of the changed fields, and the annotation after a change."""
    after = before.with_changes(check_annotation(dict(labels)))
    return tuple(before.differences(after)), after


def is_collection(folder: Path) -> bool:
    """Return whether a folder is a collection, that is, has a journal."""
    return (folder / JOURNAL).is_file()


def read_state(folder: Path, version: str | None = None) -> CollectionState:
    """Return the state of a collection at a version, or the current state.

    Raises:
        DatasetVersionNotFound: the collection has no such version.
        FileNotFoundError: the folder is no collection.
    """
    _, lines = JournalReader(folder / JOURNAL).new_lines()
    if version is not None:
        lines = lines[: _line_count(version, len(lines), folder.name)]
    return CollectionState().with_lines(lines)


def _line_count(version: str, last: int, name: str) -> int:
    if not VERSION_PATTERN.fullmatch(version) or int(version) > last:
        raise DatasetVersionNotFound(f"{name} has no version {shorten(version)!r}; it has versions 1 to {last}.")
    return int(version)
