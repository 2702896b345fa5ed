"""Archives over HTTP from a real server that serves, breaks off, lies and goes away."""

import hashlib
import io
import json
import os
import signal
import stat
import threading
import time
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from ml.dataset.download.mimii import download_mimii
from ml.errors import Cancelled, DownloadDamaged, DownloadFailed, InvalidParameter, StorageFull
from ml.system.progress import Progress, cancellable
from testing.servers import wait_until
from tests.commands import signalml, start, succeeds

MEMBERS = {
    f"fan/id_00/{label}/{number:08d}.wav": np.random.default_rng(number).bytes(700_000)
    for label in ("normal", "abnormal")
    for number in range(3)
}
SIZE_OF_A_BREAK = 1_500_000


def zipped(members: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        file.writestr("fan/", b"")
        for name, data in members.items():
            file.writestr(name, data)
    return content.getvalue()


class Archives(ThreadingHTTPServer):
    """A record and its files, as Zenodo has them.

    Attributes:
        files: content by name; ``record`` may be replaced by anything.
        ranges: whether ``Range`` is honoured.
        breaks: how many answers end early, after :data:`SIZE_OF_A_BREAK` bytes.
        pace_s: between blocks of 64 KiB.
        asked: the ``Range`` of each request for a file, None where there was none.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = {"6_dB_fan.zip": zipped(MEMBERS)}
        self.ranges, self.breaks, self.pace_s = True, 0, 0.0
        self.statuses: list[int] = []
        self.asked: list[str | None] = []
        self.record: bytes | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def source(self) -> str:
        return f"{self.url}/api/records/1"

    def record_bytes(self) -> bytes:
        return self.record or json.dumps({"files": [self.entry(name) for name in self.files]}).encode()

    def entry(self, name: str) -> dict[str, object]:
        content = self.files[name]
        checksum = f"md5:{hashlib.md5(content).hexdigest()}"
        return {"key": name, "size": len(content), "checksum": checksum, "links": {"self": f"{self.url}/{name}"}}


class Handler(BaseHTTPRequestHandler):
    server: Archives

    def do_GET(self) -> None:
        if self.path.startswith("/api"):
            self.answer(200, self.server.record_bytes())
        elif self.server.statuses:
            self.answer(self.server.statuses.pop(0), b"")
        else:
            self.file(self.server.files[self.path[1:]])

    def file(self, content: bytes) -> None:
        asked = self.headers["Range"]
        self.server.asked.append(asked)
        if asked and self.server.ranges:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            whole = len(content)
            self.answer(206, content[start:], {"Content-Range": f"bytes {start}-{whole - 1}/{whole}"})
        else:
            self.answer(200, content)

    def answer(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), "ETag": '"1"', **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.server.breaks and len(content) > SIZE_OF_A_BREAK:
            self.server.breaks -= 1
            content = content[:SIZE_OF_A_BREAK]
        for offset in range(0, len(content), 65_536):
            time.sleep(self.server.pace_s)
            try:
                self.wfile.write(content[offset : offset + 65_536])
            except ConnectionError:
                return
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def archives() -> Iterator[Archives]:
    with Archives() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def unpacked(target: Path) -> dict[str, bytes]:
    folder = target / "6_dB_fan"
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def names(target: Path) -> list[str]:
    return sorted(path.name for path in target.iterdir())


def part_of(target: Path) -> Path:
    (part,) = target.glob(".*.part")
    return part


def test_an_archive_is_fetched_checked_and_unpacked(archives: Archives, tmp_path: Path) -> None:
    """Into the layout of the archive, with nothing left beside it, and progress in bytes."""
    seen: list[Progress] = []
    assert download_mimii(tmp_path / "new" / "mimii", source=archives.source, report=seen.append) == ("6_dB_fan",)
    assert unpacked(tmp_path / "new" / "mimii") == MEMBERS
    assert names(tmp_path / "new" / "mimii") == ["6_dB_fan"]
    size = len(archives.files["6_dB_fan.zip"])
    assert max((p.done, p.total) for p in seen if p.step == "6_dB_fan.zip") == (size, size)


def test_what_is_there_is_not_fetched_again(archives: Archives, tmp_path: Path) -> None:
    """Not even the record is asked for."""
    download_mimii(tmp_path, source=archives.source)
    archives.record = b"gone"
    assert download_mimii(tmp_path, source=archives.source) == ()
    assert archives.asked == [None]


def test_archives_are_kept_on_request(archives: Archives, tmp_path: Path) -> None:
    """Under their own name."""
    download_mimii(tmp_path, source=archives.source, keep_archives=True)
    assert names(tmp_path) == ["6_dB_fan", "6_dB_fan.zip"]
    assert (tmp_path / "6_dB_fan.zip").read_bytes() == archives.files["6_dB_fan.zip"]


def test_a_broken_connection_is_gone_on_with(archives: Archives, tmp_path: Path) -> None:
    """From the byte where it broke, not from the first."""
    archives.breaks = 2
    download_mimii(tmp_path, source=archives.source, pause_s=0.01)
    assert archives.asked == [None, f"bytes={SIZE_OF_A_BREAK}-", f"bytes={2 * SIZE_OF_A_BREAK}-"]
    assert unpacked(tmp_path) == MEMBERS


def test_a_server_that_ignores_ranges_begins_anew(archives: Archives, tmp_path: Path) -> None:
    """The whole that it sends takes the place of what there was."""
    archives.breaks, archives.ranges = 1, False
    download_mimii(tmp_path, source=archives.source, pause_s=0.01)
    assert archives.asked == [None, f"bytes={SIZE_OF_A_BREAK}-"]
    assert unpacked(tmp_path) == MEMBERS


def test_a_server_that_is_busy_is_asked_again(archives: Archives, tmp_path: Path) -> None:
    """503 and 429 pass."""
    archives.statuses = [503, 429]
    download_mimii(tmp_path, source=archives.source, pause_s=0.01)
    assert unpacked(tmp_path) == MEMBERS


def test_a_server_that_refuses_is_not_asked_again(archives: Archives, tmp_path: Path) -> None:
    """The sentence has the status."""
    archives.statuses = [403, 200]
    with pytest.raises(DownloadFailed, match="answered with HTTP status 403"):
        download_mimii(tmp_path, source=archives.source, pause_s=0.01)
    assert archives.statuses == [200]


def test_a_server_that_gives_nothing_is_given_up(archives: Archives, tmp_path: Path) -> None:
    """After five tries; the sentence tells the user what to do."""
    archives.statuses = [500] * 9
    with pytest.raises(DownloadFailed, match=r"did not continue in 5 attempts .*run the command again"):
        download_mimii(tmp_path, source=archives.source, pause_s=0.001)
    assert len(archives.statuses) == 4


def test_a_wrong_checksum_is_found_and_the_file_deleted(archives: Archives, tmp_path: Path) -> None:
    """Nothing is unpacked of it."""
    entry = archives.entry("6_dB_fan.zip") | {"checksum": "md5:" + "0" * 32}
    archives.record = json.dumps({"files": [entry]}).encode()
    with pytest.raises(DownloadDamaged, match=r"0{32} was expected"):
        download_mimii(tmp_path, source=archives.source)
    assert names(tmp_path) == []


def test_more_than_was_promised_is_not_taken(archives: Archives, tmp_path: Path) -> None:
    """A file that never ends does not fill the disk."""
    entry = archives.entry("6_dB_fan.zip") | {"size": 1000}
    archives.record = json.dumps({"files": [entry]}).encode()
    with pytest.raises(DownloadDamaged, match="longer than the 1000 bytes"):
        download_mimii(tmp_path, source=archives.source)


def link() -> zipfile.ZipInfo:
    info = zipfile.ZipInfo("fan/link")
    info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    return info


@pytest.mark.parametrize(
    "member", ["../evil.wav", "fan/../../evil.wav", "/tmp/evil.wav", "fan\\..\\evil.wav", link()], ids=str
)
def test_a_member_that_would_land_elsewhere_is_refused(
    archives: Archives, tmp_path: Path, member: str | zipfile.ZipInfo
) -> None:
    """Before anything is unpacked; and the archive, whose checksum is right, is not kept."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        file.writestr("fan/id_00/normal/00000000.wav", b"good")
        file.writestr(member, b"/etc/passwd")
    archives.files["6_dB_fan.zip"] = content.getvalue()
    with pytest.raises(DownloadDamaged, match="Nothing was unpacked"):
        download_mimii(tmp_path / "mimii", source=archives.source)
    assert names(tmp_path / "mimii") == []
    assert names(tmp_path) == ["mimii"]


@pytest.mark.parametrize("content", [b"no zip file at all", zipped(MEMBERS)[:-3000]])
def test_what_does_not_unpack_is_reported_as_damaged(archives: Archives, tmp_path: Path, content: bytes) -> None:
    """Though its checksum was right."""
    archives.files["6_dB_fan.zip"] = content
    with pytest.raises(DownloadDamaged, match="cannot be unpacked"):
        download_mimii(tmp_path, source=archives.source)
    assert names(tmp_path) == []


def test_a_damaged_member_leaves_no_folder(archives: Archives, tmp_path: Path) -> None:
    """A wrong byte amid a member fails its CRC, and the members before it go too."""
    content = bytearray(zipped(MEMBERS))
    content[len(content) // 2] ^= 1
    archives.files["6_dB_fan.zip"] = bytes(content)
    with pytest.raises(DownloadDamaged, match="Bad CRC"):
        download_mimii(tmp_path, source=archives.source)
    assert names(tmp_path) == []


@pytest.mark.parametrize(("machines", "snr_db"), [(["fan", "../fan"], [6]), (["turbine"], [6]), (["fan"], [3])])
def test_what_mimii_does_not_have_is_refused(tmp_path: Path, machines: list[str], snr_db: list[float]) -> None:
    """Without asking anybody."""
    with pytest.raises(InvalidParameter, match=r"^MIMII has no .*expected"):
        download_mimii(tmp_path, machines=machines, snr_db=snr_db, source="http://127.0.0.1:9/")


def test_an_archive_that_the_record_lacks_is_named(archives: Archives, tmp_path: Path) -> None:
    """With those that it has."""
    with pytest.raises(DownloadFailed, match=r"has no 6_dB_pump.zip; it has 6_dB_fan.zip"):
        download_mimii(tmp_path, machines=["fan", "pump"], source=archives.source)
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    "record",
    [b"<html>", b"[]", b"{}", b'{"files": 3}', b'{"files": [3]}', b'{"files": [{"key": "6_dB_fan.zip"}]}']
    + [
        json.dumps({"files": [{"key": "6_dB_fan.zip", "size": 1, "checksum": c, "links": {"self": u}}]}).encode()
        for c, u in (("sha1:00", "http://x/"), (None, "http://x/"), ("md5:" + "0" * 32, "file:///etc/passwd"))
    ],
)
def test_something_else_than_a_record_is_reported(archives: Archives, tmp_path: Path, record: bytes) -> None:
    """One sentence, whatever it was."""
    archives.record = record
    with pytest.raises(DownloadFailed, match="did not answer with a Zenodo record"):
        download_mimii(tmp_path, source=archives.source)


@pytest.mark.parametrize("source", ["http://127.0.0.1:9/api", "http://", "gopher://x/", "records/3384388"])
def test_a_server_that_is_not_there_is_one_sentence(tmp_path: Path, source: str) -> None:
    """With the address that was asked."""
    with pytest.raises(DownloadFailed, match="did not answer with the list of archives"):
        download_mimii(tmp_path, source=source)


def test_a_disk_without_room_is_noticed_before_the_first_byte(archives: Archives, tmp_path: Path) -> None:
    """Archive and content together."""
    entry = archives.entry("6_dB_fan.zip") | {"size": 10**15}
    archives.record = json.dumps({"files": [entry]}).encode()
    with pytest.raises(StorageFull, match=r"needs 2,550,\d+,\d+ MB"):
        download_mimii(tmp_path / "mimii", source=archives.source)
    assert archives.asked == []
    assert names(tmp_path) == []


def test_a_stopped_download_is_gone_on_with(archives: Archives, tmp_path: Path) -> None:
    """What came before is kept, and only the rest is fetched."""
    seen: list[Progress] = []
    with pytest.raises(Cancelled):
        download_mimii(tmp_path, source=archives.source, report=cancellable(seen.append, lambda: len(seen) >= 2))
    kept = part_of(tmp_path).stat().st_size
    assert 0 < kept < len(archives.files["6_dB_fan.zip"])
    download_mimii(tmp_path, source=archives.source)
    assert archives.asked == [None, f"bytes={kept}-"]
    assert unpacked(tmp_path) == MEMBERS


def test_a_part_of_another_version_is_not_gone_on_with(archives: Archives, tmp_path: Path) -> None:
    """It is removed: its bytes are of another file."""
    (tmp_path / f".6_dB_fan.zip.{'0' * 8}.part").write_bytes(b"older")
    download_mimii(tmp_path, source=archives.source)
    assert archives.asked == [None]
    assert names(tmp_path) == ["6_dB_fan"]


def test_a_spoilt_part_is_found_by_the_checksum(archives: Archives, tmp_path: Path) -> None:
    """It is deleted, so that the next run makes it good."""
    md5 = hashlib.md5(archives.files["6_dB_fan.zip"]).hexdigest()
    (tmp_path / f".6_dB_fan.zip.{md5[:8]}.part").write_bytes(b"spoilt")
    with pytest.raises(DownloadDamaged, match="run the command again"):
        download_mimii(tmp_path, source=archives.source)
    download_mimii(tmp_path, source=archives.source)
    assert unpacked(tmp_path) == MEMBERS


def test_the_command_is_killed_and_goes_on(archives: Archives, tmp_path: Path) -> None:
    """``kill -9`` midway: a part, no folder; the command again: the rest, and where to go from there."""
    archives.pace_s = 0.02
    words = ("download", "mimii", "--machine", "fan", "--snr", 6, "--source", archives.source, "--to", "mimii")
    with start(tmp_path / "home", *words) as process:
        wait_until(lambda: any(path.stat().st_size > 1_000_000 for path in tmp_path.glob("mimii/.*.part")))
        os.kill(process.pid, signal.SIGKILL)
    assert names(tmp_path / "mimii") == [part_of(tmp_path / "mimii").name]
    archives.pace_s = 0.0
    done = signalml(tmp_path / "home", *words)
    assert (done.returncode, "signalml inspect" in done.stdout.splitlines()[-1]) == (0, True), done.stderr
    assert archives.asked[1] is not None
    assert unpacked(tmp_path / "mimii") == MEMBERS
    assert "already" in succeeds(tmp_path / "home", *words)
