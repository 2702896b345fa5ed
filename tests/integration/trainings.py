"""Trainings, each a process of its own, as a user starts them; and one that can be killed at a chosen step."""

import csv
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from ml.simulate import Plan
from tests.integration.servers import environment

# Recordings of one fan, shorter than the golden clip; half of the sessions are of faults.
TINY = Plan(machines=1, sessions=4, recordings=2, snr_db=(6.0,), duration_s=2.0, severity=(0.6, 1.0))
NAME, EPOCHS = "tiny", 4
# Saves after every epoch, says every step on stdout, and takes its time over each, so that a kill can hit it.
DRIVER = f"""
import sys, time
from pathlib import Path

from ml.training import run
from ml.training.options import Options
from ml.classifier import fitting

fitting.SAVED_EVERY_S = 0

def report(progress):
    print(progress.step, progress.done, flush=True)
    time.sleep(0.05)

if __name__ == "__main__":
    source, home = map(Path, sys.argv[1:])
    trained = run(Options(source=source, name={NAME!r}, epochs={EPOCHS}, refit=False), home, processes=1, report=report)
    print("version", trained.version)
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


def drive(source: Path, home: Path) -> subprocess.Popen[str]:
    """A training by :data:`DRIVER`, in a process group of its own."""
    return _process(["-c", DRIVER, str(source), str(home)], environment())


def killed_at(training: subprocess.Popen[str], line: str) -> list[str]:
    """Kill a driven training and all its processes once it says ``line``; returns what it had said."""
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
