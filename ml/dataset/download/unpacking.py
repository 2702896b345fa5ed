"""An archive, unpacked whole or not at all, and nowhere but where it was told."""

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
        archive: the file.
        target: the folder that appears once all of it is there.
        name: what to call the archive in messages.
        report: told after each member.

    Raises:
        DownloadDamaged: not a zip file, a damaged one, or one with a member that would land elsewhere.
        StorageFull: the disk has no room for what is in it.
        InvalidParameter: ``target`` is in use.
    """
    try:
        with zipfile.ZipFile(archive) as members:
            infos = members.infolist()
            for info in infos:
                _require_harmless(info, name)
            require_free_space(target, sum(info.file_size for info in infos))
            with atomic_folder(target) as aside:
                for done, info in enumerate(infos, 1):
                    _extract(members, info, aside)
                    report(Progress(f"unpacking {name}", done, len(infos)))
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise DownloadDamaged(f"{name} does not unpack: {error}.") from error


def _require_harmless(info: zipfile.ZipInfo, name: str) -> None:
    path = PurePosixPath(info.filename)
    kind = stat.S_IFMT(info.external_attr >> 16)
    odd = kind not in (0, stat.S_IFREG, stat.S_IFDIR) or info.flag_bits & 1  # a link or device; encrypted
    if odd or path.is_absolute() or ".." in path.parts or "\\" in info.filename or not path.parts:
        raise DownloadDamaged(
            f"{name} holds {info.filename!r}: plain files and folders below the archive's own were expected. "
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
