"""Dataset, its entries (usable recordings) and its refusals (files that cannot be used)."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

from ml.audio.info import AudioInfo
from ml.dataset.annotations import ABNORMAL, NORMAL, Annotation, Label, machine_name

__all__ = [
    "ABNORMAL",
    "NORMAL",
    "Contradiction",
    "Dataset",
    "Entry",
    "FileRefusal",
    "Label",
    "SessionFacts",
    "SessionOrigin",
    "machine_name",
]
SessionOrigin = Literal["given", "folders", "file names", "times in names", "file times", "none"]
"""Where a session comes from, the surest first; ``none``: all recordings of a machine count as one session."""
AUDIO_FIELDS = tuple(each.name for each in fields(AudioInfo))


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """Readable, labelled recording of an index.

    Attributes:
        path: path relative to the dataset's root, with slashes.
        annotation: known facts, with label and session.
        info: measured facts of the file.
    """

    path: str
    annotation: Annotation
    info: AudioInfo

    @property
    def label(self) -> Label:
        """Label: ``normal`` or ``abnormal``."""
        return self.annotation.label or NORMAL

    @property
    def session(self) -> str:
        """Recording session."""
        return self.annotation.session or ""

    @property
    def machine_name(self) -> str:
        """Machine kind and id, ``fan/id_00``; empty where neither is known."""
        return self.annotation.machine_name

    @property
    def audio_hash(self) -> str:
        """Hash of the samples; files with the same samples have the same hash."""
        return self.info.audio_hash

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, in one level; cache keys of trainings and plans of jobs contain them."""
        return {"path": self.path, **self.annotation.to_dict(), **asdict(self.info)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Create an entry from the values of :meth:`to_dict`."""
        info = AudioInfo(**{name: values[name] for name in AUDIO_FIELDS})
        return cls(path=values["path"], annotation=Annotation.from_dict(values), info=info)


@dataclass(frozen=True, slots=True)
class FileRefusal:
    """File that cannot be used, with a stable error code and a sentence."""

    path: str
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class Contradiction:
    """Label of a recording that its name, or another statement about it, contradicts.

    Attributes:
        path: path of the recording.
        label: its label.
        reason: what contradicts the label, as a sentence.
    """

    path: str
    label: Label
    reason: str


@dataclass(frozen=True, slots=True)
class SessionFacts:
    """Facts of a session.

    Attributes:
        origin: where the session comes from.
        first, last: times of its first and last recording, as text; None if they are not known.
    """

    origin: SessionOrigin
    first: str | None = None
    last: str | None = None


@dataclass(frozen=True)
class Dataset:
    """Index of recordings.

    Attributes:
        name: name of the folder or the manifest.
        root: folder that the paths are relative to.
        layout: ``mimii``, ``dcase``, ``folder per class``, ``names``, ``flat``, ``manifest`` or ``collection``.
        entries: recordings in natural order of their paths, which is the recording order.
        refusals: files that cannot be used.
        explicit_sessions: whether a manifest or a collection names every session; otherwise sessions are found from
            folders, names and times.
        session_facts: facts by session; empty if they were not collected.
        passed_over: files and folders that are not read, such as links to nothing and other audio formats.
        contradictions: labels that names contradict; a training asks for a confirmation of them.
    """

    name: str
    root: Path
    layout: str
    entries: tuple[Entry, ...]
    refusals: tuple[FileRefusal, ...]
    explicit_sessions: bool
    session_facts: Mapping[str, SessionFacts] = field(default_factory=dict)
    passed_over: tuple[FileRefusal, ...] = ()
    contradictions: tuple[Contradiction, ...] = ()

    def file(self, entry: Entry) -> Path:
        """Return the path of a recording's file."""
        return self.root / entry.path

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that change with any path, label, fault, session or sample."""
        facts = [(e.path, e.label, e.annotation.fault, e.session, e.audio_hash) for e in self.entries]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]

    @cached_property
    def duplicates(self) -> tuple[tuple[Entry, ...], ...]:
        """Sets of recordings with the same samples."""
        copies: defaultdict[str, list[Entry]] = defaultdict(list)
        for entry in self.entries:
            copies[entry.audio_hash].append(entry)
        return tuple(tuple(same) for same in copies.values() if len(same) > 1)
