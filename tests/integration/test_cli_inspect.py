"""``signalml inspect``: the page, the manifest (--csv), the JSON summary, and refusals."""

import csv
import io
import json
from collections import Counter
from pathlib import Path

import pytest

from ml.dataset.indexing.build import index
from tests import sounds
from tests.commands import Done, assert_one_sentence, signalml
from tests.unit.datasets import write


def inspect(home: Path, *arguments: object) -> Done:
    """Run ``signalml inspect``."""
    return signalml(home, "inspect", *arguments)


@pytest.fixture
def fans(tmp_path: Path) -> Path:
    """A MIMII folder with quiet abnormal recordings, an invalid file, a copy and two sample rates."""
    folder = tmp_path / "fans"
    unit = "6_dB_fan/fan/id_00"
    write(folder, *(f"{unit}/normal/{n:08}.wav" for n in range(8)))
    for n in range(8):
        file = folder / unit / "abnormal" / f"{n:08}.wav"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(sounds.recording(sounds.noise(8000, channels=2, seed=100 + n, level=0.01)))
    (folder / unit / "abnormal" / "00000008.wav").write_bytes(
        (folder / unit / "abnormal" / "00000000.wav").read_bytes()
    )
    (folder / unit / "abnormal" / "[red]broken.wav").write_bytes(b"RIFF")
    return folder


def test_the_page_describes_the_dataset(fans: Path, tmp_path: Path) -> None:
    """It has counts, shares, levels with a warning, refused files, copies and the split; the exit status is 0."""
    done = inspect(tmp_path / "home", fans)
    assert done.returncode == 0, done.stderr
    for line in (
        "fans: 17 recordings",
        "layout: mimii",
        "fan      id_00  6 dB  abnormal  -               9",
        "channels     2         0.529           9",
        "sample rate  8000 Hz   0.471           8",
        "1 session: by folders, one for each machine",
        "automatic split: by blocks",
        "In all recordings, level alone separates abnormal from normal with AUC 1.00",
        "fan/id_00 at 6 dB",
        "6_dB_fan/fan/id_00/abnormal/[red]broken.wav: ",
        "abnormal/00000000.wav = 6_dB_fan/fan/id_00/abnormal/00000008.wav",
    ):
        assert line in done.stdout, f"{line!r} is missing in\n{done.stdout}"
    assert "recordings: 18 of 18" in done.stderr


def test_sessions_are_shown_with_their_origin_and_times(tmp_path: Path) -> None:
    """First and last recording of each, as the names state them; the JSON has the same."""
    names = [f"normal/2024-03-0{day}_12-{minute}-00.wav" for day in (5, 6) for minute in (10, 20)]
    write(tmp_path / "hall", *names)
    shown = inspect(tmp_path / "home", tmp_path / "hall").stdout
    assert "2 sessions: by gaps between the times in file names" in shown
    assert "2024-03-05 12:10  -             2         0  2024-03-05 12:10  2024-03-05 12:20" in shown
    summary = json.loads(inspect(tmp_path / "home", tmp_path / "hall", "--json").stdout)
    assert summary["groups"]["counts"][1] == {
        "group": "2024-03-06 12:10",
        "normal": 2,
        "abnormal": 0,
        "machines": {"": 2},
        "origin": "times in names",
        "first": "2024-03-06 12:10",
        "last": "2024-03-06 12:20",
    }


def test_a_second_inspection_reads_no_recording(fans: Path, tmp_path: Path) -> None:
    """The facts of each recording are stored in the home."""
    first = inspect(tmp_path / "home", fans)
    second = inspect(tmp_path / "home", fans)
    assert (second.stdout, second.stderr) == (first.stdout, "")


