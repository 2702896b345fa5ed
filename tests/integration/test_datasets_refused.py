"""What is no recording, means nothing, or leads elsewhere is refused by name, and nothing of it is kept."""

from pathlib import Path

import pytest

from testing.servers import MULTIPART_TYPE, Serve, ServerProcess, assert_problem, request
from tests import sounds
from tests.integration.recordings import CONFIRMED, HALL, RECORDINGS, Json, put, put_one
from tests.unit import datasets
from tests.unit.recordings import sound

REFUSED = [
    (b"", 422, "audio_empty"),
    (b"no sound at all", 415, "audio_not_recognised"),
    (sounds.recording(sounds.noise(16_000))[:-1000], 422, "audio_truncated"),
    (sounds.recording(sounds.noise(1000)), 422, "audio_too_short"),
    (sounds.recording(sounds.noise(16_000), rate_hz=1000), 422, "audio_sample_rate_unsupported"),
    (sounds.wav(b"\0" * 16_000, tag=0x45), 415, "audio_codec_unsupported"),
    (sounds.recording(sounds.noise(8000, channels=65)), 422, "audio_too_many_channels"),
    (sounds.silent_flac(601, 1), 413, "audio_too_long"),
    (sounds.wav(b"\xff" * 64_000, tag=sounds.FLOAT, bits=32), 422, "audio_not_finite"),
]


@pytest.mark.parametrize(("content", "status", "code"), REFUSED, ids=[code for _, _, code in REFUSED])
def test_what_is_no_recording_is_refused_by_name(
    growing: ServerProcess, content: bytes, status: int, code: str
) -> None:
    """As an inference would refuse it; no dataset is made for it."""
    assert_problem(put(growing, content), status, code)
    assert_problem(growing.client.get(HALL), 404, "dataset_not_found")


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
def test_labels_that_mean_nothing_are_refused(growing: ServerProcess, fields: dict[str, str], code: str) -> None:
    """Also mistyped names: a label must not be lost in silence."""
    assert_problem(put(growing, 1, **fields), 422, code)
    assert_problem(growing.client.get(HALL), 404, "dataset_not_found")


def test_a_form_that_contradicts_itself_is_refused(growing: ServerProcess) -> None:
    """A label twice, a label that is no text, no file, too many files, no form."""
    twice = [("file", ("a.wav", sound(1))), ("label", (None, b"normal")), ("label", (None, b"abnormal"))]
    assert_problem(growing.client.post(RECORDINGS, files=twice), 422, "request_invalid")
    no_text = [("file", ("a.wav", sound(1))), ("machine", (None, b"\xff\xfe"))]
    assert_problem(growing.client.post(RECORDINGS, files=no_text), 422, "request_invalid")
    assert_problem(growing.client.post(RECORDINGS, files=[("label", (None, b"normal"))]), 422, "part_missing")
    assert_problem(put(growing, *[b"x"] * 65), 422, "part_too_many")
    assert_problem(growing.client.post(RECORDINGS, json={"label": "normal"}), 415, "media_type_unsupported")


def test_an_upload_is_held_to_the_limits_of_the_service(tmp_path: Path, serve: Serve) -> None:
    """A recording that is too long to be judged is too long to be put in."""
    server = serve(tmp_path / "home", wait_for="/livez", max_duration_s=1)
    assert_problem(put(server, sound(1, seconds=1.5)), 413, "audio_too_long")
    assert put(server, sound(1, seconds=0.9)).status_code == 201


def test_an_upload_may_be_as_large_as_one_to_be_judged(growing: ServerProcess) -> None:
    """Megabytes are taken at this path, and 413 is the answer beyond the limit."""
    long = sounds.recording(sounds.noise(8000 * 200, seed=5), rate_hz=8000)
    assert put(growing, long).status_code == 201
    assert_problem(put(growing, b"\0" * (33 * 2**20)), 413, "body_too_large")
    assert_problem(growing.client.post("/v1/datasets", content=b" " * 70_000), 413, "body_too_large")


