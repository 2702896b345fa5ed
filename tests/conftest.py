"""What all tests share: where the real recordings are, and homes with a network in them."""

import gc
import os
import shutil
from collections import Counter
from pathlib import Path

# Tests run in as many processes as there are cores: in each of them one thread computes, and none spins beside it. Read
# when a library is loaded, so before all others are imported. What a test starts as a process has the usual threads.
os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"))

import pytest
from hypothesis import settings

from ml.models.registry import Registry
from testing import keras2
from tests.shared import made_once

# One core shared by other work must not fail a test: time is asserted where it is a promise, not per example.
# The same examples each time: one that an oracle rounds otherwise is for a day of its own, not for any change.
# To look for others:  pytest --hypothesis-profile=default
settings.register_profile("signalml", deadline=None, print_blob=True, derandomize=True)
settings.load_profile("signalml")

ROOT = Path(__file__).parent.parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of tests that share a name, processes side by side would run one, and say nothing."""
    twice = [name for name, count in Counter(item.nodeid for item in items).items() if count > 1]
    if twice:
        raise pytest.UsageError(f"several tests have one name: {', '.join(twice)}")


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real recordings, outside the repository."""
    folder = Path(os.environ.get("SIGNALML_TEST_DATA") or ROOT.parent / "shared" / "data")
    if not (folder / "seed" / "expected.json").is_file():
        pytest.skip(f"no real recordings in {folder}: set SIGNALML_TEST_DATA to the folder that holds seed/")
    return folder


@pytest.fixture(scope="session")
def seed(data: Path) -> Path:
    """The original's four recordings, its trained network, and the right answers."""
    return data / "seed"


@pytest.fixture(scope="session")
def original_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of the original's form with random weights, made here."""
    return keras2.write(tmp_path_factory.mktemp("keras2") / "original.hdf5")


@pytest.fixture(scope="session")
def original_home(original_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SIGNALML_HOME whose champion was imported from :func:`original_file`. For reading; ``home`` is for changing."""
    return _imported("original", original_file, tmp_path_factory)


@pytest.fixture(scope="session")
def real_home(seed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SIGNALML_HOME whose champion is the original project's published network. For reading."""
    return _imported("real", seed / "weightsMulti.hdf5", tmp_path_factory)


@pytest.fixture
def home(original_home: Path, tmp_path: Path) -> Path:
    """A copy of :func:`original_home` for one test to change."""
    return Path(shutil.copytree(original_home, tmp_path / "home"))


def _imported(name: str, file: Path, factory: pytest.TempPathFactory) -> Path:
    """A home with that file's network, for the tests of one process."""

    def make(folder: Path) -> Path:
        from ml.models.import_original import import_original

        registry = Registry(folder)
        registry.promote(import_original(file, registry))
        return folder

    return Path(shutil.copytree(made_once(factory, name, make), factory.mktemp(name) / "home"))


def pytest_collection_finish() -> None:
    """Exempt imported modules from garbage collection: it took a quarter of the time of a short training."""
    gc.collect()
    gc.freeze()
