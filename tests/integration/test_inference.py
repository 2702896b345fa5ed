"""Uploads in, verdicts out, over HTTP."""

import io
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import pytest
import soundfile

from testing.servers import Serve, ServerProcess, assert_problem, wait_until
from tests import sounds
from tests.integration.uploads import WAV_TYPE, Body, judged

RECORDINGS = ("normal.wav", "pb1.wav", "pb2.wav", "pb3.wav")
FLAC_TYPE = {"content-type": "audio/flac"}


@pytest.fixture(scope="module")
def answers(seed: Path) -> dict[str, Any]:
    """What the original answered to its recordings."""
    found: dict[str, Any] = json.loads((seed / "expected.json").read_text())["answers"]
    return found


def test_inference_answers_with_the_originals_keys_and_types(server: ServerProcess, wav: bytes) -> None:
    """A client of the original service can parse the answer, key by key, and finds nothing else in it."""
    answer = server.client.post("/inference", files={"file": ("fan.wav", wav)})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert list(body) == ["Anomaly", "Details"]
    assert list(body["Details"]) == ["Message", "Probabilities"]
    assert type(body["Anomaly"]) is bool
    assert type(body["Details"]["Message"]) is str
    assert [type(p) for p in body["Details"]["Probabilities"]] == [float] * 4
    assert sum(body["Details"]["Probabilities"]) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("name", RECORDINGS)
def test_the_originals_recordings_get_the_originals_answers(
    real_server: ServerProcess, seed: Path, answers: dict[str, Any], name: str
) -> None:
    """The four genuine recordings get the verdicts, messages and probabilities that the original gave them."""
    answer = real_server.client.post("/inference", files={"file": (name, (seed / name).read_bytes(), "audio/wav")})
    expected = answers[name]
    assert answer.json()["Anomaly"] is expected["Anomaly"]
    assert answer.json()["Details"]["Message"] == expected["Details"]["Message"]
    assert answer.json()["Details"]["Probabilities"] == pytest.approx(expected["Details"]["Probabilities"], abs=1e-3)


@pytest.mark.parametrize("name", RECORDINGS)
def test_the_full_answer_agrees_with_the_original(
    real_server: ServerProcess, seed: Path, answers: dict[str, Any], name: str
) -> None:
    """/v1/predict gives the same four recordings the same messages and probabilities."""
    body = judged(real_server, (seed / name).read_bytes())
    expected = answers[name]
    assert body["message"] == expected["Details"]["Message"]
    assert (body["verdict"] == "anomalous") is expected["Anomaly"]
    assert [c["probability"] for c in body["classes"]] == pytest.approx(expected["Details"]["Probabilities"], abs=1e-3)
    assert [c["name"] for c in body["classes"]] == ["normal", "imbalance", "clogging", "voltage_change"]
    known = {"duration_s": 10.0, "sample_rate_hz": 16_000, "channels": 8, "digital_silence": False}
    assert body["quality"] == body["quality"] | known | {"channel_faults": []}


def test_the_full_answer_names_the_model_and_the_way_to_its_verdict(server: ServerProcess, wav: bytes) -> None:
    """Score, threshold, classes, one window, quality and the version that answered hang together."""
    body = judged(server, wav)
    champion = server.client.get("/readyz").json()["model"]
    assert body["model"] == champion
    assert (body["verdict"] == "anomalous") is (body["score"] > body["threshold"])
    assert body["threshold"] == 0.5
    assert body["false_alarm_rate"] is None
    (window,) = body["timeline"]
    assert (window["start_s"], window["end_s"], window["score"]) == (0.0, 3.0, body["score"])
    assert body["bands"] is None
    found = next(c for c in body["classes"] if c["name"] == body["label"])
    assert found["message"] == body["message"]
    assert (body["quality"]["duration_s"], body["quality"]["channels"]) == (3.0, 1)


def test_every_way_to_send_a_recording_gets_the_same_answer(server: ServerProcess, wav: bytes, flac: bytes) -> None:
    """Multipart, raw WAV under any of its names, raw FLAC and an unnamed octet stream: one and the same verdict."""
    types = ("audio/wav", "audio/x-wav", "Audio/WAV; codecs=1", "audio/vnd.wave", "application/octet-stream")
    bodies = [server.client.post("/v1/predict", files={"file": ("fan.wav", wav)}).json()]
    bodies += [server.client.post("/v1/predict", content=wav, headers={"content-type": t}).json() for t in types]
    bodies.append(server.client.post("/v1/predict", content=flac, headers=FLAC_TYPE).json())
    assert bodies == [judged(server, wav)] * len(bodies)


