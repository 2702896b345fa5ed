"""Listing of a folder or a manifest: its recordings, before their files are read."""

import os
import re
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from ml.audio.info import AudioInfo
from ml.dataset.annotations import Annotation
from ml.dataset.entries import FileRefusal, SessionOrigin
from ml.errors import DatasetEmpty

SUFFIXES = (".wav", ".flac")
OTHER_SOUND = (".aac", ".aif", ".aiff", ".m4a", ".mp3", ".mp4", ".ogg", ".opus", ".wma")


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

    ``infos`` has the measured facts, by path, of files that need not be read again.
    """

    root: Path
    layout: str
    recordings: list[ListedRecording] = field(default_factory=list)
    refusals: list[FileRefusal] = field(default_factory=list)
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


def no_recordings_error(root: Path) -> DatasetEmpty:
    """Return the error for a folder without recordings; it counts audio files of other formats."""
    names = (name for _, _, files in os.walk(root) for name in files if not name.startswith("."))
    others = Counter(suffix for name in names if (suffix := Path(name).suffix.lower()) in OTHER_SOUND)
    counted = ", ".join(f"{count} {suffix}" for suffix, count in others.most_common())
    found = f" It contains {counted}: convert them to WAV or FLAC." if others else ""
    return DatasetEmpty(f"{root} contains no .wav or .flac file, at any depth.{found}")


def audio_files_below(root: Path) -> Iterator[PurePosixPath]:
    """Yield the paths of WAV and FLAC files (by suffix) below ``root``, relative to it.

    Hidden files and folders are skipped. Linked folders are not entered. A linked file is used only if it leads to a
    file inside ``root``, so that nothing outside is read.
    """
    for folder, names, files in os.walk(root):
        names[:] = sorted(name for name in names if not name.startswith("."))
        for name in sorted(files):
            file = Path(folder, name)
            if name.startswith(".") or file.suffix.lower() not in SUFFIXES:
                continue
            if _is_regular(file) and (not file.is_symlink() or stays_within(root, file)):
                yield PurePosixPath(file.relative_to(root).as_posix())


def _is_regular(file: Path) -> bool:
    """Return whether a file is a regular file; reading a named pipe would never end."""
    try:
        return stat.S_ISREG(file.stat().st_mode)
    except OSError:
        return False
