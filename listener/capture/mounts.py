"""Mounted file systems: on which one a folder is, and whether changes on it are reported."""

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

MOUNTS = Path("/proc/self/mountinfo")
ESCAPED = re.compile(r"\\([0-7]{3})")  # spaces and other characters of a path, as octal numbers
# Another computer can change these; inotify reports only the changes of this one.
NETWORK_TYPES = frozenset(
    {"9p", "afs", "autofs", "ceph", "cifs", "coda", "davfs", "drvfs", "fakeowner", "fuse", "gfs2", "glusterfs", "gpfs"}
    | {"grpcfuse", "lustre", "ncpfs", "nfs", "nfs4", "ocfs2", "osxfs", "prl_fs", "smb3", "smbfs", "vboxsf", "virtiofs"}
    | {"vmhgfs"}
)
LOCAL_FUSE = frozenset({"fuse.ntfs", "fuse.ntfs-3g", "fuse.exfat", "fuse.lxcfs"})


class Mount(NamedTuple):
    """Mounted file system.

    Attributes:
        point: folder at which it is mounted.
        kind: its type, such as ``ext4`` or ``nfs4``.
    """

    point: str
    kind: str

    @property
    def is_network(self) -> bool:
        """Whether other computers can write to it without a report to this one."""
        return self.kind in NETWORK_TYPES or (self.kind.startswith("fuse.") and self.kind not in LOCAL_FUSE)


def read_mounts(file: Path = MOUNTS) -> list[Mount]:
    """Return the mounted file systems; empty where the system has no list of them."""
    try:
        lines = os.fsdecode(file.read_bytes()).splitlines()
    except OSError:
        return []
    return [mount for mount in map(_parse, lines) if mount is not None]


def mount_of(folder: str, mounts: Iterable[Mount]) -> Mount | None:
    """Return the file system of a folder; None without a list.

    Args:
        folder: absolute path without links.
        mounts: mounted file systems; of two at one place, the later one hides the other.

    Example:
        >>> mount_of("/mnt/nas/hall", [Mount("/", "ext4"), Mount("/mnt/nas", "nfs4"), Mount("/mnt/n", "cifs")])
        Mount(point='/mnt/nas', kind='nfs4')
    """
    found = None
    for mount in mounts:
        if is_below(folder, mount.point) and (found is None or len(mount.point) >= len(found.point)):
            found = mount
    return found


def has_network_mount(folder: str, mounts: Iterable[Mount]) -> bool:
    """Return whether a folder, or a folder in it, is on a network file system."""
    listed = list(mounts)
    own = mount_of(folder, listed)
    return (own is not None and own.is_network) or any(
        mount.is_network for mount in listed if is_below(mount.point, folder)
    )


def is_below(path: str, folder: str) -> bool:
    """Return whether a path is a folder or in it, by their names.

    Example:
        >>> is_below("/mnt/nas", "/mnt"), is_below("/mnt", "/mnt"), is_below("/mnt-2", "/mnt"), is_below("/a", "/")
        (True, True, False, True)
    """
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _parse(line: str) -> Mount | None:
    """Read a line: ``36 35 98:0 /root /mnt rw,noatime master:1 - ext4 /dev/sda1 rw``."""
    first, _, last = line.partition(" - ")
    fields = first.split(" ")
    if len(fields) < 6 or not last:
        return None
    return Mount(ESCAPED.sub(lambda found: chr(int(found[1], 8)), fields[4]), last.split(" ")[0])
