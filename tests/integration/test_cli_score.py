"""``signalml score``: CSV, JSON, table and exit status."""

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
    *("compared_with", "machine_known", "duration_s", "reference", "model", "error"),
]


def run(home: Path, *arguments: object, folder: Path | None = None) -> Done:
    """Run ``signalml score``."""
    return signalml(home, "score", *arguments, folder=folder)


def rows_of(done: Done) -> list[dict[str, str]]:
    """Return the rows of a CSV output."""
    return list(csv.DictReader(io.StringIO(done.stdout, newline="")))


@pytest.fixture(scope="module")
def fans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three recordings and an invalid file."""
    folder = tmp_path_factory.mktemp("fans")
    for number in range(3):
        (folder / f"{number}.wav").write_bytes(sounds.recording(sounds.fan(1.0, seed=number)))
    (folder / "broken.wav").write_bytes(b"RIFF")
    return folder


def test_csv_has_the_documented_columns(original_home: Path, fans: Path) -> None:
    """Rows have the order of the files; an invalid file is a row with an error, and the exit status is 1."""
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


def test_json_has_the_values_of_the_csv(original_home: Path, fans: Path) -> None:
    """JSON is one array; its probabilities have the names of the classes."""
    rows = rows_of(run(original_home, fans, "--format", "csv"))
    values = json.loads(run(original_home, fans, "--format", "json").stdout)
    assert [list(value) for value in values] == [COLUMNS] * 4
    assert [value["name"] for value in values] == [row["name"] for row in rows]
    assert [repr(value["score"]) for value in values[:3]] == [row["score"] for row in rows[:3]]
    assert list(values[0]["probabilities"]) == ["normal", "imbalance", "clogging", "voltage_change"]
    assert (values[3]["score"], values[3]["error"]) == (None, rows[3]["error"])


def test_the_table_is_aligned_and_has_totals(original_home: Path, fans: Path) -> None:
    """Each file is one line, the common folder is printed once; the reasons follow, by their code and by file."""
    lines = run(original_home, fans, fans / "broken.wav").stdout.splitlines()
    assert lines[0].endswith(f"name in {fans}/")
    at = lines[0].index("name")
    assert [line[at:] for line in lines[1:6]] == ["0.wav", "1.wav", "2.wav", "broken.wav", "broken.wav"]
    assert lines[4].split() == ["error", "-", "-", "audio_malformed", "broken.wav"]
    totals, by_code, head, *reasons = lines[7:]
    assert "anomalous, 2 error. Model original-" in totals
    assert totals.endswith(", threshold 0.5.")
    assert by_code.startswith("- 2 x audio_malformed: ")
    assert head == "Recordings without a score: 2."
    assert [line.startswith(f"- {fans / 'broken.wav'}: audio_malformed: ") for line in reasons] == [True, True]


def test_the_table_shows_the_machine(original_home: Path, fans: Path) -> None:
    """The machine of --machine has its own column."""
    lines = run(original_home, fans / "0.wav", "--machine", "fan/id_00").stdout.splitlines()
    assert lines[0].split() == ["verdict", "score", "duration", "message", "machine", "name"]
    assert lines[1][lines[0].index("machine") :].split() == ["fan/id_00", str(fans / "0.wav")]


def test_an_invalid_manifest_row_is_reported(original_home: Path, fans: Path, tmp_path: Path) -> None:
    """The message goes to stderr; the recording is judged without a machine."""
    (tmp_path / "0.wav").write_bytes((fans / "0.wav").read_bytes())
    (tmp_path / "manifest.csv").write_text("path,label,machine_id\n0.wav,perhaps,id_00\n")
    done = run(original_home, tmp_path, "--format", "csv")
    assert [(row["machine_id"], row["error"]) for row in rows_of(done)] == [("", "")]
    message = "refused row: 0.wav: Its label is 'perhaps'; normal or abnormal was expected.\n"
    assert (done.returncode, done.stderr) == (0, message)


def test_an_anomaly_is_not_a_failure(original_home: Path, fans: Path) -> None:
    """The exit status is 0 when all recordings are judged."""
    assert run(original_home, fans / "0.wav", fans / "1.wav").returncode == 0


@pytest.mark.parametrize("form", ["csv", "json", "table"])
def test_every_possible_file_name_is_written(original_home: Path, tmp_path: Path, form: str) -> None:
    """Commas, quotes, line breaks and bytes that are not UTF-8 neither break a row nor stop the work.

    In CSV, line breaks and such bytes are escapes.
    """
    names = [b'a,"b".wav', b"c\nd.wav", b"caf\xe9.wav", "fän.wav".encode()]
    for number, name in enumerate(names):
        with open(os.path.join(os.fsencode(tmp_path), name), "wb") as file:  # noqa: PTH118, PTH123 - bytes
            file.write(sounds.recording(sounds.fan(1.0, seed=number)))
    done = run(original_home, *map(os.fsdecode, names), "--format", form, folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    if form == "csv":
        assert [row["name"] for row in rows_of(done)] == ['a,"b".wav', r"c\nd.wav", r"caf\udce9.wav", "fän.wav"]
    elif form == "json":
        assert [os.fsencode(value["name"]) for value in json.loads(done.stdout)] == names
    else:
        lines = done.stdout.splitlines()
        at = lines[0].index("name")
        assert [line[at:] for line in lines[1:5]] == ['a,"b".wav', r"c\nd.wav", r"caf\udce9.wav", "fän.wav"]


def test_a_missing_file_is_a_row_with_an_error(original_home: Path, fans: Path) -> None:
    """The other files are judged, and the exit status is 1."""
    done = run(original_home, "none.wav", fans / "0.wav", "--format", "csv")
    assert [bool(row["error"]) for row in rows_of(done)] == [True, False]
    assert rows_of(done)[0]["error"].startswith("file_missing: ")
    assert done.returncode == 1


def test_an_empty_folder_is_one_sentence(original_home: Path, tmp_path: Path) -> None:
    """The message has the folder, and the advice to convert its MP3 file."""
    (tmp_path / "a.ra").touch()
    done = run(original_home, tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith("It contains 1 .ra: convert them to WAV or FLAC.\n")
    assert done.stderr.startswith(f"error: {tmp_path} contains no .wav or .flac file")


def test_without_a_champion_the_message_has_the_import_command(tmp_path: Path, fans: Path) -> None:
    """The exit status is 1, and stdout is empty."""
    done = run(tmp_path, fans)
    assert (done.returncode, done.stdout) == (1, "")
    assert "signalml models import" in done.stderr
