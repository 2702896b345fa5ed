"""What a user is promised, from an empty home to the first answer: with the original's own network and recordings."""

import http.client
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.integration.servers import Server, environment, multipart

RECORDINGS = ("normal.wav", "pb1.wav", "pb2.wav", "pb3.wav")


@pytest.fixture(scope="module")
def imported(seed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home that `signalml models import weightsMulti.hdf5 --promote` has made out of nothing."""
    home = tmp_path_factory.mktemp("session") / "home"
    command = [sys.executable, "-m", "cli.main", "models", "import", str(seed / "weightsMulti.hdf5"), "--promote"]
    subprocess.run(command, env=environment(home=home), cwd=home.parent, check=True, capture_output=True, timeout=120)
    return home


@pytest.fixture(scope="module")
def service(imported: Path) -> Iterator[Server]:
    """`signalml serve` on that home."""
    server = Server(imported, imported.parent / "run").start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def expected(seed: Path) -> dict[str, Any]:
    """The right answers."""
    found: dict[str, Any] = json.loads((seed / "expected.json").read_text())["answers"]
    return found


def posted(server: Server, name: str, content: bytes) -> bytes:
    """The body of the answer to what ``curl -F "file=@name" /inference`` sends."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    kind = {"Content-Type": "multipart/form-data; boundary=BoUnDaRy", "Accept": "*/*"}
    connection.request("POST", "/inference", multipart(("file", name, content)), kind)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    assert (answer.status, answer.getheader("content-type")) == (200, "application/json")
    return body


@pytest.mark.parametrize("name", RECORDINGS)
def test_the_issues_session(service: Server, seed: Path, expected: dict[str, Any], name: str) -> None:
    """Import, serve, post a recording: the original's keys in the original's order, its message, its probabilities."""
    answer = json.loads(posted(service, name, (seed / name).read_bytes()))
    right = expected[name]
    assert list(answer) == ["Anomaly", "Details"]
    assert list(answer["Details"]) == ["Message", "Probabilities"]
    assert answer["Anomaly"] is right["Anomaly"]
    assert answer["Details"]["Message"] == right["Details"]["Message"]
    assert answer["Details"]["Probabilities"] == pytest.approx(right["Details"]["Probabilities"], abs=0.02)


def test_the_answer_in_the_readme_is_the_answer(service: Server, seed: Path) -> None:
    """pb1.wav: an anomaly, imbalanced, with 0.069 and 0.931."""
    answer = json.loads(posted(service, "pb1.wav", (seed / "pb1.wav").read_bytes()))
    rounded = [round(p, 3) for p in answer["Details"]["Probabilities"]]
    assert answer["Anomaly"] is True
    assert answer["Details"]["Message"] == "Component is imbalanced"
    assert rounded == [0.069, 0.931, 0.0, 0.0]


def test_the_service_is_up_in_the_originals_words(service: Server) -> None:
    """GET / answers `server is up`."""
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)
    connection.request("GET", "/")
    assert connection.getresponse().read() == b"server is up"
    connection.close()


def test_the_serving_process_holds_neither_keras_nor_tensorflow(service: Server, seed: Path) -> None:
    """After real work, no library of TensorFlow, Keras or h5py is mapped into the process, and it stays small."""
    posted(service, "pb1.wav", (seed / "pb1.wav").read_bytes())
    process = psutil.Process(service.pid)
    mapped = {part for region in process.memory_maps() for part in Path(region.path).parts}
    assert "ai_edge_litert" in mapped
    assert not mapped & {"tensorflow", "keras", "h5py", "librosa", "numba"}
    assert process.memory_info().rss < 200e6


def test_an_answer_to_ten_seconds_of_sound_takes_milliseconds(service: Server, seed: Path) -> None:
    """The quickest of ten answers to a 10 s, 8-channel recording comes within 100 ms, network and all."""
    wav = (seed / "normal.wav").read_bytes()
    times = []
    for _ in range(10):
        start = time.perf_counter()
        posted(service, "normal.wav", wav)
        times.append(time.perf_counter() - start)
    assert min(times) < 0.1
