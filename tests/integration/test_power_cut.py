"""A power cut: whatever was acknowledged is on the disk, and nothing is there in part."""

import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import pytest

from api.api_keys import ApiKeyStore
from ml.dataset.collection.store import Collection
from ml.machines.ledger import Ledger
from ml.models.registry import Registry
from testing import keras2
from testing.power_cut import Disk, PowerCut
from testing.servers import Serve, ServerProcess, environment, wait_until
from tests import sounds
from tests.commands import as_process
from tests.complete import require_program
from tests.integration.machines import health, wait_for_verdicts
from worker.broker import LocalBroker
from worker.jobs import DiagnosticParameters
from worker.queue import JobQueue

# A new version, written as a training writes one; its program prints the version when it is published.
PUBLISH = """
import sys
from pathlib import Path
from ml.models.registry import Registry
from tests.unit import bundles

print(bundles.calibrated(Registry(Path(sys.argv[1]))))
"""
# The local queue, until the standard input ends.
START_BROKER = """
import sys
from pathlib import Path
from worker.broker import LocalBroker

broker = LocalBroker(Path(sys.argv[1]))
process = broker.start()
print(broker.url, flush=True)
sys.stdin.read()
process.kill()
"""
CLASS_NAMES = [f"class-{number}" for number in range(keras2.CLASSES)]
Check = Callable[[Path], Any]


class Acknowledged(NamedTuple):
    """What a client was promised.

    Attributes:
        name: what was asked for.
        syncs: number of syncs when the answer came.
        holds: checks a home; false, or an error, if it lacks what was promised.
        names: what the disk has then, if it kept all names and lost the content that was not synced.
    """

    name: str
    syncs: int
    holds: Check
    names: Disk


class Recorded:
    """A home with a record of its syncs, and what was acknowledged meanwhile."""

    def __init__(self, cut: PowerCut) -> None:
        self.cut = cut
        self.acknowledged: list[Acknowledged] = []

    def promise(self, name: str, holds: Check) -> None:
        """Note that a client has an answer now."""
        self.acknowledged.append(Acknowledged(name, self.cut.syncs(), holds, self.cut.with_names()))


@pytest.fixture(scope="module")
def recorded(original_home: Path, tmp_path_factory: pytest.TempPathFactory, serve_for_all: Serve) -> Iterator[Recorded]:
    """All that clients can change, changed once while each sync is recorded."""
    require_program("gcc")
    root = tmp_path_factory.mktemp("power")
    home = Path(shutil.copytree(original_home, root / "home"))
    (root / "record").mkdir()
    found = Recorded(PowerCut(home, root / "record"))
    with patch.dict(os.environ, found.cut.environment):
        publish(found, home)
        create_key(found, home)
        server = serve_for_all(home, poll_interval_s=0.05)
    change_datasets(found, server)
    change_models(found, server)
    change_machines(found, server)
    server.stop()
    yield found
    found.cut.delete()


def publish(found: Recorded, home: Path) -> None:
    """Publish a version."""
    command = [sys.executable, "-c", PUBLISH, str(home)]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=True)
    version = done.stdout.strip()
    found.promise("publish", lambda home: Registry(home).load_predictor(version))


def create_key(found: Recorded, home: Path) -> None:
    """Create an API key."""
    done = as_process(home, "keys", "create", "line-3", "--scope", "predict")
    assert done.returncode == 0, done.stderr
    found.promise("key", lambda home: ApiKeyStore(home).find(done.stdout.strip()))


def change_datasets(found: Recorded, server: ServerProcess) -> None:
    """Upload to a new dataset and to an existing one, change labels, remove a recording and a dataset."""
    path = "/v1/datasets/hall-3/recordings"
    wavs = [sounds.recording(sounds.fan(0.5, seed=seed)) for seed in range(3)]
    for number, wav in enumerate(wavs):
        answer = server.client.post(path, files={"file": ("a.wav", wav)}, data={"label": "normal"}).raise_for_status()
        assert answer.status_code in (200, 201)
        found.promise(f"upload {number}", lambda home, wav=wav: wav in contents(home, "hall-3"))
    ids = [each["id"] for each in server.client.get(path).json()["recordings"]]
    server.client.patch(f"{path}/{ids[0]}", json={"label": "abnormal", "fault": "worn"}).raise_for_status()
    found.promise("label", lambda home: Collection(home, "hall-3").recording(ids[0]).annotation.fault == "worn")
    server.client.post("/v1/datasets", json={"name": "short-lived"}).raise_for_status()
    found.promise("dataset", lambda home: found_or_removed(home, "short-lived"))
    server.client.delete("/v1/datasets/short-lived", params={"confirm": "short-lived"}).raise_for_status()
    found.promise("removal", lambda home: not (home / "datasets" / "short-lived").exists())


def contents(home: Path, name: str) -> list[bytes]:
    """The files that a dataset lists."""
    collection = Collection(home, name)
    return [collection.file(each.id).read_bytes() for each in collection.recordings()]


def found_or_removed(home: Path, name: str) -> bool:
    """The dataset is whole, or it is gone: it is removed later."""
    return not (home / "datasets" / name).exists() or Collection(home, name).version == "1"


