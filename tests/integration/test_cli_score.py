"""``signalml score``, as a person or a script uses it."""

import csv
import io
import json
import os
from pathlib import Path

import pytest

from tests import sounds
from tests.commands import Done, signalml

COLUMNS = [
    *("name", "machine", "machine_id", "truth", "verdict", "label", "message", "score", "threshold", "probabilities"),
    *("compared_with", "machine_known", "duration_s", "model", "error"),
]


def run(home: Path, *arguments: object, folder: Path | None = None) -> Done:
    """One command to its end."""
    return signalml(home, "score", *arguments, folder=folder)


def rows_of(done: Done) -> list[dict[str, str]]:
    """The rows of a CSV answer."""
    return list(csv.DictReader(io.StringIO(done.stdout, newline="")))


@pytest.fixture(scope="module")
def fans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three recordings, and a file that is none."""
    folder = tmp_path_factory.mktemp("fans")
    for number in range(3):
        (folder / f"{number}.wav").write_bytes(sounds.recording(sounds.fan(1.0, seed=number)))
    (folder / "broken.wav").write_bytes(b"RIFF")
    return folder


def test_csv_has_the_columns_as_promised(original_home: Path, fans: Path) -> None:
    """Rows in the order of the files; one that cannot be judged has its error, and the exit status is 1."""
    done = run(original_home, fans, "--format", "csv")
    rows = rows_of(done)
    assert done.stdout.splitlines()[0] == ",".join(COLUMNS)
    assert [Path(row["name"]).name for row in rows] == ["0.wav", "1.wav", "2.wav", "broken.wav"]
    for row in rows[:3]:
        assert row["verdict"] in ("normal", "anomalous")
        probabilities = [float(each) for each in row["probabilities"].split(";")]
        assert sum(probabilities) == pytest.approx(1, abs=1e-5)
        fault = max(probabilities[1:])
        assert float(row["score"]) == fault / (fault + probabilities[0])
        assert (row["threshold"], row["duration_s"], row["error"]) == ("0.5", "1.0", "")
    assert {rows[3][column] for column in COLUMNS[1:-1]} == {""}
    assert rows[3]["error"].startswith("audio_")
    assert (done.returncode, done.stderr) == (1, "")


def test_json_is_one_array_of_the_same(original_home: Path, fans: Path) -> None:
    """The values of the CSV, with the probabilities by the names of the classes."""
    rows = rows_of(run(original_home, fans, "--format", "csv"))
    values = json.loads(run(original_home, fans, "--format", "json").stdout)
    assert [list(value) for value in values] == [COLUMNS] * 4
    assert [value["name"] for value in values] == [row["name"] for row in rows]
    assert [repr(value["score"]) for value in values[:3]] == [row["score"] for row in rows[:3]]
    assert list(values[0]["probabilities"]) == ["normal", "imbalance", "clogging", "voltage_change"]
    assert (values[3]["score"], values[3]["error"]) == (None, rows[3]["error"])


def test_the_table_is_aligned_and_counted(original_home: Path, fans: Path) -> None:
    """A file on each line, the folder of all and each cause once, the latter with what was expected."""
    lines = run(original_home, fans, fans / "broken.wav").stdout.splitlines()
    assert lines[0].endswith(f"name in {fans}/")
    at = lines[0].index("name")
    assert [line[at:] for line in lines[1:6]] == ["0.wav", "1.wav", "2.wav", "broken.wav", "broken.wav"]
    assert lines[4].split() == ["error", "-", "-", "audio_malformed", "broken.wav"]
    assert "anomalous, 2 error. Model original-" in lines[-2]
    assert lines[-2].endswith(", threshold 0.5.")
    assert lines[-1].startswith("- 2 x audio_malformed: ")


def test_the_table_names_the_machine(original_home: Path, fans: Path) -> None:
    """The one that is said, in a column of its own."""
    lines = run(original_home, fans / "0.wav", "--machine", "fan/id_00").stdout.splitlines()
    assert lines[0].split() == ["verdict", "score", "duration", "message", "machine", "name"]
    assert lines[1][lines[0].index("machine") :].split() == ["fan/id_00", str(fans / "0.wav")]


def test_a_row_that_means_nothing_is_said(original_home: Path, fans: Path, tmp_path: Path) -> None:
    """Beside the table: its recording is judged, as one of no machine."""
    (tmp_path / "0.wav").write_bytes((fans / "0.wav").read_bytes())
    (tmp_path / "manifest.csv").write_text("path,label,machine_id\n0.wav,healthy,id_00\n")
    done = run(original_home, tmp_path, "--format", "csv")
    assert [(row["machine_id"], row["error"]) for row in rows_of(done)] == [("", "")]
    said = "refused row: 0.wav: Its label is 'healthy'; normal or abnormal was expected.\n"
    assert (done.returncode, done.stderr) == (0, said)


def test_without_a_failure_the_exit_status_is_0(original_home: Path, fans: Path) -> None:
    """An anomaly is an answer, not a failure."""
    assert run(original_home, fans / "0.wav", fans / "1.wav").returncode == 0


@pytest.mark.parametrize("form", ["csv", "json", "table"])
def test_any_name_a_file_can_have_is_written(original_home: Path, tmp_path: Path, form: str) -> None:
    """Commas, quotes, line breaks and bytes that are no UTF-8 neither break a row nor stop the work."""
    names = [b'a,"b".wav', b"c\nd.wav", b"caf\xe9.wav", "fän.wav".encode()]
    for number, name in enumerate(names):
        with open(os.path.join(os.fsencode(tmp_path), name), "wb") as file:  # noqa: PTH118, PTH123 - bytes
            file.write(sounds.recording(sounds.fan(1.0, seed=number)))
    done = run(original_home, *map(os.fsdecode, names), "--format", form, folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    if form == "csv":
        assert [row["name"] for row in rows_of(done)] == ['a,"b".wav', "c\nd.wav", r"caf\udce9.wav", "fän.wav"]
    elif form == "json":
        assert [os.fsencode(value["name"]) for value in json.loads(done.stdout)] == names
    else:
        lines = done.stdout.splitlines()
        at = lines[0].index("name")
        assert [line[at:] for line in lines[1:5]] == ['a,"b".wav', r"c\nd.wav", r"caf\udce9.wav", "fän.wav"]


def test_what_is_not_there_is_a_row(original_home: Path, fans: Path) -> None:
    """The others are judged all the same."""
    done = run(original_home, "none.wav", fans / "0.wav", "--format", "csv")
    assert [bool(row["error"]) for row in rows_of(done)] == [True, False]
    assert rows_of(done)[0]["error"].startswith("file_missing: ")
    assert done.returncode == 1


def test_an_empty_folder_is_one_sentence(original_home: Path, tmp_path: Path) -> None:
    """Nothing is judged, and the folder is named."""
    (tmp_path / "a.mp3").touch()
    done = run(original_home, tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith("It holds 1 .mp3: convert them to one of those.\n")
    assert done.stderr.startswith(f"error: {tmp_path} holds no .wav or .flac file")


def test_a_home_without_a_champion_says_how_to_get_one(tmp_path: Path, fans: Path) -> None:
    """As every command does."""
    done = run(tmp_path, fans)
    assert (done.returncode, done.stdout) == (1, "")
    assert "signalml models import" in done.stderr
