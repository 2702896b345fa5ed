"""Trainings in this process, or in one that is killed at a chosen step, and the files that they leave in a home."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from ml.dataset.simulate.plan import SimulationPlan
from ml.errors import Cancelled
from ml.system.progress import Progress
from ml.training import training_result
from ml.training.options import TrainingOptions
from ml.training.pipeline import train
from ml.training.training_result import TrainingResult
from testing.servers import environment
from tests import sounds
from tests.commands import Done

# Recordings of one fan, shorter than the golden clip; half of the sessions are of faults.
TINY = SimulationPlan(machines=1, sessions=4, recordings=2, snr_db=(6.0,), duration_s=2.0, severity=(0.6, 1.0))
# Fewer, of a second each.
SHORT = SimulationPlan(machines=1, sessions=3, recordings=2, snr_db=(6.0,), duration_s=1.0, severity=(0.6, 1.0))
RECORDS = {"evaluation.json", "expectations.json", "report.html", "split.csv", "training.json", "verdicts.csv"}
LAST_STEP = "model and report"
# Saves a checkpoint after every epoch and prints every step; at the chosen step it pauses, and waits to be killed.
DRIVER = """
import json, signal, sys
from pathlib import Path

from ml.training.options import TrainingOptions; from ml.training.pipeline import train

def report(progress):
    line = f"{progress.step} {progress.done}"
    print(line, flush=True)
    if line == last:
        signal.pause()

if __name__ == "__main__":
    last, home, source, chosen = sys.argv[1:]
    if last.startswith("epochs"):
        from ml.classifier import fitting

        fitting.SAVED_EVERY_S = 0
    train(TrainingOptions(source=Path(source), **json.loads(chosen)), Path(home), processes=1, report=report)
