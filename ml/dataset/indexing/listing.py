"""What a folder or a manifest says of its recordings, before any of them is read."""

import os
import re
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from ml.audio.info import AudioInfo
from ml.dataset.entries import FileRefusal, Label
from ml.errors import DatasetEmpty

SUFFIXES = (".wav", ".flac")
OTHER_SOUND = (".aac", ".aif", ".aiff", ".m4a", ".mp3", ".mp4", ".ogg", ".opus", ".wma")


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedRecording:
    """A recording by what its place, or its row, says of it; for the fields see :class:`~ml.dataset.entries.Entry`.

    ``label`` is None where nobody has said it yet. ``group`` is None where it has still to be guessed, then from the
    recordings of the same ``session_scope``, by the name that the recorder gave: ``file_name`` or, where that is None, the path.
    """

    path: str
    label: Label | None
    machine: str | None = None
    machine_id: str | None = None
    snr_db: float | None = None
    fault: str | None = None
    group: str | None = None
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
