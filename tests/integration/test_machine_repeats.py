"""Uploads that are sent again, late or in another order: each recording counts once, where it belongs."""

import shutil
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from testing.servers import Serve, ServerProcess, assert_problem, wait_until
from tests import sounds
from tests.integration.machines import FILE, count_verdicts, health, new_recording, wait_for_verdicts
from tests.integration.uploads import WAV_TYPE

PATHS = ("/inference", "/v1/predict", "/v1/predict/batch")
REPLAYED = "Idempotent-Replayed"


@pytest.fixture(scope="module")
def recording(original_home: Path, serve_for_all: Serve, tmp_path_factory: pytest.TempPathFactory) -> ServerProcess:
    """A server with two processes."""
    home = Path(shutil.copytree(original_home, tmp_path_factory.mktemp("repeats") / "home"))
    return serve_for_all(home, processes=2, inference_threads=1)


def sent(
    server: ServerProcess, content: bytes, machine_id: str, path: str = "/v1/predict", **more: Any
) -> httpx.Response:
    """The answer to an upload of these bytes, over a new connection: any process can take it."""
    files = {"file": (more.pop("name", "a.wav"), content)}
    params = {"machine_id": machine_id} | more.pop("params", {})
    return server.afresh("POST", path, files=files, params=params, **more)


@pytest.mark.parametrize("path", PATHS)
def test_an_upload_sent_three_times_counts_once(recording: ServerProcess, faulty: bytes, path: str) -> None:
    """By any process, with a key or without: the answer is the verdict, with the fact that it counted before."""
    for key in ({}, {"Idempotency-Key": f"retry{path}"}):
        machine_id, content = f"retry{path.replace('/', '-')}{len(key)}", new_recording(faulty)
        first = sent(recording, content, machine_id, path, headers=key)
        wait_for_verdicts(recording, 1, machine_id)
        again = [sent(recording, content, machine_id, path, headers=key) for _ in range(3)]
        assert [answer.status_code for answer in (first, *again)] == [200] * 4
        assert [answer.headers.get(REPLAYED) for answer in (first, *again)] == [None, *["true"] * 3]
        if path == "/v1/predict":
            entry, before = again[0].json().pop("machine"), first.json()["machine"]
            assert (before["counted"], before["first_at"], entry["counted"]) == (True, None, False)
            assert entry["first_at"] <= entry["recorded_at"]
        if path == "/inference":
            assert again[0].json() == first.json()
        wait_until(lambda machine_id=machine_id: health(recording, machine_id)["latest"][0]["repeats"] == 3)
        assert (count_verdicts(recording, machine_id), health(recording, machine_id)["state"]) == (1, "normal")


def test_uploads_of_one_recording_at_once_count_once(recording: ServerProcess, faulty: bytes) -> None:
    """Sixteen at the same time, two processes: one verdict."""
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: sent(recording, faulty, "at-once").raise_for_status(), range(16)))
    wait_until(lambda: health(recording, "at-once")["latest"][0]["repeats"] == 15)
    assert count_verdicts(recording, "at-once") == 1


def test_equal_files_of_a_batch_count_once(recording: ServerProcess, faulty: bytes) -> None:
    """Each has its verdict; the second states that it does not count."""
    files = [("file", (name, faulty)) for name in ("a.wav", "b.wav")]
    answer = recording.client.post("/v1/predict/batch", files=files, params={"machine_id": "twice"})
    assert [item["prediction"]["machine"]["counted"] for item in answer.json()["results"]] == [True, False]
    assert REPLAYED not in answer.headers
    wait_for_verdicts(recording, 1, "twice")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("machine_id", ["keyed", None])
def test_a_key_belongs_to_one_upload(
    recording: ServerProcess, healthy: bytes, path: str, machine_id: str | None
) -> None:
    """Other bytes, or another machine, are refused as in jobs; nothing is judged or recorded."""
    params = {} if machine_id is None else {"machine_id": machine_id + path.replace("/", "-")}
    headers = {"Idempotency-Key": f"{machine_id}{path}"}

    def with_key(content: bytes, **changed: str) -> httpx.Response:
        files = {"file": ("a.wav", content)}
        return recording.afresh("POST", path, files=files, params=params | changed, headers=headers)

    assert with_key(healthy).status_code == 200
    time.sleep(0.2)  # another process knows the key when it is written
    assert with_key(healthy).status_code == 200
    assert_problem(with_key(new_recording(healthy)), 422, "idempotency_conflict")
    assert_problem(with_key(healthy, machine_id="another"), 422, "idempotency_conflict")
    spaced = recording.client.post(path, files={"file": ("a.wav", healthy)}, headers={"Idempotency-Key": "a b"})
    assert_problem(spaced, 422, "request_invalid")


