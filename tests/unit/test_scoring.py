"""Scoring of files by their paths: items, rows and errors."""

import os
import shutil
from pathlib import Path

import pytest

from ml.errors import DatasetEmpty, InvalidManifest
from ml.models.registry import Registry
from ml.models.scoring import find_items, find_recordings, score_items
from tests import sounds
from tests.unit import detectors


@pytest.fixture(scope="module")
def predictor(original_home: Path):
    return Registry(original_home).load_predictor("champion")


def write(folder: Path, *names: str) -> Path:
    """Write recordings with these names, each different."""
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(sounds.recording(sounds.fan(1.0, seed=number)))
    return folder


def test_a_folder_gives_its_recordings_in_natural_order(tmp_path):
    """WAV and FLAC at any depth, 2 before 10; other and hidden files are ignored."""
    folder = write(tmp_path / "fans", "10.wav", "2.wav", "b/1.FLAC", "notes.txt", ".hidden.wav")
    assert [path.relative_to(folder).as_posix() for path in find_recordings([folder])] == [
        "2.wav",
        "10.wav",
        "b/1.FLAC",
    ]


def test_given_files_keep_their_order(tmp_path):
    """Files of any name are kept as given, also missing ones."""
    folder = write(tmp_path, "b.wav", "a.dat")
    given = [folder / "b.wav", folder / "a.dat", folder / "none.wav", folder / "b.wav"]
    assert find_recordings(given) == given


def test_an_empty_folder_is_refused(tmp_path):
    """The message names the folder."""
    with pytest.raises(DatasetEmpty, match="fans contains no"):
        find_recordings([write(tmp_path, "1.wav") / "1.wav", write(tmp_path / "fans", "notes.txt")])


def test_a_row_is_the_predictors_verdict(predictor, tmp_path):
    """The row has every field of the verdict."""
    (row,) = score_items(predictor, find_items([write(tmp_path, "1.wav") / "1.wav"]))
    verdict = predictor.predict(predictor.decode((tmp_path / "1.wav").read_bytes()))
    worst = verdict.worst
    assert (row.verdict, row.label, row.message) == (verdict.value, worst.label.name, verdict.message)
    assert row.score == pytest.approx(worst.score, abs=1e-5)
    assert list(row.probabilities) == [label.name for label in verdict.classes]
    assert list(row.probabilities.values()) == pytest.approx(worst.probabilities, abs=1e-5)
    assert (row.threshold, row.duration_s, row.model) == (verdict.threshold, 1.0, verdict.version)
    assert (row.machine_known, row.compared_with, row.error) == (None, None, None)


def test_a_folder_gives_machines_and_labels(tmp_path):
    """They come from its layout or manifest; a folder without classes, or a file, gives none. A given machine is
    used for all."""
    folder = write(tmp_path / "fans", "id_00/normal/1.wav", "id_02/abnormal/2.wav", "notes/3.wav")
    flat = write(tmp_path / "flat", "4.wav")
    known = [
        (item.annotation.machine_id, item.annotation.label)
        for item in find_items([folder, flat, folder / "id_00/normal/1.wav"])
    ]
    assert known == [("id_00", "normal"), ("id_02", "abnormal"), (None, None), (None, None), (None, None)]
    (folder / "manifest.csv").write_text("path,label,machine,machine_id\nnotes/3.wav,abnormal,pump,p7\n")
    listed = [
        (item.annotation.machine, item.annotation.machine_id, item.annotation.label) for item in find_items([folder])
    ]
    assert listed == [(None, None, None), (None, None, None), ("pump", "p7", "abnormal")]
    for machine, parts in (("fan/id_04", ("fan", "id_04")), ("id_04", (None, "id_04"))):
        assert {(item.annotation.machine, item.annotation.machine_id) for item in find_items([folder], machine)} == {
            parts
        }


