"""Streams of real servers by a real ffmpeg: hostile ones, ones with a password, playlists and files."""

import base64
import subprocess
import time
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

import numpy as np
import psutil
import pytest

from listener.capture.ffmpeg import find_ffmpeg, stream_command, stream_reader
from listener.capture.pcm_reader import PcmReader
from listener.config.source_types import StreamSource
from testing.servers import wait_until
from tests.capture import Receiver, running
from tests.complete import require_program

RATE = 16_000
PASSWORD = "pa55:word"


class Handler(BaseHTTPRequestHandler):
    """Answers with the server's content."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer; a place to go to, as bytes that begin with ``Location:``, is a redirection."""
        server = self.server
        assert isinstance(server, HttpServer)
        server.asked.append(self.path)
        if server.password and self.headers.get("Authorization") != server.password:
            self._answer(401, b"", ("WWW-Authenticate", "Basic realm=hall"))
            return
        content = server.contents.get(urlsplit(self.path).path)
        if content is None:
            self._answer(404, b"")
        elif content.startswith(b"Location: "):
            self._answer(302, b"", ("Location", content.decode().removeprefix("Location: ")))
        else:
            self._answer(200, content)

    def log_message(self, format: str, *args: object) -> None:
        """Write no log."""

    def _answer(self, status: int, content: bytes, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        for name, value in (*headers, ("Content-Length", str(len(content)))):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)