def test_a_retry_after_a_restart_counts_once(serve: Serve, home: Path, faulty: bytes) -> None:
    """The record is on the disk, and a new process reads it."""
    server = serve(home)
    sent(server, faulty, "fan-3", headers={"Idempotency-Key": "k"})
    wait_for_verdicts(server, 1)
    server.stop()
    server = serve(home)
    answer = sent(server, faulty, "fan-3", headers={"Idempotency-Key": "k"})
    assert answer.json()["machine"]["counted"] is False
    other = sent(server, new_recording(faulty), "fan-3", headers={"Idempotency-Key": "k"})
    assert_problem(other, 422, "idempotency_conflict")
    wait_for_verdicts(server, 1)


def test_a_record_that_cannot_be_read_is_stated(serve: Serve, home: Path, healthy: bytes) -> None:
    """The verdict is answered; whether it counts is not known."""
    (home / FILE).parent.mkdir()
    (home / FILE).write_bytes(b"not a database at all" * 100)
    answer = sent(serve(home), healthy, "fan-3", headers={"Idempotency-Key": "k"})
    assert (answer.status_code, answer.json()["machine"]["counted"]) == (200, None)


def bext(time: str) -> bytes:
    """A bext chunk (EBU Tech 3285) with date and time of the origination."""
    return bytes(320) + time.encode() + bytes(602 - 320 - len(time))


def info(time: str) -> bytes:
    """A LIST chunk with a creation date."""
    return b"INFO" + sounds.chunk(b"ICRD", time.encode())


def entry_of(answer: httpx.Response) -> tuple[str, str]:
    """Time of the recording and where it comes from."""
    entry = answer.raise_for_status().json()["machine"]
    return entry["recorded_at"], entry["time_from"]


STATED = "2026-11-20T14:30:00.000+00:00"


@pytest.mark.parametrize(
    "stated",
    ["2026-11-20T14:30:00Z", "2026-11-20 14:30", "2026-11-20T15:30:00+01:00", "20261120T143000", "2026-11-20T09:30-05"],
)
def test_a_time_is_stated_in_the_address_or_in_the_form(recording: ServerProcess, wav: bytes, stated: str) -> None:
    """With a time zone or without; a plus sign may be lost in the address, as often."""
    stated_at = {"recorded_at": stated}
    for more in ({"params": stated_at}, {"data": stated_at}, {"data": stated_at, "params": stated_at}):
        assert entry_of(sent(recording, new_recording(wav), "stated", **more)) == (STATED, "request")
    raw = recording.client.post(
        f"/v1/predict?machine_id=stated&recorded_at={stated}", content=new_recording(wav), headers=WAV_TYPE
    )
    assert entry_of(raw) == (STATED, "request")


def test_a_time_comes_from_the_file_or_its_name(recording: ServerProcess, wav: bytes) -> None:
    """The request comes first, then the file, then its name; else it is the time of the answer."""
    in_bext = sounds.with_chunk(wav, b"bext", bext("2026-11-20" + "14:30:00"))
    in_info = sounds.with_chunk(wav, b"LIST", info("2026-11-20T15:30:00+01:00"))
    name = "fan 2026-11-20 14-30-00.wav"
    for content in (in_bext, in_info):
        assert entry_of(sent(recording, content, "own-time", name="2026-11-21 10-00-00.wav")) == (STATED, "file")
    assert entry_of(sent(recording, wav, "own-time", name=name)) == (STATED, "name")
    stated = {"recorded_at": "2026-11-19T10:00Z"}
    other = sounds.with_chunk(in_bext, b"note", b"12")
    assert entry_of(sent(recording, other, "own-time", data=stated)) == ("2026-11-19T10:00:00.000+00:00", "request")


