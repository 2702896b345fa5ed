"""Power cuts: what a disk has of the files that a process wrote, if it lost all that was not synced.

``power_cut.c`` records each sync. A disk keeps a file's content as it was at the last sync of the file, and the names
in a folder as they were at the last sync of the folder. A real disk may keep more; the promises must hold for both.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self

from testing.preload import build

Kind = Literal["file", "folder"]
Entries = Mapping[str, tuple[Kind, int]]


@dataclass
class Disk:
    """Content of a disk, by inode.

    Attributes:
        root: inode of the recorded folder.
        files: content of each file that was synced.
        folders: entries of each folder that was synced.
    """

    root: int
    files: dict[int, bytes] = field(default_factory=dict)
    folders: dict[int, Entries] = field(default_factory=dict)

    @classmethod
    def of(cls, root: Path) -> Self:
        """Return a folder as it is now, as if all of it were synced."""
        disk = cls(root.stat().st_ino)
        for folder in (root, *(path for path in root.rglob("*") if path.is_dir())):
            disk.folders[folder.stat().st_ino] = entries_of(folder)
            disk.files |= {path.stat().st_ino: path.read_bytes() for path in folder.iterdir() if path.is_file()}
        return disk

    def write(self, target: Path) -> Path:
        """Write the content into a new folder."""
        self._write_folder(self.root, target)
        return target

    def _write_folder(self, inode: int, target: Path) -> None:
        target.mkdir()
        for name, (kind, number) in self.folders.get(inode, {}).items():
            if kind == "folder":
                self._write_folder(number, target / name)
            else:
                (target / name).write_bytes(self.files.get(number, b""))


def entries_of(folder: Path) -> Entries:
    """Return kind and inode of each file and folder in a folder."""
    return {path.name: ("folder" if path.is_dir() else "file", path.stat().st_ino) for path in folder.iterdir()}


class PowerCut:
    """Record of one home, from now on.

    Args:
        home: the recorded folder. It exists, and all of it counts as synced.
        folder: an empty folder for the record.
    """

    def __init__(self, home: Path, folder: Path) -> None:
        self._home, self._folder = home, folder
        self._before = Disk.of(home)
        self._library = build("power_cut", folder)
        (folder / "syncs").mkdir()

    @property
    def environment(self) -> dict[str, str]:
        """Variables of a process whose syncs are recorded."""
        return {
            "LD_PRELOAD": str(self._library),
            "POWER_CUT_ROOT": str(self._home),
            "POWER_CUT_RECORD": str(self._folder / "syncs"),
        }

    def syncs(self) -> int:
        """Return the number of syncs so far."""
        log = self._folder / "syncs" / "log"
        return len(log.read_text().splitlines()) if log.exists() else 0

    def after(self, syncs: int) -> Disk:
        """Return what the disk has after so many syncs, if it lost everything else."""
        disk = Disk(self._before.root, dict(self._before.files), dict(self._before.folders))
        log = (self._folder / "syncs" / "log").read_text() if syncs else ""
        for line in log.splitlines()[:syncs]:
            kind, inode, name = line.split()
            content = (self._folder / "syncs" / name).read_bytes()
            if kind == "file":
                disk.files[int(inode)] = content
            else:
                disk.folders[int(inode)] = _parse(content.decode())
        return disk

    def with_names(self) -> Disk:
        """Return what the disk has now, if it kept all names and lost the content that was not synced."""
        disk = self.after(self.syncs())
        for folder in (self._home, *(path for path in self._home.rglob("*") if path.is_dir())):
            disk.folders[folder.stat().st_ino] = entries_of(folder)
        return disk

    def delete(self) -> None:
        """Delete the record."""
        shutil.rmtree(self._folder)


def _parse(text: str) -> Entries:
    found: dict[str, tuple[Kind, int]] = {}
    for line in text.splitlines():
        kind, inode, name = line.split(" ", 2)
        found[name] = ("folder" if kind == "folder" else "file", int(inode))
    return found
