"""Servers that tests share, and models and sounds to give them."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from ml.models.registry import Registry
from tests import sounds
from tests.integration.servers import Serve, ServerProcess, run_servers


@pytest.fixture(scope="session")
def wav() -> bytes:
    """Three seconds of a fan, truthful in every respect."""
    return sounds.recording(sounds.fan(3.0))


@pytest.fixture(scope="session")
def flac() -> bytes:
    """The same three seconds as FLAC."""
    return sounds.flac(sounds.fan(3.0))


@pytest.fixture(scope="session")
def long_wav() -> bytes:
    """A recording that takes a good while to judge: ten minutes, half a minute of windows and more."""
    return sounds.recording(sounds.fan(590.0, rate_hz=8_000), rate_hz=8_000)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Starts servers for one test."""
    with run_servers(tmp_path) as start:
        yield start


@pytest.fixture(scope="session")
def serve_for_all(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """Starts servers for all tests."""
    with run_servers(tmp_path_factory.mktemp("servers")) as start:
        yield start


@pytest.fixture(scope="session")
def server(original_home: Path, serve_for_all: Serve) -> ServerProcess:
    """A server with default limits and a synthetic network, for tests that change nothing."""
    return serve_for_all(original_home)


@pytest.fixture(scope="session")
def real_server(real_home: Path, serve_for_all: Serve) -> ServerProcess:
    """A server with the original project's own network, for tests that change nothing."""
    return serve_for_all(real_home)


@pytest.fixture(scope="session")
def two_models(original_home: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """A home with two versions of different weights and different labels; the first is champion. For reading."""
    from ml.models.import_original import import_original
    from tests.unit import keras2

    folder = tmp_path_factory.mktemp("two")
    registry = Registry(Path(shutil.copytree(original_home, folder / "home")))
    first = registry.resolve("champion")
    second = import_original(keras2.write(folder / "other.hdf5", seed=1), registry, "other")
    registry.rename_classes(second, [(f"other_{i}", f"The other model heard {i}") for i in range(keras2.CLASSES)])
    return registry.folder.parent, first, second
