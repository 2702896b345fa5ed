"""Archive of a model: one zip file with a bundle, the revisions of its labels and threshold, and a seal.

The seal (:class:`~ml.models.signing.Seal`) is the comment of the zip file, so that services of earlier versions, which
know no seal, can read the archive. Archives of earlier versions have no seal.

An archive can come from anywhere. Nothing in it is executed, and only files of a bundle are unpacked, with limits for
each file and for all together.
"""

import hashlib
import stat
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ml.errors import BundleDamaged, BundleUnrecognised
from ml.models.bundle import DETECTOR_ARRAYS, KERAS, KNOWN, LITERT, MANIFEST, read_manifest, verify
from ml.models.signing import Seal, SigningKey
from ml.system.atomic import require_free_space, write_atomic
from ml.system.text import printable
from ml.system.zip_members import ZIP_ERRORS, read_member

REVISIONS_FILE = "renamed.json"  # only in archives: labels and thresholds change, but a version does not
ALLOWED = KNOWN | {MANIFEST, REVISIONS_FILE}
MEGABYTE = 2**20
# Chosen here: each is at least ten times the largest that trainings of this project write.
MAX_BYTES: Mapping[str, int] = {MANIFEST: MEGABYTE} | dict.fromkeys((LITERT, KERAS, DETECTOR_ARRAYS), 512 * MEGABYTE)
MAX_OTHER_BYTES, MAX_ALL_BYTES = 128 * MEGABYTE, 1024 * MEGABYTE
MAX_SHOWN = 5
STORED = (0, stat.S_IFREG)  # kinds of files that an archive may state; some programs state none


@dataclass(frozen=True, slots=True)
class Unpacked:
    """Content of an archive beside the bundle.

    Attributes:
        revisions: the revisions of labels and threshold as JSON; None without any.
        seal: the seal, which matches all members; None in an archive of an earlier version.
    """

    revisions: bytes | None
    seal: Seal | None


def pack(folder: Path, target: Path, revisions: bytes | None = None, key: SigningKey | None = None) -> None:
    """Pack a bundle, and the revisions of its labels and threshold, into one zip archive.

    Args:
        folder: the bundle.
        target: archive to write; its folder is made if there is none.
        revisions: the revisions as JSON; None without any.
        key: key that signs the archive; None for no signature.
    """
    manifest = verify(folder)
    members = {file: _digest((folder / file).read_bytes()) for file in (MANIFEST, *sorted(manifest["files"]))}
    target.parent.mkdir(parents=True, exist_ok=True)
    incomplete = target.with_name(f".{target.name}.part")
    try:
        with zipfile.ZipFile(incomplete, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in members:
                archive.write(folder / file, file)
            if revisions is not None:
                archive.writestr(REVISIONS_FILE, revisions)
                members[REVISIONS_FILE] = _digest(revisions)
            archive.comment = Seal.of(manifest["version"], members, key).to_bytes()
        incomplete.replace(target)
    finally:
        incomplete.unlink(missing_ok=True)


@contextmanager
def name_in_errors(archive_file: Path, folder: Path) -> Iterator[None]:
    """Let errors of the bundle in an archive name the archive, and not the hidden folder into which it is unpacked."""
    try:
        yield
    except (BundleDamaged, BundleUnrecognised) as error:
        raise type(error)(str(error).replace(folder.name, archive_file.name)) from error


def unpack(archive_file: Path, folder: Path) -> Unpacked:
    """Unpack the files of a bundle into ``folder``; the caller verifies them.

    Raises:
        BundleUnrecognised: the file is no readable zip archive of a bundle.
        BundleDamaged: a file is too large, or the files do not match the seal.
        SignatureInvalid: the signature does not match.
        StorageFull: the disk has too little space.
    """
    source = archive_file.name
    try:
        with zipfile.ZipFile(archive_file) as archive:
            members = _checked_members(archive, source)
            require_free_space(folder, sum(info.file_size for info in members.values()))
            write_atomic(folder / MANIFEST, read_member(archive, members.pop(MANIFEST)))
            _check_sizes(members, read_manifest(folder)["files"], source)
            revisions = read_member(archive, members.pop(REVISIONS_FILE)) if REVISIONS_FILE in members else None
            for name, info in members.items():
                write_atomic(folder / name, read_member(archive, info))
            seal = Seal.from_bytes(archive.comment) if archive.comment else None
    except ZIP_ERRORS as error:
        raise BundleUnrecognised(f"{source} is no readable zip archive: {error}") from error
    if seal is not None:
        _check_seal(seal, folder, [MANIFEST, *members], revisions, source)
    return Unpacked(revisions, seal)


def _checked_members(archive: zipfile.ZipFile, source: str) -> dict[str, zipfile.ZipInfo]:
    """Return the members by name: each is a file of a bundle, once, a regular file, and not too large."""
    infos = archive.infolist()
    # As it stands in the file: the library cuts a name at a zero byte.
    names = [info.orig_filename for info in infos]
    if MANIFEST not in names or not set(names) <= ALLOWED:
        shown = [printable(name) for name in sorted(set(names) - ALLOWED or names)[:MAX_SHOWN]]
        raise BundleUnrecognised(
            f"{source} is no exported model: it contains {shown}; a {MANIFEST} and its files were expected."
        )
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise BundleUnrecognised(f"{source} is no exported model: it contains {twice} more than once.")
    for info in infos:
        if info.is_dir() or stat.S_IFMT(info.external_attr >> 16) not in STORED:
            raise BundleUnrecognised(f"{source} is no exported model: {info.filename} is a link or no regular file.")
        _check_size(info, MAX_BYTES.get(info.filename, MAX_OTHER_BYTES), source)
    if (total := sum(info.file_size for info in infos)) > MAX_ALL_BYTES:
        raise BundleDamaged(f"{source} unpacks to {total} bytes; at most {MAX_ALL_BYTES} were expected.")
    return {info.filename: info for info in infos}


def _check_size(info: zipfile.ZipInfo, most: int, source: str) -> None:
    if info.file_size > most:
        raise BundleDamaged(
            f"{source}: {info.filename} unpacks to {info.file_size} bytes; at most {most} were expected."
        )


def _check_sizes(
    members: Mapping[str, zipfile.ZipInfo], listed: Mapping[str, Mapping[str, object]], source: str
) -> None:
    """Refuse a member whose size differs from the manifest before it is unpacked."""
    for name, info in members.items():
        if name != REVISIONS_FILE and info.file_size != listed.get(name, {}).get("bytes"):
            raise BundleDamaged(
                f"{source}: {name} unpacks to {info.file_size} bytes; the {MANIFEST} states "
                f"{listed.get(name, {}).get('bytes')}."
            )


def _check_seal(seal: Seal, folder: Path, files: list[str], revisions: bytes | None, source: str) -> None:
    members = {file: _digest((folder / file).read_bytes()) for file in files}
    if revisions is not None:
        members[REVISIONS_FILE] = _digest(revisions)
    seal.check_members(members, source)
    if (version := read_manifest(folder)["version"]) != seal.version:
        raise BundleDamaged(f"{source}: its digests are those of {seal.version}, and its content is {version}.")
    seal.check_signature(source)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
