"""Recordings put in over HTTP: kept by whoever they were sent, corrected, removed, listed by pages."""

import io
import json
import shutil
from pathlib import Path
from typing import Any

import httpx
import soundfile

from api.api_keys import ApiKeyStore
from api.scopes import SCOPES
from ml.audio.info import read_info
from testing.servers import Serve, ServerProcess, assert_problem
from tests import sounds
from tests.commands import signalml
from tests.integration.recordings import CONFIRMED, HALL, RECORDINGS, Json, listed, put, put_one
from tests.unit.datasets import write
from tests.unit.recordings import sound

# Facts of one dataset that take time to find.
NOT_IN_LISTS = {"passed_over": None, "contradictions": None}


def test_a_recording_that_was_put_in_is_there(growing: ServerProcess) -> None:
    """201 with its id and facts; the dataset is made; it is listed, shown and downloaded as it was sent."""
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
    audio = growing.client.get(f"{RECORDINGS}/{result['id']}/audio")
    assert (audio.content, audio.headers["content-type"]) == (content, "audio/wav")
    assert audio.headers["x-content-type-options"] == "nosniff"


def test_recordings_of_other_formats_are_kept_as_they_are(growing: ServerProcess) -> None:
    """An MP3 and an AIFF come back byte by byte, with the media type of their bytes."""
    for kind, subtype, codec, media_type in (
        ("MP3", "MPEG_LAYER_III", "mp3", "audio/mpeg"),
        ("AIFF", "PCM_16", "pcm", "audio/aiff"),
    ):
        file = io.BytesIO()
        soundfile.write(file, sounds.noise(16_000), 16_000, format=kind, subtype=subtype)
        (result,) = put(growing, file.getvalue(), label="normal").json()["results"]
        assert result["recording"]["codec"] == codec
        audio = growing.client.get(f"{RECORDINGS}/{result['id']}/audio")
        assert (audio.content, audio.headers["content-type"]) == (file.getvalue(), media_type)


def test_a_dataset_is_made_listed_shown_and_removed(growing: ServerProcess) -> None:
    """201 with its place, 409 the second time, counts by label, 204, and then it is not there."""
    assert growing.client.get("/v1/datasets").json() == {"datasets": [], "next_cursor": None}
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
        "passed_over": [],
        "contradictions": 0,
    }
    assert growing.client.get("/v1/datasets").json() == {"datasets": [shown | NOT_IN_LISTS], "next_cursor": None}
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
    assert [path.name for path in (growing.home / "datasets").iterdir() if path.is_dir()] == []


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
    labels = {"label": "abnormal", "fault": "imbalance"}
    changes: list[Json] = [labels, {"fault": "imbalance"}, {"group": None, "snr_db": -6}, {}, {"label": "normal"}]
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


def test_an_answer_has_the_latest_revisions(growing: ServerProcess) -> None:
    """However often a label was changed; more are shown if they are asked for, and their number is known."""
    recording = f"{RECORDINGS}/{put_one(growing, 1)['id']}"
    for number in range(120):
        answer = growing.client.patch(recording, json={"group": f"group {number}"})
    shown = answer.json()
    assert (len(shown["history"]), shown["revisions"]) == (100, 121)
    assert [revision["group"] for revision in shown["history"]] == [f"group {number}" for number in range(20, 120)]
    assert growing.client.get(recording).json() == shown
    everything = growing.client.get(recording, params={"revisions": 1000}).json()
    assert (len(everything["history"]), everything["history"][0]["changed"]) == (121, [])
    assert len(growing.client.get(recording, params={"revisions": 1}).json()["history"]) == 1
    assert_problem(growing.client.get(recording, params={"revisions": 10**9}), 422, "request_invalid")


def test_pages_hold_every_dataset_once(growing: ServerProcess) -> None:
    """In alphabetical order, whatever is created and removed meanwhile."""
    for name in "abcde":
        growing.client.post("/v1/datasets", json={"name": name})
    pages, cursor = [], ""
    while cursor is not None:
        page = growing.client.get("/v1/datasets", params={"limit": 2, "cursor": cursor}).json()
        pages.append([dataset["name"] for dataset in page["datasets"]])
        cursor = page["next_cursor"]
        growing.client.delete("/v1/datasets/b", params={"confirm": "b"})
    assert pages == [["a", "b"], ["c", "d"], ["e"]]
    assert_problem(growing.client.get("/v1/datasets", params={"limit": 10**9}), 422, "request_invalid")


