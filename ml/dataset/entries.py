"""What is known of a dataset: its recordings, and the files that are none."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from ml.audio.info import AudioInfo
from ml.dataset.annotations import ABNORMAL, NORMAL, Annotation, Label, machine_name

__all__ = ["ABNORMAL", "NORMAL", "Dataset", "Entry", "FileRefusal", "Label", "machine_name"]
AUDIO_FIELDS = tuple(field.name for field in fields(AudioInfo))


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One readable and labelled recording of an index.

    Attributes:
        path: relative to the dataset's root, with slashes.
        annotation: what is known of it; with a label and a session.
        info: the facts of the file.
    """

    path: str
    annotation: Annotation
    info: AudioInfo

    @property
    def label(self) -> Label:
        """Whether the machine was healthy."""
        return self.annotation.label or NORMAL

    @property
    def session(self) -> str:
        """The recording session."""
        return self.annotation.session or ""

    @property
    def machine_name(self) -> str:
        """The machine as a detector and a reader know it: ``fan/id_00``; empty where it is not known."""
        return self.annotation.machine_name

    @property
    def audio_hash(self) -> str:
        """The hash of the samples: the same sound in another file has the same."""
        return self.info.audio_hash

    def to_dict(self) -> dict[str, Any]:
        """Plain values, in one level: the cache keys of trainings and the plans of jobs are made of them."""
        return {"path": self.path, **self.annotation.to_dict(), **asdict(self.info)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of :meth:`to_dict`."""
        info = AudioInfo(**{name: values[name] for name in AUDIO_FIELDS})
        return cls(path=values["path"], annotation=Annotation.from_dict(values), info=info)


@dataclass(frozen=True, slots=True)
class FileRefusal:
    """A file that is no usable recording: the error's stable code, and its sentence."""

    path: str
    code: str
    reason: str


@dataclass(frozen=True)
class Dataset:
    """An index of recordings.

    Attributes:
        name: of the folder or the manifest.
        root: the folder that the paths are relative to.
        layout: ``mimii``, ``folder per class``, ``flat``, ``manifest`` or ``collection``.
        entries: in natural order of their paths, which is the order they were recorded in.
        refusals: files that could not be read.
        explicit_sessions: whether a manifest or a collection names the groups; otherwise they are guessed.
    """

    name: str
    root: Path
    layout: str
    entries: tuple[Entry, ...]
    refusals: tuple[FileRefusal, ...]
    explicit_sessions: bool

    def file(self, entry: Entry) -> Path:
        """Where the recording is."""
        return self.root / entry.path

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that change with any recording, label, fault or group."""
        facts = [(e.path, e.label, e.annotation.fault, e.session, e.audio_hash) for e in self.entries]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]

    @cached_property
    def duplicates(self) -> tuple[tuple[Entry, ...], ...]:
        """Sets of recordings with the same samples."""
        copies: defaultdict[str, list[Entry]] = defaultdict(list)
        for entry in self.entries:
            copies[entry.audio_hash].append(entry)
        return tuple(tuple(same) for same in copies.values() if len(same) > 1)
