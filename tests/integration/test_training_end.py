"""The last steps of a training: interrupted between any two of them, it ends with the same result and no new fit."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from ml.dataset.indexing.build import index
from ml.models.registry import Registry
from ml.system.progress import Progress
from ml.training.pipeline import train
from ml.training.training_result import TrainingResult
from tests.integration.trainings import (
    FINAL_FIT,
    LAST_STEP,
    RECORDS,
    STEPS,
    FinishedTraining,
    cancel_at,
    record_folders,
    short_options,
    versions,
    work_folders,
)

FITTED = {"epochs", FINAL_FIT}


pytestmark = pytest.mark.usefixtures("short_reports")


def train_again(source: Path, home: Path) -> tuple[TrainingResult, set[str]]:
    """Start a training once more; return its result and the names of its steps."""
    seen: list[Progress] = []
    trained = train(short_options(source), home, processes=1, report=seen.append)
    return trained, {each.step for each in seen}


def assert_complete(home: Path, version: str) -> None:
    """Assert that the home has one version that loads, its records, and nothing else."""
    assert versions(home) == record_folders(home) == [version]
    assert work_folders(home) == []
    assert {path.name for path in (home / "training" / version).iterdir()} == RECORDS
    assert not list((home / "models").glob(".incoming-*"))
    Registry(home).load_predictor(version)


@pytest.mark.parametrize("step", STEPS)
def test_a_training_interrupted_near_its_end_gives_the_same_result(
    short: Path, finished: FinishedTraining, tmp_path: Path, step: str
) -> None:
    """The version, the figures and the records are the same, nothing is incomplete, and no epoch is fitted again."""
    home = Path(shutil.copytree(finished.snapshots[step], tmp_path / "home"))
    assert versions(home) == ([finished.trained.version] if STEPS[step].is_added else [])
    trained, steps = train_again(short, home)
    assert not steps & FITTED
    assert trained.version == finished.trained.version
    for name in ("evaluation", "judged", "judged_with_gain"):
        assert getattr(trained, name) == getattr(finished.trained, name)
    for bundle in (home / "models").glob(".incoming-*"):  # a later writer deletes it after a day
        shutil.rmtree(bundle)
    assert_complete(home, trained.version)


def test_records_of_an_earlier_training_are_replaced_after_a_kill(
    short: Path, finished: FinishedTraining, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill right after the old records are moved away leaves none; the next start moves the new ones in."""
    version = finished.trained.version
    home = Path(shutil.copytree(finished.snapshots["before the records are moved"], tmp_path / "home"))
    killed_home = tmp_path / "killed"
    earlier = Path(shutil.copytree(finished.trained.records, home / "training" / version))
    (earlier / "training.json").write_text("{}")

    def rename_and_copy(path: Path, target: Path, rename: Callable[[Path, Path], Path] = Path.rename) -> Path:
        renamed = rename(path, target)
        if version in str(path) and not killed_home.exists():
            shutil.copytree(home, killed_home)
        return renamed

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", rename_and_copy)
        train_again(short, home)
    assert record_folders(killed_home) == []
    trained, _ = train_again(short, killed_home)
    assert_complete(killed_home, trained.version)


def test_the_same_training_is_not_done_twice(short: Path, finished: FinishedTraining, tmp_path: Path) -> None:
    """The stored result has everything, verdicts included; no recording is read, fitted or judged."""
    home = Path(shutil.copytree(finished.home, tmp_path / "home"))
    trained, steps = train_again(short, home)
    assert steps == {LAST_STEP}
    for name in ("version", "evaluation", "split", "judged", "judged_with_gain"):
        assert getattr(trained, name) == getattr(finished.trained, name)
    assert {path.name for path in trained.records.iterdir()} == RECORDS


LOST = ("models/{}/network.tflite", "training/{}/verdicts.csv", "training/{}/evaluation.json")


@pytest.mark.parametrize("lost", LOST)
def test_an_incomplete_training_is_done_again(
    short: Path, finished: FinishedTraining, tmp_path: Path, lost: str
) -> None:
    """Without a file of its bundle or records, the training is fitted again."""
    home = Path(shutil.copytree(finished.home, tmp_path / "home"))
    (home / lost.format(finished.trained.version)).unlink()
    cancel_at("epochs", short_options(short), home)


def test_a_training_that_is_done_again_is_complete(short: Path, finished: FinishedTraining, tmp_path: Path) -> None:
    """The version is the same, and all lost files are there again."""
    home = Path(shutil.copytree(finished.home, tmp_path / "home"))
    for lost in LOST:
        (home / lost.format(finished.trained.version)).unlink()
    trained, steps = train_again(short, home)
    assert steps >= FITTED
    assert trained.version == finished.trained.version
    assert_complete(home, trained.version)


def test_other_recordings_give_another_version(short: Path, finished: FinishedTraining, tmp_path: Path) -> None:
    """One recording less is enough; an index that is passed counts, and not the folder of the options."""
    home = Path(shutil.copytree(finished.home, tmp_path / "home"))
    dataset = index(short, processes=1)
    elsewhere = short_options(tmp_path / "not there")
    fewer = type(dataset)(
        dataset.name, dataset.root, dataset.layout, dataset.entries[:-1], dataset.refusals, dataset.explicit_sessions
    )
    trained = train(elsewhere, home, dataset=fewer, processes=1)
    assert trained.version != finished.trained.version
    assert dataset.entries[-1] not in [entry for _, entry in trained.split.sides()]
    card = json.loads((home / "models" / trained.version / "card.json").read_bytes())
    assert card["dataset"]["recordings"] == len(dataset.entries) - 1