def test_a_list_of_datasets_reads_only_journals_that_have_changed(growing: ServerProcess) -> None:
    """Forty datasets, more than are kept in memory: a further list is the work of milliseconds, and is right."""
    put(growing, 1, label="normal")
    journal = (growing.home / "datasets" / "hall-3" / "journal.jsonl").read_bytes()
    first, line = journal.splitlines(keepends=True)
    for number in range(40):
        folder = growing.home / "datasets" / f"copy-{number:02d}"
        (folder / "recordings").mkdir(parents=True)
        (folder / "journal.jsonl").write_bytes(first + line * 200)
    counted = growing.client.get("/v1/datasets").json()["datasets"]
    assert {(each["recordings"], each["version"]) for each in counted[:40]} == {(1, "201")}
    before_s = growing.worked_s()
    for _ in range(5):
        assert growing.client.get("/v1/datasets").json()["datasets"] == counted
    assert growing.worked_s() - before_s < 0.5
    put(growing, 2, label="abnormal")
    growing.client.delete(f"{RECORDINGS}/{listed(growing)[0]['id']}")
    after = growing.client.get("/v1/datasets").json()["datasets"]
    assert after[:40] == counted[:40]
    assert after[40] == growing.client.get(HALL).json() | NOT_IN_LISTS
    assert (after[40]["recordings"], after[40]["labels"]["abnormal"], after[40]["version"]) == (1, 1, "4")


RANGES = {
    "bytes=0-3": (206, b"RIFF"),
    "bytes=-4": (206, None),
    "BYTES = 0 - 3": (206, b"RIFF"),
    "bytes=0-": (206, None),
    f"bytes={','.join(['0-0'] * 500)}": (200, None),
    "bytes=99999999-": (416, "range_not_satisfiable"),
    "bytes=-0": (416, "range_not_satisfiable"),
    "bytes=3-1": (400, "range_malformed"),
    "bytes=,": (400, "range_malformed"),
    "bytes=--5": (400, "range_malformed"),
    "lines=1-2": (400, "range_malformed"),
    f"bytes={'9' * 5000}-": (400, "range_malformed"),
    f"bytes=0-{'9' * 5000}": (400, "range_malformed"),
    f"bytes={'1' * 30_000}": (400, "range_malformed"),
    "\xb2": (400, "range_malformed"),
}


def test_a_range_is_answered_or_refused_like_everything_else(growing: ServerProcess) -> None:
    """A player asks for parts of a file; what it cannot have is a problem with a code, and 416 has the size."""
    content = sound(1)
    audio = f"{RECORDINGS}/{put_one(growing, content)['id']}/audio"
    for header, (status, expected) in RANGES.items():
        answer = growing.client.get(audio, headers=[(b"range", header.encode("latin-1"))])
        assert answer.status_code == status, header[:40]
        if status >= 400:
            assert_problem(answer, status, str(expected))
            assert answer.headers.get("content-range") == (f"bytes */{len(content)}" if status == 416 else None)
        elif expected is not None:
            assert answer.content == expected


def test_a_removed_recording_is_gone(growing: ServerProcess) -> None:
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
    assert list((growing.home / "datasets" / "hall-3" / "recordings").iterdir()) == []
    assert listed(growing) == []


def test_a_recording_whose_file_was_lost_is_file_missing(growing: ServerProcess) -> None:
    """404 instead of a fault of ours."""
    result = put_one(growing, 1)
    shutil.rmtree(growing.home / "datasets" / "hall-3" / "recordings")
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


def test_keys_say_who_may_look_and_who_may_change(tmp_path: Path, serve: Serve) -> None:
    """Reading takes read, uploads and labels take label, removal takes admin; without a key there is nothing."""
    keys = {scope: ApiKeyStore(tmp_path).create(scope, scope) for scope in SCOPES}
    server = serve(tmp_path, wait_for="/livez", require_api_key=True)
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
        for scope in ("predict", "read", "train"):
            assert_problem(ask(method, path, scope, **body), 403, "api_key_scope_missing")
    for path in reading:
        assert_problem(ask("GET", path, None), 401, "api_key_missing")
    for method, path, body in changing[:3]:
        assert ask(method, path, "label", **body).is_success
    for path in reading:
        assert ask("GET", path, "read").status_code == 200
        for scope in ("predict", "label", "train"):
            assert_problem(ask("GET", path, scope), 403, "api_key_scope_missing")
    for method, path, body in changing[3:]:
        assert_problem(ask(method, path, "label", **body), 403, "api_key_scope_missing")
    for method, path, body in changing[3:]:
        assert ask(method, path, "admin", **body).status_code == 204


