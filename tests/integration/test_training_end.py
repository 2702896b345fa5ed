"""The last steps of a training: stopped between any two of them it ends as one that was not, and fits nothing anew."""

import json
import shutil
import signal
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from ml.dataset.indexing.build import index
from ml.dataset.simulate.plan import SimulationPlan
from ml.dataset.simulate.simulator import simulate
from ml.models.registry import Registry
from ml.system.progress import Progress
from ml.training.options import TrainingOptions
from ml.training.pipeline import train
from ml.training.training_result import TrainingResult
from tests.integration.servers import environment
from tests.integration.trainings import kept, unfinished, versions

SHORT = SimulationPlan(machines=1, sessions=3, recordings=2, snr_db=(6.0,), duration_s=1.0, severity=(0.6, 1.0))
NAME, EPOCHS = "short", 1
RECORDS = {"evaluation.json", "report.html", "split.csv", "training.json", "verdicts.csv"}
FITTED = {"epochs", "epochs of the final fit"}


class Step(NamedTuple):
    """A moment right before or right after one function is called about something."""

    module: str
    owner: str
    name: str
    when: str
    about: str
    there: bool  # whether the version is in the registry by then


# Each step from the publishing on.
STEPS = {
    "before the bundle is added": Step("ml.models.registry", "Registry", "add", "before", "", False),
    "with the bundle renamed": Step("ml.models.registry", "", "sync_folder", "before", "", True),
    "with the bundle added": Step("ml.models.registry", "Registry", "add", "after", "", True),
    "before the records are kept": Step("ml.training.records", "", "keep", "before", "", True),
    "with the records renamed": Step("ml.training.records", "", "sync_folder", "before", "", True),
    "with the records kept": Step("ml.training.records", "", "keep", "after", "", True),
    "before the work folder goes": Step("shutil", "", "rmtree", "before", ".work-", True),
    "with the first checkpoint removed": Step("os", "", "unlink", "after", "fit.npz", True),
    "with the work folder gone": Step("shutil", "", "rmtree", "after", ".work-", True),
}
# Dies of kill -9 once it has put an earlier training's records aside.
DRIVER = f"""
import os, signal, sys
from pathlib import Path

from ml.training.options import TrainingOptions; from ml.training.pipeline import train

if __name__ == "__main__":
    source, home, version = sys.argv[1:]
    real = Path.rename

    def dying(path, target):
        real(path, target)
        if version in str(path):
            os.kill(os.getpid(), signal.SIGKILL)

    Path.rename = dying
    train(TrainingOptions(source=Path(source), name={NAME!r}, epochs={EPOCHS}), Path(home), processes=1)
"""


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """36 simulated recordings of a second each."""
    return simulate(tmp_path_factory.mktemp("simulated") / "short", plan=SHORT, processes=1)


class Whole(NamedTuple):
    """A training that was never stopped, and its home. For reading."""

    home: Path
    trained: TrainingResult
    stopped: dict[str, Path]  # at each step, a copy of the home as it was


