"""Machines over time, over HTTP: what uploads leave behind, and who can read it."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.api_keys import ApiKeyStore
from ml.machines.ledger import Ledger
from ml.machines.observation import Observation
from ml.models.registry import Registry
from ml.system.clock import timestamp
from testing.servers import Serve, ServerProcess, assert_problem, wait_until
from tests.commands import signalml
from tests.integration.machines import (
    SEEN,
    count_verdicts,
    health,
    judged_of,
    metric,
    new_recording,
    upload,
    wait_for_verdicts,
)
from tests.integration.uploads import WAV_TYPE
from tests.unit import detectors


def test_an_alarm_from_its_first_recording_to_the_next_alarm(
    serve: Serve, home: Path, healthy: bytes, faulty: bytes
) -> None:
    """Two processes: raised by three faults, acknowledged, kept through a restart, cleared, and raised anew."""
    server = serve(home, processes=2, inference_threads=1)
    assert server.client.get("/v1/machines").json()["machines"] == []
    count = upload(server, faulty, 2, before=upload(server, healthy, 2, before=0))
    assert health(server)["state"] == "normal"
    answer = judged_of(server, faulty)
    wait_for_verdicts(server, count + 1)
    found = health(server)
    alarm = found["alarm"]
    assert (found["state"], found["anomalous"], found["of"]) == ("alarm", 3, 5)
    assert found["rule"] == {"raise_at": 3, "of": 5, "clear_at": 1}
    assert (alarm["anomalous"], alarm["of"], alarm["version"]) == (3, 5, answer["model"]["version"])
    assert (alarm["acknowledged"], alarm["cleared_at"]) == (None, None)
    latest = found["latest"][0]
    assert {name: latest[name] for name in ("verdict", "label", "score", "threshold")} == {
        name: answer[name] for name in ("verdict", "label", "score", "threshold")
    }
    assert metric(server, 'signalml_machine_notable{machine_id="fan-3",state="alarm"}') == 1
    assert metric(server, 'signalml_machines{state="alarm"}') == 1

    another = server.client.post("/v1/machines/fan-3/acknowledge", json=SEEN | {"alarm_id": alarm["id"] + 1})
    assert_problem(another, 409, "machine_nothing_to_acknowledge")
    seen = server.client.post("/v1/machines/fan-3/acknowledge", json=SEEN | {"alarm_id": alarm["id"]})
    assert seen.status_code == 200
    acknowledgement = seen.json()["acknowledged"]
    assert (acknowledgement["by"], acknowledgement["note"], acknowledgement["key"]) == ("Ana", "Bearing ordered", None)
    assert_problem(
        server.client.post("/v1/machines/fan-3/acknowledge", json=SEEN), 409, "machine_nothing_to_acknowledge"
    )
    server.stop()

    again = serve(home, processes=2, inference_threads=1)
    (listed,) = again.client.get("/v1/machines").json()["machines"]
    assert (listed["machine_id"], listed["state"], listed["alarm"]) == ("fan-3", "acknowledged", seen.json())
    assert metric(again, 'signalml_machines{state="alarm"}') == 0
    count = upload(again, healthy, 4, before=count + 1)
    assert health(again)["state"] == "normal"
    upload(again, faulty, 3, before=count)
    found = health(again, latest=3)
    assert found["state"] == "alarm"
    new, old = found["alarms"]
    assert new == found["alarm"]
    assert new["id"] > old["id"] == alarm["id"]
    assert new["acknowledged"] is None
    assert old["acknowledged"] == acknowledgement
    assert old["cleared_at"] is not None
    assert [each["verdict"] for each in found["latest"]] == ["anomalous"] * 3


@pytest.fixture(scope="module")
def remembering(original_home: Path, serve_for_all: Serve, tmp_path_factory: pytest.TempPathFactory) -> ServerProcess:
    """A server with two processes that several tests leave machines with."""
    home = Path(shutil.copytree(original_home, tmp_path_factory.mktemp("machines") / "home"))
    return serve_for_all(home, processes=2, inference_threads=1)


def test_recordings_of_no_machine_leave_nothing_behind(serve: Serve, home: Path, healthy: bytes) -> None:
    """Without a machine_id there is no file, and no machine."""
    server = serve(home)
    for path in ("/inference", "/v1/predict", "/v1/predict/batch"):
        assert server.client.post(path, files={"file": ("a.wav", healthy)}).status_code == 200
    server.stop()
    assert not (home / "machines").exists()


def test_scores_over_time_are_points_of_hours(remembering: ServerProcess, healthy: bytes, faulty: bytes) -> None:
    """With the counts of all recordings; of a machine without a record, and a time that is none, there are none."""
    judged_of(remembering, healthy, "over-time")
    score = judged_of(remembering, faulty, "over-time")["score"]
    wait_for_verdicts(remembering, 2, "over-time")
    answer = remembering.client.get("/v1/machines/over-time/scores", params={"points": 1})
    (point,) = answer.json()["points"]
    assert (point["judged"], point["anomalous"], point["unusable"], point["highest"]) == (2, 1, 0, score)
    assert point["begins"] < timestamp() < point["ends"]
    path, before = "/v1/machines/over-time/scores", {"until": "2020-01-01"}
    assert remembering.client.get(path, params=before).json() == {"machine_id": "over-time", "points": []}
    assert_problem(remembering.client.get("/v1/machines/nobody/scores"), 404, "machine_not_found")
    for wrong in ({"since": "yesterday"}, {"points": 0}):
        assert_problem(remembering.client.get(path, params=wrong), 422, "request_invalid")


def test_every_way_to_upload_counts(remembering: ServerProcess, healthy: bytes, faulty: bytes) -> None:
    """One for /inference, one for /v1/predict, and one for each file of a batch that is judged, in their order."""
    server, way = remembering, {"machine_id": "every-way"}
    server.client.post("/inference", files={"file": ("a.wav", healthy)}, params=way).raise_for_status()
    wait_for_verdicts(server, 1, "every-way")
    judged_of(server, healthy, "every-way")
    wait_for_verdicts(server, 2, "every-way")
    sounds_of = (("a", faulty), ("b", b"no sound"), ("c", healthy), ("d", faulty))
    parts = [("file", (name, new_recording(wav) if name != "b" else wav)) for name, wav in sounds_of]
    answer = server.client.post("/v1/predict/batch", files=parts, params=way)
    assert [item["error"] is None for item in answer.json()["results"]] == [True, False, True, True]
    wait_for_verdicts(server, 5, "every-way")
    verdicts = [each["verdict"] for each in health(server, "every-way")["latest"]]
    assert verdicts[::-1] == ["normal", "normal", "anomalous", "normal", "anomalous"]


def test_the_answer_is_the_same_with_and_without_a_machine(remembering: ServerProcess, healthy: bytes) -> None:
    """A classifier knows no machines. The place in the record is added."""
    plain = remembering.client.post("/v1/predict", content=healthy, headers=WAV_TYPE).json()
    found = judged_of(remembering, healthy, "unheard-of")
    assert (plain["machine"], found["machine"]["machine_id"]) == (None, "unheard-of")
    assert found | {"machine": None} == plain


@pytest.mark.parametrize("path", ["/inference", "/v1/predict", "/v1/predict/batch"])
def test_a_form_may_name_the_machine(remembering: ServerProcess, healthy: bytes, path: str) -> None:
    """As a part beside the file, or also in the address if that is the same; an empty part is none."""
    machine_id = f"form{path.replace('/', '-')}"

    def sent(form_id: str, **asked: str) -> httpx.Response:
        form = {"machine_id": form_id}
        files = {"file": ("a.wav", new_recording(healthy))}
        return remembering.client.post(path, files=files, data=form, params=asked)

    for answer in (sent(machine_id), sent(machine_id, machine_id=machine_id), sent("", machine_id=machine_id)):
        answer.raise_for_status()
    wait_for_verdicts(remembering, 3, machine_id)
    for refused in (sent("a b"), sent("a" * 65), sent("a\n"), sent("another", machine_id=machine_id)):
        assert "machine_id" in assert_problem(refused, 422, "request_invalid")["detail"]
    wait_for_verdicts(remembering, 3, machine_id)


@pytest.mark.parametrize("sent", ["fan/id_00", "fan%2Fid_00"])
def test_a_machine_may_be_called_by_its_kind_and_its_id(remembering: ServerProcess, healthy: bytes, sent: str) -> None:
    """As detectors call it, with a slash that a client may or may not escape."""
    judged_of(remembering, healthy, "fan/id_00")
    wait_until(lambda: count_verdicts(remembering, sent) > 0)
    assert health(remembering, sent)["machine_id"] == "fan/id_00"


@pytest.mark.parametrize("name", ["", "a b", "-a", "a/b/c", "a/", "/a", "..", "a/../b", "é", "a" * 65, "a\n"])
def test_what_is_no_name_of_a_machine_is_refused(remembering: ServerProcess, healthy: bytes, name: str) -> None:
    """Before anything is judged; a machine of that name is remembered by nobody."""
    for path in ("/inference", "/v1/predict", "/v1/predict/batch"):
        answer = remembering.client.post(path, files={"file": ("a.wav", healthy)}, params={"machine_id": name})
        assert "machine_id" in assert_problem(answer, 422, "request_invalid")["detail"]
    assert name not in {machine["machine_id"] for machine in remembering.client.get("/v1/machines").json()["machines"]}


def test_an_unknown_machine_is_refused(remembering: ServerProcess) -> None:
    """404 with its code, to whoever reads and whoever acknowledges."""
    assert_problem(remembering.client.get("/v1/machines/nobody/health"), 404, "machine_not_found")
    assert_problem(remembering.client.post("/v1/machines/nobody/acknowledge", json=SEEN), 404, "machine_not_found")


@pytest.mark.parametrize(
    "body", [{}, {"by": ""}, {"by": "Ana", "note": "x" * 501}, {"by": "A\nB"}, {"by": "A", "x": 1}]
)
def test_an_acknowledgement_has_a_name(remembering: ServerProcess, body: dict[str, Any]) -> None:
    """And has no more to it than it may have."""
    assert_problem(remembering.client.post("/v1/machines/fan-3/acknowledge", json=body), 422, "request_invalid")


def test_uploads_at_once_are_each_counted_once(remembering: ServerProcess, healthy: bytes, faulty: bytes) -> None:
    """Two processes and eight clients: as many verdicts as answers, and each machine its own."""
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: judged_of(remembering, (healthy, faulty)[i % 2], f"crowd-{i % 2}"), range(120)))
    for machine_id, state in (("crowd-0", "normal"), ("crowd-1", "alarm")):
        wait_for_verdicts(remembering, 60, machine_id)
        assert health(remembering, machine_id)["state"] == state


def test_a_version_that_was_promoted_later_has_a_record_of_its_own(
    serve: Serve, two_models: tuple[Path, str, str], tmp_path: Path, healthy: bytes
) -> None:
    """The one with the latest recording comes first."""
    home, first, second = two_models
    server = serve(Path(shutil.copytree(home, tmp_path / "home")))
    upload(server, healthy, 2, before=0)
    server.client.put("/v1/models/aliases/champion", json={"version": second}).raise_for_status()
    upload(server, healthy, 1, before=2)
    found = health(server)
    assert [(each["version"], each["observations"]) for each in found["versions"]] == [(second, 1), (first, 2)]
    assert found["version"] == second


def test_a_machine_of_two_names_has_one_record(serve: Serve, home: Path, faulty: bytes, wav: bytes) -> None:
    """Once a detector knows both, whichever is sent; earlier recordings stay with it, alarm and all."""
    server, whole = serve(home), "fan/id_00"
    classifier = judged_of(server, wav, "id_00")["model"]["version"]
    upload(server, faulty, 3, before=1, machine_id="id_00")
    detector = detectors.add(Registry(home))
    server.client.put("/v1/models/aliases/champion", json={"version": detector}).raise_for_status()
    before = health(server, "id_00")
    assert (before["machine_id"], before["state"]) == ("id_00", "alarm")

    upload(server, wav, 1, before=4, machine_id="id_00")
    upload(server, wav, 1, before=5, machine_id=whole)
    found = health(server, whole)
    assert found == health(server, "id_00")
    assert found["machine_id"] == whole
    assert (found["alarm"], found["versions"][1]["version"]) == (before["alarm"], classifier)
    assert [each["machine_id"] for each in server.client.get("/v1/machines").json()["machines"]] == [whole]
    assert server.client.post("/v1/machines/id_00/acknowledge", json=SEEN).json()["acknowledged"]["by"] == "Ana"
    assert health(server, whole)["state"] == "acknowledged"

    server.client.put("/v1/models/aliases/champion", json={"version": classifier}).raise_for_status()
    upload(server, faulty, 3, before=0, machine_id="id_00")
    assert count_verdicts(server, whole) == 6
    server.client.put("/v1/models/aliases/champion", json={"version": detector}).raise_for_status()
    for machine in server.client.get("/v1/machines").json()["machines"]:
        assert health(server, machine["machine_id"])["alarm"] == machine["alarm"]
    assert server.client.post("/v1/machines/id_00/acknowledge", json=SEEN).json()["acknowledged"]["by"] == "Ana"
    upload(server, wav, 1, before=9, machine_id=whole)
    assert health(server, "id_00") == health(server, whole)


def test_the_time_between_false_alarms_is_that_of_the_model_that_answers(serve: Serve, home: Path) -> None:
    """At the rhythm of the machine; without a detector, or without a rhythm, null with the reason."""
    with Ledger(home, create=True) as ledger:
        ledger.record(
            Observation("fan-3", f"2026-11-28T{hour:02}:00:00.000+00:00", "fan-1", 1, 0.2, 0.5, "normal", "normal")
            for hour in range(8)
        )
        ledger.record([Observation("fan-4", timestamp(), "fan-1", 1, 0.2, 0.5, "normal", "normal")])
    server = serve(home)
    found = health(server)
    assert found["false_alarms"] is None
    assert "has no scores of normal recordings" in found["false_alarms_unknown"]

    detector = detectors.add(Registry(home))
    server.client.put("/v1/models/aliases/champion", json={"version": detector}).raise_for_status()
    server.client.patch("/v1/models/champion/threshold", json={"threshold": 0.9}).raise_for_status()
    found = health(server)
    expected = found["false_alarms"]
    assert found["false_alarms_unknown"] is None
    assert (expected["version"], expected["every_s"], expected["counted"]) == (detector, 3600, 0)
    assert (expected["n"], expected["n_sessions"], expected["rate_holds_for"]) == (199, 5, "same_session")
    time = expected["time_between_s"]
    assert (time["value"], time["high"]) == (pytest.approx(200 * 3600), None)
    assert 0 < time["low"] < time["value"]
    assert expected["basis"].startswith("With a recording every 60 minutes, alarms (3 of 5) come falsely at most once")
    assert "needs 6 recordings" in health(server, "fan-4")["false_alarms_unknown"]


def test_the_rule_is_set_by_the_environment(serve: Serve, home: Path, faulty: bytes) -> None:
    """One of one raises."""
    server = serve(home, alarm_raise=1, alarm_of=1, alarm_clear=0)
    upload(server, faulty, 1, before=0)
    assert health(server)["state"] == "alarm"
    assert health(server)["rule"] == {"raise_at": 1, "of": 1, "clear_at": 0}


def test_a_rule_that_contradicts_itself_stops_the_start(home: Path) -> None:
    """With a sentence that names the setting and what was expected."""
    done = signalml(home, "serve", alarm_raise=3, alarm_of=2)
    assert done.returncode == 1
    assert done.stderr.startswith("error: SIGNALML_ALARM_CLEAR=1: ")
    assert "raised by 3 of 2" in done.stderr
    assert "Traceback" not in done.stderr


def test_each_scope_does_its_part_of_an_alarm(serve: Serve, home: Path, faulty: bytes) -> None:
    """And the acknowledgement has the name of the key, whatever its holder sends."""
    keys = ApiKeyStore(home)
    made = (("line", "predict"), ("screen", "read"), ("control-room", "label", "read"))
    line, screen, room = ({"x-api-key": keys.create(*key)} for key in made)
    server = serve(home, require_api_key=True)
    url = "/v1/machines/fan-3"
    assert_problem(server.client.get("/v1/machines"), 401, "api_key_missing")
    assert_problem(server.client.get(f"{url}/health"), 401, "api_key_missing")
    for _ in range(3):
        params = {"machine_id": "fan-3"}
        content = new_recording(faulty)
        server.client.post("/v1/predict", content=content, headers=WAV_TYPE | line, params=params).raise_for_status()

    def state() -> str:
        return str(server.client.get(f"{url}/health", headers=screen).json().get("state"))

    wait_until(lambda: state() == "alarm")
    assert_problem(server.client.get("/v1/machines", headers=line), 403, "api_key_scope_missing")
    for other in (line, screen):
        assert_problem(server.client.post(f"{url}/acknowledge", json=SEEN, headers=other), 403, "api_key_scope_missing")
    seen = server.client.post(f"{url}/acknowledge", json=SEEN, headers=room)
    assert (seen.json()["acknowledged"]["by"], seen.json()["acknowledged"]["key"]) == ("Ana", "control-room")
    assert state() == "acknowledged"
