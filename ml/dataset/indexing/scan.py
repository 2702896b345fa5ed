"""Search for recordings in a folder: links are followed where that is safe, and everything passed over has a reason."""

import os
import stat
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from ml.audio.formats import OTHER_SUFFIXES, SUFFIXES
from ml.dataset.entries import FileRefusal
from ml.dataset.indexing.listing import (
    ListedRecording,
    Listing,
    natural_key,
    stays_within,
)
from ml.errors import DatasetEmpty

FolderKey = tuple[int, int]
REASONS = {
    "hidden": "Hidden files and folders are not read.",
    "link_broken": "The link leads to nothing.",
    "link_circle": "The link leads to a folder that contains it.",
    "link_outside": "The link leads out of the dataset, which is not allowed for datasets of the service.",
    "folder_unreadable": "The folder cannot be read.",
    "format_unsupported": "This audio format is not read: convert it to WAV or FLAC.",
    "not_a_recording": "It is no recording, by its suffix.",
    "not_a_file": "It is no regular file.",
    "same_folder": "The link leads to a folder that is read under another path.",
    "same_file": "It is the same file as another recording.",
    "not_listed": "The manifest does not list it.",
}
"""Codes of what is passed over, with the sentences."""


def passed_over(path: str, code: str, detail: str = "") -> FileRefusal:
    """Return the record of a file or folder that is not read."""
    reason = REASONS[code]
    return FileRefusal(path, code, f"{reason.rstrip('.')}: {detail}." if detail else reason)


@dataclass(slots=True)
class Scan:
    """Recordings below a folder, and what is passed over.

    Attributes:
        files: paths of the recordings, relative to the folder; by suffix, in no particular order.
        real: the file behind each path, after all links.
        passed_over: files and folders that are not read, with the reasons.
    """

    files: list[PurePosixPath] = field(default_factory=list)
    real: dict[PurePosixPath, str] = field(default_factory=dict)
    passed_over: list[FileRefusal] = field(default_factory=list)


def scan_folder(root: Path, within: Path | None = None) -> Scan:
    """Find the recordings below a folder.

    A folder that is reached twice is read once, under its own path if it has one here. So a circle of links ends.

    Args:
        root: the folder.
        within: links must stay within this folder; None follows all links.
    """
    return _Scanner(root, within).scan()


def no_recordings_error(root: Path, scan: Scan) -> DatasetEmpty:
    """Return the error for a folder without recordings; it counts audio files of other formats and what else is there.

    Args:
        root: the folder.
        scan: result of :func:`scan_folder`.
    """
    others = Counter(
        PurePosixPath(each.path).suffix.lower() for each in scan.passed_over if each.code == "format_unsupported"
    )
    counted = ", ".join(f"{count} {suffix}" for suffix, count in others.most_common())
    found = f" It contains {counted}: convert them to WAV or FLAC." if others else ""
    links = [each for each in scan.passed_over if each.code.startswith(("link_", "folder_"))]
    first = f" {len(links)} passed over, such as {links[0].path}: {links[0].reason}" if links else ""
    return DatasetEmpty(
        f"{root} contains no .wav or .flac file and no recording of another known format, at any depth.{found}{first}"
    )


def pass_over_doubles(listing: Listing, scan: Scan) -> None:
    """Move recordings that are the same file as another one, with the same label, to what is passed over.

    The path without links is kept. If the labels differ, all paths stay: as copies with contradicting labels, a split
    uses none of them.
    """
    of_file: defaultdict[str, list[ListedRecording]] = defaultdict(list)
    for recording in listing.recordings:
        of_file[scan.real[PurePosixPath(recording.path)]].append(recording)
    dropped = set()
    root = str(listing.root.resolve())
    for real, same in of_file.items():
        if len({(each.annotation.label, each.annotation.fault) for each in same}) == 1:
            first, *others = sorted(same, key=lambda each: (f"{root}/{each.path}" != real, natural_key(each.path)))
            dropped |= {each.path for each in others}
            listing.passed_over += [passed_over(each.path, "same_file", first.path) for each in others]
    listing.recordings[:] = [each for each in listing.recordings if each.path not in dropped]


class _Scanner:
    def __init__(self, root: Path, within: Path | None) -> None:
        self._root, self._within, self._found = root, within, Scan()
        self._real_root = root.resolve()
        self._waiting: list[tuple[Path, bool]] = [(root, False)]
        self._linked: list[tuple[Path, bool]] = []
        self._seen: dict[FolderKey, str] = {}

    def scan(self) -> Scan:
        """Read all folders, those behind links last."""
        while self._waiting or self._linked:
            folder, behind_link = self._waiting.pop() if self._waiting else self._linked.pop(0)
            if self._enter(folder):
                for entry in self._entries(folder):
                    self._take(entry, behind_link)
        return self._found

    def _enter(self, folder: Path) -> bool:
        """Return whether a folder is read; a folder that was read under another path is not."""
        try:
            state = folder.stat()
        except OSError as error:
            self._pass_over(folder, "folder_unreadable", error.strerror or "")
            return False
        key = (state.st_dev, state.st_ino)
        # Also a link to a folder above the dataset: it would find the dataset again, and everything beside it.
        if folder.is_symlink() and folder.parent.resolve().is_relative_to(folder.resolve()) and folder != self._root:
            self._pass_over(folder, "link_circle")
            return False
        if key in self._seen:
            self._pass_over(folder, "same_folder", self._seen[key])
            return False
        self._seen[key] = self._relative(folder)
        return True

    def _entries(self, folder: Path) -> Iterator["os.DirEntry[str]"]:
        try:
            with os.scandir(folder) as entries:
                yield from sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            self._pass_over(folder, "folder_unreadable", error.strerror or "")

    def _take(self, entry: "os.DirEntry[str]", behind_link: bool) -> None:
        file, is_link = Path(entry.path), entry.is_symlink()
        if entry.name.startswith("."):
            self._pass_over(file, "hidden")
            return
        try:
            mode = entry.stat().st_mode
        except OSError:
            self._pass_over(file, "link_broken" if is_link else "not_a_file")
            return
        if is_link and self._within is not None and not stays_within(self._within, file):
            self._pass_over(file, "link_outside")
        elif stat.S_ISDIR(mode):
            (self._linked if is_link or behind_link else self._waiting).append((file, is_link or behind_link))
        elif (code := _unusable(entry.name, mode)) is not None:
            self._pass_over(file, code)
        else:
            path = PurePosixPath(self._relative(file))
            self._found.files.append(path)
            # Without links, the path is not resolved: that costs a call of the system for each of its folders.
            resolved = file.resolve() if is_link or behind_link else self._real_root / path
            self._found.real[path] = str(resolved)

    def _relative(self, file: Path) -> str:
        return file.relative_to(self._root).as_posix()

    def _pass_over(self, file: Path, code: str, detail: str = "") -> None:
        self._found.passed_over.append(passed_over(self._relative(file), code, detail))


def _unusable(name: str, mode: int) -> str | None:
    """Return why an entry is no recording; reading a named pipe would never end."""
    if not stat.S_ISREG(mode):
        return "not_a_file"
    suffix = PurePosixPath(name).suffix.lower()
    if suffix in SUFFIXES:
        return None
    return "format_unsupported" if suffix in OTHER_SUFFIXES else "not_a_recording"