"""


class Training(NamedTuple):
    """A ``signalml train`` that has ended, and the home with its model."""

    home: Path
    version: str
    done: Done

    @property
    def records(self) -> Path:
        """Folder of its records."""
        return self.home / "training" / self.version

    @property
    def network(self) -> bytes:
        """Network that answers uploads."""
        return network_of(self.home, self.version)

    @classmethod
    def of(cls, home: Path, done: Done) -> "Training":
        """Return the training of a command, which must have succeeded."""
        assert done.returncode == 0, done.stderr
        return cls(home, done.stdout.splitlines()[-1], done)


def tones(folder: Path, count: int, blade_hz: float = 120.0) -> None:
    """Make a folder, and write recordings of a fan to it, one second each."""
    folder.mkdir(parents=True)
    for each in range(count):
        sound = sounds.fan(1.0, seed=100 * int(blade_hz) + each, blade_hz=blade_hz)
        (folder / f"{each:08d}.wav").write_bytes(sounds.recording(sound))


def network_of(home: Path, version: str) -> bytes:
    """Return the network of a version, as it answers uploads."""
    return (home / "models" / version / "network.tflite").read_bytes()


def sides_of(records: Path, column: str) -> dict[str, list[str]]:
    """Return the values of one column (path, audio_hash) of the recorded split, by side."""
    sides: dict[str, list[str]] = {}
    with (records / "split.csv").open(newline="", encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            sides.setdefault(row["side"], []).append(row[column])
    return sides


def kill_at(line: str, options: TrainingOptions, home: Path) -> list[str]:
    """Run a training by :data:`DRIVER`, and kill all its processes once it prints ``line``; returns the lines."""
    chosen = options.model_dump(mode="json", exclude={"source"})
    printed: list[str] = []
    with subprocess.Popen(
        [sys.executable, "-c", DRIVER, line, str(home), str(options.source), json.dumps(chosen)],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as training:
        assert training.stdout is not None
        for each in training.stdout:
            printed.append(each.strip())
            if printed[-1] == line:
                os.killpg(training.pid, signal.SIGKILL)
                break
        else:
            assert training.stderr is not None
            raise AssertionError(f"never printed {line}: {printed[-5:]} {training.stderr.read()[-2000:]}")
    assert training.returncode == -signal.SIGKILL
    return printed


def cancel_at(step: str, options: TrainingOptions, home: Path) -> list[Progress]:
    """Cancel a training in this process at its first report of a step; returns its reports."""
    seen: list[Progress] = []
    with pytest.raises(Cancelled, match=r"^Cancelled at .+ \d+ of \d+\.$"):
        train(
            options,
            home,
            processes=1,
            report=seen.append,
            cancelled=lambda: bool(seen) and seen[-1].step == step,
        )
    return seen


def versions(home: Path) -> list[str]:
    """Return the versions in the registry."""
    return _listed(home / "models")


def record_folders(home: Path) -> list[str]:
    """Return the names of the folders of records; work folders are hidden."""
    return _listed(home / "training")


def work_folders(home: Path) -> list[Path]:
    """Return the work folders, from which an interrupted training continues."""
    return sorted(path for path in (home / "training").glob(".work-*") if path.is_dir())


def _listed(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


# A training with a copy of its home at every step


class Step(NamedTuple):
    """A moment right before or right after the call of a function.

    Attributes:
        module: module of the function.
        owner: class of the function; empty for a function of the module.
        name: the function.
        when: before or after the call.
        about: text that the first argument must contain.
        is_added: whether the version is in the registry at this moment.
    """

    module: str
    owner: str
    name: str
    when: str
    about: str
    is_added: bool


# Each step after the final fit.
STEPS = {
    "before the bundle is added": Step("ml.models.registry", "Registry", "add", "before", "", False),
    "with the bundle renamed": Step("ml.models.version_folders", "", "sync_folder", "before", "", True),
    "with the bundle added": Step("ml.models.registry", "Registry", "add", "after", "", True),
    "before the records are moved": Step("ml.training.records", "", "move_records", "before", "", True),
    "with the records renamed": Step("ml.training.records", "", "sync_folder", "before", "", True),
    "with the records moved": Step("ml.training.records", "", "move_records", "after", "", True),
    "before the work folder is deleted": Step("shutil", "", "rmtree", "before", ".work-", True),
    "with the first checkpoint deleted": Step("os", "", "unlink", "after", "fit.npz", True),
    "with the work folder deleted": Step("shutil", "", "rmtree", "after", ".work-", True),
}
IN_THE_FINAL_FIT = "in the final fit"
FINAL_FIT = "epochs of the final fit"


class FinishedTraining(NamedTuple):
    """A training that was not interrupted. For reading.

    Attributes:
        home: its home.
        trained: its result.
        snapshots: copy of the home at each step, and after an epoch of the final fit.
    """

    home: Path
    trained: TrainingResult
    snapshots: dict[str, Path]


def short_options(source: Path, **choices: Any) -> TrainingOptions:
    """Return the options of a short training."""
    return TrainingOptions(**{"source": source, "name": "short", "epochs": 2} | choices)


def train_with_snapshots(source: Path, folder: Path) -> FinishedTraining:
    """Train, and copy the home at each step: a process that is killed at this step leaves the same files."""
    home, snapshots = folder / "home", {name: folder / name for name in (*STEPS, IN_THE_FINAL_FIT)}

    def report(progress: Progress) -> None:
        if (progress.step, progress.done) == (FINAL_FIT, 1):
            shutil.copytree(home, snapshots[IN_THE_FINAL_FIT])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ml.classifier.fitting.SAVED_EVERY_S", 0)
        without_report(patch)
        for name, step in STEPS.items():
            _copy_at(step, home, snapshots[name], patch)
        return FinishedTraining(home, train(short_options(source), home, processes=1, report=report), snapshots)


def without_report(patch: pytest.MonkeyPatch) -> None:
    """Write an empty page instead of a report, which takes a fifth of a short training's time."""
    patch.setattr(training_result, "write_report", lambda target, _: target.write_text("<!doctype html>"))


def _copy_at(step: Step, home: Path, copy: Path, patch: pytest.MonkeyPatch) -> None:
    """Copy a home when a training in it reaches a step for the first time."""
    module = import_module(step.module)
    owner = getattr(module, step.owner) if step.owner else module
    original = getattr(owner, step.name)

    def call_and_copy(*arguments: Any, **choices: Any) -> Any:
        now = step.about in str(arguments[0]) and not copy.exists()
        if now and step.when == "before":
            shutil.copytree(home, copy)
        result = original(*arguments, **choices)
        if now and step.when == "after":
            shutil.copytree(home, copy)
        return result

    patch.setattr(owner, step.name, call_and_copy)
