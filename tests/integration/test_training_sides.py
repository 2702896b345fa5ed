"""The sides of a training and what they decide, and interruptions near the end: a complete version or none."""

import errno
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ml.audio.decode import decode
from ml.dataset.indexing.build import index
from ml.errors import SignalMLError
from ml.models.registry import Registry
from ml.system.progress import Progress
from ml.training.pipeline import train
from ml.training.training_result import TrainingResult
from tests import sounds
from tests.integration.trainings import (
    FINAL_FIT,
    IN_THE_FINAL_FIT,
    LAST_STEP,
    FinishedTraining,
    cancel_at,
    network_of,
    record_folders,
    short_options,
    sides_of,
    versions,
    without_report,
    work_folders,
)

pytestmark = pytest.mark.usefixtures("short_reports")


def trained(source: Path, home: Path, **choices: object) -> TrainingResult:
    """Run a short training in this process."""
    return train(short_options(source, **choices), home, processes=1)


@pytest.fixture(scope="module")
def measured(short: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TrainingResult]:
    """A home with a model of fault groups, without a final fit. For reading."""
    home = tmp_path_factory.mktemp("measured")
    with pytest.MonkeyPatch.context() as patch:
        without_report(patch)
        return home, trained(short, home, labels="groups", refit=False)


def test_the_test_side_does_not_influence_the_model(
    short: Path, measured: tuple[Path, TrainingResult], tmp_path: Path
) -> None:
    """With noise on the test side, the network is byte-identical, and the threshold is the same."""
    home, found = measured
    source = Path(shutil.copytree(short, tmp_path / "short"))
    for number, path in enumerate(sides_of(found.records, "path")["test"]):
        (source / path).write_bytes(sounds.recording(sounds.noise(16_000, seed=number)))
    other = trained(source, tmp_path / "home", labels="groups", refit=False)
    assert sides_of(other.records, "path") == sides_of(found.records, "path")
    assert network_of(tmp_path / "home", other.version) == network_of(home, found.version)
    first, second = (Registry(h).read(t.version).content for h, t in ((home, found), (tmp_path / "home", other)))
    assert second.decision.threshold == first.decision.threshold
    assert other.evaluation.pooled.auc != found.evaluation.pooled.auc


def test_another_seed_gives_another_network(short: Path, measured: tuple[Path, TrainingResult], tmp_path: Path) -> None:
    """With another seed, version and network differ."""
    home, found = measured
    other = trained(short, tmp_path, labels="groups", refit=False, seed=1)
    assert other.version != found.version
    assert network_of(tmp_path, other.version) != network_of(home, found.version)


@pytest.mark.parametrize("gain_db", [-6.0, 6.0])
def test_a_constant_gain_does_not_change_the_score(short: Path, finished: FinishedTraining, gain_db: float) -> None:
    """A quieter or louder recording, as from a moved microphone, has the same score within 0.001."""
    predictor = Registry(finished.home).load_predictor(finished.trained.version)
    for entry in index(short, processes=1).entries[::6]:
        recording = decode((short / entry.path).read_bytes())
        louder = replace(recording, samples=recording.samples * np.float32(10 ** (gain_db / 20)))
        difference = predictor.predict(louder).worst.score - predictor.predict(recording).worst.score
        assert abs(difference) < 1e-3


@pytest.fixture
def killed_home(finished: FinishedTraining, tmp_path: Path) -> Path:
    """The home of a training that was killed in the final fit. To be changed."""
    return Path(shutil.copytree(finished.snapshots[IN_THE_FINAL_FIT], tmp_path / "home"))


def test_a_training_killed_in_the_final_fit_continues_there(
    short: Path, finished: FinishedTraining, killed_home: Path
) -> None:
    """There is no version and no record; the next start fits only the missing epochs, and gives the same version."""
    assert (versions(killed_home), record_folders(killed_home)) == ([], [])
    seen: list[Progress] = []
    again = train(short_options(short), killed_home, processes=1, report=seen.append)
    assert [each.done for each in seen if each.step == FINAL_FIT] == [2]
    assert "epochs" not in {each.step for each in seen}
    assert again.version == finished.trained.version
    assert work_folders(killed_home) == []


def test_a_training_cancelled_at_its_last_step_leaves_no_version(
    short: Path, finished: FinishedTraining, killed_home: Path
) -> None:
    """There is no version and no record; a later start gives the same version."""
    cancel_at(LAST_STEP, short_options(short), killed_home)
    assert (versions(killed_home), record_folders(killed_home)) == ([], [])
    assert trained(short, killed_home).version == finished.trained.version
    assert versions(killed_home) == record_folders(killed_home) == [finished.trained.version]


def test_a_report_that_cannot_be_written_leaves_no_version(
    short: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a full disk, there is neither a version nor a record."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("ml.training.training_result.write_report", full)
    with pytest.raises((OSError, SignalMLError)):
        trained(short, tmp_path, refit=False, epochs=1)
    assert (versions(tmp_path), record_folders(tmp_path)) == ([], [])


def test_a_home_that_is_a_file_is_refused(short: Path, tmp_path: Path) -> None:
    """The training fails, and the file is unchanged."""
    home = tmp_path / "home"
    home.write_text("mine")
    with pytest.raises((OSError, SignalMLError)):
        trained(short, home)
    assert home.read_text() == "mine"