@pytest.mark.parametrize("date", ["1970-01-01 00-00-00", "2099-01-01 00-00-00", "2026-11-20", "20261131T100000"])
def test_an_unusable_time_of_a_file_is_ignored(recording: ServerProcess, wav: bytes, date: str) -> None:
    """A clock that was not set, a date alone, a day that does not exist: the recording is judged all the same."""
    content = sounds.with_chunk(new_recording(wav), b"bext", bext(date[:10] + date[11:].replace("-", ":")))
    assert entry_of(sent(recording, content, "no-time", name=f"{date}.wav"))[1] == "arrival"


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("stated", "reason"),
    [
        ("yesterday", "ISO 8601"),
        ("2026-11-20", "time of day"),
        ("2026-11-31T10:00:00Z", "ISO 8601"),
        ("1970-01-01T00:00:00Z", "before the year 2000"),
        ("0001-01-01T00:00:00+14:00", "ISO 8601"),
        ("2999-01-01T00:00:00Z", "in the future"),
    ],
)
def test_a_stated_time_that_cannot_be_is_refused(
    recording: ServerProcess, wav: bytes, path: str, stated: str, reason: str
) -> None:
    """In the address and in the form, with or without a machine; nothing is judged."""
    stated_at = {"recorded_at": stated}
    for more in ({"params": stated_at}, {"data": stated_at}):
        answer = recording.client.post(path, files={"file": ("a.wav", wav)}, **more)
        assert reason in assert_problem(answer, 422, "recorded_at_invalid")["detail"]


def test_each_file_of_a_batch_has_its_own_time(recording: ServerProcess, healthy: bytes, faulty: bytes) -> None:
    """In the order of the files, as parts, as parameters or in one text; an empty one is not known."""
    times = ["2026-11-20T12:00Z", "2026-11-20T10:00Z", "2026-11-20T11:00Z"]
    for way, more in {"parts": {"data": {"recorded_at": times}}, "query": {"params": {"recorded_at": times}}}.items():
        contents = [new_recording(each) for each in (faulty, healthy, healthy)]
        files = [("file", (f"{number}.wav", each)) for number, each in enumerate(contents)]
        params = {"machine_id": f"batch-{way}"} | more.get("params", {})
        recording.client.post("/v1/predict/batch", files=files, params=params, data=more.get("data")).raise_for_status()
        wait_for_verdicts(recording, 3, f"batch-{way}")
        verdicts = [each["verdict"] for each in health(recording, f"batch-{way}")["latest"]]
        assert verdicts == ["anomalous", "normal", "normal"]
    files = [("file", ("a.wav", new_recording(wav))) for wav in (healthy, healthy)]
    one_text = recording.client.post(
        "/v1/predict/batch",
        files=files,
        params={"machine_id": "batch-text"},
        data={"recorded_at": "2026-11-20T12:00Z,"},
    )
    found = [item["prediction"]["machine"]["time_from"] for item in one_text.json()["results"]]
    assert found == ["request", "arrival"]
    wrong = recording.client.post("/v1/predict/batch", files=files, data={"recorded_at": times})
    assert "3 times for 2 files" in assert_problem(wrong, 422, "request_invalid")["detail"]
    future = {"recorded_at": [times[0], "2099-01-01T00:00Z"]}
    answer = recording.client.post("/v1/predict/batch", files=files, data=future)
    assert assert_problem(answer, 422, "recorded_at_invalid")["detail"].startswith("File 2: ")


def test_late_faults_raise_no_alarm_today(recording: ServerProcess, healthy: bytes, faulty: bytes) -> None:
    """A machine that is normal today gets the faults of last week."""
    for hour in range(5):
        stated = {"recorded_at": f"2026-11-25T1{hour}:00Z"}
        sent(recording, new_recording(healthy), "late", params=stated).raise_for_status()
    for hour in range(5):
        stated = {"recorded_at": f"2026-11-20T1{hour}:00Z"}
        sent(recording, new_recording(faulty), "late", params=stated).raise_for_status()
    wait_for_verdicts(recording, 10, "late")
    found = health(recording, "late")
    (alarm,) = found["alarms"]
    assert (found["state"], found["anomalous"]) == ("normal", 0)
    assert (alarm["raised_at"][:13], alarm["cleared_at"][:13]) == ("2026-11-20T12", "2026-11-25T13")


def test_a_flac_file_has_its_time_in_a_comment(recording: ServerProcess, flac: bytes) -> None:
    """In a VORBIS_COMMENT block."""
    comments = [b"vendor", b"ARTIST=nobody", b"DATE=2026-11-20T14:30:00"]
    texts = [struct.pack("<I", len(text)) + text for text in comments]
    block = texts[0] + struct.pack("<I", len(comments) - 1) + b"".join(texts[1:])
    first = 4 + 4 + 34  # magic, header of a block, STREAMINFO
    content = flac[:4] + bytes([flac[4] & 0x7F]) + flac[5:first]
    content += bytes([4]) + len(block).to_bytes(3, "big") + block + flac[first:]
    assert entry_of(sent(recording, content, "comments")) == (STATED, "file")
