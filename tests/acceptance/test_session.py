"""What a user is promised, from an empty home to the first answer.

First with the original's own network and recordings; then with nothing at all, as ``make run`` does for a newcomer.
"""

import csv
import http.client
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest

from ml.dataset.simulate.plan import FAULTS, SimulationPlan
from ml.dataset.simulate.simulator import simulate
from ml.models.demonstration import DEMONSTRATION_NOTE
from ml.models.registry import Registry
from testing.servers import PATIENCE_S, ROOT, ServerProcess, multipart
from tests.commands import Done, as_process, signalml, succeeds, worked_s

RECORDINGS = ("normal.wav", "pb1.wav", "pb2.wav", "pb3.wav")
# CPU time of the demonstration model, of which 35 s were measured, and of finding out that there is one already.
DEMO_WITHIN_S, NOTHING_WITHIN_S = 150, 5
MESSAGES = {
    "": "Component OK",
    "imbalance": "Component is imbalanced",
    "clogging": "Component is clogged",
    "voltage_change": "Voltage change",
}


@pytest.fixture(scope="module")
def imported(seed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home that `signalml models import weightsMulti.hdf5 --promote` has made out of nothing."""
    home = tmp_path_factory.mktemp("session") / "home"
    done = as_process(home, "models", "import", seed / "weightsMulti.hdf5", "--promote")
    assert done.returncode == 0, done.stderr
    return home


@pytest.fixture(scope="module")
def service(imported: Path) -> Iterator[ServerProcess]:
    """`signalml serve` on that home."""
    server = ServerProcess(imported, imported.parent / "run").start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def expected(seed: Path) -> dict[str, Any]:
    """The right answers."""
    found: dict[str, Any] = json.loads((seed / "expected.json").read_text())["answers"]
    return found


AUDIT_FILES = ("audit.jsonl", ".audit.lock")


def posted(server: ServerProcess, name: str, content: bytes) -> bytes:
    """The body of the answer to what ``curl -F "file=@name" /inference`` sends."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE_S)
    kind = {"Content-Type": "multipart/form-data; boundary=BoUnDaRy", "Accept": "*/*"}
    connection.request("POST", "/inference", multipart(("file", name, content)), kind)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    assert (answer.status, answer.getheader("content-type")) == (200, "application/json")
    return body


@pytest.mark.parametrize("name", RECORDINGS)
def test_the_issues_session(service: ServerProcess, seed: Path, expected: dict[str, Any], name: str) -> None:
    """Import, serve, post a recording: the original's keys in the original's order, its message, its probabilities."""
    answer = json.loads(posted(service, name, (seed / name).read_bytes()))
    right = expected[name]
    assert list(answer) == ["Anomaly", "Details"]
    assert list(answer["Details"]) == ["Message", "Probabilities"]
    assert answer["Anomaly"] is right["Anomaly"]
    assert answer["Details"]["Message"] == right["Details"]["Message"]
    assert answer["Details"]["Probabilities"] == pytest.approx(right["Details"]["Probabilities"], abs=0.02)


def test_the_originals_answer_in_the_readme_is_the_answer(service: ServerProcess, seed: Path) -> None:
    """pb1.wav with the original's network: an anomaly, imbalanced, with 0.069 and 0.931."""
    answer = json.loads(posted(service, "pb1.wav", (seed / "pb1.wav").read_bytes()))
    rounded = [round(p, 3) for p in answer["Details"]["Probabilities"]]
    assert answer["Anomaly"] is True
    assert answer["Details"]["Message"] == "Component is imbalanced"
    assert rounded == [0.069, 0.931, 0.0, 0.0]


def test_the_service_is_up_in_the_originals_words(service: ServerProcess) -> None:
    """GET / answers `server is up`."""
    assert service.client.get("/").content == b"server is up"


def test_the_serving_process_holds_neither_keras_nor_tensorflow(service: ServerProcess, seed: Path) -> None:
    """After real work, no library of TensorFlow, Keras or h5py is mapped into the process, and it stays small."""
    posted(service, "pb1.wav", (seed / "pb1.wav").read_bytes())
    process = psutil.Process(service.pid)
    mapped = {part for region in process.memory_maps() for part in Path(region.path).parts}
    assert "ai_edge_litert" in mapped
    assert not mapped & {"tensorflow", "keras", "h5py", "librosa", "numba"}
    assert process.memory_info().rss < 200e6


def test_an_answer_to_ten_seconds_of_sound_is_the_work_of_milliseconds(service: ServerProcess, seed: Path) -> None:
    """Answers to a 10 s, 8-channel recording take 100 ms of CPU time at the most, network and all."""
    wav = (seed / "normal.wav").read_bytes()
    posted(service, "normal.wav", wav)
    before = service.worked_s()
    for _ in range(10):
        posted(service, "normal.wav", wav)
    assert (service.worked_s() - before) / 10 < 0.1


class Timed(NamedTuple):
    """A command that succeeded, and the CPU time that it took."""

    done: Done
    cpu_s: float


def timed(home: Path, *arguments: str) -> Timed:
    """One command as a process to its end."""
    before = worked_s()
    done = as_process(home, *arguments)
    assert done.returncode == 0, done.stderr
    return Timed(done, worked_s() - before)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Timed]:
    """A home that `signalml demo` has made out of nothing, and the command."""
    home = tmp_path_factory.mktemp("newcomer") / "home"
    return home, timed(home, "demo")


