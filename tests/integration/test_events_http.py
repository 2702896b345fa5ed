"""Events over HTTP: lists, clips, reviews, recordings, the stream of changes, and reports of other devices."""

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from api.api_keys import ApiKeyStore
from listener.events.store import EventStore
from ml.system.audit import read_entries
from testing.servers import PATIENCE_S, Serve, ServerProcess, assert_problem, wait_until
from tests import sounds
from tests.integration.listening import CLIP, ENDED, PNG, report, save_event, send

NO_EVENT = "0" * 28
LATER = "2026-11-22T11:00:00.000+00:00"


@pytest.fixture(scope="module")
def server(serve_for_all: Serve, tmp_path_factory: pytest.TempPathFactory) -> ServerProcess:
    """A server without a model and without a listener."""
    home = tmp_path_factory.mktemp("events") / "home"
    return serve_for_all(home, wait_for="/livez", event_streams=3, clips_min_free_bytes=0)


@pytest.fixture
def empty(server: ServerProcess) -> Iterator[ServerProcess]:
    """The server, whose events are deleted after the test."""
    yield server
    with EventStore(server.home, create=True) as store, store.transaction() as db:
        db.execute("DELETE FROM events")


def listed(server: ServerProcess, **query: Any) -> list[str]:
    """Ids of the events of a list."""
    answer = server.client.get("/v1/events", params=query)
    assert answer.status_code == 200, answer.text
    return [event["id"] for event in answer.json()["events"]]


# Lists and single events


def test_a_home_without_events_has_an_empty_list(bare: ServerProcess) -> None:
    """Reading makes no file."""
    assert bare.client.get("/v1/events").json() == {"events": [], "next": None}
    assert_problem(bare.client.get(f"/v1/events/{NO_EVENT}"), 404, "event_not_found")
    assert not (bare.home / "listener").exists()


def test_pages_have_each_event_once_the_newest_first(empty: ServerProcess) -> None:
    """Also if a new one arrives between two pages."""
    ids = [save_event(empty.home).id for _ in range(5)][::-1]
    first = empty.client.get("/v1/events", params={"limit": 2}).json()
    save_event(empty.home)
    second = empty.client.get("/v1/events", params={"limit": 2, "cursor": first["next"]}).json()
    third = empty.client.get("/v1/events", params={"limit": 2, "cursor": second["next"]}).json()
    assert [each["id"] for page in (first, second, third) for each in page["events"]] == ids
    assert third["next"] is None


def test_filters_are_joined(empty: ServerProcess) -> None:
    """Machine, source, state, review, origin and times."""
    fan = save_event(empty.home)
    pump = save_event(empty.home, machine_id="hall-3/pump", source="camera-7", began=LATER, state="active", ended=None)
    far = save_event(empty.home, origin="press-room")
    assert listed(empty, machine_id="fan-3") == [far.id, fan.id]
    assert listed(empty, machine_id="fan-3", origin="") == [fan.id]
    assert listed(empty, origin="press-room") == [far.id]
    assert listed(empty, machine_id="hall-3/pump", source="camera-7", state="active") == [pump.id]
    assert listed(empty, since=LATER) == [pump.id]
    assert listed(empty, since="2026-11-22T12:00:00+01:00") == [pump.id]
    assert listed(empty, until=LATER) == [far.id, fan.id]
    assert listed(empty, reviewed=True) == []
    empty.client.patch(f"/v1/events/{fan.id}", json={"reviewed": True}).raise_for_status()
    assert listed(empty, reviewed=True) == [fan.id]
    assert listed(empty, state="interrupted") == []


@pytest.mark.parametrize(
    "query",
    [
        {"since": "yesterday"},
        {"until": "2026-13-01"},
        {"since": "0001-01-01T00:00:00+14:00"},
        {"state": "open"},
        {"cursor": "-1"},
        {"cursor": str(2**63)},
        {"limit": "0"},
        {"machine_id": "../etc"},
        {"machine_id": "a\x00"},
    ],
)
def test_a_filter_that_cannot_be_used_is_refused(server: ServerProcess, query: dict[str, str]) -> None:
    """With the value and what was expected."""
    answer = server.client.get("/v1/events", params=query)
    assert "expected" in assert_problem(answer, 422, "request_invalid")["detail"]


