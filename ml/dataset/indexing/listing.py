"""Listing of a folder or a manifest: its recordings, before their files are read."""

import re
from dataclasses import dataclass, field
from pathlib import Path

from ml.audio.info import AudioInfo
from ml.dataset.annotations import Annotation
from ml.dataset.entries import Contradiction, FileRefusal, SessionOrigin


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedRecording:
    """Recording by its path or manifest row, before its file is read.

    Attributes:
        path: path relative to the root of the listing, with slashes.
        annotation: facts from the path or the row; the session is None if it must be found.
        session_scope: sessions are found among the recordings of the same scope.
        file_name: original file name, from which the session is found; None means the name in ``path``.
        session_origin: where the session comes from.
        time_s: time of the recording in seconds since 1970; None if it is not known.
        uploaded_s: time of the upload in seconds since 1970; None for a file that was not uploaded.
    """

    path: str
    annotation: Annotation
    session_scope: str = ""
    file_name: str | None = None
    session_origin: SessionOrigin = "given"
    time_s: float | None = None
    uploaded_s: float | None = None


@dataclass(slots=True)
class Listing:
    """Recordings and refusals of one folder, manifest or collection, in no particular order.

    Attributes:
        root: folder that the paths are relative to.
        layout: name of the layout.
        recordings: the recordings.
        refusals: recordings that cannot be used.
        passed_over: files and folders that are not read.
        contradictions: labels that are contradicted by something else than the names of file and folders.
        explicit_sessions: whether every session is given.
        infos: measured facts, by path, of files that need not be read again.
    """

    root: Path
    layout: str
    recordings: list[ListedRecording] = field(default_factory=list)
    refusals: list[FileRefusal] = field(default_factory=list)
    passed_over: list[FileRefusal] = field(default_factory=list)
    contradictions: list[Contradiction] = field(default_factory=list)
    explicit_sessions: bool = False
    infos: dict[str, AudioInfo] = field(default_factory=dict)


def natural_key(path: str) -> tuple[list[str | tuple[int, str]], str]:
    """Return a sort key that puts ``2.wav`` before ``10.wav``, as recorders count."""
    parts = re.split(r"([0-9]+)", path)
    return [_number_key(part) if index % 2 else part for index, part in enumerate(parts)], path


def _number_key(digits: str) -> tuple[int, str]:
    """Return a key in the order of numbers; Python converts at most 4300 digits to a number."""
    significant = digits.lstrip("0")
    return len(significant), significant


def stays_within(root: Path, file: Path) -> bool:
    """Return whether a file is inside a folder after all links are followed."""
    return file.resolve().is_relative_to(root.resolve())
