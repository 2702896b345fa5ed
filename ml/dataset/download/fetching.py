"""Download of one file over HTTP, which continues after an interruption."""

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
# Attempts without a new byte before the download fails; the pause doubles after each.
ATTEMPTS = 5
RETRIED_STATUS = {408, 429, 500, 502, 503, 504}


def fetch(client: "httpx.Client", archive: Archive, part: Path, *, pause_s: float, report: ProgressCallback) -> None:
    """Download the rest of an archive into ``part``, and check it.

    Args:
        client: HTTP client.
        archive: archive to download.
        part: file to write; a part from an earlier run is completed.
        pause_s: pause before the second attempt; it doubles after each.
        report: called after each piece, with the number of bytes.

    Raises:
        DownloadFailed: the server refuses, or :data:`ATTEMPTS` attempts bring no new byte.
        DownloadDamaged: the content differs from the record's size or checksum; it is deleted.
        StorageFull: the disk is full; the part is kept.
        InvalidParameter: another process downloads the same file.
    """
    with (
        translate_disk_full(part, "free some space and run the command again to continue"),
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
    """Part of an archive that is on disk, and its checksum."""

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
        """Start again at the first byte."""
        self.size, self.md5 = 0, hashlib.md5(usedforsecurity=False)
        self._file.seek(0)
        if truncate:
            self._file.truncate()

    def append(self, chunk: bytes) -> None:
        """Append the next piece.

        Raises:
            DownloadDamaged: the file becomes longer than the archive.
        """
        if self.size + len(chunk) > self.archive.bytes:
            self.restart(truncate=True)
            raise DownloadDamaged(f"{self.archive.name} is longer than the {self.archive.bytes} bytes in its record.")
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

    failures, answer = 0, ""
    while not partial.complete:
        before = partial.size
        try:
            answer = _attempt(client, partial)
        except httpx.RequestError as error:
            answer = error_summary(error)
        except httpx.InvalidURL as error:
            raise DownloadFailed(f"{partial.archive.name}: {error_summary(error)}.") from error
        failures = failures + 1 if partial.size <= before else 0
        if failures == ATTEMPTS:
            raise DownloadFailed(
                f"{partial.archive.name} stopped at {partial.size / 1e6:,.1f} of {partial.archive.bytes / 1e6:,.1f} MB "
                f"and did not continue in {ATTEMPTS} attempts ({answer}): run the command again to continue."
            )
        if not partial.complete:
            time.sleep(pause_s * 2**failures)


def _attempt(client: "httpx.Client", partial: _Partial) -> str:
    """Request the rest once, and append the bytes that arrive.

    Returns:
        The answer of the server, for the error message if the file is still incomplete.

    Raises:
        DownloadFailed: the server refuses with a status that another attempt does not change.
    """
    headers = {"Accept-Encoding": "identity"}
    if partial.size:
        headers["Range"] = f"bytes={partial.size}-"
        if partial.etag:
            headers["If-Range"] = partial.etag
    with client.stream("GET", partial.archive.url, headers=headers) as response:
        answer = f"HTTP status {response.status_code}"
        if response.status_code in RETRIED_STATUS:
            return answer
        if response.status_code not in (200, 206):
            raise DownloadFailed(f"{partial.archive.name}: {partial.archive.url} answered with {answer}.")
        # Any other answer than the exact rest is the whole file, or must be requested again.
        is_rest = response.headers.get("Content-Range", "").startswith(f"bytes {partial.size}-")
        if not (response.status_code == 206 and is_rest):
            partial.restart(truncate=True)
            if response.status_code == 206:
                return "another range than requested"
        etag = response.headers.get("ETag", "")
        partial.etag = etag if etag.startswith('"') else None  # If-Range accepts strong tags only
        # Each piece is written as it arrives. Collected pieces would be lost at an interruption.
        for chunk in response.iter_bytes():
            partial.append(chunk)
    return "the connection ended early"
