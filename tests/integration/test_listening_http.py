"""A listener beside the API: live values, the last sound, tests of sinks, metrics; and a device that reports to a
central service."""

import io
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import httpx
import pytest
import soundfile

from testing.servers import PATIENCE_S, Serve, ServerProcess, assert_problem, free_port, wait_until
from tests.integration.listeners import ListenerProcess, PipeWriter, Receiver, running
from tests.unit import listening
from tests.unit.listening import faulty, healthy

SOURCE = {"name": "hall", "kind": "pipe", "path": "fifo", "machine_id": "fan-3", "clip_s": 3.0}
SPEED = 6.0  # slow enough that no clip is skipped on a busy computer
SOON_S = 30.0
LONGEST_VALUE = 800  # bytes; most of it is the column of the spectrum


class Place(NamedTuple):
    """A service with its listener, and a writer of sound for its source."""

    server: ServerProcess
    listener: ListenerProcess
    writer: PipeWriter


@pytest.fixture(scope="module")
def place(serve_for_all: Serve, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A service and a listener of one home; its source was added over HTTP."""
    home = tmp_path_factory.mktemp("place") / "home"
    listening.make_home(home)
    writer = PipeWriter(home / "fifo", SPEED)
    server = serve_for_all(home)
    with running(home, device_name="press-room") as listener:
        answer = server.client.post("/v1/sources", json=SOURCE)
        assert answer.status_code == 201, answer.text
        writer.open()
        soon(lambda: server.client.get("/v1/sources/hall").json()["state"] == "no_data")
        writer.play(healthy(12.0))
        soon(lambda: server.client.get("/v1/sources/hall").json()["status"]["clips_judged"] == 4)
        yield Place(server, listener, writer)
        writer.close()


def soon(holds: Callable[[], Any]) -> Any:
    """Wait until something holds, and return it."""
    return wait_until(holds, within_s=SOON_S)


def values(place: Place, count: int) -> list[dict[str, Any]]:
    """Live values as a client gets them, each with its size in bytes."""
    found = []
    url = f"{place.server.base_url}/v1/sources/hall/live"
    with httpx.stream("GET", url, trust_env=False, timeout=PATIENCE_S) as answer:
        assert answer.status_code == 200
        for line in answer.iter_lines():
            if line.startswith("data: "):
                found.append(json.loads(line[6:]) | {"bytes": len(line)})
            if len(found) == count:
                break
    return found


def test_the_state_of_a_source_and_of_the_listener(place: Place) -> None:
    """In the list, by its name, in /readyz and in the metrics."""
    shown = place.server.client.get("/v1/sources").json()
    (source,) = shown["sources"]
    assert shown["listener"]["running"] is True
    assert (source["state"], source["status"]["verdict"]) in (("listening", "normal"), ("stalled", "normal"))
    ready = soon(lambda: place.server.client.get("/readyz").json()["listener"])
    assert ready["sources"] == 1

    def metrics() -> str:
        return place.server.client.get("/metrics").text

    soon(lambda: 'signalml_clips_judged_total{source="hall"} 4.0' in metrics())
    assert re.search(r'^signalml_source_state\{source="hall",state="(listening|stalled)"\} 1.0$', metrics(), re.M)
    assert "signalml_listener_up 1.0" in metrics()
    assert 'signalml_source_gap_seconds_total{source="hall"} ' in metrics()
    assert 'signalml_events{state="active"} 0.0' in metrics()


def test_live_values_come_ten_times_a_second_and_share_one_connection(place: Place) -> None:
    """A few hundred bytes each; clients that have gone leave nothing in the listener."""
    start = time.monotonic()
    shown = values(place, 20)
    assert 1.0 < time.monotonic() - start < 6.0
    assert {"at", "state", "level_dbfs", "score", "threshold", "mel"} <= shown[0].keys()
    assert len(shown[0]["mel"]) >= 32
    assert max(each["bytes"] for each in shown) < LONGEST_VALUE
    threads = [threading.Thread(target=values, args=(place, 15)) for _ in range(5)]
    for thread in threads:
        thread.start()
    soon(lambda: live_clients(place) == 1)
    for thread in threads:
        thread.join()
    soon(lambda: live_clients(place) == 0)


def live_clients(place: Place) -> int:
    """Connections at the socket of the listener, without the one that it listens with."""
    return len([each for each in place.listener.process.net_connections("unix") if "live.sock" in each.laddr]) - 1


def test_the_last_sound_is_flac_of_the_wanted_length(place: Place) -> None:
    """At most as long as was asked for."""
    place.writer.play(healthy(3.0), 1.0)
    answer = place.server.client.get("/v1/sources/hall/sound", params={"seconds": 2})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "audio/flac")
    assert soundfile.info(io.BytesIO(answer.content)).duration == pytest.approx(2.0, abs=0.3)


def test_a_sink_is_tested_and_the_reason_of_a_failure_is_the_answer(place: Place) -> None:
    """The listener sends the alert; the answer waits for it."""
    http, receiver = place.server.client, Receiver()
    hook = {"name": "hook", "kind": "webhook", "url": receiver.url, "allow_private": True}
    http.post("/v1/sinks", json=hook).raise_for_status()
    soon(lambda: http.get("/v1/sinks/hook").json()["state"] == "delivering")
    soon(lambda: http.post("/v1/sinks/hook/test").status_code == 204)
    assert receiver.got[-1]["type"] == "test"
    receiver.close()
    closed = {"url": f"http://127.0.0.1:{free_port()}/"}
    http.patch("/v1/sinks/hook", json=closed).raise_for_status()
    private = {"allow_private": False}
    assert_problem(wait_for_502(http), 502, "delivery_failed")
    http.patch("/v1/sinks/hook", json=private).raise_for_status()
    assert_problem(wait_for_502(http), 502, "delivery_failed")
    assert http.delete("/v1/sinks/hook").status_code == 204


def wait_for_502(http: httpx.Client) -> httpx.Response:
    """The answer to a test once the listener has taken the changed sink up."""
    time.sleep(0.5)
    return http.post("/v1/sinks/hook/test")


def test_an_event_arrives_at_a_central_service_with_its_sound(place: Place, bare: ServerProcess) -> None:
    """Once, under the id of the device, and its end too; nothing of it is lost while the central service is away."""
    http = place.server.client
    central = {"name": "central", "kind": "service", "url": bare.base_url}
    http.post("/v1/sinks", json=central).raise_for_status()
    soon(lambda: http.post("/v1/sinks/central/test").status_code == 204)
    place.writer.play(faulty(18.0))
    (event,) = soon(lambda: http.get("/v1/events", params={"state": "active"}).json()["events"])
    place.writer.play(healthy(21.0))
    path = f"/v1/events/{event['id']}"
    soon(lambda: http.get(path).json()["state"] == "ended")
    soon(lambda: bare.client.get(path).status_code == 200)
    soon(lambda: bare.client.get(path).json()["state"] == "ended")
    own = soon(lambda: (found := http.get(path).json())["clip"] and found)
    far = soon(lambda: (found := bare.client.get(path).json())["clip"] == own["clip"] and found)
    assert (far["origin"], own["origin"]) == ("press-room", "")
    same = ("machine_id", "began", "ended", "score", "label", "reasons", "version", "quality", "clip")
    assert {name: far[name] for name in same} == {name: own[name] for name in same}
    assert bare.client.get(f"{path}/clip").content == http.get(f"{path}/clip").content
    assert bare.client.get(f"{path}/spectrogram").content[:4] == b"\x89PNG"
    assert len(bare.client.get("/v1/events").json()["events"]) == 1


def test_a_removed_source_ends_its_stream(place: Place) -> None:
    """The last value is `end`; then the source is unknown."""
    url = f"{place.server.base_url}/v1/sources/hall/live"
    with httpx.stream("GET", url, trust_env=False, timeout=PATIENCE_S) as answer:
        lines = answer.iter_lines()
        next(line for line in lines if line.startswith("data: "))
        assert place.server.client.delete("/v1/sources/hall").status_code == 204
        assert any(line == "event: end" for line in lines)
    assert_problem(place.server.client.get("/v1/sources/hall/live"), 404, "entry_not_found")
    soon(lambda: place.listener.status().sources == [])
