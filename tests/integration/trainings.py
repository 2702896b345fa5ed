"""Trainings, each a process of its own, as a user starts them; and one that is killed at a chosen step."""

import csv
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

from ml.dataset.simulate.plan import SimulationPlan
from ml.training.options import TrainingOptions
from tests.integration.servers import environment

# Recordings of one fan, shorter than the golden clip; half of the sessions are of faults.
TINY = SimulationPlan(machines=1, sessions=4, recordings=2, snr_db=(6.0,), duration_s=2.0, severity=(0.6, 1.0))
# Saves after every epoch and says every step on stdout; at one of them it stands still, and waits to be killed.
DRIVER = """
import json, signal, sys
from pathlib import Path

from ml.classifier import fitting
from ml.training.options import TrainingOptions
from ml.training.pipeline import train

fitting.SAVED_EVERY_S = 0

def report(progress):
    said = f"{progress.step} {progress.done}"
    print(said, flush=True)
    if said == last:
        signal.pause()

if __name__ == "__main__":
    last, home, source, chosen = sys.argv[1:]
    train(TrainingOptions(source=Path(source), **json.loads(chosen)), Path(home), processes=1, report=report)
"""


class Training(NamedTuple):
    """One that came to its end."""

    home: Path
    version: str
    done: subprocess.CompletedProcess[str]

    @property
    def records(self) -> Path:
        """What was kept of it."""
        return self.home / "training" / self.version

    @property
    def network(self) -> bytes:
        """The network that serves."""
        return (self.home / "models" / self.version / "network.tflite").read_bytes()

    def sides(self) -> dict[str, set[str]]:
        """The audio hashes of each side."""
        sides: dict[str, set[str]] = {}
        with (self.records / "split.csv").open(newline="", encoding="utf-8") as lines:
            for row in csv.DictReader(lines):
                sides.setdefault(row["side"], set()).add(row["audio_hash"])
        return sides


def signalml(home: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """One command to its end."""
    process = start(home, *arguments)
    out, err = process.communicate(timeout=200)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def start(home: Path, *arguments: object) -> subprocess.Popen[str]:
    """One command, not waited for."""
    return _process(["-m", "cli.main", *map(str, arguments)], environment(home=home))


def killed_at(line: str, options: TrainingOptions, home: Path) -> list[str]:
    """Kill a training by :data:`DRIVER` and all its processes once it says ``line``; returns what it had said."""
    chosen = asdict(options)
    source = chosen.pop("source")
    training = _process(["-c", DRIVER, line, str(home), str(source), json.dumps(chosen)], environment())
    assert training.stdout is not None
    said: list[str] = []
    with training:
        for each in training.stdout:
            said.append(each.strip())
            if said[-1] == line:
                os.killpg(training.pid, signal.SIGKILL)
                break
        else:
            assert training.stderr is not None
            raise AssertionError(f"never said {line}: {said[-5:]} {training.stderr.read()[-2000:]}")
    assert training.returncode == -signal.SIGKILL
    return said


def versions(home: Path) -> list[str]:
    """What is in the registry."""
    return _listed(home / "models")


def kept(home: Path) -> list[str]:
    """The folders of records; those of unfinished work are hidden."""
    return _listed(home / "training")


def unfinished(home: Path) -> list[Path]:
    """What a training that was stopped has left to go on with."""
    return sorted(path for path in (home / "training").glob(".work-*") if path.is_dir())


def _listed(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _process(arguments: list[str], settings: Mapping[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *arguments],
        env=settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
