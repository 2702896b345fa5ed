"""Files by their paths, and what is said of each."""

import os
import shutil
from pathlib import Path

import pytest

from ml.errors import DatasetEmpty
from ml.registry import Registry
from ml.scoring import recordings, score
from tests import sounds


@pytest.fixture(scope="module")
def predictor(original_home: Path):
    return Registry(original_home).predictor("champion")


def write(folder: Path, *names: str) -> Path:
    """Recordings of these names, each with a sound of its own."""
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(sounds.recording(sounds.fan(1.0, seed=number)))
    return folder


def test_a_folder_means_its_recordings_in_natural_order(tmp_path):
    """WAV and FLAC at any depth, 2 before 10; other and hidden files are not meant."""
    folder = write(tmp_path / "fans", "10.wav", "2.wav", "b/1.FLAC", "notes.txt", ".hidden.wav")
    assert [path.relative_to(folder).as_posix() for path in recordings([folder])] == ["2.wav", "10.wav", "b/1.FLAC"]


def test_what_is_named_is_kept_in_its_order(tmp_path):
    """Files as they are given, whatever they are called, and even where they are not there."""
    folder = write(tmp_path, "b.wav", "a.dat")
    given = [folder / "b.wav", folder / "a.dat", folder / "none.wav", folder / "b.wav"]
    assert recordings(given) == given


def test_an_empty_folder_is_refused(tmp_path):
    """By name: nothing to say of it would be no answer."""
    with pytest.raises(DatasetEmpty, match="fans holds no"):
        recordings([write(tmp_path, "1.wav") / "1.wav", write(tmp_path / "fans", "notes.txt")])


def test_a_row_is_the_predictors_verdict(predictor, tmp_path):
    """Every field of it."""
    (row,) = score(predictor, [write(tmp_path, "1.wav") / "1.wav"])
    verdict = predictor.predict(predictor.decode((tmp_path / "1.wav").read_bytes()))
    assert (row.anomaly, row.message) == (verdict.worst.anomaly, verdict.worst.label.message)
    assert row.score == pytest.approx(verdict.worst.score, abs=1e-5)
    assert row.probabilities == pytest.approx(verdict.worst.probabilities, abs=1e-5)
    assert (row.threshold, row.duration_s, row.error) == (verdict.threshold, 1.0, None)


def test_rows_do_not_hang_on_the_number_of_processes(predictor, tmp_path):
    """In the order of the files, errors among them, to the bit."""
    folder = write(tmp_path, *(f"{number}.wav" for number in range(12)))
    (folder / "5.wav").write_bytes(b"")
    files = [*recordings([folder]), folder / "none.wav"]
    alone = list(score(predictor, files, processes=1))
    assert [row.path for row in alone] == files
    assert [bool(row.error) for row in alone] == [number in (5, 12) for number in range(13)]
    assert list(score(predictor, files, processes=2)) == alone


def test_what_cannot_be_judged_says_why(predictor, tmp_path):
    """A missing file, one that is no sound, a pipe that nobody writes to, a link to nowhere: each by its code."""
    write(tmp_path, "good.wav")
    (tmp_path / "text.wav").write_text("no sound")
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "link.wav").symlink_to(tmp_path / "gone.wav")
    names = ["none.wav", "text.wav", "pipe.wav", "link.wav", "good.wav"]
    rows = list(score(predictor, [tmp_path / name for name in names]))
    codes = [(row.error or "").split(":")[0] for row in rows]
    assert codes == ["file_missing", "audio_not_recognised", "file_unreadable", "file_missing", ""]
    assert [row.score is None for row in rows] == [True, True, True, True, False]


def test_rows_come_as_they_are_done(predictor, tmp_path):
    """The first is there before the last file is looked at."""
    folder = write(tmp_path, *(f"{number}.wav" for number in range(3)))
    rows = score(predictor, recordings([folder]), processes=1)
    assert next(rows).error is None
    shutil.rmtree(folder)
    assert [(row.error or "").split(":")[0] for row in rows] == ["file_missing"] * 2
