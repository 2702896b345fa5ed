"""``signalml compare``: tables, report, JSON file and refusals."""

import json
from pathlib import Path

import pytest

from tests import sounds
from tests.commands import Done, as_process, signalml


def run(home: Path, *arguments: object) -> Done:
    """Run ``signalml compare``."""
    return signalml(home, "compare", *arguments, folder=home)


@pytest.fixture(scope="module")
def fan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six normal recordings of a fan, and three abnormal ones at another speed."""
    folder = tmp_path_factory.mktemp("data") / "fan"
    for label, count, blade_hz in (("normal", 6, 120.0), ("abnormal", 3, 90.0)):
        (folder / label).mkdir(parents=True)
        for number in range(count):
            sound = sounds.fan(1.0, seed=100 * count + number, blade_hz=blade_hz)
            (folder / label / f"{number:08d}.wav").write_bytes(sounds.recording(sound))
    return folder


def test_one_command_makes_tables_report_and_json(tmp_path: Path, fan: Path) -> None:
    """Progress goes to stderr, tables go to stdout, and both files are written."""
    options = ("--engine", "distance", "--report", "fan.html", "--json", "fan.json", "--processes", 1)
    done = as_process(tmp_path, "compare", fan, *options, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "recordings: 6 normal and 3 abnormal recordings (sessions: 1 and 1)" in done.stdout
    for name in ("discriminant+distance", "distance", "baseline"):
        assert f"\n {name} " in done.stdout
    assert "\n recordings  normal      6  0.00 [" in done.stdout
    assert "fitting: 6 of 6" in done.stderr
    figures = json.loads((tmp_path / "fan.json").read_text())
    assert figures["contenders"] == ["discriminant+distance", "distance", "baseline"]
    assert figures["rows"][1]["auc"]["value"] == 1
    assert "<svg" in (tmp_path / "fan.html").read_text()
    recommended = figures["recommendation"]
    assert done.stdout.splitlines()[-2:] == [recommended["message"], f"To train it:  {recommended['command']}"]
    assert recommended["command"].startswith(f"signalml train {fan} --detector")


def test_an_output_path_that_cannot_be_written_is_refused_first(tmp_path: Path, fan: Path) -> None:
    """A report in a missing folder is refused in one sentence, before the work."""
    done = run(tmp_path, fan, "--report", "nowhere/fan.html")
    assert done.returncode == 1
    assert done.stderr == "error: nowhere/fan.html cannot be written; a file in an existing folder was expected.\n"


def test_an_unknown_engine_is_refused(tmp_path: Path, fan: Path) -> None:
    """The message lists the engines."""
    done = run(tmp_path, fan, "--engine", "crystal-ball")
    assert done.returncode == 1
    assert "error: There is no engine 'crystal-ball'; one of discriminant, spectrum-gaussian, distance," in done.stderr


def test_help_shows_examples(tmp_path: Path) -> None:
    """--help has an example and the option for out-of-domain sounds."""
    done = run(tmp_path, "--help")
    assert done.returncode == 0
    assert "signalml compare data/fans" in done.stdout
    assert "--out-of-domain" in done.stdout
    assert "Engine to compare with the default and the baseline, which always take part." in " ".join(
        done.stdout.replace("│", " ").split()
    )
