"""Sinks over HTTP: secrets stay hidden, mutes, alerts that were given up, and tests without a listener."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from listener.alerts.outbox import Outbox
from listener.config.files import sink_file
from listener.events.store import EventStore, NewAlert
from ml.system.audit import read_entries
from testing.servers import Serve, ServerProcess, assert_problem
from tests.integration.listening import make_event

SECRET = "whsec_" + "c2VjcmV0" * 4
OTHER_SECRET = "whsec_" + "b3RoZXIh" * 4
HOOK = {"name": "hook", "kind": "webhook", "url": "http://127.0.0.1:9/x", "secret": SECRET, "allow_private": True}
SERVICE = {"name": "central", "kind": "service", "url": "https://central.example.org", "api_key": "sml_known"}


@pytest.fixture(scope="module")
def server(serve_for_all: Serve, tmp_path_factory: pytest.TempPathFactory) -> ServerProcess:
    """A server without a listener."""
    return serve_for_all(tmp_path_factory.mktemp("sinks") / "home", wait_for="/livez")


@pytest.fixture
def empty(server: ServerProcess) -> Iterator[ServerProcess]:
    """The server, whose sinks are removed after the test."""
    yield server
    (server.home / "listener" / "sinks.toml").unlink(missing_ok=True)
    with EventStore(server.home, create=True) as store, store.transaction() as db:
        db.execute("DELETE FROM alerts")


def add(server: ServerProcess, values: dict[str, Any]) -> Any:
    """Answer to a new sink."""
    return server.client.post("/v1/sinks", content=json.dumps(values), headers={"content-type": "application/json"})


def test_a_sink_is_added_changed_and_removed_without_showing_its_secret(empty: ServerProcess) -> None:
    """A secret that is sent back hidden stays; a new one replaces it."""
    added = add(empty, HOOK)
    assert (added.status_code, added.headers["location"]) == (201, "/v1/sinks/hook"), added.text
    assert (added.json()["secret"], added.json()["state"]) == ("***", "not_listening")
    assert added.json()["status"]["waiting"] == 0
    assert_problem(add(empty, HOOK), 409, "entry_exists")
    changed = empty.client.patch("/v1/sinks/hook", json={"secret": "***", "timeout_s": 3})
    assert (changed.json()["secret"], changed.json()["timeout_s"]) == ("***", 3.0)
    assert sink_file(empty.home).get("hook").secret.get_secret_value() == SECRET
    empty.client.patch("/v1/sinks/hook", json={"secret": OTHER_SECRET}).raise_for_status()
    assert sink_file(empty.home).get("hook").secret.get_secret_value() == OTHER_SECRET
    rules = {"rules": {"machines": ["fan-*"], "quiet_hours": ["22:00-06:00"]}}
    assert empty.client.patch("/v1/sinks/hook", json=rules).json()["rules"]["machines"] == ["fan-*"]
    assert empty.client.patch("/v1/sinks/hook", json={"secret": None}).json()["secret"] is None
    (shown,) = empty.client.get("/v1/sinks").json()["sinks"]
    assert shown == empty.client.get("/v1/sinks/hook").json()
    assert empty.client.delete("/v1/sinks/hook").status_code == 204
    assert_problem(empty.client.delete("/v1/sinks/hook"), 404, "entry_not_found")
    texts = empty.log() + (empty.home / "audit.jsonl").read_text()
    assert "c2VjcmV0" not in texts
    assert "b3RoZXIh" not in texts


ADDABLE: dict[str, dict[str, Any]] = {
    "webhook": {"kind": "webhook", "url": "https://ana:word@example.org/hook?token=word"},
    "mqtt": {"kind": "mqtt", "url": "mqtt://ana:word@broker:1883", "home_assistant": True},
    "email": {"kind": "email", "server": "smtp://ana:word@mail", "sender": "a@b.c", "to": ["d@e.f"]},
    "service": {"kind": "service", "url": "http://central:5000", "api_key": "sml_word"},
}


@pytest.mark.parametrize("kind", ADDABLE)
def test_a_sink_of_each_kind_can_be_added(empty: ServerProcess, kind: str) -> None:
    """No answer shows its password."""
    answer = add(empty, {"name": "one"} | ADDABLE[kind])
    assert answer.status_code == 201, answer.text
    shown = empty.client.get("/v1/sinks")
    assert shown.status_code == 200, shown.text
    assert "word" not in answer.text + shown.text


REFUSED: dict[str, dict[str, Any]] = {
    "no address": {"name": "a", "kind": "webhook"},
    "a file": HOOK | {"url": "file:///etc/passwd"},
    "a secret that is none": HOOK | {"secret": "s3cret-word"},
    "a secret that is a list": HOOK | {"secret": ["s3cret-word"]},
    "a hidden secret": HOOK | {"secret": "***"},
    "a header in a sender": ADDABLE["email"] | {"name": "a", "sender": "a@b.c\r\nBcc: x@y.z"},
    "no receiver": ADDABLE["email"] | {"name": "a", "to": []},
    "a certificate elsewhere": ADDABLE["email"] | {"name": "a", "ca_file": "/etc/ssl/private/key.pem"},
    "a topic of all": ADDABLE["mqtt"] | {"name": "a", "topic": "#"},
    "a mute that is no time": HOOK | {"muted_until": "tomorrow"},
    "hours that are none": HOOK | {"rules": {"quiet_hours": ["25:00-26:00"]}},
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_sink_that_cannot_be_used_is_refused(empty: ServerProcess, kind: str) -> None:
    """With a sentence that has no secret, and nothing is written."""
    detail = assert_problem(add(empty, REFUSED[kind]), 422, "listener_config_invalid")["detail"]
    assert "word" not in detail.replace("password", "")
    assert not (empty.home / "listener" / "sinks.toml").exists()


def test_a_stored_api_key_is_not_sent_to_another_service(empty: ServerProcess) -> None:
    """A new address needs the key again."""
    add(empty, SERVICE)
    moved = {"url": "https://stranger.example.org"}
    for sent in (moved, moved | {"api_key": "***"}):
        answer = empty.client.patch("/v1/sinks/central", json=sent)
        assert_problem(answer, 422, "listener_config_invalid")
    assert empty.client.patch("/v1/sinks/central", json={"url": "https://central.example.org/"}).is_success
    assert empty.client.patch("/v1/sinks/central", json=moved | {"api_key": "sml_other"}).is_success


def test_a_mute_has_an_end(empty: ServerProcess) -> None:
    """Null ends it at once; what is no time is refused."""
    add(empty, HOOK)
    muted = empty.client.post("/v1/sinks/hook/mute", json={"until": "2999-01-01T00:00:00+01:00"}).json()
    assert (muted["state"], muted["muted_until"]) == ("muted", "2998-12-31T23:00:00.000+00:00")
    assert empty.client.post("/v1/sinks/hook/mute", json={"until": None}).json()["muted_until"] is None
    for body in ({"until": "tomorrow"}, {}, {"until": 5}, {"until": "2999-01-01", "x": 1}):
        assert_problem(empty.client.post("/v1/sinks/hook/mute", json=body), 422, "request_invalid")


def test_alerts_that_were_given_up_are_listed_and_sent_again(empty: ServerProcess) -> None:
    """One, or all; the counts follow."""
    add(empty, HOOK)
    with EventStore(empty.home, create=True) as store:
        for machine in ("fan-1", "fan-2", "fan-3"):
            store.save(make_event(machine_id=machine), "ended", [NewAlert("hook", 0.0)])
        outbox = Outbox(store)
        for alert in outbox.due("hook"):
            outbox.give_up(alert, "The receiver answers 500.")
    dead = empty.client.get("/v1/sinks/hook/dead", params={"limit": 2}).json()
    assert (dead["total"], [each["machine_id"] for each in dead["alerts"]]) == (3, ["fan-1", "fan-2"])
    assert (dead["alerts"][0]["error"], dead["alerts"][0]["attempts"]) == ("The receiver answers 500.", 1)
    assert empty.client.get("/v1/sinks/hook").json()["status"]["dead"] == 3
    one = empty.client.post("/v1/sinks/hook/dead/resend", json={"alert": dead["alerts"][0]["id"]})
    assert one.json() == {"alerts": 1}
    assert empty.client.post("/v1/sinks/hook/dead/resend", json={"alert": "unknown"}).json() == {"alerts": 0}
    assert empty.client.post("/v1/sinks/hook/dead/resend", json={}).json() == {"alerts": 2}
    status = empty.client.get("/v1/sinks/hook").json()["status"]
    assert (status["waiting"], status["dead"]) == (3, 0)
    assert [each["after"] for each in read_entries(empty.home) if each["action"] == "sink.resend"] == [
        {"alerts": 1},
        {"alerts": 0},
        {"alerts": 2},
    ]


def test_a_test_without_a_listener_names_the_command_that_starts_one(empty: ServerProcess) -> None:
    """And an unknown sink is a 404 everywhere."""
    add(empty, HOOK)
    detail = assert_problem(empty.client.post("/v1/sinks/hook/test"), 503, "listener_not_running")["detail"]
    assert "signalml listen" in detail
    for method, path, body in (
        ("GET", "", None),
        ("PATCH", "", {}),
        ("DELETE", "", None),
        ("POST", "/test", None),
        ("POST", "/mute", {"until": None}),
        ("GET", "/dead", None),
        ("POST", "/dead/resend", {}),
    ):
        answer = empty.client.request(method, f"/v1/sinks/absent{path}", json=body)
        assert_problem(answer, 404, "entry_not_found")