def change_models(found: Recorded, server: ServerProcess) -> None:
    """Rename classes, move the threshold, promote."""
    first = Registry(server.home).resolve("champion")
    second = next(version for version in Registry(server.home).versions() if version != first)
    classes = [{"name": name, "message": f"Message of {name}"} for name in CLASS_NAMES]
    server.client.patch("/v1/models/champion/labels", json={"classes": classes}).raise_for_status()
    found.promise("class names", lambda home: len(Registry(home).label_revisions(first)) == 2)
    moved = server.client.patch(f"/v1/models/{second}/threshold", json={"threshold": 0.7})
    assert moved.status_code == 200, moved.text
    found.promise("threshold", lambda home: len(Registry(home).threshold_revisions(second)) == 2)
    server.client.put("/v1/models/aliases/champion", json={"version": second}).raise_for_status()
    found.promise("promotion", lambda home: Registry(home).resolve("champion") == second)


def change_machines(found: Recorded, server: ServerProcess) -> None:
    """Raise an alarm with three recordings and acknowledge it."""
    for number in range(3):
        sound = sounds.recording(sounds.sine(440, 16_000 + number, 16_000))
        server.client.post("/v1/predict?machine_id=fan-3", content=sound, headers={"content-type": "audio/wav"})
    wait_for_verdicts(server, 3)
    assert health(server)["state"] == "alarm"
    seen = {"by": "Ana", "note": "Bearing ordered"}
    server.client.post("/v1/machines/fan-3/acknowledge", json=seen).raise_for_status()
    found.promise("alarm", lambda home: acknowledged_by(home) == "Ana")


def acknowledged_by(home: Path) -> str | None:
    """Who acknowledged the alarm of the machine."""
    with Ledger(home) as ledger:
        alarm = ledger.health("fan-3", 10).alarms[0]
    return alarm.acknowledged.by if alarm.acknowledged else None


def nothing_is_half(home: Path) -> None:
    """Everything that is in a home can be read, whole."""
    registry = Registry(home)
    for version in registry.versions():
        registry.read(version)
        registry.label_revisions(version)
        registry.threshold_revisions(version)
    registry.read("champion")
    ApiKeyStore(home).list_keys()
    for name in [path.name for path in home.glob("datasets/[!.]*")]:
        assert Collection(home, name).damaged == 0
        contents(home, name)
    file = home / "machines" / "health.sqlite3"
    if file.exists() and file.stat().st_size:
        with closing(sqlite3.connect(file)) as db:
            assert db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"


def test_everything_was_acknowledged(recorded: Recorded) -> None:
    """The promises are those of the clients of this test; each one was followed by syncs."""
    assert len(recorded.acknowledged) == 12
    assert [each.syncs for each in recorded.acknowledged] == sorted(each.syncs for each in recorded.acknowledged)
    assert recorded.acknowledged[0].syncs > 0


def test_what_was_not_synced_is_lost_at_any_moment(recorded: Recorded, tmp_path: Path) -> None:
    """After each sync, with all that was not synced lost: nothing is half, and all that was acknowledged is there."""
    for syncs in range(recorded.cut.syncs() + 1):
        home = recorded.cut.after(syncs).write(tmp_path / "home")
        nothing_is_half(home)
        for promised in recorded.acknowledged:
            if promised.syncs <= syncs:
                assert promised.holds(home), f"{promised.name} is lost at sync {syncs}"
        shutil.rmtree(home)


def test_content_is_lost_and_names_stay(recorded: Recorded, tmp_path: Path) -> None:
    """At each answer, with all names and without the content that was not synced: the same."""
    for at, now in enumerate(recorded.acknowledged):
        home = now.names.write(tmp_path / "home")
        nothing_is_half(home)
        for promised in recorded.acknowledged[: at + 1]:
            assert promised.holds(home), f"{promised.name} is lost at {now.name}"
        shutil.rmtree(home)


def test_a_job_is_on_the_disk_within_two_seconds(tmp_path: Path) -> None:
    """The local queue promises a second: then a job survives, and what is on the disk can be read at any time."""
    require_program("gcc")
    (home := tmp_path / "home").mkdir()
    (tmp_path / "record").mkdir()
    cut = PowerCut(home, tmp_path / "record")
    command, pipe = [sys.executable, "-c", START_BROKER, str(home)], subprocess.PIPE
    with subprocess.Popen(command, env=environment() | cut.environment, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        first = JobQueue(url).submit(DiagnosticParameters(), request_id="test").job.id
        time.sleep(2.0)
        syncs = cut.syncs()
        JobQueue(url).submit(DiagnosticParameters(), request_id="test")
    for number in range(syncs, cut.syncs() + 1):
        assert first in jobs_after_start(cut.after(number).write(tmp_path / f"home-{number}"))


def jobs_after_start(home: Path) -> list[str]:
    """Start the queue of a home, and return the ids of its jobs."""
    broker = LocalBroker(home)
    process = broker.start()
    try:
        store = JobQueue(broker.url).store
        return list(wait_until(lambda: [job.id for job in store.list_jobs().jobs], within_s=10.0))
    finally:
        process.kill()
        process.wait()
