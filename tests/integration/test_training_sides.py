"""What a training may learn from which side, and that it ends whole or not at all, wherever it is stopped."""

import csv
import errno
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ml.audio.decode import decode
from ml.dataset.indexing.build import index
from ml.dataset.simulate.plan import SimulationPlan
from ml.dataset.simulate.simulator import simulate
from ml.errors import Cancelled, SignalMLError
from ml.models.registry import Registry
from ml.system.progress import Progress
from ml.training.options import TrainingOptions
from ml.training.pipeline import train
from ml.training.training_result import TrainingResult
from tests import sounds
from tests.integration.trainings import kept, killed_at, unfinished, versions

# Shorter than the golden clip, so that the network hears that in several windows.
SHORT = SimulationPlan(machines=1, sessions=3, recordings=2, snr_db=(6.0,), duration_s=1.0, severity=(0.6, 1.0))
NAME, EPOCHS, LAST_STEP = "short", 2, "model and report"


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """36 simulated recordings of a second each."""
    return simulate(tmp_path_factory.mktemp("simulated") / "short", plan=SHORT, processes=1)


def options(source: Path, **choices: object) -> TrainingOptions:
    """Those of a short training."""
    return TrainingOptions(**{"source": source, "name": NAME, "epochs": EPOCHS} | choices)  # type: ignore[arg-type]  # whatever a test chooses


def trained(source: Path, home: Path, **choices: object) -> TrainingResult:
    """A short training in this process."""
    return train(options(source, **choices), home, processes=1)


def network(home: Path, found: TrainingResult) -> bytes:
    """The network that serves."""
    return (home / "models" / found.version / "network.tflite").read_bytes()


def sides(found: TrainingResult) -> dict[str, list[str]]:
    """The paths of each side."""
    of: dict[str, list[str]] = {}
    with (found.records / "split.csv").open(newline="", encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            of.setdefault(row["side"], []).append(row["path"])
    return of


@pytest.fixture(scope="module")
def refitted(short: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TrainingResult]:
    """A home with a model that was never stopped. For reading."""
    home = tmp_path_factory.mktemp("refitted")
    return home, trained(short, home)


@pytest.fixture(scope="module")
def measured(short: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TrainingResult]:
    """A home with a model of groups that never heard the test side. For reading."""
    home = tmp_path_factory.mktemp("measured")
    return home, trained(short, home, labels="groups", refit=False)


def test_the_test_side_decides_nothing(short: Path, measured: tuple[Path, TrainingResult], tmp_path: Path) -> None:
    """Its recordings replaced by noise: the same network to the byte, groups and all, and the same threshold."""
    home, found = measured
    source = Path(shutil.copytree(short, tmp_path / "short"))
    for number, path in enumerate(sides(found)["test"]):
        (source / path).write_bytes(sounds.recording(sounds.noise(16_000, seed=number)))
    other = trained(source, tmp_path / "home", labels="groups", refit=False)
    assert sides(other) == sides(found)
    assert network(tmp_path / "home", other) == network(home, found)
    first, second = (Registry(h).read(t.version).content for h, t in ((home, found), (tmp_path / "home", other)))
    assert second.decision.threshold == first.decision.threshold
    assert other.evaluation.pooled.auc != found.evaluation.pooled.auc


def test_another_seed_makes_another_network(short: Path, measured: tuple[Path, TrainingResult], tmp_path: Path) -> None:
    """The seed is of everything that is drawn."""
    home, found = measured
    other = trained(short, tmp_path, labels="groups", refit=False, seed=1)
    assert other.version != found.version
    assert network(tmp_path, other) != network(home, found)


@pytest.mark.parametrize("gain_db", [-6.0, 6.0])
def test_how_loud_it_was_recorded_changes_no_score(
    short: Path, refitted: tuple[Path, TrainingResult], gain_db: float
) -> None:
    """A microphone that was moved is no fault: scores agree to a thousandth."""
    home, found = refitted
    predictor = Registry(home).load_predictor(found.version)
    for entry in index(short, processes=1).entries[::6]:
        recording = decode((short / entry.path).read_bytes())
        louder = replace(recording, samples=recording.samples * np.float32(10 ** (gain_db / 20)))
        difference = predictor.predict(louder).worst.score - predictor.predict(recording).worst.score
        assert abs(difference) < 1e-3


@pytest.fixture(scope="module")
def killed(short: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose training was killed in the final fit. For copying."""
    home = tmp_path_factory.mktemp("killed")
    killed_at("epochs of the final fit 1", options(short), home)
    return home


@pytest.fixture
def left(killed: Path, tmp_path: Path) -> Path:
    """A copy of what that has left, for one test to go on in."""
    return Path(shutil.copytree(killed, tmp_path / "home"))


def test_killed_in_the_final_fit_it_goes_on_there(
    short: Path, refitted: tuple[Path, TrainingResult], left: Path
) -> None:
    """Nothing half-done is seen; the next start fits only the epochs that are missing, to the same version."""
    assert (versions(left), kept(left)) == ([], [])
    seen: list[Progress] = []
    again = train(options(short), left, processes=1, report=seen.append)
    assert [each.done for each in seen if each.step == "epochs of the final fit"] == [2]
    assert "epochs" not in {each.step for each in seen}
    assert again.version == refitted[1].version
    assert unfinished(left) == []


def test_cancelled_at_its_last_step_there_is_neither_version_nor_records(
    short: Path, refitted: tuple[Path, TrainingResult], left: Path
) -> None:
    """However close it was; a later start ends as if nothing had been."""
    seen: list[Progress] = []
    with pytest.raises(Cancelled):
        train(
            options(short),
            left,
            processes=1,
            report=seen.append,
            cancelled=lambda: bool(seen) and seen[-1].step == LAST_STEP,
        )
    assert (versions(left), kept(left)) == ([], [])
    assert trained(short, left).version == refitted[1].version
    assert versions(left) == kept(left) == [refitted[1].version]


def test_a_report_that_cannot_be_written_leaves_no_version(
    short: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model whose figures nobody can look up is none."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("ml.training.training_result.write_report", full)
    with pytest.raises((OSError, SignalMLError)):
        trained(short, tmp_path, refit=False, epochs=1)
    assert (versions(tmp_path), kept(tmp_path)) == ([], [])


def test_a_home_that_is_a_file_is_refused(short: Path, tmp_path: Path) -> None:
    """And stays what it was."""
    home = tmp_path / "home"
    home.write_text("mine")
    with pytest.raises((OSError, SignalMLError)):
        trained(short, home)
    assert home.read_text() == "mine"