def test_the_metadata_table_is_a_manifest(fans: Path, tmp_path: Path) -> None:
    """--csv has a row for each recording; as a manifest, it gives the same labels as the folders."""
    done = inspect(tmp_path / "home", fans, "--csv")
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert Counter((row["label"], row["channels"], row["sample_rate_hz"], row["bits"]) for row in rows) == {
        ("normal", "1", "8000", "16"): 8,
        ("abnormal", "2", "16000", "16"): 9,
    }
    (fans / "manifest.csv").write_text(done.stdout)
    before = {entry.path: entry for entry in index(fans / "6_dB_fan").entries}
    after = index(fans)
    assert after.layout == "manifest"
    for entry in after.entries:
        folder = before[entry.path.removeprefix("6_dB_fan/")]
        assert (entry.session, entry.annotation.snr_db, entry.audio_hash) == (
            folder.session,
            folder.annotation.snr_db,
            folder.audio_hash,
        )


def test_json_has_the_whole_summary(fans: Path, tmp_path: Path) -> None:
    """--json prints the summary that is also in the data card of a report."""
    facts = json.loads(inspect(tmp_path / "home", fans, "--json", "--snr", "6").stdout)
    assert facts["labels"] == {"normal": 8, "abnormal": 9}
    assert facts["shares"]["bits"] == [{"value": 16, "share": 1.0, "recordings": 17}]
    assert facts["levels"]["auc"] == 1.0
    assert facts["levels"]["difference_db"] < -15
    assert [refusal["code"] for refusal in facts["refusals"]] == ["audio_malformed"]
    assert [same["contradicting"] for same in facts["duplicates"]] == [False]
    assert facts["split"]["method"] == "blocks"
    assert facts["split"]["left_out"] == 5


def test_contradictions_sides_and_what_is_passed_over_are_shown(tmp_path: Path) -> None:
    """On the page, and in the JSON; the metadata table has the fields of published datasets."""
    names = (*(f"fan/train/normal_id_00_{n:08}.wav" for n in range(3)), "fan/test/anomaly_id_00_00000000.wav")
    folder = write(tmp_path / "dcase", *names)
    (folder / "song.dts").touch()
    shown = inspect(tmp_path / "home", folder).stdout
    for line in ("given split", "train       3         0", "1 passed over", "1 format_unsupported: song.dts."):
        assert line in shown, f"{line!r} is missing in\n{shown}"
    table = inspect(tmp_path / "home", folder, "--csv").stdout
    assert {row["split"] for row in csv.DictReader(io.StringIO(table))} == {"train", "test"}
    doubted = write(tmp_path / "doubted", "normal/anomaly_1.wav", "abnormal/2.wav")
    assert "1 labels that names contradict" in inspect(tmp_path / "home", doubted).stdout
    (found,) = json.loads(inspect(tmp_path / "home", doubted, "--json").stdout)["contradictions"]
    assert (found["path"], found["label"]) == ("normal/anomaly_1.wav", "normal")


def test_a_single_normal_recording_is_inspected(tmp_path: Path) -> None:
    """Without abnormal recordings, there is no level difference; the page states why no split is possible."""
    done = inspect(tmp_path / "home", write(tmp_path / "one", "a.wav"))
    assert done.returncode == 0
    assert "No automatic split: A split by blocks of 1 different recordings" in done.stdout
    assert "level alone" not in done.stdout


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        (["absent"], "does not exist; a folder of recordings or a manifest"),
        (["empty"], "contains no .wav or .flac file"),
        (["fans", "--snr", "0"], "no recording at 0 dB; it has 6 dB"),
    ],
)
def test_a_dataset_that_cannot_be_read_is_one_sentence(
    fans: Path, tmp_path: Path, arguments: list[str], fragment: str
) -> None:
    """The message is on stderr, with exit status 1."""
    (tmp_path / "empty").mkdir()
    assert_one_sentence(inspect(tmp_path / "home", *arguments), fragment)


def test_help_has_an_example_and_formats_exclude_each_other(tmp_path: Path) -> None:
    """--csv and --json together are refused with exit status 2."""
    assert "signalml inspect data/fans" in " ".join(inspect(tmp_path / "home", "--help").stdout.split())
    assert inspect(tmp_path / "home", ".", "--csv", "--json").returncode == 2