def test_an_event_has_its_facts_and_changes_and_no_names_of_files(empty: ServerProcess) -> None:
    """The files are at addresses of their own."""
    event = save_event(empty.home, clip=True)
    shown = empty.client.get(f"/v1/events/{event.id}").json()
    assert [each["change"] for each in shown.pop("changes")] == ["began", "ended"]
    assert shown == empty.client.get("/v1/events").json()["events"][0]
    assert shown["reasons"] == list(event.reasons)
    assert shown["clip"] == {
        "began": event.began,
        "duration_s": 2.0,
        "size_bytes": len(CLIP) + len(PNG),
        "spectrogram": True,
    }
    assert ".flac" not in json.dumps(shown)


@pytest.mark.parametrize("name", ["x", "0" * 27, "%2e%2e%2f%2e%2e", "0" * 28, "%00", "a" * 5000])
def test_an_unknown_event_is_a_404(server: ServerProcess, name: str) -> None:
    """Whatever its id is, on each address of an event."""
    for method, path, body in (
        ("GET", "", None),
        ("GET", "/clip", None),
        ("GET", "/spectrogram", None),
        ("PATCH", "", {"reviewed": True}),
        ("POST", "/recording", {"dataset": "hall-3"}),
    ):
        answer = server.client.request(method, f"/v1/events/{name}{path}", json=body)
        assert answer.status_code == 404
        assert len(answer.text) < 1000


# Clips


def test_the_clip_is_flac_and_its_ranges_are_answered(empty: ServerProcess) -> None:
    """As a player of a browser asks for it."""
    path = f"/v1/events/{save_event(empty.home, clip=True).id}"
    whole = empty.client.get(f"{path}/clip")
    assert (whole.content, whole.headers["content-type"]) == (CLIP, "audio/flac")
    assert whole.headers["x-content-type-options"] == "nosniff"
    part = empty.client.get(f"{path}/clip", headers={"range": "bytes=4-9"})
    assert (part.status_code, part.content) == (206, CLIP[4:10])
    assert_problem(empty.client.get(f"{path}/clip", headers={"range": "bytes=99999999-"}), 416, "range_not_satisfiable")
    assert_problem(empty.client.get(f"{path}/clip", headers={"range": "lines=1"}), 400, "range_malformed")
    picture = empty.client.get(f"{path}/spectrogram")
    assert (picture.content, picture.headers["content-type"]) == (PNG, "image/png")


def test_an_event_without_a_clip_has_the_reason(empty: ServerProcess) -> None:
    """Also if the file was deleted by hand."""
    without = save_event(empty.home, missing_clip="disk_full")
    detail = assert_problem(empty.client.get(f"/v1/events/{without.id}/clip"), 404, "clip_not_found")["detail"]
    assert "the disk was full" in detail
    event = save_event(empty.home, clip=True)
    assert event.clip is not None
    (empty.home / "listener" / "clips" / event.clip.file).unlink()
    assert_problem(empty.client.get(f"/v1/events/{event.id}/clip"), 404, "clip_not_found")


# Reviews and recordings


def test_a_review_changes_what_is_sent_and_is_audited(empty: ServerProcess) -> None:
    """A field that is left out stays; another verdict takes the label away; the whole review can be removed."""
    path = f"/v1/events/{save_event(empty.home).id}"
    first = empty.client.patch(path, json={"verdict": "faulty", "label": "imbalance", "by": "Ana"})
    assert first.status_code == 200, first.text
    assert first.json()["changes"][-1]["change"] == "reviewed"
    second = empty.client.patch(path, json={"note": "Bearing\nordered"}).json()["review"]
    assert (second["verdict"], second["label"], second["note"]) == ("faulty", "imbalance", "Bearing\nordered")
    third = empty.client.patch(path, json={"verdict": "healthy"}).json()["review"]
    assert (third["verdict"], third["label"], third["note"]) == ("healthy", None, "Bearing\nordered")
    assert empty.client.patch(path, json={"reviewed": False}).json()["review"] is None
    assert empty.client.patch(path, json={"reviewed": True}).json()["review"]["verdict"] is None
    entries = [each for each in read_entries(empty.home) if each["action"] == "event.review"]
    assert [(each["before"], each["after"]) for each in entries[-5:]] == [
        (None, "faulty"),
        ("faulty", "faulty"),
        ("faulty", "healthy"),
        ("healthy", None),
        (None, None),
    ]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "request_invalid"),
        ({"reviewed": False, "note": "x"}, "request_invalid"),
        ({"verdict": "broken"}, "request_invalid"),
        ({"note": "x" * 2001}, "request_invalid"),
        ({"note": "\x00"}, "request_invalid"),
        ({"note": "\ud800"}, "request_invalid"),
        ({"label": "a\nb"}, "request_invalid"),
        ({"verdict": "healthy", "label": "imbalance"}, "recording_labels_invalid"),
        ({"reviewd": True}, "request_invalid"),
        ([], "request_invalid"),
    ],
)
def test_a_review_that_cannot_be_used_changes_nothing(empty: ServerProcess, body: object, code: str) -> None:
    """With a sentence."""
    path = f"/v1/events/{save_event(empty.home).id}"
    sent = json.dumps(body).encode()
    answer = empty.client.patch(path, content=sent, headers={"content-type": "application/json"})
    assert_problem(answer, 422, code)
    assert empty.client.get(path).json()["review"] is None


