"""Unusable training data is refused in one sentence; a cancelled training or a full disk leaves no version."""

import csv
import shutil
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

import pytest

from ml.errors import StorageFull
from ml.models.registry import Registry
from ml.training.options import TrainingOptions
from ml.training.pipeline import train
from tests import sounds
from tests.commands import signalml
from tests.disks import small_disk
from tests.integration.trainings import cancel_at, record_folders, tones, versions

NAME = "tiny"
pytestmark = pytest.mark.usefixtures("short_reports")


@pytest.mark.parametrize("step", ["recordings", "features", "epochs", "judging"])
def test_a_cancelled_training_leaves_no_version(tiny: Path, tmp_path: Path, step: str) -> None:
    """At every step, it stops at its next report."""
    seen = cancel_at(step, TrainingOptions(source=tiny, name=NAME, epochs=1), tmp_path)
    assert [each.step for each in seen].count(step) == 1
    assert (versions(tmp_path), record_folders(tmp_path)) == ([], [])


Bad = namedtuple("Bad", "source options fragments")


def _bad(folder: Path, tiny: Path) -> Iterator[Bad]:
    """Yield sources or options that are refused, with fragments of the message."""
    empty = folder / "empty"
    empty.mkdir()
    yield Bad(empty, (), (str(empty),))
    yield Bad(folder / "missing", (), (str(folder / "missing"), "does not exist"))
    only = folder / "only"
    tones(only / "normal", 6)
    yield Bad(only, (), ("All 6 recordings", "normal", "abnormal"))
    single = folder / "single"
    tones(single / "normal", 1)
    yield Bad(single, (), ("The only recording in single is normal", "--detector", '"learn": "detector"'))
    yield Bad(tiny, ("--name", "../x"), ("'../x'",))
    unnamed = folder / "unnamed"
    tones(unnamed / "normal", 12)
    tones(unnamed / "abnormal", 12, blade_hz=90)
    yield Bad(unnamed, ("--labels", "manifest"), ("12 abnormal recordings have no fault name", "abnormal/"))
    misnamed = folder / "misnamed"
    tones(misnamed, 1)
    next(misnamed.iterdir()).rename(misnamed / "Anomaly_1.wav")
    yield Bad(misnamed, ("--detector",), ("Anomaly_1.wav", "the word 'anomaly'", "--confirm-labels"))
    yield Bad(tiny, ("--groups", "1"), ("groups is 1", "2 or more"))
    yield Bad(tiny, ("--groups", "three"), ("'three'", "2 to 9"))


def test_unusable_training_data_is_refused_in_one_sentence(tiny: Path, tmp_path: Path) -> None:
    """The exit status is 1, one sentence has the reason, and there is neither a version nor a record."""
    sources = tmp_path / "sources"
    sources.mkdir()
    for number, bad in enumerate(_bad(sources, tiny)):
        home = tmp_path / f"home-{number}"
        home.mkdir()
        done = signalml(home, "train", bad.source, "--name", "bad", "--processes", 1, *bad.options)
        complaints = [line for line in done.stderr.splitlines() if not _progress(line)]
        assert (done.returncode, done.stdout, len(complaints)) == (1, "", 1), (bad, done)
        assert complaints[0].startswith("error: ")
        assert all(fragment in complaints[0] for fragment in bad.fragments), (bad, complaints)
        assert (versions(home), record_folders(home)) == ([], [])


def _progress(line: str) -> bool:
    return line.startswith(("recordings: ", "features: "))


@pytest.fixture
def messy(tiny: Path, tmp_path: Path) -> Path:
    """A manifest of recordings: some at another sample rate and with two channels, one invalid, two missing."""
    folder = tmp_path / "messy"
    folder.mkdir()
    rows = []
    for label, blade_hz in (("normal", 120.0), ("abnormal", 90.0)):
        for each in range(16):
            rate_hz, channels = (8_000, 2) if each % 4 == 0 else (16_000, 1)
            sound = sounds.fan(2.0, rate_hz, seed=each + int(blade_hz), blade_hz=blade_hz).repeat(channels, axis=1)
            name = f"{label}-{each:02d}.wav"
            (folder / name).write_bytes(sounds.recording(sound, rate_hz=rate_hz))
            rows.append((name, label, f"{label} {each // 2}"))
    (folder / "broken.wav").write_bytes(b"RIFF")
    rows += [("broken.wav", "normal", "z"), ("gone.wav", "abnormal", "y"), ("gone too.wav", "normal", "x")]
    with (folder / "manifest.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "label", "group"), *rows])
    return folder


def test_missing_and_invalid_recordings_are_left_out(messy: Path, tmp_path: Path) -> None:
    """The others train a model, at all sample rates and channel counts; the split has only readable files."""
    home = tmp_path / "home"
    trained = train(
        TrainingOptions(source=messy, name="messy", labels="binary", epochs=1, refit=False), home, processes=1
    )
    with (trained.records / "split.csv").open(newline="") as lines:
        paths = {row["path"] for row in csv.DictReader(lines)}
    assert len(paths) == 32
    assert not paths & {"broken.wav", "gone.wav", "gone too.wav"}
    classes = Registry(home).load_predictor(trained.version).model.labels.classes
    assert [(each.name, each.anomalous) for each in classes] == [("normal", False), ("abnormal", True)]


def test_a_full_disk_is_reported_before_the_extraction(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message has the free space; there is no version."""
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9, 0))
    with pytest.raises(StorageFull, match="are free on its disk"):
        train(TrainingOptions(source=tiny, name=NAME, epochs=1), tmp_path, processes=1)
    assert (versions(tmp_path), record_folders(tmp_path)) == ([], [])


@pytest.mark.parametrize(("size", "fragment"), [("1000k", "free on its disk"), ("1600k", "disk filled up")])
def test_a_disk_that_fills_up_is_reported(tiny: Path, tmp_path: Path, size: str, fragment: str) -> None:
    """On a real disk, too small for the features or for the checkpoints: one sentence, and no version."""
    with small_disk(tmp_path / "small", size) as home:
        done = signalml(home, "train", tiny, "--name", NAME, "--epochs", 1, "--processes", 1)
        assert done.returncode == 1
        sentence = done.stderr.splitlines()[-1]
        assert sentence.startswith("error: ")
        assert fragment in sentence
        assert (versions(home), record_folders(home)) == ([], [])