def test_errors_in_a_manifest_are_reported(tmp_path):
    """A manifest that is no table is refused; an invalid row is reported, a recording without a class is not."""
    folder = write(tmp_path / "fans", "1.wav", "2.wav", "monday/3.wav")
    refusals = []
    assert [item.annotation.machine_id for item in find_items([folder], on_refusal=refusals.append)] == [None] * 3
    assert refusals == []
    (folder / "manifest.csv").write_text("path,label,machine_id\n1.wav,normal,id_00\n2.wav,perhaps,id_00\n")
    assert [item.annotation.machine_id for item in find_items([folder], on_refusal=refusals.append)] == [
        "id_00",
        None,
        None,
    ]
    assert [(refusal.path, refusal.code) for refusal in refusals] == [("2.wav", "dataset_manifest_invalid")]
    (folder / "manifest.csv").write_bytes(b"path,label,machine_id\n1.wav,normal,id_00\n2.wav,normal,L\xfcfter\n")
    with pytest.raises(InvalidManifest, match=r"manifest\.csv cannot be read as a table in UTF-8"):
        find_items([folder])


def test_a_detector_compares_with_the_given_machine(tmp_path):
    """The row states whether the detector knows it; an unusable recording has a verdict without a score."""
    registry = Registry(tmp_path / "home")
    model = registry.load_predictor(detectors.add(registry))
    fan, silent = tmp_path / "fan.wav", tmp_path / "silent.wav"
    fan.write_bytes(sounds.recording(sounds.fan(3.0, seed=1), rate_hz=detectors.RATE_HZ))
    silent.write_bytes(sounds.recording(sounds.fan(3.0) * 0, rate_hz=detectors.RATE_HZ))
    for machine, known in (("id_00", True), ("fan/id_07", False), (None, False)):
        judged, unusable = score_items(model, find_items([fan, silent], machine), processes=1)
        assert (judged.compared_with, judged.machine_known, judged.probabilities) == ("fan/id_00", known, None)
        assert (unusable.verdict, unusable.score, unusable.label, unusable.error) == ("unusable", None, None, None)
        assert unusable.message.startswith("Not judged: Every sample")


def test_rows_do_not_depend_on_the_number_of_processes(predictor, tmp_path):
    """They are in the order of the files, errors included, and equal to the bit."""
    folder = write(tmp_path, *(f"{number}.wav" for number in range(12)))
    (folder / "5.wav").write_bytes(b"")
    files = [*find_recordings([folder]), folder / "none.wav"]
    items = find_items(files)
    alone = list(score_items(predictor, items, processes=1))
    assert [Path(row.name) for row in alone] == files
    assert [bool(row.error) for row in alone] == [number in (5, 12) for number in range(13)]
    assert list(score_items(predictor, items, processes=2)) == alone


def test_unreadable_files_have_an_error_code(predictor, tmp_path):
    """A missing file, one that is no recording, a pipe without a writer and a link to nowhere have their codes."""
    write(tmp_path, "good.wav")
    (tmp_path / "text.wav").write_text("no sound")
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "link.wav").symlink_to(tmp_path / "gone.wav")
    names = ["none.wav", "text.wav", "pipe.wav", "link.wav", "good.wav"]
    rows = list(score_items(predictor, find_items([tmp_path / name for name in names])))
    codes = [(row.error or "").split(":")[0] for row in rows]
    assert codes == ["file_missing", "audio_not_recognised", "file_unreadable", "file_missing", ""]
    assert [row.score is None for row in rows] == [True, True, True, True, False]


def test_rows_come_one_by_one(predictor, tmp_path):
    """The first row comes before the last file is read."""
    folder = write(tmp_path, *(f"{number}.wav" for number in range(3)))
    rows = score_items(predictor, find_items([folder]), processes=1)
    assert next(rows).error is None
    shutil.rmtree(folder)
    assert [(row.error or "").split(":")[0] for row in rows] == ["file_missing"] * 2