def test_a_clip_becomes_a_recording_with_its_label_once(empty: ServerProcess) -> None:
    """The label is that of the review; a repetition is a 200."""
    event = save_event(empty.home, clip=True, machine_id="fan/id_00")
    path = f"/v1/events/{event.id}"
    without = empty.client.post(f"{path}/recording", json={"dataset": "corrections"})
    assert_problem(without, 422, "recording_labels_invalid")
    empty.client.patch(path, json={"verdict": "faulty", "label": "imbalance"}).raise_for_status()
    made = empty.client.post(f"{path}/recording", json={"dataset": "corrections"})
    assert made.status_code == 201, made.text
    recording = empty.client.get(made.headers["location"]).json()
    assert (recording["label"], recording["fault"], recording["machine"]) == ("abnormal", "imbalance", "fan")
    assert empty.client.get(f"{made.headers['location']}/audio").content == CLIP
    again = empty.client.post(f"{path}/recording", json={"dataset": "corrections"})
    assert (again.status_code, again.json()["added"]) == (200, False)
    assert empty.client.get(path).json()["recording"] == f"corrections/{recording['id']}"
    bad = empty.client.post(f"{path}/recording", json={"dataset": "../x", "label": "normal"})
    assert_problem(bad, 422, "name_invalid")
    silent = save_event(empty.home)
    answer = empty.client.post(f"/v1/events/{silent.id}/recording", json={"dataset": "corrections", "label": "normal"})
    assert_problem(answer, 404, "clip_not_found")


# The stream


class Watch:
    """A client of the stream, in a thread."""

    def __init__(self, server: ServerProcess, path: str = "/v1/events/stream", **headers: str) -> None:
        self.events: list[dict[str, Any]] = []
        self.first = ""
        self._server, self._path, self._headers = server, path, headers
        self._stop, self.open = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self.open.wait(PATIENCE_S)

    def _run(self) -> None:
        url = self._server.base_url + self._path
        with httpx.stream("GET", url, headers=self._headers, trust_env=False, timeout=PATIENCE_S) as answer:
            block: dict[str, Any] = {}
            for line in answer.iter_lines():
                name, _, value = line.partition(": ")
                if line:
                    block[name] = value
                    continue
                if "data" in block:
                    self.events.append(block | {"data": json.loads(block["data"])})
                elif "retry" in block:
                    self.first = block.get("id", "")
                    self.open.set()
                block = {}
                if self._stop.is_set():
                    return

    def stop(self) -> None:
        """Hang up."""
        self._stop.set()
        self._thread.join(PATIENCE_S)


def changes(watch: Watch) -> list[tuple[str, str]]:
    """Changes that a client has received, with the id of the event."""
    return [(each["event"], each["data"]["event"]["id"]) for each in watch.events]


def test_the_stream_continues_after_the_last_event_id(empty: ServerProcess) -> None:
    """Nothing is missed and nothing repeated; a new client gets what is new only."""
    save_event(empty.home)
    watch = Watch(empty)
    first = save_event(empty.home)
    wait_until(lambda: len(watch.events) == 2)
    watch.stop()
    assert changes(watch) == [("began", first.id), ("ended", first.id)]
    second = save_event(empty.home)
    again = Watch(empty, **{"last-event-id": watch.events[0]["id"]})
    wait_until(lambda: len(again.events) == 3)
    again.stop()
    assert changes(again) == [("ended", first.id), ("began", second.id), ("ended", second.id)]
    assert again.events[-1]["data"]["event"] == empty.client.get("/v1/events").json()["events"][0]


def test_the_stream_of_a_machine_has_only_its_events(empty: ServerProcess) -> None:
    """A client that connects before the first event continues from there."""
    watch = Watch(empty, "/v1/events/stream?machine_id=fan-4")
    save_event(empty.home)
    mine = save_event(empty.home, machine_id="fan-4", state="active", ended=None)
    wait_until(lambda: watch.events)
    watch.stop()
    assert changes(watch) == [("began", mine.id)]
    assert int(watch.first) < int(watch.events[0]["id"])


