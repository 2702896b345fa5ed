"""What a collection's journal says: its recordings, as they are after some number of its lines.

::

    {"kind": "created", "at": ..., "request_id": ..., "format": 1}
    {"kind": "recording", "at": ..., "request_id": ..., "number": 1, "file_name": ..., "labels": {...}, "survey": {...}}
    {"kind": "labels", "at": ..., "request_id": ..., "id": ..., "labels": {what changed}}
    {"kind": "removed", "at": ..., "request_id": ..., "id": ...}
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ml.audio.info import AudioInfo
from ml.dataset.annotations import Annotation, AnnotationRevision, check_annotation
from ml.dataset.collection.journal import JournalReader
from ml.errors import DatasetVersionNotFound, InvalidRecordingLabels

JOURNAL, RECORDINGS = "journal.jsonl", "recordings"
FORMAT = 1
CREATED, RECORDED, LABELLED, REMOVED = "created", "recording", "labels", "removed"
NUMBER_DIGITS, HASH_DIGITS = 8, 16
VERSION_PATTERN = re.compile(r"[1-9][0-9]{0,11}")


@dataclass(frozen=True, slots=True)
class CollectionRecording:
    """One recording of a collection.

    Attributes:
        number: in the order of the uploads, from 1; never given again.
        file_name: as the client named it; only ever shown.
        info: the facts of the file.
        history: every revision of its annotation, the current one last.
    """

    number: int
    file_name: str
    info: AudioInfo
    history: tuple[AnnotationRevision, ...]

    @property
    def id(self) -> str:
        """The hash of its sound: the same sound is in a collection once."""
        return self.info.audio_hash

    @property
    def path(self) -> str:
        """Where its file is, relative to the collection's folder."""
        return path_of(self.number, self.info)

    @property
    def annotation(self) -> Annotation:
        """What is said of it now."""
        return self.history[-1].annotation

    @property
    def uploaded(self) -> str:
        """When it came, ISO 8601, UTC."""
        return self.history[0].at


def path_of(number: int, facts: AudioInfo) -> str:
    """Where an upload is kept: natural order of the paths is the order of the uploads."""
    suffix = "flac" if facts.codec == "flac" else "wav"
    return f"{RECORDINGS}/{number:0{NUMBER_DIGITS}d}-{facts.audio_hash[:HASH_DIGITS]}.{suffix}"


@dataclass(slots=True)
class CollectionState:
    """A collection after so many lines; further ones make another of it.

    Attributes:
        recordings: by their ids, in the order of upload.
        lines: how many there were.
        damaged: how many of them said nothing that can be understood.
        last_number: the highest number that a recording was given.
    """

    recordings: dict[str, CollectionRecording] = field(default_factory=dict)
    lines: int = 0
    damaged: int = 0
    last_number: int = 0

    @property
    def version(self) -> str:
        """What a job is pinned to: the number of lines."""
        return str(self.lines)

    def with_lines(self, lines: Iterable[bytes]) -> "CollectionState":
        """The collection after further lines. One that is damaged is counted and otherwise passed over."""
        found = replace(self, recordings=dict(self.recordings))
        found._take_in(lines)
        return found

    def _take_in(self, lines: Iterable[bytes]) -> None:
        for line in lines:
            self.lines += 1
            try:
                self._apply(json.loads(line))
            # Whatever a damaged line lacks, or names that is not there.
            except (ValueError, TypeError, LookupError, InvalidRecordingLabels):
                self.damaged += 1

    def _apply(self, entry: dict[str, Any]) -> None:
        kind = entry["kind"]
        if kind == RECORDED:
            self._record(entry)
        elif kind == LABELLED:
            self._label(entry)
        elif kind == REMOVED:
            del self.recordings[entry["id"]]
        elif kind != CREATED:
            raise ValueError(f"{kind!r} is no kind of entry")

    def _record(self, entry: dict[str, Any]) -> None:
        facts, number = AudioInfo(**entry["survey"]), int(entry["number"])
        bytes.fromhex(facts.audio_hash)  # It becomes a part of a path.
        before = self.recordings.get(facts.audio_hash)
        history = before.history if before else ()
        revision = _revision(entry, history[-1].annotation if history else Annotation())
        recording = CollectionRecording(number, str(entry["file_name"]), facts, (*history, revision))
        # One that was there and whose file was lost comes anew, at the end.
        self.recordings.pop(recording.id, None)
        self.recordings[recording.id] = recording
        self.last_number = max(self.last_number, number)

    def _label(self, entry: dict[str, Any]) -> None:
        known = self.recordings[entry["id"]]
        history = (*known.history, _revision(entry, known.annotation))
        self.recordings[known.id] = CollectionRecording(known.number, known.file_name, known.info, history)


def _revision(entry: dict[str, Any], before: Annotation) -> AnnotationRevision:
    after = before.with_changes(check_annotation(entry["labels"]))
    return AnnotationRevision(str(entry["at"]), str(entry["request_id"]), tuple(before.differences(after)), after)


def is_collection(folder: Path) -> bool:
    """Whether a folder has a journal."""
    return (folder / JOURNAL).is_file()


def read_state(folder: Path, version: str | None = None) -> CollectionState:
    """A collection as it was at a version, or as it is now.

    Raises:
        DatasetVersionNotFound: it has not had that version.
        FileNotFoundError: the folder is no collection.
    """
    _, lines = JournalReader(folder / JOURNAL).new_lines()
    if version is not None:
        lines = lines[: _number(version, len(lines), folder.name)]
    return CollectionState().with_lines(lines)


def _number(version: str, last: int, name: str) -> int:
    if not VERSION_PATTERN.fullmatch(version) or int(version) > last:
        raise DatasetVersionNotFound(f"{name} has no version {version!r}; it has had 1 to {last}.")
    return int(version)
