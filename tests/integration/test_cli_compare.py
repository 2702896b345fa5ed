"""``signalml compare``, as a person or a script uses it."""

import json
from pathlib import Path

import pytest

from tests import sounds
from tests.commands import Done, as_process, signalml


def run(home: Path, *arguments: object) -> Done:
    """One command to its end."""
    return signalml(home, "compare", *arguments, folder=home)


@pytest.fixture(scope="module")
def fan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six healthy recordings of a fan and three of it at another speed."""
    folder = tmp_path_factory.mktemp("data") / "fan"
    for label, count, blade_hz in (("normal", 6, 120.0), ("abnormal", 3, 90.0)):
        (folder / label).mkdir(parents=True)
        for number in range(count):
            sound = sounds.fan(1.0, seed=100 * count + number, blade_hz=blade_hz)
            (folder / label / f"{number:08d}.wav").write_bytes(sounds.recording(sound))
    return folder


def test_tables_report_and_figures_come_of_one_command(tmp_path: Path, fan: Path) -> None:
    """Progress is on stderr, tables are on stdout, and the two files are written."""
    options = ("--engine", "distance", "--report", "fan.html", "--json", "fan.json", "--processes", 1)
    done = as_process(tmp_path, "compare", fan, *options, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "recordings: 6 normal and 3 abnormal recordings (sessions: 1 and 1)" in done.stdout
    for name in ("spectrum-gaussian+distance", "distance", "baseline"):
        assert f"\n {name} " in done.stdout
    assert "\n recordings    normal    6  0.00 [" in done.stdout
    assert "fitting: 6 of 6" in done.stderr
    figures = json.loads((tmp_path / "fan.json").read_text())
    assert figures["contenders"] == ["spectrum-gaussian+distance", "distance", "baseline"]
    assert figures["rows"][1]["auc"]["value"] == 1
    assert "<svg" in (tmp_path / "fan.html").read_text()


def test_what_cannot_be_written_is_said_before_the_work(tmp_path: Path, fan: Path) -> None:
    """A report in a folder that is not there is refused at once, in one sentence."""
    done = run(tmp_path, fan, "--report", "nowhere/fan.html")
    assert done.returncode == 1
    assert done.stderr == "error: nowhere/fan.html cannot be written: a file in a folder that exists was expected.\n"


def test_an_engine_that_there_is_not_is_refused(tmp_path: Path, fan: Path) -> None:
    """With those that there are."""
    done = run(tmp_path, fan, "--engine", "crystal-ball")
    assert done.returncode == 1
    assert "error: There is no engine 'crystal-ball'; one of spectrum-gaussian, distance," in done.stderr


def test_help_shows_examples(tmp_path: Path) -> None:
    """And what a detector is judged by."""
    done = run(tmp_path, "--help")
    assert done.returncode == 0
    assert "signalml compare data/fans" in done.stdout
    assert "--out-of-domain" in done.stdout
    assert "beside the default and the bar, which always take part" in " ".join(done.stdout.replace("│", " ").split())