def test_only_so_many_clients_watch_and_gone_ones_leave_nothing(server: ServerProcess) -> None:
    """One more gets 503; when they have gone, there is room again."""
    watches = [Watch(server) for _ in range(3)]
    assert_problem(server.afresh("GET", "/v1/events/stream"), 503, "busy")
    for watch in watches:
        watch.stop()

    def is_there_room() -> bool:
        with httpx.stream("GET", f"{server.base_url}/v1/events/stream", trust_env=False, timeout=PATIENCE_S) as answer:
            return answer.status_code == 200

    assert wait_until(is_there_room)


def test_a_last_event_id_of_another_file_is_no_dead_end(empty: ServerProcess) -> None:
    """A number that is not reached yet counts as the present one; what is no number is refused."""
    watch = Watch(empty, **{"last-event-id": "999999999"})
    event = save_event(empty.home)
    wait_until(lambda: watch.events)
    watch.stop()
    assert changes(watch)[0] == ("began", event.id)
    for bad in ("x", "-1", "9" * 30):
        answer = empty.client.get("/v1/events/stream", headers={"last-event-id": bad})
        assert_problem(answer, 422, "request_invalid")


# Reports of other devices


def test_a_report_is_stored_once_and_the_newer_state_wins(empty: ServerProcess) -> None:
    """An older state that arrives late changes nothing."""
    active = report(state="active", ended=None, updated="2026-11-22T10:01:00.000+00:00", score=0.6)
    ended = active | {"state": "ended", "ended": ENDED, "updated": ENDED, "score": 0.93}
    created = send(empty, active)
    assert (created.status_code, created.json()["result"]) == (201, "created"), created.text
    path = created.headers["location"]
    assert empty.client.get(path).json()["origin"] == "press-room"
    assert (send(empty, ended).status_code, send(empty, ended).json()["result"]) == (200, "unchanged")
    assert send(empty, active | {"updated": LATER}).json()["result"] == "unchanged"
    shown = empty.client.get(path).json()
    assert (shown["state"], shown["score"], shown["ended"]) == ("ended", 0.93, ENDED)
    assert [each["change"] for each in shown["changes"]] == ["began", "ended"]
    assert listed(empty) == [active["id"]]


def test_a_report_brings_its_clip_at_once_or_later(empty: ServerProcess) -> None:
    """Under names of this service, with the length that was measured."""
    event = report() | {"clip": {"began": ENDED, "file": "../../etc/passwd", "spectrogram": "/x", "duration_s": 99}}
    assert send(empty, event).json() == {"id": event["id"], "result": "created", "has_clip": False}
    assert send(empty, event, CLIP, PNG).json() == {"id": event["id"], "result": "updated", "has_clip": True}
    assert send(empty, event, CLIP, PNG).json()["result"] == "unchanged"
    shown = empty.client.get(f"/v1/events/{event['id']}").json()
    assert (shown["clip"]["duration_s"], shown["clip"]["began"], shown["missing_clip"]) == (2.0, ENDED, None)
    assert empty.client.get(f"/v1/events/{event['id']}/clip").content == CLIP
    assert empty.client.get(f"/v1/events/{event['id']}/spectrogram").content == PNG


def test_a_later_version_of_a_clip_replaces_the_first_one(empty: ServerProcess) -> None:
    """Also after a review here, which is no news of the device. The earlier files are deleted."""
    longer = sounds.flac(sounds.fan(3.0))
    event = report()
    send(empty, event, CLIP, PNG)
    path = f"/v1/events/{event['id']}"
    empty.client.patch(path, json={"verdict": "faulty"}).raise_for_status()
    assert send(empty, event, longer).json()["result"] == "updated"
    assert empty.client.get(f"{path}/clip").content == longer
    assert empty.client.get(path).json()["changes"][-1]["change"] == "clip"
    assert len(list((empty.home / "listener" / "clips").glob(f"{event['id']}*"))) == 1
    older = event | {"state": "active", "ended": None}
    assert send(empty, older, CLIP).json()["result"] == "unchanged"
    assert empty.client.get(f"{path}/clip").content == longer


