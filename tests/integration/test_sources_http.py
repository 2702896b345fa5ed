"""Sources over HTTP: the file of the listener, its folders and passwords, and what runs without a listener."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from api.api_keys import ApiKeyStore
from listener.config.files import source_file
from ml.system.audit import read_entries
from testing.servers import Serve, ServerProcess, assert_problem, wait_until

FOLDER = {"name": "hall", "kind": "folder", "path": "inbox", "machine_id": "fan-3"}
STREAM = {"name": "cam", "kind": "stream", "url": "rtsp://ana:word@camera-7/audio?token=1", "machine_id": "pump-1"}
HIDDEN_URL = "rtsp://***@camera-7/audio?***"


@pytest.fixture(scope="module")
def server(serve_for_all: Serve, tmp_path_factory: pytest.TempPathFactory) -> ServerProcess:
    """A server without a listener, which allows one more folder."""
    root = tmp_path_factory.mktemp("sources")
    (root / "nas").mkdir()
    return serve_for_all(root / "home", wait_for="/livez", listen_folders=str(root / "nas"))


@pytest.fixture
def empty(server: ServerProcess) -> Iterator[ServerProcess]:
    """The server, whose sources are removed after the test."""
    yield server
    (server.home / "listener" / "sources.toml").unlink(missing_ok=True)


def add(server: ServerProcess, values: object) -> Any:
    """Answer to a new source."""
    sent = values if isinstance(values, (str, bytes)) else json.dumps(values)
    return server.client.post("/v1/sources", content=sent, headers={"content-type": "application/json"})


def test_a_source_is_added_changed_and_removed(empty: ServerProcess) -> None:
    """The file is what the command line and the listener read; each change is in the audit log."""
    (empty.home / "inbox").mkdir(exist_ok=True)
    added = add(empty, FOLDER)
    assert (added.status_code, added.headers["location"]) == (201, "/v1/sources/hall"), added.text
    assert (added.json()["path"], added.json()["after"], added.json()["clip_s"]) == ("inbox", "leave", 10.0)
    stored = source_file(empty.home).get("hall")
    assert stored.path == str((empty.home / "inbox").resolve())
    assert_problem(add(empty, FOLDER), 409, "entry_exists")
    changed = empty.client.patch("/v1/sources/hall", json={"note": "On the bracket", "hop_s": 5})
    assert (changed.json()["note"], changed.json()["hop_s"], changed.json()["path"]) == ("On the bracket", 5.0, "inbox")
    assert empty.client.patch("/v1/sources/hall", json={"hop_s": None}).json()["hop_s"] is None
    scheduled = empty.client.patch("/v1/sources/hall", json={"schedule": {"min_level_dbfs": -50}}).json()
    assert scheduled["schedule"]["min_level_dbfs"] == -50
    listed = empty.client.get("/v1/sources").json()
    assert [each["name"] for each in listed["sources"]] == ["hall"]
    assert empty.client.get("/v1/sources/hall").json() == listed["sources"][0]
    assert empty.client.delete("/v1/sources/hall").status_code == 204
    assert_problem(empty.client.get("/v1/sources/hall"), 404, "entry_not_found")
    actions = [each["action"] for each in read_entries(empty.home) if each["object"] == "hall"]
    assert actions == ["source.add", *["source.change"] * 3, "source.remove"]


def test_without_a_listener_the_state_names_the_command_that_starts_one(empty: ServerProcess) -> None:
    """It is no error; live values need a listener. Readiness and metrics state it too."""
    add(empty, FOLDER)
    add(empty, FOLDER | {"name": "off", "enabled": False})
    shown = empty.client.get("/v1/sources").json()
    assert [each["state"] for each in shown["sources"]] == ["not_listening", "disabled"]
    assert "signalml listen" in shown["sources"][0]["cause"]
    assert (shown["listener"]["running"], shown["sources"][0]["status"]) == (False, None)
    for path in ("live", "sound"):
        assert_problem(empty.client.get(f"/v1/sources/hall/{path}"), 503, "listener_not_running")
        assert_problem(empty.client.get(f"/v1/sources/absent/{path}"), 404, "entry_not_found")
    ready = wait_until(lambda: empty.client.get("/readyz").json()["listener"])
    assert (ready["status"], ready["sources"], ready["listening"]) == ("not running", 1, 0)
    metrics = empty.client.get("/metrics").text
    assert "signalml_listener_up 0.0" in metrics
    assert "signalml_source_state" not in metrics


ADDABLE: dict[str, dict[str, Any]] = {
    "device": {"kind": "device"},
    "stream": {"kind": "stream", "url": "https://radio.example.org/hall.ogg"},
    "folder": {"kind": "folder", "path": "in/here", "after": "move", "move_to": "done"},
    "pipe": {"kind": "pipe", "path": "fifo", "channels": 2},
    "mqtt": {"kind": "mqtt", "url": "mqtts://ana:word@broker", "topic": "nodes/7/audio"},
}


@pytest.mark.parametrize("kind", ADDABLE)
def test_a_source_of_each_kind_can_be_added(empty: ServerProcess, kind: str) -> None:
    """What was sent is shown, without passwords."""
    sent = {"name": "one", "machine_id": "fan-3"} | ADDABLE[kind]
    answer = add(empty, sent)
    assert answer.status_code == 201, answer.text
    shown = answer.json()
    assert {name: shown[name] for name in sent if name != "url"} == {k: v for k, v in sent.items() if k != "url"}
    assert "word" not in answer.text


REFUSED: dict[str, Any] = {
    "no kind": {"name": "a", "machine_id": "b"},
    "another kind": FOLDER | {"kind": "telephone"},
    "no machine": {"name": "a", "kind": "device"},
    "a name that is a path": FOLDER | {"name": "../a"},
    "a name with a line": FOLDER | {"name": "a\n[[source]]"},
    "an unknown field": FOLDER | {"pth": "x"},
    "a file as a stream": STREAM | {"url": "file:///etc/passwd"},
    "concat as a stream": STREAM | {"url": "concat:/etc/passwd|/etc/shadow"},
    "options in a stream": STREAM | {"url": "-i /etc/passwd"},
    "a stream without a host": STREAM | {"url": "rtsp://"},
    "a stream with a line": STREAM | {"url": "rtsp://a/b\nc"},
    "a card by its number": {"name": "a", "kind": "device", "machine_id": "b", "device": "alsa:hw:1,0"},
    "a number as text": FOLDER | {"settle_s": "soon"},
    "half a character": FOLDER | {"note": "\ud800"},
    "a list of names": FOLDER | {"name": ["a"]},
    "a hidden password": STREAM | {"url": HIDDEN_URL},
    "deep": FOLDER | {"schedule": {"hours": [[["x"]]]}},
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_source_that_cannot_be_used_is_refused(empty: ServerProcess, kind: str) -> None:
    """With a sentence without passwords, and nothing is written."""
    answer = add(empty, REFUSED[kind])
    detail = assert_problem(answer, 422, "listener_config_invalid")["detail"]
    assert "word" not in detail.replace("password", "")
    assert not (empty.home / "listener" / "sources.toml").exists()


@pytest.mark.parametrize("body", ["[]", "null", "1", "{", '"x"', "", '{"name": "a", "name": "b"}', '{"hop_s": NaN}'])
def test_a_body_that_is_no_object_is_refused(server: ServerProcess, body: str) -> None:
    """For a new source, and for a change."""
    assert_problem(add(server, body), 422, "request_invalid")
    headers = {"content-type": "application/json"}
    changed = server.client.patch("/v1/sources/absent", content=body, headers=headers)
    assert_problem(changed, 422, "request_invalid")


@pytest.mark.parametrize(
    "path", ["/etc", "../outside", "/", ".", "inbox/../../outside", "link", "link/below", "-", "a\x00b", "", "x" * 5000]
)
@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_a_folder_outside_of_the_home_and_the_allowed_ones_is_refused(
    empty: ServerProcess, kind: str, path: str
) -> None:
    """Also behind a link. The message names what was sent, and the setting."""
    (empty.home / "link").unlink(missing_ok=True)
    (empty.home / "link").symlink_to("/etc")
    answer = add(empty, {"name": "a", "kind": kind, "machine_id": "b", "path": path})
    assert_problem(answer, 422, "listener_config_invalid")
    assert not (empty.home / "listener" / "sources.toml").exists()


def test_an_allowed_folder_may_be_used_and_deleted_from(empty: ServerProcess) -> None:
    """But recordings are never deleted or moved in the folders of the service, nor moved outside."""
    nas = empty.home.parent / "nas"
    inside = FOLDER | {"path": str(nas / "hall"), "after": "delete"}
    assert add(empty, inside).json()["path"] == str(nas / "hall")
    for values in (
        {"path": "datasets/fan", "after": "delete"},
        {"path": "inbox", "after": "move", "move_to": "models/x"},
        {"path": "inbox", "after": "move", "move_to": "/tmp/x"},
        {"path": str(nas), "after": "delete"},
    ):
        assert_problem(add(empty, FOLDER | {"name": "other"} | values), 422, "listener_config_invalid")
    assert_problem(empty.client.patch("/v1/sources/hall", json={"path": "/etc"}), 422, "listener_config_invalid")
    moved = {"path": "datasets/fan"}
    assert_problem(empty.client.patch("/v1/sources/hall", json=moved), 422, "listener_config_invalid")


def test_a_source_of_the_command_line_elsewhere_can_be_changed_but_not_made_to_delete(empty: ServerProcess) -> None:
    """What is sent back unchanged stays."""
    elsewhere = FOLDER | {"path": str(empty.home.parent / "elsewhere")}
    source_file(empty.home).add(elsewhere)
    shown = empty.client.get("/v1/sources/hall").json()
    sent = {name: value for name, value in shown.items() if name not in ("state", "cause", "status")}
    assert empty.client.patch("/v1/sources/hall", json=sent | {"enabled": False}).json()["enabled"] is False
    assert_problem(empty.client.patch("/v1/sources/hall", json={"after": "delete"}), 422, "listener_config_invalid")


def test_passwords_are_never_shown_and_stay_when_they_are_sent_back(empty: ServerProcess) -> None:
    """In answers, lists, the audit log and the log of the service; another address needs the password again."""
    assert add(empty, STREAM).json()["url"] == HIDDEN_URL
    assert empty.client.get("/v1/sources").json()["sources"][0]["url"] == HIDDEN_URL
    empty.client.patch("/v1/sources/cam", json={"url": HIDDEN_URL, "note": "x"}).raise_for_status()
    assert source_file(empty.home).get("cam").url == STREAM["url"]
    other = empty.client.patch("/v1/sources/cam", json={"url": HIDDEN_URL.replace("camera-7", "other")})
    assert_problem(other, 422, "listener_config_invalid")
    broker = {"schedule": {"broker": "mqtt://ana:word@broker", "topic": "t"}}
    shown = empty.client.patch("/v1/sources/cam", json=broker).json()["schedule"]
    assert shown["broker"] == "mqtt://***@broker"
    empty.client.patch("/v1/sources/cam", json={"schedule": shown}).raise_for_status()
    assert source_file(empty.home).get("cam").schedule.broker == "mqtt://ana:word@broker"
    for name in ("name", "kind"):
        answer = empty.client.patch("/v1/sources/cam", json={name: "other"})
        assert_problem(answer, 422, "listener_config_invalid")
    assert "word@" not in empty.log() + (empty.home / "audit.jsonl").read_text()


def test_a_file_that_a_person_broke_is_reported_and_not_overwritten(empty: ServerProcess) -> None:
    """The list has the sentence; a change is refused until it is mended."""
    add(empty, FOLDER)
    file = empty.home / "listener" / "sources.toml"
    file.write_text(file.read_text() + '\n[[source]]\nname = "bad"\nkind = "stream"\nurl = "file:///x"\n')
    (problem,) = empty.client.get("/v1/sources").json()["problems"]
    assert "bad" in problem
    assert [each["name"] for each in empty.client.get("/v1/sources").json()["sources"]] == ["hall"]
    file.write_text("[[source\n")
    assert "cannot be read" in empty.client.get("/v1/sources").json()["problems"][0]
    for method, path, body in (("GET", "/hall", None), ("PATCH", "/hall", {"note": "x"}), ("POST", "", STREAM)):
        answer = empty.client.request(method, f"/v1/sources{path}", json=body)
        assert_problem(answer, 422, "listener_config_invalid")
    assert file.read_text() == "[[source\n"


@pytest.mark.parametrize("name", ["x" * 5000, "%00", "..", "%2e%2e%2fhall", "a\nb"])
def test_an_unknown_source_is_a_404(server: ServerProcess, name: str) -> None:
    """Whatever its name is."""
    for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/live"), ("GET", "/sound")):
        answer = server.client.request(method, f"/v1/sources/{re.sub(chr(10), '%0a', name)}{path}")
        assert answer.status_code in (404, 405)
        assert len(answer.text) < 1000


@pytest.mark.parametrize("seconds", ["0", "-1", "61", "nan", "inf", "x"])
def test_the_length_of_the_sound_is_bounded(server: ServerProcess, seconds: str) -> None:
    """Before a listener is asked."""
    answer = server.client.get("/v1/sources/absent/sound", params={"seconds": seconds})
    assert_problem(answer, 422, "request_invalid")


def test_a_bound_key_sees_the_sources_of_its_machines_only(serve: Serve, tmp_path: Path) -> None:
    """And adds no other ones; a key that reads changes nothing."""
    server = serve(tmp_path / "home", wait_for="/livez", require_api_key=True)
    for values in (FOLDER, STREAM):
        source_file(server.home).add(values | {"path": str(server.home / "inbox")} if "path" in values else values)
    keys = ApiKeyStore(server.home)
    bound = {"x-api-key": keys.create("bound", "read", "admin", machines=["fan-*"])}
    reader = {"x-api-key": keys.create("reader", "read")}
    http = server.client
    assert [each["name"] for each in http.get("/v1/sources", headers=bound).json()["sources"]] == ["hall"]
    assert_problem(http.get("/v1/sources/cam", headers=bound), 404, "entry_not_found")
    assert_problem(http.delete("/v1/sources/cam", headers=bound), 404, "entry_not_found")
    assert_problem(http.post("/v1/sources", json=STREAM | {"name": "b"}, headers=bound), 403, "api_key_bound")
    moved = http.patch("/v1/sources/hall", json={"machine_id": "pump-1"}, headers=bound)
    assert_problem(moved, 403, "api_key_bound")
    assert http.get("/v1/sources/cam", headers=reader).is_success
    for method, path in (("POST", ""), ("PATCH", "/hall"), ("DELETE", "/hall")):
        refused = http.request(method, f"/v1/sources{path}", json={}, headers=reader)
        assert_problem(refused, 403, "api_key_scope_missing")
    for path in ("", "/x", "/x/dead"):
        assert_problem(http.get(f"/v1/sinks{path}", headers=reader), 403, "api_key_scope_missing")