@pytest.fixture(scope="module")
def newcomer(demo: tuple[Path, Timed]) -> Path:
    """That home."""
    return demo[0]


@pytest.fixture(scope="module")
def demonstration(newcomer: Path) -> Iterator[ServerProcess]:
    """`signalml serve` on that home."""
    server = ServerProcess(newcomer, newcomer.parent / "run").start()
    yield server
    server.stop()


def test_demo_makes_a_champion_in_time(demo: tuple[Path, Timed]) -> None:
    """In an empty home it is there after a minute or two of work; its version is the last line."""
    home, (done, cpu_s) = demo
    assert cpu_s < DEMO_WITHIN_S
    assert Registry(home).aliases() == {"champion": done.stdout.splitlines()[-1]}


def test_a_newcomers_first_curl_is_answered(demonstration: ServerProcess, tmp_path: Path) -> None:
    """`signalml demo`, serve, post: a healthy fan of the demonstration is OK, and each fault is called by its name."""
    fans = simulate(tmp_path / "fans", plan=SimulationPlan.demo())
    rows = list(csv.DictReader((fans / "manifest.csv").read_text().splitlines()))
    assert {row["fault"] for row in rows} == {"", *FAULTS}
    for fault, message in MESSAGES.items():
        name = next(row["path"] for row in rows if row["fault"] == fault)
        answer = json.loads(posted(demonstration, "fan.wav", (fans / name).read_bytes()))
        assert (answer["Anomaly"], answer["Details"]["Message"]) == (fault != "", message)


def test_the_readmes_first_curl_gets_the_answer_that_is_printed(demonstration: ServerProcess, newcomer: Path) -> None:
    """The simulate command of the README makes the recording; the demonstration model gives the printed answer."""
    readme = (ROOT / "README.md").read_text()
    simulated = re.findall(r"^ +\.venv/bin/signalml (simulate data/small .*)$", readme, re.M)
    uploads = re.findall(r"^ +curl -F file=@(\S+) http://localhost:5000/inference\n +(\{.*\})$", readme, re.M)
    assert (len(simulated), len(uploads)) == (1, 1)
    signalml(newcomer, *shlex.split(simulated[0]))
    file, printed = newcomer.parent / uploads[0][0], json.loads(uploads[0][1])
    answer = json.loads(posted(demonstration, file.name, file.read_bytes()))
    assert (answer["Anomaly"], answer["Details"]["Message"]) == (printed["Anomaly"], printed["Details"]["Message"])
    assert answer["Details"]["Probabilities"] == pytest.approx(printed["Details"]["Probabilities"], abs=0.05)
    normal = file.parents[1] / "normal" / file.name
    assert json.loads(posted(demonstration, normal.name, normal.read_bytes()))["Details"]["Message"] == "Component OK"


def test_the_demonstration_model_is_called_a_demonstration(demonstration: ServerProcess, newcomer: Path) -> None:
    """Its name, its card and its report say that it was trained on simulated fans."""
    shown = demonstration.client.get("/v1/models/champion").json()
    assert shown["version"].startswith("demo-fans-")
    assert "simulated fans" in " ".join(shown["card"]["source"]["notes"])
    assert shown["decision"]["false_alarm_rate"] is None
    assert demonstration.client.get("/readyz").json()["model"]["note"] == DEMONSTRATION_NOTE
    report = demonstration.client.get("/v1/models/champion/report")
    assert report.status_code == 200
    assert "trained on simulated fans" in report.text
    assert "<script" not in report.text
    file = newcomer / "training" / shown["version"] / "report.html"
    assert succeeds(newcomer, "models", "report") == str(file)


def test_a_home_with_a_champion_is_left_alone(newcomer: Path) -> None:
    """A second `signalml demo` does and prints nothing; after the first, a model, features and records are left."""
    before = sorted(newcomer.rglob("*"))
    again, cpu_s = timed(newcomer, "demo")
    assert (again.stdout, again.stderr) == ("", "")
    assert cpu_s < NOTHING_WITHIN_S
    assert sorted(newcomer.rglob("*")) == before
    assert {path.name for path in newcomer.iterdir()} == {"models", "features", "training", *AUDIT_FILES}
    assert [path.name for path in (newcomer / "training").iterdir() if path.name.startswith(".work")] == []