def test_what_a_person_did_here_stays(empty: ServerProcess) -> None:
    """A later state of the device does not take the review and the recording away."""
    event = report(state="active", ended=None)
    send(empty, event, CLIP)
    path = f"/v1/events/{event['id']}"
    empty.client.patch(path, json={"verdict": "faulty"}).raise_for_status()
    empty.client.post(f"{path}/recording", json={"dataset": "far"}).raise_for_status()
    before = empty.client.get(path).json()
    assert send(empty, event | {"state": "ended", "ended": LATER, "updated": LATER}).json()["result"] == "updated"
    after = empty.client.get(path).json()
    assert (after["state"], after["review"], after["recording"]) == ("ended", before["review"], before["recording"])
    assert after["clip"] == before["clip"]


def test_an_event_of_this_service_or_another_device_is_not_replaced(empty: ServerProcess) -> None:
    """Nor moved to another machine."""
    own = save_event(empty.home)
    assert_problem(send(empty, report(id=own.id, updated=LATER)), 409, "event_conflict")
    far = report()
    send(empty, far)
    for other in ({"origin": "paint-shop"}, {"machine_id": "fan-4"}):
        assert_problem(send(empty, far | other | {"updated": LATER}, CLIP), 409, "event_conflict")
    assert empty.client.get(f"/v1/events/{own.id}").json()["updated"] == own.updated


