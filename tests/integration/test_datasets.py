"""Recordings put in over HTTP: what is acknowledged is kept, by whoever it was sent, and nothing half is."""

import json
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.api_keys import ApiKeyStore
from ml.audio.info import read_info
from ml.dataset.collection.store import Collection
from tests import sounds
from tests.integration.servers import MULTIPART_TYPE, Serve, ServerProcess, assert_problem, request
from tests.integration.trainings import signalml
from tests.unit import datasets

HALL = "/v1/datasets/hall-3"
RECORDINGS = f"{HALL}/recordings"
CONFIRMED = {"confirm": "hall-3"}
Json = dict[str, Any]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home without a model: datasets need none."""
    return tmp_path / "home"


@pytest.fixture
def growing(home: Path, serve: Serve) -> ServerProcess:
    """A server whose datasets a test may change."""
    return serve(home, wait_for="/livez")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, serve_for_all: Serve) -> ServerProcess:
    """A server for tests that put nothing into hall 3, or leave nothing in it."""
    return serve_for_all(tmp_path_factory.mktemp("datasets") / "home", wait_for="/livez")


def sound(seed: int, seconds: float = 0.5) -> bytes:
    """A recording like no other."""
    return sounds.recording(sounds.noise(round(seconds * 8000), seed=seed), rate_hz=8000)


def put(
    server: ServerProcess,
    *contents: bytes | int,
    path: str = RECORDINGS,
    names: Callable[[int], str] = "{}.wav".format,
    **fields: str,
) -> httpx.Response:
    """POST recordings, or those of seeds, in one form."""
    encoded = [sound(content) if isinstance(content, int) else content for content in contents]
    files = [("file", (names(number), content)) for number, content in enumerate(encoded)]
    return server.client.post(path, files=files, data=fields)


def put_one(server: ServerProcess, content: bytes | int, **fields: str) -> Json:
    """POST one recording, which must be taken; its result."""
    (result,) = put(server, content, **fields).raise_for_status().json()["results"]
    return dict(result)


def listed(server: ServerProcess, **query: str | int) -> list[Json]:
    """The recordings of the first page."""
    found: list[Json] = server.client.get(RECORDINGS, params=query).raise_for_status().json()["recordings"]
    return found


def test_a_recording_that_was_put_in_is_there(growing: ServerProcess) -> None:
    """201 with its id and facts; the dataset is made; it is listed, shown and heard as it was sent."""
    content = sound(1)
    answer = put(growing, content, names=lambda _: "Lüfter 3.wav", label="normal", machine_id="fan-3", snr_db="6")
    assert answer.status_code == 201
    (result,) = answer.json()["results"]
    assert (result["file_name"], result["added"], result["relabelled"], result["error"]) == (
        "Lüfter 3.wav",
        True,
        False,
        None,
    )
    assert result["id"] == read_info(content).audio_hash
    assert (result["recording"]["label"], result["recording"]["machine_id"]) == ("normal", "fan-3")
    assert (result["recording"]["snr_db"], result["recording"]["fault"]) == (6.0, None)
    assert listed(growing) == [result["recording"]]
    assert answer.headers["location"] == f"{RECORDINGS}/{result['id']}"
    shown = growing.client.get(answer.headers["location"]).json()
    assert {name: shown[name] for name in result["recording"]} == result["recording"]
    (revision,) = shown["history"]
    assert revision["request_id"] == answer.headers["x-request-id"]
    heard = growing.client.get(f"{RECORDINGS}/{result['id']}/audio")
    assert (heard.content, heard.headers["content-type"]) == (content, "audio/wav")
    assert heard.headers["x-content-type-options"] == "nosniff"


def test_a_dataset_is_made_listed_shown_and_removed(growing: ServerProcess, home: Path) -> None:
    """201 with its place, 409 the second time, counts by label, 204, and then it is not there."""
    assert growing.client.get("/v1/datasets").json() == {"datasets": []}
    made = growing.client.post("/v1/datasets", json={"name": "hall-3"})
    assert (made.status_code, made.headers["location"]) == (201, HALL)
    assert growing.client.get(HALL).json() == made.json()
    assert_problem(growing.client.post("/v1/datasets", json={"name": "hall-3"}), 409, "dataset_exists")
    put(growing, 1, label="normal")
    put(growing, 2, 3, label="abnormal")
    put(growing, 4)
    shown = growing.client.get(HALL).json()
    assert shown == {
        "name": "hall-3",
        "kind": "collection",
        "recordings": 4,
        "labels": {"normal": 1, "abnormal": 2, "unlabelled": 1},
        "version": "5",
        "bytes": 4 * len(sound(1)),
        "damaged_lines": 0,
    }
    assert growing.client.get("/v1/datasets").json() == {"datasets": [shown]}
    for unconfirmed in ({}, {"confirm": "hall-4"}):
        refused = assert_problem(growing.client.delete(HALL, params=unconfirmed), 422, "request_invalid")
        assert refused["detail"].startswith("query.confirm is ")
    assert growing.client.get(HALL).json() == shown
    gone = growing.client.delete(HALL, params=CONFIRMED)
    assert (gone.status_code, gone.content) == (204, b"")
    for answer in (
        growing.client.get(HALL),
        growing.client.get(RECORDINGS),
        growing.client.delete(HALL, params=CONFIRMED),
    ):
        assert_problem(answer, 404, "dataset_not_found")
    assert [path.name for path in (home / "datasets").iterdir() if path.is_dir()] == []


def test_many_are_put_in_at_once_and_none_fails_the_others(growing: ServerProcess) -> None:
    """A result for each file in order: new, there already, refused by name; the labels hold for all of them."""
    put(growing, 1)
    answer = put(growing, 1, b"no sound", 2, sounds.recording(sounds.noise(100)), label="abnormal", fault="imbalance")
    assert answer.status_code == 201
    results = answer.json()["results"]
    assert [(r["file_name"], r["added"], r["relabelled"]) for r in results] == [
        ("0.wav", False, True),
        ("1.wav", False, False),
        ("2.wav", True, False),
        ("3.wav", False, False),
    ]
    assert [r["error"] and r["error"]["code"] for r in results] == [
        None,
        "audio_not_recognised",
        None,
        "audio_too_short",
    ]
    assert [(r["label"], r["fault"]) for r in listed(growing)] == [("abnormal", "imbalance")] * 2
    nothing_new = put(growing, 1, 2)
    assert (nothing_new.status_code, [r["added"] for r in nothing_new.json()["results"]]) == (200, [False, False])


REFUSED = [
    (b"", 422, "audio_empty"),
    (b"no sound at all", 415, "audio_not_recognised"),
    (sounds.recording(sounds.noise(16_000))[:-1000], 422, "audio_truncated"),
    (sounds.recording(sounds.noise(1000)), 422, "audio_too_short"),
    (sounds.recording(sounds.noise(16_000), rate_hz=1000), 422, "audio_sample_rate_unsupported"),
    (sounds.wav(b"\0" * 16_000, tag=0x55), 415, "audio_codec_unsupported"),
    (sounds.recording(sounds.noise(8000, channels=65)), 422, "audio_too_many_channels"),
    (sounds.silent_flac(601, 1), 413, "audio_too_long"),
    (sounds.wav(b"\xff" * 64_000, tag=sounds.FLOAT, bits=32), 422, "audio_not_finite"),
]


@pytest.mark.parametrize(("content", "status", "code"), REFUSED, ids=[code for _, _, code in REFUSED])
def test_what_is_no_recording_is_refused_by_name(shared: ServerProcess, content: bytes, status: int, code: str) -> None:
    """As an inference would refuse it; no dataset is made for it."""
    assert_problem(put(shared, content), status, code)
    assert_problem(shared.client.get(HALL), 404, "dataset_not_found")


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"label": "broken"}, "recording_labels_invalid"),
        ({"fault": "imbalance"}, "recording_labels_invalid"),
        ({"label": "normal", "fault": "imbalance"}, "recording_labels_invalid"),
        ({"snr_db": "loud"}, "recording_labels_invalid"),
        ({"machine": "x" * 65}, "recording_labels_invalid"),
        ({"machine": "a\nb"}, "recording_labels_invalid"),
        ({"machine": "x" * 5000}, "request_invalid"),
        ({"lable": "normal"}, "parameter_unknown"),
    ],
)
def test_labels_that_mean_nothing_are_refused(shared: ServerProcess, fields: dict[str, str], code: str) -> None:
    """Also mistyped names: a label must not be lost in silence."""
    assert_problem(put(shared, 1, **fields), 422, code)
    assert_problem(shared.client.get(HALL), 404, "dataset_not_found")


def test_a_form_that_contradicts_itself_is_refused(shared: ServerProcess) -> None:
    """A label twice, a label that is no text, no file, too many files, no form."""
    twice = [("file", ("a.wav", sound(1))), ("label", (None, b"normal")), ("label", (None, b"abnormal"))]
    assert_problem(shared.client.post(RECORDINGS, files=twice), 422, "request_invalid")
    no_text = [("file", ("a.wav", sound(1))), ("machine", (None, b"\xff\xfe"))]
    assert_problem(shared.client.post(RECORDINGS, files=no_text), 422, "request_invalid")
    assert_problem(shared.client.post(RECORDINGS, files=[("label", (None, b"normal"))]), 422, "part_missing")
    assert_problem(put(shared, *[b"x"] * 65), 422, "part_too_many")
    assert_problem(shared.client.post(RECORDINGS, json={"label": "normal"}), 415, "media_type_unsupported")


def test_an_upload_is_held_to_the_limits_of_the_service(home: Path, serve: Serve) -> None:
    """A recording that is too long to be judged is too long to be put in."""
    server = serve(home, wait_for="/livez", max_duration_s=1)
    assert_problem(put(server, sound(1, seconds=1.5)), 413, "audio_too_long")
    assert put(server, sound(1, seconds=0.9)).status_code == 201


def test_an_upload_may_be_as_large_as_one_to_be_judged(growing: ServerProcess) -> None:
    """Megabytes are taken at this path, and 413 is the answer beyond the limit."""
    long = sounds.recording(sounds.noise(8000 * 200, seed=5), rate_hz=8000)
    assert put(growing, long).status_code == 201
    assert_problem(put(growing, b"\0" * (33 * 2**20)), 413, "body_too_large")
    assert_problem(growing.client.post("/v1/datasets", content=b" " * 70_000), 413, "body_too_large")


@pytest.mark.parametrize("name", ["A", ".hidden", "..%2f..%2fetc", "%00", "a" * 65, "%C3%A9", "a%0a"])
def test_no_name_leads_out_of_the_home(shared: ServerProcess, name: str) -> None:
    """By no route; the sentence says what a name may be."""
    for method, path in (
        ("GET", ""),
        ("DELETE", ""),
        ("GET", "/recordings"),
        ("GET", "/recordings/x"),
        ("GET", "/recordings/x/audio"),
    ):
        answer = shared.client.request(method, f"/v1/datasets/{name}{path}")
        assert_problem(answer, answer.status_code, answer.json()["code"])
        assert answer.json()["code"] in ("name_invalid", "route_not_found", "method_not_allowed")
    answer = put(shared, 1, path=f"/v1/datasets/{name}/recordings")
    assert answer.json()["code"] in ("name_invalid", "route_not_found")


@pytest.mark.parametrize("file_name", ["../../../../tmp/x.wav", "/etc/passwd", "..\\x.wav", "con:.wav", "a\u202eb.wav"])
def test_a_file_name_is_only_shown(shared: ServerProcess, file_name: str) -> None:
    """Whatever it says, the file lies in the dataset under a name of ours."""
    result = put_one(shared, 1, names=lambda _: file_name)
    assert result["file_name"] == file_name
    (file,) = (shared.home / "datasets" / "hall-3" / "recordings").iterdir()
    assert file.name == f"00000001-{result['id'][:16]}.wav"
    assert shared.client.get(f"{RECORDINGS}/{result['id']}/audio").content == sound(1)
    shared.client.delete(HALL, params=CONFIRMED).raise_for_status()


def test_the_same_sound_is_kept_once(growing: ServerProcess) -> None:
    """As WAV, then as FLAC: 200 with the one that is there; other labels are a correction, left out ones are none."""
    samples = sounds.noise(4000, seed=1)
    # WAV and FLAC of the same 16 bits.
    as_wav = sounds.recording(sounds.read_with_soundfile(sounds.flac(samples, 8000)), rate_hz=8000)
    first = put_one(growing, as_wav, label="normal", machine="fan")
    again = put(growing, sounds.flac(samples, 8000), label="abnormal", fault="imbalance")
    assert again.status_code == 200
    (result,) = again.json()["results"]
    assert (result["id"], result["added"], result["relabelled"]) == (first["id"], False, True)
    (recording,) = listed(growing)
    assert (recording["label"], recording["fault"], recording["machine"]) == ("abnormal", "imbalance", "fan")
    assert recording["codec"] == "pcm"
    assert not put_one(growing, as_wav)["relabelled"]


def test_a_correction_is_kept_with_its_history(growing: ServerProcess) -> None:
    """Fields left out stay, null clears, nothing new is no revision; each revision has its request."""
    recording = f"{RECORDINGS}/{put_one(growing, 1, machine='fan', group='monday')['id']}"
    said = {"label": "abnormal", "fault": "imbalance"}
    changes: list[Json] = [said, {"fault": "imbalance"}, {"group": None, "snr_db": -6}, {}, {"label": "normal"}]
    answers = [
        growing.client.patch(recording, json=change, headers={"X-Request-ID": f"change-{number}"})
        for number, change in enumerate(changes)
    ]
    assert [answer.status_code for answer in answers] == [200] * 5
    shown = growing.client.get(recording).json()
    assert answers[-1].json() == shown
    assert [(r["request_id"], r["changed"], r["label"], r["fault"], r["group"]) for r in shown["history"][1:]] == [
        ("change-0", ["label", "fault"], "abnormal", "imbalance", "monday"),
        ("change-2", ["snr_db", "group"], "abnormal", "imbalance", None),
        ("change-4", ["label", "fault"], "normal", None, None),
    ]
    assert (shown["label"], shown["fault"], shown["machine"], shown["snr_db"]) == ("normal", None, "fan", -6)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"label": "broken"}, "request_invalid"),
        ({"colour": "red"}, "request_invalid"),
        ({"machine": "x" * 65}, "request_invalid"),
        ({"machine": "a\nb"}, "request_invalid"),
        ({"snr_db": "6"}, "request_invalid"),
        ({"fault": "imbalance"}, "recording_labels_invalid"),
        ({"label": "normal", "fault": "imbalance"}, "recording_labels_invalid"),
    ],
)
def test_a_correction_that_means_nothing_is_refused(shared: ServerProcess, change: Json, code: str) -> None:
    """By name, and nothing changes."""
    recording = f"{RECORDINGS}/{put_one(shared, 1, label='normal')['id']}"
    assert_problem(shared.client.patch(recording, json=change), 422, code)
    assert len(shared.client.get(recording).json()["history"]) == 1
    shared.client.delete(HALL, params=CONFIRMED).raise_for_status()


def test_a_removed_recording_is_gone(growing: ServerProcess, home: Path) -> None:
    """204, then 404 at each of its routes, and its file is not there."""
    recording = f"{RECORDINGS}/{put_one(growing, 1)['id']}"
    assert growing.client.delete(recording).status_code == 204
    for answer in (
        growing.client.get(recording),
        growing.client.get(f"{recording}/audio"),
        growing.client.delete(recording),
        growing.client.patch(recording, json={"label": "normal"}),
    ):
        assert_problem(answer, 404, "recording_not_found")
    assert list((home / "datasets" / "hall-3" / "recordings").iterdir()) == []
    assert listed(growing) == []


def test_a_recording_whose_file_was_lost_says_so(growing: ServerProcess, home: Path) -> None:
    """404 instead of a fault of ours."""
    result = put_one(growing, 1)
    shutil.rmtree(home / "datasets" / "hall-3" / "recordings")
    assert_problem(growing.client.get(f"{RECORDINGS}/{result['id']}/audio"), 404, "recording_not_found")


def test_pages_hold_every_recording_once(growing: ServerProcess) -> None:
    """In the order of upload, whatever is put in and removed meanwhile; filters hold on every page."""
    ids = [result["id"] for result in put(growing, *range(7), label="normal").json()["results"]]
    put(growing, 8, 9, machine_id="fan-3")
    page = growing.client.get(RECORDINGS, params={"limit": 3}).json()
    assert [r["id"] for r in page["recordings"]] == ids[:3]
    growing.client.delete(f"{RECORDINGS}/{ids[0]}")
    growing.client.delete(f"{RECORDINGS}/{ids[3]}")
    put(growing, 10)
    seen = [r["id"] for r in page["recordings"]]
    while page["next_cursor"] is not None:
        page = growing.client.get(RECORDINGS, params={"limit": 3, "cursor": page["next_cursor"]}).json()
        seen += [r["id"] for r in page["recordings"]]
    assert seen[:6] == ids[:3] + ids[4:]
    assert (len(seen), len(set(seen))) == (9, 9)
    assert [r["id"] for r in listed(growing, label="normal")] == ids[1:3] + ids[4:]
    assert growing.client.get(RECORDINGS, params={"limit": 8}).json()["next_cursor"] is None
    assert len(listed(growing, label="unlabelled")) == 3
    assert len(listed(growing, label="abnormal")) == 0
    assert len(listed(growing, machine_id="fan-3")) == 2
    assert_problem(growing.client.get(RECORDINGS, params={"limit": 0}), 422, "request_invalid")
    assert_problem(growing.client.get(RECORDINGS, params={"label": "odd"}), 422, "request_invalid")


def test_ten_thousand_recordings_are_paged_fast(growing: ServerProcess, home: Path) -> None:
    """After the first look at them a page takes milliseconds, and so does putting one more in."""
    put(growing, 1, label="normal")
    journal = home / "datasets" / "hall-3" / "journal.jsonl"
    created, first = journal.read_bytes().splitlines()
    entry = json.loads(first)
    lines = [created]
    for number in range(1, 10_001):
        entry |= {"number": number, "survey": entry["survey"] | {"audio_hash": f"{number:032x}"}}
        lines.append(json.dumps(entry).encode())
    journal.write_bytes(b"\n".join([*lines, b""]))
    assert growing.client.get(HALL).json()["recordings"] == 10_000
    start, seen, cursor = time.perf_counter(), 0, 0
    while cursor is not None:
        page = growing.client.get(RECORDINGS, params={"limit": 1000, "cursor": cursor}).json()
        seen, cursor = seen + len(page["recordings"]), page["next_cursor"]
    assert seen == 10_000
    assert time.perf_counter() - start < 5
    start = time.perf_counter()
    put_one(growing, 2)
    assert time.perf_counter() - start < 1


def test_a_folder_laid_by_hand_is_listed_and_not_touched(growing: ServerProcess, home: Path) -> None:
    """Its kind is told without reading it; uploads, labels and removals are refused by name."""
    datasets.write(home / "datasets" / "hall-3", "normal/1.wav", "abnormal/2.wav")
    (found,) = growing.client.get("/v1/datasets").json()["datasets"]
    assert found == growing.client.get(HALL).json()
    assert (found["name"], found["kind"], found["recordings"], found["version"]) == ("hall-3", "folder", None, None)
    for answer in (
        put(growing, 1),
        growing.client.get(RECORDINGS),
        growing.client.patch(f"{RECORDINGS}/x", json={"label": "normal"}),
        growing.client.delete(f"{RECORDINGS}/x"),
        growing.client.delete(HALL, params=CONFIRMED),
    ):
        assert "laid there by hand" in assert_problem(answer, 409, "dataset_read_only")["detail"]
    assert_problem(growing.client.post("/v1/datasets", json={"name": "hall-3"}), 409, "dataset_exists")
    announced = request("POST", RECORDINGS, [MULTIPART_TYPE, ("content-length", "1000000")])
    assert_problem(growing.exchange(announced), 409, "dataset_read_only")  # before the body is sent
    assert len(list((home / "datasets" / "hall-3").rglob("*.wav"))) == 2


def test_a_method_that_is_not_there_is_told_those_that_are(shared: ServerProcess) -> None:
    """All of one path, though each is a route of its own."""
    for path, allowed in (("/v1/datasets", "GET, POST"), (f"{RECORDINGS}/x", "GET, PATCH, DELETE"), ("/livez", "GET")):
        answer = shared.client.put(path, json={})
        assert_problem(answer, 405, "method_not_allowed")
        assert answer.headers["allow"] == allowed


def test_two_servers_share_what_they_are_sent(home: Path, serve: Serve) -> None:
    """Of the same sounds sent to both at once, each is kept once, and both list the same."""
    servers = [serve(home, wait_for="/livez") for _ in range(2)]
    results: list[Json] = []

    def send(server: ServerProcess) -> None:
        results.extend(put_one(server, seed, label="normal") for seed in range(12))

    threads = [threading.Thread(target=send, args=(server,)) for server in servers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(result["added"] for result in results) == [False] * 12 + [True] * 12
    lists = [listed(server) for server in servers]
    assert lists[0] == lists[1]
    assert len({recording["id"] for recording in lists[0]}) == len(lists[0]) == 12
    servers[0].client.delete(f"{RECORDINGS}/{lists[0][0]['id']}")
    assert listed(servers[1]) == lists[0][1:]


def test_what_was_acknowledged_outlives_a_kill(home: Path, serve: Serve) -> None:
    """kill -9 amid a stream of uploads: each that was answered is there with its labels, whole, and nothing half."""
    server = serve(home, wait_for="/livez", processes=2)
    acknowledged: dict[str, tuple[int, str]] = {}

    def send(start: int) -> None:
        with httpx.Client(base_url=server.base_url, trust_env=False, timeout=10) as client:
            for seed in range(start, start + 500):
                group = f"group-{seed}"
                form = {"label": "abnormal", "group": group}
                try:
                    answer = client.post(RECORDINGS, files={"file": ("a.wav", sound(seed))}, data=form)
                except httpx.TransportError:
                    return
                acknowledged[answer.json()["results"][0]["id"]] = (seed, group)

    threads = [threading.Thread(target=send, args=(start,)) for start in (0, 1000, 2000)]
    for thread in threads:
        thread.start()
    time.sleep(1.5)
    for process in reversed(server.processes()):
        process.kill()
    server.kill()
    for thread in threads:
        thread.join()
    assert len(acknowledged) > 10

    again = serve(home, wait_for="/livez")
    found = {r["id"]: r for r in listed(again, limit=1000)}
    assert set(acknowledged) <= set(found)
    for recording, (seed, group) in acknowledged.items():
        assert (found[recording]["label"], found[recording]["group"]) == ("abnormal", group)
        assert again.client.get(f"{RECORDINGS}/{recording}/audio").content == sound(seed)
    put(again, 5000)
    hall = Collection(home, "hall-3")
    kept = {file.name for file in (hall.folder / "recordings").iterdir()}
    assert kept == {Path(recording.path).name for recording in hall.recordings()}
    assert hall.damaged == 0


def test_a_full_disk_is_507_and_leaves_nothing_half(home: Path, serve: Serve) -> None:
    """A real one: what was there is, the rest is refused by name, and comes again once there is room."""
    home.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(home)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no tmpfs can be mounted here: that takes root and CAP_SYS_ADMIN")
    try:
        server = serve(home, wait_for="/livez")
        kept = []
        for seed in range(200):
            answer = put(server, seed, label="normal")
            if answer.status_code != 201:
                break
            kept.append(answer.json()["results"][0]["id"])
        assert str(home) not in assert_problem(answer, 507, "storage_full")["detail"]
        assert 10 < len(kept) < 200
        assert [r["id"] for r in listed(server, limit=1000)] == kept
        assert len(list((home / "datasets" / "hall-3" / "recordings").iterdir())) == len(kept)
        assert_problem(put(server, 500, path="/v1/datasets/another/recordings"), 507, "storage_full")
        assert [d["name"] for d in server.client.get("/v1/datasets").json()["datasets"]] == ["hall-3"]
        assert server.client.delete(f"{RECORDINGS}/{kept[0]}").status_code in (204, 507)
        subprocess.run(["mount", "-o", "remount,size=2m", str(home)], check=True)
        assert put(server, 300).status_code == 201
        server.stop()
    finally:
        subprocess.run(["umount", str(home)], check=True)


def test_keys_say_who_may_look_and_who_may_change(home: Path, serve: Serve) -> None:
    """Reading takes predict, changing takes admin, and without a key there is nothing."""
    home.mkdir()
    keys = {scope: ApiKeyStore(home).create(scope, scope) for scope in ("predict", "admin")}
    server = serve(home, wait_for="/livez", require_api_key=True)
    recording = f"{RECORDINGS}/{read_info(sound(1)).audio_hash}"

    def ask(method: str, path: str, scope: str | None, **body: Any) -> httpx.Response:
        headers = {"X-API-Key": keys[scope]} if scope else {}
        return server.client.request(method, path, headers=headers, **body)

    changing: list[tuple[str, str, Json]] = [
        ("POST", "/v1/datasets", {"json": {"name": "hall-3"}}),
        ("POST", RECORDINGS, {"files": {"file": ("a.wav", sound(1))}}),
        ("PATCH", recording, {"json": {"label": "normal"}}),
        ("DELETE", recording, {}),
        ("DELETE", HALL, {"params": CONFIRMED}),
    ]
    reading = ["/v1/datasets", HALL, RECORDINGS, recording, f"{recording}/audio"]
    for method, path, body in changing:
        assert_problem(ask(method, path, None, **body), 401, "api_key_missing")
        assert_problem(ask(method, path, "predict", **body), 403, "api_key_scope_missing")
    for path in reading:
        assert_problem(ask("GET", path, None), 401, "api_key_missing")
    for method, path, body in changing[:3]:
        assert ask(method, path, "admin", **body).is_success
    for path in reading:
        assert ask("GET", path, "predict").status_code == 200
    for method, path, body in changing[3:]:
        assert ask(method, path, "admin", **body).status_code == 204


def test_what_was_put_in_can_be_inspected_by_its_folder(growing: ServerProcess, home: Path) -> None:
    """The command line reads a dataset that grew over HTTP as it reads any other."""
    put(growing, 1, 2, 3, label="normal", group="monday")
    put(growing, 4, 5, label="abnormal", fault="imbalance", group="tuesday")
    put(growing, 6)
    done = signalml(home, "inspect", home / "datasets" / "hall-3", "--json")
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert (facts["layout"], facts["labels"]) == ("collection", {"normal": 3, "abnormal": 2})
    assert [r["code"] for r in facts["refusals"]] == ["label_missing"]
