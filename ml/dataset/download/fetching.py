"""One file over HTTP, that may be cut off anywhere and goes on from there."""

import fcntl
import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from ml.dataset.download.zenodo import Archive, error_summary
from ml.errors import DownloadDamaged, DownloadFailed, InvalidParameter
from ml.system.atomic import translate_disk_full
from ml.system.progress import Progress, ProgressCallback

if TYPE_CHECKING:
    import httpx

CHUNK_BYTES = 1 << 20
# Tries without a single new byte between them before it is given up; the pause doubles from one to the next.
ATTEMPTS = 5
AGAIN = {408, 429, 500, 502, 503, 504}


def fetch(client: "httpx.Client", archive: Archive, part: Path, *, pause_s: float, report: ProgressCallback) -> None:
    """Bring ``part`` to the whole archive, from wherever it is, and check it.

    Args:
        client: to ask with.
        archive: what is fetched.
        part: the file to write; what an earlier run left in it is gone on with.
        pause_s: before the second try; it doubles from then on.
        report: told after each piece that comes, in bytes.

    Raises:
        DownloadFailed: the server refuses, or does not answer for :data:`ATTEMPTS` tries.
        DownloadDamaged: what came is not what the record promises; it is deleted.
        StorageFull: the disk filled up on the way; what came is kept.
        InvalidParameter: another process is at it.
    """
    with (
        translate_disk_full(part, "make room and run the command again, it goes on from there"),
        _open_locked(part) as file,
    ):
        partial = _Partial(file, archive, report)
        _until_complete(client, partial, pause_s)
        if partial.md5.hexdigest() != archive.md5:
            part.unlink()
            raise DownloadDamaged(
                f"{archive.name} has the MD5 {partial.md5.hexdigest()}; {archive.md5} was expected. It was deleted: "
                "run the command again."
            )
        os.fsync(file.fileno())


@contextmanager
def _open_locked(part: Path) -> Iterator[BinaryIO]:
    part.touch()
    with part.open("r+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InvalidParameter(f"{part} is being downloaded by another process: wait for it.") from error
        yield file


class _Partial:
    """What there is of an archive so far, and its checksum."""

    def __init__(self, file: BinaryIO, archive: Archive, report: ProgressCallback) -> None:
        self._file = file
        self._report = report
        self.archive = archive
        self.etag: str | None = None
        self.restart()
        while chunk := file.read(CHUNK_BYTES):
            self._count(chunk)
        if self.size > archive.bytes:
            self.restart(truncate=True)

    @property
    def complete(self) -> bool:
        return self.size == self.archive.bytes

    def restart(self, *, truncate: bool = False) -> None:
        """Begin from the first byte."""
        self.size, self.md5 = 0, hashlib.md5(usedforsecurity=False)
        self._file.seek(0)
        if truncate:
            self._file.truncate()

    def append(self, chunk: bytes) -> None:
        """Add what came next.

        Raises:
            DownloadDamaged: more came than there should be.
        """
        if self.size + len(chunk) > self.archive.bytes:
            self.restart(truncate=True)
            raise DownloadDamaged(f"{self.archive.name} is longer than the {self.archive.bytes} bytes of its record.")
        self._file.write(chunk)
        self._count(chunk)

    def _count(self, chunk: bytes) -> None:
        self.size += len(chunk)
        self.md5.update(chunk)
        total = self.archive.bytes
        note = f"{self.size / 1e6:,.1f} of {total / 1e6:,.1f} MB"
        self._report(Progress(self.archive.name, min(self.size, total), total, note))


def _until_complete(client: "httpx.Client", partial: _Partial, pause_s: float) -> None:
    import httpx

    failures, words = 0, ""
    while not partial.complete:
        before = partial.size
        try:
            words = _attempt(client, partial)
        except httpx.RequestError as error:
            words = error_summary(error)
        except httpx.InvalidURL as error:
            raise DownloadFailed(f"{partial.archive.name}: {error_summary(error)}.") from error
        failures = failures + 1 if partial.size <= before else 0
        if failures == ATTEMPTS:
            raise DownloadFailed(
                f"{partial.archive.name} stopped at {partial.size / 1e6:,.1f} of {partial.archive.bytes / 1e6:,.1f} MB "
                f"and did not go on in {ATTEMPTS} tries ({words}): run the command again, it goes on from there."
            )
        if not partial.complete:
            time.sleep(pause_s * 2**failures)


def _attempt(client: "httpx.Client", partial: _Partial) -> str:
    """Ask for the rest once, and take what comes.

    Returns:
        what the server said, for the case that it was not enough.

    Raises:
        DownloadFailed: the server refuses in a way that asking again does not change.
    """
    headers = {"Accept-Encoding": "identity"}
    if partial.size:
        headers["Range"] = f"bytes={partial.size}-"
        if partial.etag:
            headers["If-Range"] = partial.etag
    with client.stream("GET", partial.archive.url, headers=headers) as response:
        words = f"HTTP status {response.status_code}"
        if response.status_code in AGAIN:
            return words
        if response.status_code not in (200, 206):
            raise DownloadFailed(f"{partial.archive.name}: {partial.archive.url} answered with {words}.")
        # Anything but exactly the rest is the whole, or must be asked for anew.
        going_on = response.headers.get("Content-Range", "").startswith(f"bytes {partial.size}-")
        if not (response.status_code == 206 and going_on):
            partial.restart(truncate=True)
            if response.status_code == 206:
                return "another range than was asked for"
        etag = response.headers.get("ETag", "")
        partial.etag = etag if etag.startswith('"') else None  # If-Range takes strong ones only
        # In the pieces that come: collected into larger ones, what came before a break would be lost.
        for chunk in response.iter_bytes():
            partial.append(chunk)
    return "the connection ended early"
