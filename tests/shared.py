"""Expensive data for reading, made once in a test run and shared by its processes."""

import fcntl
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

Made = TypeVar("Made")


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], Made]) -> Made:
    """Return the result of ``make`` for this name; the first caller makes it, and the others wait.

    Args:
        factory: gives the temporary folder of this process, inside the folder of the run.
        name: name of the folder, in the temporary folder of the run.
        make: fills the given empty folder, and returns a value that can be pickled.
    """
    own = factory.getbasetemp()
    root = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "shared"
    root.mkdir(exist_ok=True)
    folder, result = root / name, root / f"{name}.pickle"
    with (root / f"{name}.lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not result.exists():
            shutil.rmtree(folder, ignore_errors=True)  # left from a failed attempt
            folder.mkdir()
            made = make(folder)
            result.write_bytes(pickle.dumps(made))
            return made
    found: Made = pickle.loads(result.read_bytes())
    return found
