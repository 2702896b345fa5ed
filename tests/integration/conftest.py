"""Servers that tests share, and models and recordings for them."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path

import pytest

from ml.dataset.simulate.simulator import simulate
from ml.models.registry import Registry
from testing import keras2
from testing.fans import make_fan_home
from testing.servers import Serve, ServerProcess, run_servers, wait_until
from tests import sounds
from tests.integration.trainings import SHORT, TINY, FinishedTraining, train_with_snapshots, without_report
from tests.integration.uploads import GOOD, SECOND, WAV_TYPE, judged
from tests.shared import made_once

HASTY_S = 2.0
MOST_GROWTH_BYTES = 50e6


@pytest.fixture(scope="session")
def wav() -> bytes:
    """A valid recording of a fan, three seconds."""
    return sounds.recording(sounds.fan(3.0))


@pytest.fixture(scope="session")
def flac() -> bytes:
    """The same recording as FLAC."""
    return sounds.flac(sounds.fan(3.0))


@pytest.fixture(scope="session")
def long_wav() -> bytes:
    """A recording of ten minutes, which takes long to judge."""
    return sounds.recording(sounds.fan(590.0, rate_hz=8_000), rate_hz=8_000)


@pytest.fixture(scope="session")
def healthy() -> bytes:
    """A recording that the network with random weights judges normal."""
    return sounds.recording(sounds.fan(1.0))


@pytest.fixture(scope="session")
def faulty() -> bytes:
    """A recording that the network with random weights judges anomalous."""
    return sounds.recording(sounds.sine(440, 16_000, 16_000))


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """A function that starts servers for one test."""
    with run_servers(tmp_path) as start:
        yield start


@pytest.fixture(scope="session")
def serve_for_all(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """A function that starts servers for all tests."""
    with run_servers(tmp_path_factory.mktemp("servers")) as start:
        yield start


@pytest.fixture(scope="session")
def server(original_home: Path, serve_for_all: Serve) -> ServerProcess:
    """A server with default limits and a network with random weights, for tests that change nothing."""
    return serve_for_all(original_home)


@pytest.fixture(scope="session")
def real_server(real_home: Path, serve_for_all: Serve) -> ServerProcess:
    """A server with the original project's own network, for tests that change nothing."""
    return serve_for_all(real_home)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 simulated recordings of one fan, whose faults a manifest names. For reading."""
    return made_once(tmp_path_factory, "tiny", lambda folder: simulate(folder / "tiny", plan=TINY, processes=1))


@pytest.fixture(scope="session")
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """36 simulated recordings of a second each. For reading."""
    return made_once(tmp_path_factory, "short", lambda folder: simulate(folder / "short", plan=SHORT, processes=1))


@pytest.fixture(scope="session")
def finished(short: Path, tmp_path_factory: pytest.TempPathFactory) -> FinishedTraining:
    """A short training, with a copy of its home at each step. For reading and copying."""
    return made_once(tmp_path_factory, "finished", partial(train_with_snapshots, short))


@pytest.fixture
def short_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainings of this process write no report."""
    without_report(monkeypatch)


@pytest.fixture(scope="session")
def fan_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose champion is a detector of a fan, with clips of a second. For reading."""
    return made_once(tmp_path_factory, "fan", lambda folder: make_fan_home(folder / "home"))


@pytest.fixture(scope="session")
def guarded(original_home: Path, serve_for_all: Serve) -> ServerProcess:
    """A server that has done every kind of work once, so that it needs no more memory for a repetition."""
    server = serve_for_all(original_home)
    minute = sounds.recording(sounds.fan(60.0))
    for content in (GOOD, sounds.flac(SECOND), minute, minute):
        assert server.client.post("/v1/predict?explain=true", content=content, headers=WAV_TYPE).is_success
        assert server.client.post("/inference", files={"file": ("a.wav", content)}).is_success
    return server


@pytest.fixture
def target(guarded: ServerProcess) -> Iterator[ServerProcess]:
    """A server that must need little memory during the test, and must judge a valid recording after it."""
    with guarded.watched() as memory:
        yield guarded
        judged(guarded, GOOD)
    assert memory.growth < MOST_GROWTH_BYTES


@pytest.fixture(scope="session")
def hasty(original_home: Path, serve_for_all: Serve) -> ServerProcess:
    """A server with short time limits for headers, bodies and answers."""
    limits = dict.fromkeys(("header_timeout_s", "body_timeout_s", "write_timeout_s"), HASTY_S)
    return serve_for_all(original_home, **limits)


@pytest.fixture(scope="session")
def two_models(original_home: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """A home with two versions of different weights and different labels; the first is champion. For reading."""

    def make(folder: Path) -> tuple[Path, str, str]:
        from ml.models.import_original import import_original

        registry = Registry(Path(shutil.copytree(original_home, folder / "home")))
        first = registry.resolve("champion")
        second = import_original(keras2.write(folder / "other.hdf5", seed=1), registry, "other")
        registry.rename_classes(second, [(f"other_{i}", f"The other model: class {i}") for i in range(keras2.CLASSES)])
        return registry.folder.parent, first, second

    return made_once(tmp_path_factory, "two", make)


@pytest.fixture(scope="session")
def bare(tmp_path_factory: pytest.TempPathFactory, serve_for_all: Serve) -> ServerProcess:
    """A server without a model."""
    return serve_for_all(tmp_path_factory.mktemp("bare") / "home", wait_for="/livez")


@pytest.fixture
def growing(bare: ServerProcess) -> Iterator[ServerProcess]:
    """The server without a model; all datasets of a test are deleted after the test."""
    yield bare
    for dataset in bare.client.get("/v1/datasets").json()["datasets"]:
        bare.client.delete(f"/v1/datasets/{dataset['name']}", params={"confirm": dataset["name"]})
    shutil.rmtree(bare.home / "datasets", ignore_errors=True)  # folders that are not collections


Lend = Callable[[Path], AbstractContextManager[ServerProcess]]


@pytest.fixture(scope="module")
def lend(tmp_path_factory: pytest.TempPathFactory, serve_for_all: Serve) -> Lend:
    """A function that lends the server of a home to a test, which may change the models; they are restored after it."""
    servers: dict[Path, ServerProcess] = {}

    @contextmanager
    def lent(home: Path) -> Iterator[ServerProcess]:
        if home not in servers:
            own = Path(shutil.copytree(home, tmp_path_factory.mktemp("lent") / "home"))
            servers[home] = serve_for_all(own, poll_interval_s=0.05)
        before = servers[home].client.get("/readyz").json()
        yield servers[home]
        put_back(servers[home].home, home)
        wait_until(lambda: servers[home].client.get("/readyz").json() == before)

    return lent


def put_back(home: Path, pristine: Path) -> None:
    """Restore a home from a copy. Equal files are not touched, and the aliases are complete at any moment."""
    (home / "aliases.json").write_bytes((pristine / "models" / "aliases.json").read_bytes())
    (home / "aliases.json").rename(home / "models" / "aliases.json")
    for path in sorted(home.rglob("*"), reverse=True):
        if not (pristine / path.relative_to(home)).exists():
            path.rmdir() if path.is_dir() else path.unlink()
    for path in pristine.rglob("*"):
        own = home / path.relative_to(pristine)
        if path.is_file() and not (own.exists() and own.read_bytes() == path.read_bytes()):
            shutil.copy(path, own)