def recoded(wav: bytes, kind: str, subtype: str, endian: str = "FILE") -> bytes:
    """The samples of a WAV in another format."""
    samples, rate_hz = soundfile.read(io.BytesIO(wav), dtype="int16", always_2d=True)
    file = io.BytesIO()
    soundfile.write(file, samples, rate_hz, format=kind, subtype=subtype, endian=endian)
    return file.getvalue()


def test_other_formats_without_losses_get_the_same_answer(server: ServerProcess, wav: bytes) -> None:
    """AIFF, Wave64, RF64, CAF, and a WAV that was written to a pipe: by their bytes, under any name and type."""
    at = wav.index(b"data") + 4
    streamed = wav[:at] + b"\xff\xff\xff\xff" + wav[at + 4 :]
    files = [
        *(recoded(wav, "AIFF", "PCM_16"), recoded(wav, "AIFF", "PCM_16", "LITTLE"), recoded(wav, "AIFF", "PCM_32")),
        *(recoded(wav, "W64", "PCM_16"), recoded(wav, "RF64", "PCM_24"), recoded(wav, "CAF", "ALAC_16"), streamed),
    ]
    expected = judged(server, wav)
    for content in files:
        assert judged(server, content) == expected
    named = server.client.post("/v1/predict", files={"file": ("fan.mp3", files[0], "video/mp4")})
    raw = server.client.post("/v1/predict", content=files[0], headers={"content-type": "audio/aiff"})
    assert named.json() == raw.json() == expected


def test_a_codec_with_losses_is_marked(server: ServerProcess, wav: bytes) -> None:
    """MP3, Opus, mu-law and M4A are judged; `quality.codec` names the codec, also in a batch."""
    m4a = io.BytesIO()
    with av.open(io.BytesIO(wav)) as source, av.open(m4a, "w", format="ipod") as output:
        rate_hz = source.streams.audio[0].rate
        stream = output.add_stream("aac", rate=rate_hz, layout="mono")
        for frame in source.decode(audio=0):
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    files = {
        "mp3": recoded(wav, "MP3", "MPEG_LAYER_III"),
        "vorbis": recoded(wav, "OGG", "VORBIS"),
        "mulaw": recoded(wav, "WAV", "ULAW"),
        "aac": m4a.getvalue(),
    }
    for codec, content in files.items():
        body = judged(server, content)
        assert (body["quality"]["codec"], body["quality"]["channels"]) == (codec, 1)
    batch = server.client.post("/v1/predict/batch", files=[("file", (name, data)) for name, data in files.items()])
    assert [each["prediction"]["quality"]["codec"] for each in batch.json()["results"]] == list(files)
    assert judged(server, wav)["quality"]["codec"] is None


def test_a_body_without_a_length_gets_the_same_answer(server: ServerProcess, wav: bytes) -> None:
    """A recording sent in chunks is the same recording."""
    pieces = (wav[i : i + 10_000] for i in range(0, len(wav), 10_000))
    assert server.client.post("/v1/predict", content=pieces, headers=WAV_TYPE).json() == judged(server, wav)


def test_explain_names_the_bands_behind_a_score(server: ServerProcess, wav: bytes) -> None:
    """With explain=true the answer also has bands, the loudest reason first; the rest of it is unchanged."""
    body = server.client.post("/v1/predict?explain=true", content=wav, headers=WAV_TYPE).json()
    bands = body["bands"]
    assert len(bands) == 8
    drops = [band["score_drop"] for band in bands]
    assert drops == sorted(drops, reverse=True)
    assert any(drops)
    assert all(band[edge] == round(band[edge], 1) for band in bands for edge in ("low_hz", "high_hz"))
    assert all(0 <= band["low_hz"] < band["high_hz"] <= 11_025 for band in bands)
    assert body | {"bands": None} == judged(server, wav)


