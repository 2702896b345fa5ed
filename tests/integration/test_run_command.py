"""``signalml run``: everything on one machine, from one command, with a queue of its own; and the doctor."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import httpx
import psutil
import pytest

from listener.live.client import ListenerClient
from ml.errors import ListenerNotRunning
from testing.jobs import Broker
from testing.servers import PATIENCE_S, environment, free_port, wait_until
from tests import sounds
from tests.commands import Done, as_process, assert_one_sentence, signalml
from worker import broker
from worker.broker import local_broker_url


class Run:
    """One ``signalml run``.

    Args:
        home: its SIGNALML_HOME.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        port = free_port()
        self._log = (home.parent / "run.log").open("ab")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "cli.main", "run"],
            env=environment(home=home, port=port, worker_processes=1),
            stdout=self._log,
            stderr=self._log,
            cwd=home.parent,
        )
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=PATIENCE_S)

    def ready(self) -> Self:
        """Wait until the API answers, and knows its queue."""

        def answers() -> bool:
            try:
                return self.http.get("/v1/jobs").status_code == 200
            except httpx.TransportError:
                return False

        wait_until(answers)
        return self

    def does(self, kind: str, **parameters: object) -> dict[str, Any]:
        """A job, from its request to its end."""
        job = self.http.post(f"/v1/jobs/{kind}", json=parameters).json()["id"]
        ended: dict[str, Any] = wait_until(lambda: self._ended(job))
        return ended

    def children(self) -> dict[str, psutil.Process]:
        """Its processes by what they do: queue, serve, worker, training."""
        found = {}
        for child in psutil.Process(self.process.pid).children():
            try:
                words = child.cmdline()
            except psutil.ZombieProcess:  # it has ended, and was not looked after yet
                continue
            found["queue" if "cli.main" not in words else words[-1]] = child
        return found

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End it."""
        self.http.close()
        self.process.send_signal(number)
        status = self.process.wait(PATIENCE_S)
        self._log.close()
        return status

    def _ended(self, job: str) -> dict[str, Any] | None:
        found: dict[str, Any] = self.http.get(f"/v1/jobs/{job}").json()
        return found if found["ended"] else None


@pytest.fixture
def run(home: Path) -> Iterator[Run]:
    """Started and ready."""
    running = Run(home).ready()
    yield running
    if running.process.poll() is None:
        running.stop()


@pytest.fixture(scope="module")
def standing(original_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """One that no test stops."""
    running = Run(Path(shutil.copytree(original_home, tmp_path_factory.mktemp("standing") / "home"))).ready()
    yield running
    running.stop()


def test_one_command_is_the_whole_service(run: Run, home: Path) -> None:
    """Upload, extraction, scoring, rows; a killed part is started again; stopped and started, everything is there."""
    wav = sounds.recording(sounds.fan(1.0))
    put = run.http.post(
        "/v1/datasets/hall-3/recordings",
        files={"file": ("a.wav", wav)},
        data={"label": "normal", "machine_id": "fan-3"},
    )
    assert put.status_code == 201
    assert run.does("feature-extraction", dataset="hall-3")["summary"]["recordings"] == 1
    first = run.does("scoring", dataset="hall-3")
    assert first["state"] == "succeeded"
    for name in ("extraction,scoring", "queue"):
        before = run.children()[name].pid
        os.kill(before, signal.SIGKILL)
        wait_until(lambda before=before, name=name: run.children().get(name, before) != before)
        run.ready()
        assert run.does("diagnostic")["state"] == "succeeded"
    children = list(run.children().values())
    assert run.stop() == 0
    assert not any(child.is_running() for child in children)
    assert local_broker_url(home) is None
    again = Run(home).ready()
    try:
        assert again.http.get(f"/v1/jobs/{first['id']}").json()["state"] == "succeeded"
        assert again.http.get(f"/v1/jobs/{first['id']}/result").json()[0]["name"] == "a.wav"
    finally:
        assert again.stop() == 0
    written = [path for name in ("broker", "datasets", "jobs") for path in (home / name, *(home / name).rglob("*"))]
    assert [str(path) for path in (home, *written) if path.stat().st_mode & 0o077] == []


def test_nothing_outlives_a_run_that_is_killed(run: Run, home: Path) -> None:
    """kill -9 of the command itself: API, workers and queue end too, so that the next run finds its data free."""
    children = list(run.children().values())
    assert len(children) == 4
    run.stop(signal.SIGKILL)
    wait_until(lambda: not any(child.is_running() and child.status() != "zombie" for child in children))
    queue = broker.LocalBroker(home)
    with queue.lock():
        server = queue.start()
        server.terminate()
        server.wait(PATIENCE_S)


def test_a_second_run_in_the_same_home_is_refused(standing: Run) -> None:
    """In a sentence: two servers must not write one append-only file."""
    assert_one_sentence(as_process(standing.home, "run", port=1), "Another ")
    assert standing.does("diagnostic")["state"] == "succeeded"


def test_jobs_from_the_command_line(standing: Run) -> None:
    """submit, watch, list, result and cancel find the queue of the home by themselves."""

    def jobs(*words: str, how: Callable[..., Done] = signalml, status: int = 0) -> str:
        done = how(standing.home, "jobs", *words)
        assert done.returncode == status, done.stderr
        return done.stdout.strip() or done.stderr.strip()

    job = jobs("submit", "diagnostic", "--set", "seconds=0.5", how=as_process)
    assert json.loads(jobs("watch", job)) == {"through": "scoring", "seconds": 0.5}
    assert job in jobs("list", "--state", "succeeded")
    assert "0.5" in jobs("result", job)
    long = jobs("submit", "diagnostic", "--set", "seconds=60")
    assert jobs("cancel", long) in ("cancelling", "cancelled")
    assert "job_not_found" not in jobs("watch", long, status=1)
    assert "seconds" in jobs("submit", "diagnostic", "--set", "seconds=x", status=1)


def diagnosis(home: Path, **settings: object) -> tuple[int, dict[str, dict[str, str]]]:
    """Findings of the doctor, by what it looked at."""
    done = signalml(home, "doctor", "--json", **settings)
    return done.returncode, {finding["what"]: finding for finding in json.loads(done.stdout)}


def test_a_first_source_starts_a_listener(standing: Run) -> None:
    """Before, none needs memory. The doctor reports both, and what is wrong with a source."""
    home = standing.home

    def listens() -> bool:
        try:
            return [source.name for source in ListenerClient(home).status().sources] == ["hall"]
        except ListenerNotRunning:
            return False

    assert "listener" not in diagnosis(home)[1]
    words = ("sources", "add", "hall", "--pipe", home / "nosuch", "--machine", "fan-3")
    assert signalml(home, *words).returncode == 0
    wait_until(listens)
    status, found = diagnosis(home)
    assert (status, found["listener"]["grade"], found["clips"]["grade"]) == (1, "ok", "ok")
    assert found["source hall"]["grade"] == "wrong"
    assert "named pipe cannot be read" in found["source hall"]["says"]
    assert signalml(home, "sources", "change", "hall", "--disable").returncode == 0
    wait_until(lambda: diagnosis(home)[0] == 0)


def test_doctor_names_sources_and_sinks_that_nothing_serves(home: Path) -> None:
    """A listener that does not run, a source without its model, and an entry that cannot be used."""
    for words in (
        ("sources", "add", "hall", "--device", "default", "--machine", "fan-3", "--model", "nosuch"),
        ("sinks", "add", "mqtt://broker"),
    ):
        assert signalml(home, *words).returncode == 0
    with (home / "listener" / "sinks.toml").open("a") as file:
        file.write('[[sink]]\nname = "bad"\nkind = "mqtt"\nurl = "ftp://user:word@broker"\n')
    status, found = diagnosis(home)
    assert status == 1
    assert found["listener"]["says"] == "There are 1 sources and 1 sinks, and the listener does not run."
    assert "nosuch" in found["source hall"]["says"]
    assert "'bad' is not used" in found["listening"]["says"]
    assert "word" not in str(found)


def test_doctor_names_what_is_wrong(home: Path, tmp_path: Path) -> None:
    """No queue, one out of reach, a wrong policy, no append-only file, no worker, a damaged champion: each by name."""
    status, found = diagnosis(home)
    assert (status, found["queue"]["grade"]) == (0, "warning")
    status, found = diagnosis(home, redis_url="redis://127.0.0.1:1/0")
    assert (status, found["queue"]["grade"]) == (1, "wrong")
    assert "cannot be reached" in found["queue"]["says"]
    redis = Broker(tmp_path / "broker").start()
    try:
        status, found = diagnosis(home, redis_url=redis.url)
        assert found["workers of scoring"]["grade"] == "warning"
        assert found["workers of scoring"]["do"] == "signalml worker --queues scoring"
        with redis.client() as client:
            client.config_set("maxmemory-policy", "allkeys-lru")
            client.config_set("appendonly", "no")
        status, found = diagnosis(home, redis_url=redis.url)
        assert status == 1
        assert "allkeys-lru" in found["eviction"]["says"]
        assert found["durability"]["grade"] == "wrong"
    finally:
        redis.kill()
    (version,) = [path for path in (home / "models").glob("original-*") if path.is_dir()]
    (version / "network.tflite").write_bytes(b"not a network")
    status, found = diagnosis(home)
    assert status == 1
    assert found[f"model {version.name}"]["grade"] == "wrong"
    shutil.rmtree(home / "models")
    status, found = diagnosis(home)
    assert "There is no champion" in found["models"]["says"]
