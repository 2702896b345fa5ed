"""The header Range of an answer with a recording's file: read in time that is proportional to its length."""

import time
from pathlib import Path

import pytest

from api.audio_files import AudioFileResponse
from tests.unit.asgi import AppClient

SPACES = 60_000 * " "


@pytest.mark.parametrize(
    "header",
    [f"bytes=1-{SPACES}x", f"bytes={SPACES}1-2", f"bytes=1{SPACES}-", f"bytes=1-{60_000 * '9'}"],
    ids=["after", "before", "within", "digits"],
)
def test_a_long_range_is_refused_at_once(tmp_path: Path, header: str) -> None:
    """60 KB of spaces in one header took a minute of a core, in which the process answered nobody."""
    file = tmp_path / "a.wav"
    file.write_bytes(bytes(100))
    begin = time.process_time()
    answer = AppClient(AudioFileResponse(file, file.stat(), "audio/wav", "a.wav")).get("/", headers={"range": header})
    assert (answer.status_code, answer.json()["code"]) == (400, "range_malformed")
    assert time.process_time() - begin < 1


@pytest.mark.parametrize(
    ("name", "shown"),
    [("../../../etc/passwd", "passwd"), ("..\\..\\boot.ini", "boot.ini"), (".bashrc", "bashrc"), ("..", "recording")],
)
def test_the_name_of_a_download_leads_nowhere(tmp_path: Path, name: str, shown: str) -> None:
    """A name comes from the client that uploaded the file; a program that saves the answer may use it."""
    file = tmp_path / "a.wav"
    file.write_bytes(bytes(100))
    answer = AppClient(AudioFileResponse(file, file.stat(), "audio/wav", name)).get("/")
    assert answer.headers["content-disposition"] == f'inline; filename="{shown}"'