def test_what_was_put_in_can_be_inspected_by_its_folder(growing: ServerProcess) -> None:
    """The command line reads a dataset that grew over HTTP as it reads any other."""
    put(growing, 1, 2, 3, label="normal", group="monday")
    put(growing, 4, 5, label="abnormal", fault="imbalance", group="tuesday")
    put(growing, 6)
    done = signalml(growing.home, "inspect", growing.home / "datasets" / "hall-3", "--json")
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert (facts["layout"], facts["labels"]) == ("collection", {"normal": 3, "abnormal": 2})
    assert [r["code"] for r in facts["refusals"]] == ["label_missing"]


def test_a_name_that_contradicts_its_label_is_warned_about(growing: ServerProcess) -> None:
    """The recording is kept, with a warning; the dataset counts it until the label is corrected."""
    answer = put(growing, 1, 2, names=lambda n: f"anomaly_{n}.wav" if n == 0 else f"fan_{n}.wav", label="normal")
    first, second = answer.json()["results"]
    assert answer.status_code == 201
    assert (first["warning"], second["warning"]) == ("Its label is normal, and its name has the word 'anomaly'.", None)
    assert growing.client.get(HALL).json()["contradictions"] == 1
    growing.client.patch(f"{RECORDINGS}/{first['id']}", json={"label": "abnormal"})
    assert growing.client.get(HALL).json()["contradictions"] == 0


def test_what_is_passed_over_in_a_folder_is_shown(growing: ServerProcess, tmp_path: Path) -> None:
    """With reason, number and first names, and without reading the recordings; the outside is not followed."""
    folder = write(growing.home / "datasets" / "hall-3", "normal/1.wav", "normal/fault_2.wav", "abnormal/3.wav")
    (folder / "normal" / "4.wav").symlink_to(write(tmp_path, "outside.wav") / "outside.wav")
    for name in ("5.dts", "6.dts"):
        (folder / name).touch()
    shown = growing.client.get(HALL).json()
    assert (shown["kind"], shown["recordings"], shown["contradictions"]) == ("folder", None, 1)
    assert {each["code"]: (each["count"], each["examples"]) for each in shown["passed_over"]} == {
        "format_unsupported": (2, ["5.dts", "6.dts"]),
        "link_outside": (1, ["normal/4.wav"]),
    }
    assert all(each["reason"].endswith(".") and str(tmp_path) not in each["reason"] for each in shown["passed_over"])


def test_sessions_are_listed_with_their_origin(growing: ServerProcess) -> None:
    """Found in the times of the names, or given; a recording without a label is in none."""
    http = growing.client
    for day in (5, 6):
        files = [
            ("file", (f"2024-03-0{day}_12-{minute}-00.wav", sounds.recording(sounds.fan(1.0, seed=100 * day + minute))))
            for minute in (10, 20)
        ]
        form = {"machine": "fan", "machine_id": "fan-3", "label": "normal"}
        assert http.post("/v1/datasets/hall-3/recordings", files=files, data=form).status_code == 201
    assert http.get("/v1/datasets/nosuch/sessions").status_code == 404
    first, second = http.get("/v1/datasets/hall-3/sessions").json()["sessions"]
    assert first == {
        "group": "fan/fan-3/2024-03-05 12:10",
        "origin": "times in names",
        "first": "2024-03-05 12:10",
        "last": "2024-03-05 12:20",
        "normal": 2,
        "abnormal": 0,
        "machines": {"fan/fan-3": 2},
    }
    assert second["group"] == "fan/fan-3/2024-03-06 12:10"
    for recording in http.get("/v1/datasets/hall-3/recordings").json()["recordings"]:
        change = {"group": "monday"} if "05_" in recording["file_name"] else {"label": None}
        http.patch(f"/v1/datasets/hall-3/recordings/{recording['id']}", json=change).raise_for_status()
    (only,) = http.get("/v1/datasets/hall-3/sessions").json()["sessions"]
    assert (only["group"], only["origin"], only["normal"]) == ("monday", "given", 2)
    http.post("/v1/datasets", json={"name": "empty"}).raise_for_status()
    assert http.get("/v1/datasets/empty/sessions").json() == {"sessions": []}
