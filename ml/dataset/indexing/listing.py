"""What a folder or a manifest says of its recordings, before any of them is read."""

import os
import re
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from ml.audio.info import AudioInfo
from ml.dataset.annotations import Annotation
from ml.dataset.entries import FileRefusal
from ml.errors import DatasetEmpty

SUFFIXES = (".wav", ".flac")
OTHER_SOUND = (".aac", ".aif", ".aiff", ".m4a", ".mp3", ".mp4", ".ogg", ".opus", ".wma")


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedRecording:
    """A recording by its place or its row, before its file is read.

    Attributes:
        path: relative to the root of the listing, with slashes.
        annotation: as far as place or row tell; the session is None where it is still to be guessed.
        session_scope: a session is guessed from the recordings of the same scope.
        file_name: the recorder's name for the file, which sessions are guessed from; None for that of the path.
    """

    path: str
    annotation: Annotation
    session_scope: str = ""
    file_name: str | None = None


@dataclass(slots=True)
class Listing:
    """Recordings and refusals of one folder or manifest, in no particular order.

    ``infos`` are the facts of those files, by path, that need not be read again.
    """

    root: Path
    layout: str
    recordings: list[ListedRecording] = field(default_factory=list)
    refusals: list[FileRefusal] = field(default_factory=list)
    explicit_sessions: bool = False
    infos: dict[str, AudioInfo] = field(default_factory=dict)


def natural_key(path: str) -> tuple[list[str | int], str]:
    """Sort key by which ``2.wav`` comes before ``10.wav``: the order that recorders count in."""
    parts = re.split(r"([0-9]+)", path)
    return [int(part) if index % 2 else part for index, part in enumerate(parts)], path


def stays_within(root: Path, file: Path) -> bool:
    """Whether a file lies below a folder after all links have been followed."""
    return file.resolve().is_relative_to(root.resolve())


def no_recordings_error(root: Path) -> DatasetEmpty:
    """What is wrong with a folder without recordings, and with sound of another kind, if that is what it holds."""
    names = (name for _, _, files in os.walk(root) for name in files if not name.startswith("."))
    others = Counter(suffix for name in names if (suffix := Path(name).suffix.lower()) in OTHER_SOUND)
    counted = ", ".join(f"{count} {suffix}" for suffix, count in others.most_common())
    found = f" It holds {counted}: convert them to one of those." if others else ""
    return DatasetEmpty(f"{root} holds no .wav or .flac file, at any depth.{found}")


def audio_files_below(root: Path) -> Iterator[PurePosixPath]:
    """WAV and FLAC files below ``root`` by their suffix, relative to it.

    Hidden files and folders are left out, linked folders are not entered, and linked files are taken where they lead to
    a file within ``root``: nothing outside it is ever read.
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
    """A named pipe would be waited on for ever."""
    try:
        return stat.S_ISREG(file.stat().st_mode)
    except OSError:
        return False