@pytest.fixture(scope="module")
def whole(short: Path, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """What a process has written outlives its kill: the home copied at a step is what a kill there would leave."""
    folder = tmp_path_factory.mktemp("whole")
    home, stopped = folder / "home", {name: folder / name for name in STEPS}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ml.classifier.fitting.SAVED_EVERY_S", 0)
        for name, step in STEPS.items():
            copy_at(step, home, stopped[name], patch)
        return Whole(home, train(options(short), home, processes=1), stopped)


def copy_at(step: Step, home: Path, copy: Path, patch: pytest.MonkeyPatch) -> None:
    """Have a home copied the first time that it is at a step."""
    module = import_module(step.module)
    place = getattr(module, step.owner) if step.owner else module
    real = getattr(place, step.name)

    def copying(*arguments: Any, **choices: Any) -> Any:
        now = step.about in str(arguments[0]) and not copy.exists()
        if now and step.when == "before":
            shutil.copytree(home, copy)
        result = real(*arguments, **choices)
        if now and step.when == "after":
            shutil.copytree(home, copy)
        return result

    patch.setattr(place, step.name, copying)


def options(source: Path) -> TrainingOptions:
    """Those of the driver."""
    return TrainingOptions(source=source, name=NAME, epochs=EPOCHS)


def again(source: Path, home: Path) -> tuple[TrainingResult, set[str]]:
    """Started once more: what came of it, and the steps that it took."""
    seen: list[Progress] = []
    trained = train(options(source), home, processes=1, report=seen.append)
    return trained, {each.step for each in seen}


def assert_whole(home: Path, version: str) -> None:
    """One version, that loads and answers, its records, and nothing else."""
    assert versions(home) == kept(home) == [version]
    assert unfinished(home) == []
    assert {path.name for path in (home / "training" / version).iterdir()} == RECORDS
    assert not list((home / "models").glob(".incoming-*"))
    Registry(home).load_predictor(version)


@pytest.mark.parametrize("step", STEPS)
def test_stopped_at_the_end_it_ends_as_if_it_had_not_been(short: Path, whole: Whole, tmp_path: Path, step: str) -> None:
    """The same version and figures, whole records, nothing half; and not one epoch is fitted again."""
    home = Path(shutil.copytree(whole.stopped[step], tmp_path / "home"))
    assert versions(home) == ([whole.trained.version] if STEPS[step].there else [])
    trained, steps = again(short, home)
    assert not steps & FITTED
    assert trained.version == whole.trained.version
    for name in ("evaluation", "judged", "judged_with_gain"):
        assert getattr(trained, name) == getattr(whole.trained, name)
    for bundle in (home / "models").glob(".incoming-*"):  # swept up by a writer a day later
        shutil.rmtree(bundle)
    assert_whole(home, trained.version)


def test_killed_between_an_earlier_trainings_records_and_its_own(short: Path, whole: Whole, tmp_path: Path) -> None:
    """Those of the earlier one are put aside first; the next start brings the new ones to their place."""
    version = whole.trained.version
    home = Path(shutil.copytree(whole.stopped["before the records are kept"], tmp_path / "home"))
    earlier = Path(shutil.copytree(whole.trained.records, home / "training" / version))
    (earlier / "training.json").write_text("{}")
    command = [sys.executable, "-c", DRIVER, str(short), str(home), version]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=200)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert kept(home) == []
    trained, _ = again(short, home)
    assert_whole(home, trained.version)


def test_the_same_training_is_found_again(short: Path, whole: Whole, tmp_path: Path) -> None:
    """It has all that came of it, the verdicts too, and neither reads, fits nor judges anything."""
    home = Path(shutil.copytree(whole.home, tmp_path / "home"))
    trained, steps = again(short, home)
    assert steps == {"model and report"}
    for name in ("version", "evaluation", "split", "judged", "judged_with_gain"):
        assert getattr(trained, name) == getattr(whole.trained, name)
    assert {path.name for path in trained.records.iterdir()} == RECORDS


@pytest.mark.parametrize(
    "lost", ["models/{}/network.tflite", "training/{}/verdicts.csv", "training/{}/evaluation.json"]
)
def test_what_is_not_whole_any_more_is_not_found(short: Path, whole: Whole, tmp_path: Path, lost: str) -> None:
    """It is trained anew, and whole again."""
    home = Path(shutil.copytree(whole.home, tmp_path / "home"))
    (home / lost.format(whole.trained.version)).unlink()
    trained, steps = again(short, home)
    assert steps >= FITTED
    assert trained.version == whole.trained.version
    assert_whole(home, trained.version)


def test_other_recordings_are_another_training(short: Path, whole: Whole, tmp_path: Path) -> None:
    """One less is enough; and what was indexed before is what is trained on, wherever the source is said to be."""
    home = Path(shutil.copytree(whole.home, tmp_path / "home"))
    dataset = index(short, processes=1)
    elsewhere = TrainingOptions(source=tmp_path / "not there", name=NAME, epochs=EPOCHS)
    fewer = type(dataset)(
        dataset.name, dataset.root, dataset.layout, dataset.entries[:-1], dataset.refusals, dataset.explicit_sessions
    )
    trained = train(elsewhere, home, dataset=fewer, processes=1)
    assert trained.version != whole.trained.version
    assert dataset.entries[-1] not in [entry for _, entry in trained.split.sides()]
    card = json.loads((home / "models" / trained.version / "card.json").read_bytes())
    assert card["dataset"]["recordings"] == len(dataset.entries) - 1