@pytest.mark.parametrize("name", ["A", ".hidden", "..%2f..%2fetc", "%00", "a" * 65, "%C3%A9", "a%0a"])
def test_no_name_leads_out_of_the_home(growing: ServerProcess, name: str) -> None:
    """By no route; the sentence states what a name may be."""
    for method, path in (
        ("GET", ""),
        ("DELETE", ""),
        ("GET", "/recordings"),
        ("GET", "/recordings/x"),
        ("GET", "/recordings/x/audio"),
    ):
        answer = growing.client.request(method, f"/v1/datasets/{name}{path}")
        assert_problem(answer, answer.status_code, answer.json()["code"])
        assert answer.json()["code"] in ("name_invalid", "route_not_found", "method_not_allowed")
    answer = put(growing, 1, path=f"/v1/datasets/{name}/recordings")
    assert answer.json()["code"] in ("name_invalid", "route_not_found")


@pytest.mark.parametrize("file_name", ["../../../../tmp/x.wav", "/etc/passwd", "..\\x.wav", "con:.wav", "a\u202eb.wav"])
def test_a_file_name_is_only_shown(growing: ServerProcess, file_name: str) -> None:
    """Whatever its name is, the file lies in the dataset under a name of ours."""
    result = put_one(growing, 1, names=lambda _: file_name)
    assert result["file_name"] == file_name
    (file,) = (growing.home / "datasets" / "hall-3" / "recordings").iterdir()
    assert file.name == f"00000001-{result['id'][:16]}.wav"
    assert growing.client.get(f"{RECORDINGS}/{result['id']}/audio").content == sound(1)


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
def test_a_correction_that_means_nothing_is_refused(growing: ServerProcess, change: Json, code: str) -> None:
    """By name, and nothing changes."""
    recording = f"{RECORDINGS}/{put_one(growing, 1, label='normal')['id']}"
    assert_problem(growing.client.patch(recording, json=change), 422, code)
    assert len(growing.client.get(recording).json()["history"]) == 1


def test_a_folder_laid_by_hand_is_listed_and_not_touched(growing: ServerProcess) -> None:
    """Its kind is known without reading it; uploads, labels and removals are refused by name."""
    datasets.write(growing.home / "datasets" / "hall-3", "normal/1.wav", "abnormal/2.wav")
    (found,) = growing.client.get("/v1/datasets").json()["datasets"]
    shown = growing.client.get(HALL).json()
    assert found == shown | {"passed_over": None, "contradictions": None}
    assert (shown["passed_over"], shown["contradictions"]) == ([], 0)
    assert (found["name"], found["kind"], found["recordings"], found["version"]) == ("hall-3", "folder", None, None)
    for answer in (
        put(growing, 1),
        growing.client.get(RECORDINGS),
        growing.client.patch(f"{RECORDINGS}/x", json={"label": "normal"}),
        growing.client.delete(f"{RECORDINGS}/x"),
        growing.client.delete(HALL, params=CONFIRMED),
    ):
        assert "is a plain folder, not a collection" in assert_problem(answer, 409, "dataset_read_only")["detail"]
    assert_problem(growing.client.post("/v1/datasets", json={"name": "hall-3"}), 409, "dataset_exists")
    announced = request("POST", RECORDINGS, [MULTIPART_TYPE, ("content-length", "1000000")])
    assert_problem(growing.exchange(announced), 409, "dataset_read_only")  # before the body is sent
    assert len(list((growing.home / "datasets" / "hall-3").rglob("*.wav"))) == 2


def test_a_method_that_is_not_there_gets_the_list_of_methods(growing: ServerProcess) -> None:
    """All of one path, though each is a route of its own."""
    for path, allowed in (
        ("/v1/datasets", "GET, HEAD, POST"),
        (f"{RECORDINGS}/x", "GET, HEAD, PATCH, DELETE"),
        ("/livez", "GET, HEAD"),
        ("/inference", "POST"),
    ):
        answer = growing.client.put(path, json={})
        assert_problem(answer, 405, "method_not_allowed")
        assert answer.headers["allow"] == allowed