def test_a_long_recording_has_a_timeline(server: ServerProcess) -> None:
    """Windows of one clip, each half a clip after the last, cover it; the most anomalous one decides."""
    body = judged(server, sounds.recording(sounds.fan(30.0)))
    windows = body["timeline"]
    assert len(windows) == 5
    assert windows[0]["start_s"] == 0.0
    assert windows[-1]["end_s"] == pytest.approx(30.0, abs=1e-3)
    for earlier, later in pairwise(windows):
        assert earlier["start_s"] < later["start_s"] < earlier["end_s"] < later["end_s"]
    assert body["score"] == max(window["score"] for window in windows)
    assert body["label"] == max(windows, key=lambda window: window["score"])["label"]


def test_a_batch_answers_each_file_in_order_and_fails_none_for_another(
    server: ServerProcess, wav: bytes, flac: bytes
) -> None:
    """A verdict or an error for each file under its own name; an error has its code and this request's id."""
    png = b"\x89PNG\r\n\x1a\n" + bytes(100)
    parts = [("a.wav", wav), ("picture.wav", png), ("b.flac", flac), ("cut.wav", wav[:-1000]), ("a.wav", wav)]
    answer = server.client.post("/v1/predict/batch", files=[("file", part) for part in parts])
    assert answer.status_code == 200
    results = answer.json()["results"]
    assert [result["file_name"] for result in results] == [name for name, _ in parts]
    expected = judged(server, wav)
    assert [result["prediction"] for result in results] == [expected, None, expected, None, expected]
    errors = [result["error"] for result in results]
    assert [error and (error["status"], error["code"]) for error in errors] == [
        None,
        (415, "audio_not_recognised"),
        None,
        (422, "audio_truncated"),
        None,
    ]
    assert {error["request_id"] for error in errors if error} == {answer.headers["x-request-id"]}


def test_a_batch_of_the_four_recordings_agrees_with_single_uploads(real_server: ServerProcess, seed: Path) -> None:
    """In a batch, as alone."""
    wavs = [(seed / name).read_bytes() for name in RECORDINGS]
    parts = [("file", part) for part in zip(RECORDINGS, wavs, strict=True)]
    results = real_server.client.post("/v1/predict/batch", files=parts).json()["results"]
    assert [result["prediction"] for result in results] == [judged(real_server, wav) for wav in wavs]


def test_a_batch_takes_as_many_files_as_its_limit_and_no_more(serve: Serve, original_home: Path, wav: bytes) -> None:
    """SIGNALML_MAX_BATCH_FILES files are answered; one more is refused with its code."""
    server = serve(original_home, max_batch_files=3)
    parts = [("file", (f"{i}.wav", wav)) for i in range(4)]
    assert len(server.client.post("/v1/predict/batch", files=parts[:3]).json()["results"]) == 3
    assert_problem(server.client.post("/v1/predict/batch", files=parts), 422, "part_too_many")


def test_without_a_model_uploads_get_no_model_and_what_to_do(serve: Serve, tmp_path: Path, wav: bytes) -> None:
    """No model: 503 with Retry-After and the command that imports one; the process itself is alive, and not ready."""
    server = serve(tmp_path / "empty", wait_for="/livez")
    for path in ("/inference", "/v1/predict", "/v1/predict/batch"):
        answer = server.client.post(path, files={"file": ("fan.wav", wav)})
        problem = assert_problem(answer, 503, "no_model")
        assert int(answer.headers["retry-after"]) >= 1
        assert "signalml models import" in problem["detail"]
    assert server.client.get("/readyz").status_code == 503
    assert list((tmp_path / "empty").iterdir()) == []


def test_a_model_that_is_promoted_later_answers_without_a_restart(
    serve: Serve, original_home: Path, tmp_path: Path, wav: bytes
) -> None:
    """A service that was started without a model answers soon after the first promotion."""
    server = serve(tmp_path / "home", wait_for="/livez")
    shutil.copytree(original_home, tmp_path / "copy")
    (tmp_path / "copy").rename(tmp_path / "home")
    wait_until(lambda: server.client.post("/v1/predict", content=wav, headers=WAV_TYPE).is_success)


