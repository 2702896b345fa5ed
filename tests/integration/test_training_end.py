"""The last steps of a training: killed between any two of them it ends as one that was not, and fits nothing anew."""

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from ml.dataset import index
from ml.progress import Progress
from ml.registry import Registry
from ml.simulate import Plan, simulate
from ml.training import Options, Trained, run
from tests.integration.servers import environment
from tests.integration.trainings import kept, unfinished, versions

SHORT = Plan(machines=1, sessions=3, recordings=2, snr_db=(6.0,), duration_s=1.0, severity=(0.6, 1.0))
NAME, EPOCHS = "short", 3
RECORDS = {"evaluation.json", "report.html", "split.csv", "training.json", "verdicts.csv"}
FITTED = {"epochs", "epochs of the final fit"}
# Dies, as by kill -9, right before or right after one function is called about something.
DRIVER = f"""
import os, signal, sys
from importlib import import_module
from pathlib import Path

from ml.classifier import fitting
from ml.training import Options, run

fitting.SAVED_EVERY_S = 0

if __name__ == "__main__":
    source, home, module, owner, name, when, about = sys.argv[1:]
    place = getattr(import_module(module), owner) if owner else import_module(module)
    real = getattr(place, name)

    def dying(*arguments, **options):
        if about not in str(arguments[0]):
            return real(*arguments, **options)
        if when == "after":
            real(*arguments, **options)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(place, name, dying)
    run(Options(source=Path(source), name={NAME!r}, epochs={EPOCHS}), Path(home), processes=1)
"""
# Each step from the publishing on, what it dies at, and whether the version is there by then.
STEPS = {
    "before the bundle is added": (("ml.registry", "Registry", "add", "before", ""), False),
    "with the bundle renamed": (("ml.registry", "", "sync_folder", "before", ""), True),
    "with the bundle added": (("ml.registry", "Registry", "add", "after", ""), True),
    "before the records are kept": (("ml.training.records", "", "keep", "before", ""), True),
    "with the records renamed": (("ml.training.records", "", "sync_folder", "before", ""), True),
    "with the records kept": (("ml.training.records", "", "keep", "after", ""), True),
    "before the work folder goes": (("shutil", "", "rmtree", "before", ".work-"), True),
    "with the first checkpoint removed": (("os", "", "unlink", "after", "fit.npz"), True),
    "with the work folder gone": (("shutil", "", "rmtree", "after", ".work-"), True),
}


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """36 simulated recordings of a second each."""
    return simulate(tmp_path_factory.mktemp("simulated") / "short", plan=SHORT, processes=1)


@pytest.fixture(scope="module")
def whole(short: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Trained]:
    """A home with a model that was never stopped. For reading."""
    home = tmp_path_factory.mktemp("whole")
    return home, run(options(short), home, processes=1)


def options(source: Path) -> Options:
    """Those of the driver."""
    return Options(source=source, name=NAME, epochs=EPOCHS)


def kill(source: Path, home: Path, step: Sequence[str]) -> None:
    """A training that dies at a step."""
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, str(source), str(home), *step],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


def again(source: Path, home: Path) -> tuple[Trained, set[str]]:
    """Started once more: what came of it, and the steps that it took."""
    seen: list[Progress] = []
    trained = run(options(source), home, processes=1, report=seen.append)
    return trained, {each.step for each in seen}


def assert_whole(home: Path, version: str) -> None:
    """One version, that loads and answers, its records, and nothing else."""
    assert versions(home) == kept(home) == [version]
    assert unfinished(home) == []
    assert {path.name for path in (home / "training" / version).iterdir()} == RECORDS
    assert not list((home / "models").glob(".incoming-*"))
    Registry(home).predictor(version)


@pytest.mark.parametrize(("step", "there"), STEPS.values(), ids=STEPS)
def test_killed_at_the_end_it_ends_as_if_it_had_not_been(
    short: Path, whole: tuple[Path, Trained], tmp_path: Path, step: Sequence[str], there: bool
) -> None:
    """The same version and figures, whole records, nothing half; and not one epoch is fitted again."""
    kill(short, tmp_path, step)
    assert versions(tmp_path) == ([whole[1].version] if there else [])
    trained, steps = again(short, tmp_path)
    assert not steps & FITTED
    assert trained.version == whole[1].version
    assert (trained.evaluation, trained.judged, trained.gain_judged) == (
        whole[1].evaluation,
        whole[1].judged,
        whole[1].gain_judged,
    )
    for bundle in (tmp_path / "models").glob(".incoming-*"):  # swept up by a writer a day later
        shutil.rmtree(bundle)
    assert_whole(tmp_path, trained.version)


def test_killed_between_an_earlier_trainings_records_and_its_own(
    short: Path, whole: tuple[Path, Trained], tmp_path: Path
) -> None:
    """Those of the earlier one are put aside first; the next start brings the new ones to their place."""
    home = Path(shutil.copytree(whole[0], tmp_path / "home"))
    (home / "training" / whole[1].version / "training.json").write_text("{}")
    kill(short, home, ("pathlib", "Path", "rename", "after", whole[1].version))
    assert kept(home) == []
    trained, _ = again(short, home)
    assert_whole(home, trained.version)


def test_the_same_training_is_found_again(short: Path, whole: tuple[Path, Trained], tmp_path: Path) -> None:
    """It has all that came of it, the verdicts too, and neither reads, fits nor judges anything."""
    home = Path(shutil.copytree(whole[0], tmp_path / "home"))
    trained, steps = again(short, home)
    assert steps == {"model and report"}
    for name in ("version", "evaluation", "split", "judged", "gain_judged"):
        assert getattr(trained, name) == getattr(whole[1], name)
    assert {path.name for path in trained.records.iterdir()} == RECORDS


@pytest.mark.parametrize(
    "lost", ["models/{}/network.tflite", "training/{}/verdicts.csv", "training/{}/evaluation.json"]
)
def test_what_is_not_whole_any_more_is_not_found(
    short: Path, whole: tuple[Path, Trained], tmp_path: Path, lost: str
) -> None:
    """It is trained anew, and whole again."""
    home = Path(shutil.copytree(whole[0], tmp_path / "home"))
    (home / lost.format(whole[1].version)).unlink()
    trained, steps = again(short, home)
    assert steps >= FITTED
    assert trained.version == whole[1].version
    assert_whole(home, trained.version)


def test_other_recordings_are_another_training(short: Path, whole: tuple[Path, Trained], tmp_path: Path) -> None:
    """One less is enough; and what was indexed before is what is trained on, wherever the source is said to be."""
    home = Path(shutil.copytree(whole[0], tmp_path / "home"))
    dataset = index(short, processes=1)
    elsewhere = Options(source=tmp_path / "not there", name=NAME, epochs=EPOCHS)
    fewer = type(dataset)(
        dataset.name, dataset.root, dataset.layout, dataset.entries[:-1], dataset.refusals, dataset.explicit_groups
    )
    trained = run(elsewhere, home, dataset=fewer, processes=1)
    assert trained.version != whole[1].version
    assert dataset.entries[-1] not in [entry for _, entry in trained.split.sides()]
    card = json.loads((home / "models" / trained.version / "card.json").read_bytes())
    assert card["dataset"]["recordings"] == len(dataset.entries) - 1