class HttpServer(ThreadingHTTPServer):
    """HTTP server of some contents.

    Attributes:
        contents: by path.
        asked: paths that were asked for.
        password: value of the header ``Authorization`` without which nothing is answered.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.contents: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.password = ""

    def url(self, path: str, user: str = "") -> str:
        """The address of a path."""
        return f"http://{user}127.0.0.1:{self.server_port}{path}"


@pytest.fixture
def server() -> Iterator[HttpServer]:
    """A server without any content."""
    with HttpServer() as started:
        thread = Thread(target=started.serve_forever)
        thread.start()
        yield started
        started.shutdown()
        thread.join()


def write_noise(path: Path, seconds: float) -> Path:
    """A recording of noise."""
    samples = np.random.default_rng(5).integers(-9000, 9000, round(seconds * RATE)).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(samples.tobytes())
    return path


@contextmanager
def listening_to(url: str) -> Iterator[Receiver]:
    """A reader of a stream."""
    require_program("ffmpeg")
    with running(reader_of(url)) as receiver:
        yield receiver


def reader_of(url: str) -> PcmReader:
    """The reader of a stream."""
    return stream_reader(StreamSource(name="hall", machine_id="fan-1", url=url, timeout_s=2))


def playlist(*segments: str) -> bytes:
    """A playlist of HLS that is complete."""
    lines = ["#EXTM3U", "#EXT-X-VERSION:3", "#EXT-X-TARGETDURATION:2"]
    for segment in segments:
        lines += ["#EXTINF:2.0,", segment]
    return "\n".join([*lines, "#EXT-X-ENDLIST", ""]).encode()


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("/a.m3u8", playlist("file://SECRET")),
        ("/a.m3u8", playlist("SECRET")),
        ("/a.m3u8", playlist("concat:SECRET|SECRET")),
        ("/a.m3u8", playlist("subfile,,start,0,end,0,,:SECRET")),
        ("/a.m3u8", playlist("crypto+file:SECRET")),
        ("/a.m3u8", b"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-MAP:URI=\"file://SECRET\"\n" + playlist("file://SECRET")),
        ("/a.wav", b"ffconcat version 1.0\nfile 'SECRET'\n"),
        ("/a.wav", b"ffconcat version 1.0\nfile 'file:SECRET'\noption protocol_whitelist file\n"),
        ("/a.wav", b"Location: file://SECRET"),
        ("/a.sdp", b"v=0\nm=audio 5000 RTP/AVP 0\nc=IN IP4 127.0.0.1\na=control:file://SECRET\n"),
    ],
)  # fmt: skip
def test_a_server_cannot_make_the_listener_read_its_own_files(
    server: HttpServer, tmp_path: Path, path: str, content: bytes
) -> None:
    """Whatever it answers, no sound comes, and the failure is named."""
    secret = tmp_path / "secret.ts"
    convert = [find_ffmpeg(), "-loglevel", "error", "-i", write_noise(tmp_path / "a.wav", 4), "-c:a", "aac", secret]
    subprocess.run(convert, check=True)
    server.contents[path] = content.replace(b"SECRET", str(secret).encode())
    with listening_to(server.url(path)) as receiver:
        wait_until(lambda: {"failed", "no_data"} & {state for state, _ in receiver.states})
    assert server.asked
    assert not receiver.blocks


def test_the_recording_itself_could_be_read(server: HttpServer, tmp_path: Path) -> None:
    """The same recording as a file of the server: else the test before would show nothing."""
    server.contents["/a.wav"] = write_noise(tmp_path / "a.wav", 2).read_bytes()
    server.contents["/b.wav"] = b"Location: /a.wav"
    with listening_to(server.url("/b.wav")) as receiver:
        receiver.wait_for("listening")
        wait_until(lambda: receiver.seconds >= 2)
    assert receiver.blocks[0].samples.shape[1] == 1
    assert receiver.blocks[0].sample_rate_hz == RATE


def test_a_playlist_is_read(server: HttpServer, tmp_path: Path) -> None:
    """HLS of three pieces."""
    sound = write_noise(tmp_path / "a.wav", 6)
    command = [find_ffmpeg(), "-loglevel", "error", "-i", sound, "-c:a", "aac", "-f", "hls", "-hls_time", "2"]
    subprocess.run([*command, "-hls_list_size", "0", tmp_path / "a.m3u8"], check=True)
    for file in (*tmp_path.glob("*.ts"), tmp_path / "a.m3u8"):
        server.contents[f"/live/{file.name}"] = file.read_bytes()
    with listening_to(server.url("/live/a.m3u8")) as receiver:
        wait_until(lambda: receiver.seconds > 5)
    assert np.ptp(receiver.blocks[0].samples) > 0.1


def test_a_long_file_is_read_at_about_real_time(server: HttpServer, tmp_path: Path) -> None:
    """Half a minute at once, as many streams begin, and then a second each second."""
    server.contents["/a.wav"] = write_noise(tmp_path / "a.wav", 200).read_bytes()
    with listening_to(server.url("/a.wav")) as receiver:
        wait_until(lambda: receiver.seconds > 25)
        time.sleep(1)
        assert receiver.seconds < 60


def test_a_password_reaches_the_server_and_no_process_list(server: HttpServer, tmp_path: Path) -> None:
    """It is in no argument and no variable of the program, nor in a cause."""
    server.contents["/a.wav"] = write_noise(tmp_path / "a.wav", 200).read_bytes()
    server.password = "Basic " + base64.b64encode(f"me:{PASSWORD}".encode()).decode()
    before = set(psutil.Process().children())
    with listening_to(server.url("/a.wav", f"me:{PASSWORD.replace(':', '%3A')}@")) as receiver:
        receiver.wait_for("listening")
        (child,) = set(psutil.Process().children()) - before
        shown = " ".join([*child.cmdline(), *child.environ().values()])
    assert "pa55" not in shown
    with listening_to(server.url("/a.wav", "me:wr0ngpass@")) as receiver:
        cause = receiver.wait_for("failed")
    assert "401" in cause
    assert "wr0ngpass" not in cause


def test_a_stream_without_sound_is_named(server: HttpServer) -> None:
    """A page instead of a stream, as a proxy answers it."""
    server.contents["/a"] = b"<html><body>Sign in</body></html>" * 50
    with listening_to(server.url("/a")) as receiver:
        assert "Invalid data found" in receiver.wait_for("failed")


def test_the_package_s_ffmpeg_takes_the_same_command(server: HttpServer, tmp_path: Path) -> None:
    """The one that the extra ``live`` installs, for computers without ffmpeg."""
    imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg")
    server.contents["/a.wav"] = write_noise(tmp_path / "a.wav", 2).read_bytes()
    command = stream_command(StreamSource(name="a", machine_id="a", url=server.url("/a.wav"), sample_rate_hz=8_000))
    words = (imageio_ffmpeg.get_ffmpeg_exe(), *command.words[1:])
    done = subprocess.run(words, input=command.stdin, capture_output=True, timeout=60, check=True)
    assert len(done.stdout) == pytest.approx(2 * 8_000 * 2, rel=0.05)
    hostile = command.stdin.replace(b"http://", b"file://")
    done = subprocess.run(words, input=hostile, capture_output=True, timeout=60, check=False)
    assert b"not on whitelist" in done.stderr