HOSTILE: dict[str, Any] = {
    "no JSON": "{",
    "a list": [],
    "deep": "[" * 20_000,
    "twice": '{"id": "a", "id": "b"}',
    "NaN": '{"score": NaN}',
    "too large a number": '{"score": 1e999}',
    "half a character": json.dumps(report(label="\ud800")),
    "half a character inside": json.dumps(report(quality={"codec": "\ud800"})),
    "an id that is a path": report() | {"id": "../../../etc/passwd00000000"},
    "an unknown field": report() | {"alarm": True},
    "a machine that is a path": report(machine_id="../x"),
    "no origin": report(origin=""),
    "a control character": report(origin="a\x00b"),
    "active with an end": report(state="active"),
    "ended without an end": report(ended=None),
    "a time that is none": report(began="yesterday"),
    "a score above 1": report(score=1.5),
    "counts below 0": report(clips=-1),
    "many reasons": report(reasons=[{"low_hz": 1.0}] * 100),
    "a deep quality": report(quality={"a": {"b": {"c": 1}}}),
    "infinite quality": json.dumps(report()).replace('"duration_s": 10.0', '"duration_s": 1e999'),
    "a cause of a megabyte": report(cause="x" * 2**20),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_report_that_cannot_be_used_is_refused(empty: ServerProcess, kind: str) -> None:
    """With a sentence, and nothing is stored."""
    answer = send(empty, HOSTILE[kind])
    detail = assert_problem(answer, 422, "request_invalid")["detail"]
    assert len(detail) < 1500
    assert listed(empty) == []


@pytest.mark.parametrize(
    ("clip", "png", "status", "code"),
    [
        (b"RIFF" + bytes(100), None, 415, "audio_not_recognised"),
        (sounds.recording(sounds.fan(1.0)), None, 415, "audio_not_recognised"),
        (CLIP[:-2000], None, 422, "audio_truncated"),
        (b"fLaC" + bytes(1000), None, 415, "audio_codec_unsupported"),
        (b"", None, 415, "audio_not_recognised"),
        (CLIP, b"<svg onload=alert(1)>", 422, "request_invalid"),
        (CLIP, PNG[:16] + b"\xff" * 8, 422, "request_invalid"),
        (CLIP, PNG + bytes(5 * 2**20), 422, "request_invalid"),
    ],
)
def test_files_that_cannot_be_used_are_refused(
    empty: ServerProcess, clip: bytes, png: bytes | None, status: int, code: str
) -> None:
    """Nothing is written."""
    folder = empty.home / "listener" / "clips"
    before = len(list(folder.glob("*"))) if folder.exists() else 0
    assert_problem(send(empty, report(), clip, png), status, code)
    assert listed(empty) == []
    assert (len(list(folder.glob("*"))) if folder.exists() else 0) == before


def test_a_sound_without_its_time_and_a_form_without_an_event_are_refused(server: ServerProcess) -> None:
    """With their codes."""
    without_time = report()
    del without_time["clip"]
    assert_problem(send(server, without_time, CLIP), 422, "request_invalid")
    only_clip = server.client.post("/v1/events", files={"clip": ("a.flac", CLIP)})
    assert "'event'" in assert_problem(only_clip, 422, "part_missing")["detail"]
    assert_problem(server.client.post("/v1/events", json=report()), 415, "media_type_unsupported")
    twice = [("event", (None, "{}")), ("event", (None, "{}"))]
    assert_problem(server.client.post("/v1/events", files=twice), 422, "request_invalid")
    extra = {"event": (None, "{}"), "sound": ("a.flac", CLIP)}
    assert_problem(server.client.post("/v1/events", files=extra), 422, "parameter_unknown")


def test_equal_reports_at_the_same_time_make_one_event(empty: ServerProcess) -> None:
    """Two connections, one id."""
    event = report()
    answers: list[int] = []

    def post() -> None:
        files = {"event": (None, json.dumps(event)), "clip": ("a.flac", CLIP)}
        answers.append(httpx.post(f"{empty.base_url}/v1/events", files=files, trust_env=False, timeout=60).status_code)

    threads = [threading.Thread(target=post) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [200] * 5 + [201]
    assert listed(empty) == [event["id"]]


# Keys


@pytest.fixture(scope="module")
def keyed(serve_for_all: Serve, tmp_path_factory: pytest.TempPathFactory) -> ServerProcess:
    """A server that requires keys and has no room for clips, with events of two machines."""
    home = tmp_path_factory.mktemp("keyed-events") / "home"
    for machine in ("hall-3/fan", "hall-4/fan"):
        save_event(home, machine_id=machine, clip=True)
    return serve_for_all(home, wait_for="/livez", require_api_key=True, clips_max_bytes=1000)


def key(server: ServerProcess, name: str, *scopes: Any, **bound: Any) -> dict[str, str]:
    """The header of a new key."""
    return {"x-api-key": ApiKeyStore(server.home).create(name, *scopes, **bound)}


def test_a_bound_key_reaches_only_its_machines(keyed: ServerProcess) -> None:
    """In lists, single events, clips, reviews and reports."""
    bound = key(keyed, "bound", "read", "label", "predict", machines=["hall-3/*"])
    free = key(keyed, "free", "read")
    everything = keyed.client.get("/v1/events", headers=free).json()["events"]
    other, mine = (each["id"] for each in everything[-2:])
    assert [each["id"] for each in keyed.client.get("/v1/events", headers=bound).json()["events"]] == [mine]
    assert keyed.client.get(f"/v1/events/{mine}/clip", headers=bound).is_success
    for method, path, body in (
        ("GET", "", None),
        ("GET", "/clip", None),
        ("GET", "/spectrogram", None),
        ("PATCH", "", {"reviewed": True}),
        ("POST", "/recording", {"dataset": "x", "label": "normal"}),
    ):
        answer = keyed.client.request(method, f"/v1/events/{other}{path}", json=body, headers=bound)
        assert answer.status_code in (403, 404), path
    assert_problem(send(keyed, report(machine_id="hall-4/fan"), headers=bound), 403, "api_key_bound")
    assert send(keyed, report(machine_id="hall-3/fan"), headers=bound).status_code == 201
    watch = Watch(keyed, **bound)
    save_event(keyed.home, machine_id="hall-4/fan")
    reported = report(machine_id="hall-3/fan")
    send(keyed, reported, headers=bound)
    wait_until(lambda: watch.events)
    watch.stop()
    assert {each["data"]["event"]["machine_id"] for each in watch.events} == {"hall-3/fan"}


def test_without_room_the_event_is_stored_and_the_clip_is_not(keyed: ServerProcess) -> None:
    """The answer states it."""
    header = key(keyed, "reporter", "predict", "read")
    event = report(machine_id="hall-5/fan")
    assert send(keyed, event, CLIP, headers=header).json() == {
        "id": event["id"],
        "result": "created",
        "has_clip": False,
    }
    shown = keyed.client.get(f"/v1/events/{event['id']}", headers=header).json()
    assert (shown["clip"], shown["missing_clip"]) == (None, "disk_full")
    assert list((keyed.home / "listener").glob(f"clips/{event['id']}*")) == []


def test_the_stream_ends_with_its_key(keyed: ServerProcess) -> None:
    """Within seconds after it was revoked."""
    header = key(keyed, "watcher", "read")
    url = f"{keyed.base_url}/v1/events/stream"
    with httpx.stream("GET", url, headers=header, trust_env=False, timeout=PATIENCE_S) as answer:
        lines = answer.iter_lines()
        assert next(lines).startswith("retry:")
        ApiKeyStore(keyed.home).revoke("watcher")
        deadline = time.monotonic() + PATIENCE_S
        for _ in lines:
            assert time.monotonic() < deadline
