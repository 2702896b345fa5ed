"""Unpacking of an archive, completely or not at all, and only into the target folder."""

import shutil
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from ml.errors import DownloadDamaged
from ml.system.atomic import atomic_folder, require_free_space
from ml.system.progress import Progress, ProgressCallback


def unpack(archive: Path, target: Path, *, name: str, report: ProgressCallback) -> None:
    """Unpack a zip file into a new folder.

    Args:
        archive: zip file.
        target: folder that appears once everything is unpacked.
        name: name of the archive in messages.
        report: called after each member.

    Raises:
        DownloadDamaged: the file is no zip file, is damaged, or has a member that is unsafe to unpack.
        StorageFull: the disk has too little space for the content.
        InvalidParameter: ``target`` is in use.
    """
    try:
        with zipfile.ZipFile(archive) as members:
            infos = members.infolist()
            for info in infos:
                _require_safe(info, name)
            require_free_space(target, sum(info.file_size for info in infos))
            with atomic_folder(target) as incomplete:
                for done, info in enumerate(infos, 1):
                    _extract(members, info, incomplete)
                    report(Progress(f"unpacking {name}", done, len(infos)))
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise DownloadDamaged(f"{name} cannot be unpacked: {error}.") from error


def _require_safe(info: zipfile.ZipInfo, name: str) -> None:
    path = PurePosixPath(info.filename)
    kind = stat.S_IFMT(info.external_attr >> 16)
    unsafe = kind not in (0, stat.S_IFREG, stat.S_IFDIR) or info.flag_bits & 1  # a link or device; encrypted
    if unsafe or path.is_absolute() or ".." in path.parts or "\\" in info.filename or not path.parts:
        raise DownloadDamaged(
            f"{name} contains {info.filename!r}; only plain files and folders inside the archive were expected. "
            "Nothing was unpacked."
        )


def _extract(members: zipfile.ZipFile, info: zipfile.ZipInfo, folder: Path) -> None:
    path = folder / info.filename
    if info.is_dir():
        path.mkdir(parents=True, exist_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with members.open(info) as source, path.open("xb") as file:
        shutil.copyfileobj(source, file, 1 << 20)