def test_clients_at_once_get_the_answers_they_would_get_alone(server: ServerProcess) -> None:
    """Sixteen different recordings at once: none gets another's verdict."""
    wavs = [sounds.recording(sounds.fan(2.0, seed=i, blade_hz=60.0 + 17 * i)) for i in range(16)]
    alone = [judged(server, wav) for wav in wavs]

    def ask(wav: bytes) -> Body:
        found: Body = server.afresh("POST", "/v1/predict", content=wav, headers=WAV_TYPE).json()
        return found

    with ThreadPoolExecutor(16) as pool:
        at_once = list(pool.map(ask, wavs * 3))
    assert at_once == alone * 3
    assert len({body["score"] for body in alone}) == len(alone)


def test_what_a_client_adds_is_passed_over_as_by_the_original(server: ServerProcess, wav: bytes) -> None:
    """A client that sends fields and parameters of its own beside the file gets its verdict."""
    files, fields = {"file": ("a.wav", wav)}, {"machine": "7", "note": "cold"}
    assert server.client.post("/inference", files=files, data=fields, params=fields).status_code == 200


@pytest.mark.parametrize(
    ("path", "asked", "fields", "sentence"),
    [
        (
            "/v1/predict",
            {"machine": "7"},
            {},
            "POST /v1/predict takes no query parameter 'machine': it takes machine_id, recorded_at, explain. "
            "Did you mean 'machine_id'?",
        ),
        (
            "/v1/predict",
            {},
            {"explain": "true"},
            "POST /v1/predict takes no form part 'explain': it takes file, machine_id, recorded_at; "
            "'explain' is a query parameter here.",
        ),
        (
            "/v1/predict/batch",
            {"explain": "true"},
            {},
            "POST /v1/predict/batch takes no query parameter 'explain': it takes machine_id, recorded_at.",
        ),
        (
            "/v1/predict/batch",
            {},
            {"machine": "7"},
            "POST /v1/predict/batch takes no form part 'machine': it takes file, machine_id, recorded_at. "
            "Did you mean 'machine_id'?",
        ),
        (
            "/v1/datasets/hall-3/recordings",
            {"label": "normal"},
            {},
            "POST /v1/datasets/{name}/recordings takes no query parameter 'label': it takes none; "
            "'label' is a part of the form here.",
        ),
    ],
)
def test_a_name_in_the_wrong_place_gets_the_right_one(
    server: ServerProcess, wav: bytes, path: str, asked: dict[str, str], fields: dict[str, str], sentence: str
) -> None:
    """What was found, what is taken, and where the name belongs, if it belongs elsewhere."""
    answer = server.client.post(path, files={"file": ("a.wav", wav)}, data=fields, params=asked)
    assert assert_problem(answer, 422, "parameter_unknown")["detail"] == sentence


@pytest.mark.parametrize("path", ["/inference", "/v1/predict", "/v1/predict/batch"])
def test_a_parameter_that_is_there_twice_is_refused(server: ServerProcess, wav: bytes, path: str) -> None:
    """As a part of a form that is there twice: nobody can tell which was meant. A list of values is none."""
    twice = [("machine_id", "fan-3"), ("machine_id", "fan-4")]
    answer = server.client.post(path, files={"file": ("a.wav", wav)}, params=twice)
    sentence = "The query parameter 'machine_id' was given 2 times; once was expected."
    assert assert_problem(answer, 422, "request_invalid")["detail"] == sentence
    several = server.client.get("/v1/jobs", params=[("state", "failed"), ("state", "cancelled")])
    assert_problem(several, 503, "queue_unavailable")


def test_a_field_of_the_body_is_no_parameter(server: ServerProcess) -> None:
    """A job is asked for in JSON, whatever its words are in the address."""
    answer = server.client.post("/v1/jobs/scoring", params={"dataset": "hall-3"})
    detail = assert_problem(answer, 422, "parameter_unknown")["detail"]
    assert detail.endswith("it takes none; 'dataset' is a field of the JSON body here.")


def test_a_float_recording_may_exceed_full_scale(server: ServerProcess) -> None:
    """Also its offset: the answer states what was measured."""
    samples = 6.5 + sounds.noise(16_000, seed=1)
    body = server.client.post("/v1/predict", content=sounds.recording(samples, "float32"), headers=WAV_TYPE)
    assert body.status_code == 200, body.text
    assert body.json()["quality"]["offset"] == pytest.approx(6.5, abs=0.01)
