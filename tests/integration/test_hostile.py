"""What a client may do wrong, or mean badly: it gets its status and code, takes little memory and harms nobody else."""

import select
import socket
import struct
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import numpy as np
import pytest

from tests import sounds
from tests.integration.servers import (
    MULTIPART_TYPE,
    Serve,
    ServerProcess,
    assert_problem,
    multipart,
    read_answer,
    request,
    wait_until,
)

TIMEOUT_S = 2.0
MOST_GROWTH_BYTES = 50e6
WAV_TYPE, JSON_TYPE = {"content-type": "audio/wav"}, {"content-type": "application/json"}
RAW_WAV = ("content-type", "audio/wav")
CHUNKED = ("transfer-encoding", "chunked")
UPLOADS = ("/inference", "/v1/predict", "/v1/predict/batch")
PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(2000)
SECOND = sounds.noise(16_000)
GOOD = sounds.recording(SECOND)
GOOD_FLAC = sounds.flac(SECOND)


@pytest.fixture(scope="module")
def guarded(original_home: Path, serve_for_all: Serve) -> ServerProcess:
    """A server with short timeouts that has done all kinds of work before."""
    server = serve_for_all(original_home, header_timeout_s=TIMEOUT_S, body_timeout_s=TIMEOUT_S)
    minute = sounds.recording(sounds.fan(60.0))
    for content in (GOOD, GOOD_FLAC, minute, minute):
        assert server.client.post("/v1/predict?explain=true", content=content, headers=WAV_TYPE).is_success
        assert server.client.post("/inference", files={"file": ("a.wav", content)}).is_success
    return server


@pytest.fixture
def target(guarded: ServerProcess) -> Iterator[ServerProcess]:
    """A server that, whatever the test does to it, takes little memory for it and answers a good recording after."""
    with guarded.watched() as memory:
        yield guarded
        assert guarded.client.post("/v1/predict", content=GOOD, headers=WAV_TYPE).is_success
    assert memory.growth < MOST_GROWTH_BYTES


def numbers(*values: float) -> bytes:
    """Half a second and more of floats that begin with ``values``."""
    samples = np.concatenate([values, np.zeros(16_000)]).astype("<f4")
    return sounds.wav(samples.tobytes(), tag=sounds.FLOAT, bits=32)


REFUSED = {
    "nothing": (b"", 422, "audio_empty"),
    "a header without samples": (sounds.wav(b""), 422, "audio_empty"),
    "text": (b"This is not sound.", 415, "audio_not_recognised"),
    "a PNG": (PNG, 415, "audio_not_recognised"),
    "an MP3": (b"ID3\x04" + bytes(500), 415, "audio_not_recognised"),
    "an Ogg": (b"OggS" + bytes(500), 415, "audio_not_recognised"),
    "Microsoft ADPCM": (sounds.wav(bytes(8000), tag=0x02, bits=4), 415, "audio_codec_unsupported"),
    "IMA ADPCM": (sounds.wav(bytes(8000), tag=0x11, bits=4), 415, "audio_codec_unsupported"),
    "A-law": (sounds.wav(bytes(8000), tag=0x06, bits=8), 415, "audio_codec_unsupported"),
    "mu-law": (sounds.wav(bytes(8000), tag=0x07, bits=8), 415, "audio_codec_unsupported"),
    "MP3 in WAV": (sounds.wav(bytes(8000), tag=0x55, bits=16), 415, "audio_codec_unsupported"),
    "8-bit PCM": (sounds.wav(bytes(16_000), bits=8), 415, "audio_codec_unsupported"),
    "16-bit floats": (sounds.wav(bytes(32_000), tag=sounds.FLOAT), 415, "audio_codec_unsupported"),
    "8-bit FLAC": (sounds.flac(SECOND, bits=8), 415, "audio_codec_unsupported"),
    "a WAV cut short": (GOOD[:-1000], 422, "audio_truncated"),
    "3200 bytes promised over 1000": (sounds.wav(bytes(1000), data_size=3200), 422, "audio_truncated"),
    "4 GB promised": (sounds.wav(bytes(32_000), data_size=2**32 - 2), 422, "audio_truncated"),
    "an exabyte promised": (sounds.wav(bytes(32_000), container="RF64", data_size=2**60), 422, "audio_truncated"),
    "a WAV cut in its header": (GOOD[:30], 422, "audio_truncated"),
    "a FLAC that promises more": (sounds.flac_claiming(GOOD_FLAC, frames=20_000), 422, "audio_truncated"),
    "a FLAC cut within a frame": (GOOD_FLAC[: len(GOOD_FLAC) // 2], 422, "audio_truncated"),
    "a FLAC cut in its header": (GOOD_FLAC[:20], 422, "audio_truncated"),
    "1 Hz": (sounds.wav(bytes(32_000), rate_hz=1), 422, "audio_sample_rate_unsupported"),
    "3999 Hz": (sounds.wav(bytes(32_000), rate_hz=3999), 422, "audio_sample_rate_unsupported"),
    "192001 Hz": (sounds.wav(bytes(640_000), rate_hz=192_001), 422, "audio_sample_rate_unsupported"),
    "4 GHz": (sounds.wav(bytes(32_000), rate_hz=2**32 - 1), 422, "audio_sample_rate_unsupported"),
    "65 channels": (sounds.wav(bytes(65 * 32_000), channels=65), 422, "audio_too_many_channels"),
    "1024 channels": (sounds.wav(bytes(2048 * 1000), channels=1024), 422, "audio_too_many_channels"),
    "no channels": (sounds.wav(bytes(32_000), channels=0), 422, "audio_malformed"),
    "blocks that do not fit": (sounds.wav(bytes(32_000), block=3), 422, "audio_malformed"),
    "samples before a format": (b"RIFF\0\0\0\0WAVE" + sounds.chunk(b"data", bytes(9000)), 422, "audio_malformed"),
    "chunks without end": (b"RIFF\0\0\0\0WAVE" + sounds.chunk(b"LIST", b"") * 100_000, 422, "audio_malformed"),
    "0.49 s": (sounds.recording(SECOND[:7_840]), 422, "audio_too_short"),
    "601 s": (sounds.wav(bytes(601 * 8_000), rate_hz=4_000), 413, "audio_too_long"),
    "a FLAC that claims 50 days": (sounds.flac_claiming(GOOD_FLAC, frames=2**36 - 1), 413, "audio_too_long"),
    "a FLAC of silence that unpacks": (sounds.silent_flac(300, 8), 413, "audio_unpacked_too_large"),
    "a FLAC of unknown length": (sounds.flac_claiming(GOOD_FLAC, frames=0), 422, "audio_malformed"),
    "a FLAC of another first block": (GOOD_FLAC[:4] + b"\4" + GOOD_FLAC[5:], 422, "audio_malformed"),
    "NaN": (numbers(0.1, np.nan), 422, "audio_not_finite"),
    "infinity": (numbers(-np.inf), 422, "audio_not_finite"),
    "1e30": (numbers(1e30), 422, "audio_not_finite"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_file_that_cannot_be_judged_is_refused_by_name(target: ServerProcess, kind: str) -> None:
    """Every way for a recording to be unfit has its status and code, the same on each route and in each form."""
    content, status, code = REFUSED[kind]
    assert_problem(target.client.post("/v1/predict", content=content, headers=WAV_TYPE), status, code)
    assert_problem(target.client.post("/inference", files={"file": ("sound.wav", content, "audio/wav")}), status, code)
    (result,) = target.client.post("/v1/predict/batch", files={"file": ("sound.wav", content)}).json()["results"]
    assert (result["error"]["status"], result["error"]["code"]) == (status, code)


@pytest.mark.parametrize(
    "content",
    [
        sounds.recording(SECOND[:2_000], rate_hz=4_000),
        sounds.recording(sounds.noise(96_000), rate_hz=192_000),
        sounds.recording(sounds.noise(8_000, channels=64)),
        sounds.recording(SECOND[:8_000]),
    ],
    ids=["4 kHz", "192 kHz", "64 channels", "0.5 s"],
)
def test_a_recording_just_within_the_limits_is_judged(target: ServerProcess, content: bytes) -> None:
    """The limits are where they are said to be."""
    assert target.client.post("/v1/predict", content=content, headers=WAV_TYPE).status_code == 200


def test_a_refusal_says_what_was_found_and_what_was_expected(target: ServerProcess) -> None:
    """The detail of a refusal has both numbers."""
    content = sounds.wav(bytes(1000), data_size=3200)
    problem = assert_problem(
        target.client.post("/v1/predict", content=content, headers=WAV_TYPE), 422, "audio_truncated"
    )
    assert "3200" in problem["detail"]
    assert "1000" in problem["detail"]


FORMS = {
    "no part": (b"--BoUnDaRy--\r\n", 422, "part_missing"),
    "text named file": (multipart(("file", None, b"hello")), 422, "part_missing"),
    "two parts": (multipart(("file", "a.wav", GOOD), ("file", "b.wav", GOOD)), 422, "part_too_many"),
    "a thousand parts": (multipart(*[("file", "a.wav", b"")] * 1000), 422, "part_too_many"),
    "a thousand texts": (multipart(*[("file", None, b"")] * 1000, ("file", "a.wav", GOOD)), 422, "part_too_many"),
    "garbage": (b"\0\xff" * 5000, 400, "multipart_malformed"),
    "another boundary": (multipart(("file", "a.wav", GOOD), boundary=b"other"), 400, "multipart_malformed"),
    "no end": (multipart(("file", "a.wav", GOOD))[:-20], 400, "multipart_malformed"),
    "a part without a name": (b"--BoUnDaRy\r\n\r\nx\r\n--BoUnDaRy--\r\n", 400, "multipart_malformed"),
    "a header of a megabyte": (multipart(("file", "x" * 2**20, GOOD)), 400, "multipart_malformed"),
}


@pytest.mark.parametrize("kind", FORMS)
@pytest.mark.parametrize("path", ["/inference", "/v1/predict"])
def test_a_form_that_is_not_one_file_is_refused_by_name(target: ServerProcess, path: str, kind: str) -> None:
    """Each way to get the form wrong has its code."""
    body, status, code = FORMS[kind]
    assert_problem(target.exchange(request("POST", path, [MULTIPART_TYPE], body)), status, code)


@pytest.mark.parametrize(
    ("path", "refusals"),
    [("/inference", ("part_missing", "part_too_many")), ("/v1/predict", ("parameter_unknown",) * 2)],
)
def test_parts_of_other_names_are_no_recording(target: ServerProcess, path: str, refusals: tuple[str, str]) -> None:
    """One instead of the file, and a thousand beside it."""
    instead = multipart(("sound", "a.wav", GOOD))
    beside = multipart(*[("x", None, b"")] * 1000, ("file", "a.wav", GOOD))
    for body, code in zip((instead, beside), refusals, strict=True):
        assert_problem(target.exchange(request("POST", path, [MULTIPART_TYPE], body)), 422, code)


@pytest.mark.parametrize("path", UPLOADS)
def test_a_form_without_a_boundary_is_refused(target: ServerProcess, path: str) -> None:
    """multipart/form-data alone does not say where parts end."""
    headers = [("content-type", "multipart/form-data")]
    body = multipart(("file", "a.wav", GOOD))
    assert_problem(target.exchange(request("POST", path, headers, body)), 400, "multipart_malformed")


@pytest.mark.parametrize("path", UPLOADS)
@pytest.mark.parametrize("kind", ["application/json", "application/x-www-form-urlencoded", "video/mp4", ""])
def test_a_body_of_another_type_is_refused(target: ServerProcess, path: str, kind: str) -> None:
    """What is neither a form nor sound by its own account is not read."""
    assert_problem(
        target.client.post(path, content=GOOD, headers={"content-type": kind}), 415, "media_type_unsupported"
    )


def test_a_picture_called_wav_is_refused_as_a_picture(target: ServerProcess) -> None:
    """Names and announced types are not believed."""
    answer = target.client.post("/inference", files={"file": ("sound.wav", PNG, "audio/wav")})
    assert "PNG" in assert_problem(answer, 415, "audio_not_recognised")["detail"]


@pytest.mark.parametrize("name", ["../../../../../etc/passwd", "/etc/passwd", "..\\..\\boot.ini", "a/../../b.wav"])
def test_a_file_name_is_echoed_and_touches_nothing(target: ServerProcess, name: str) -> None:
    """A file name is text: it comes back as it was sent, and nothing on disk comes or goes."""

    def everything() -> list[tuple[Path, float]]:
        folders = (target.home, target.folder)
        paths = [path for folder in folders for path in folder.rglob("*") if path.name != "server.log"]
        return sorted((path, path.stat().st_mtime) for path in paths)

    before = everything()
    body = multipart(("file", name.replace("\\", "\\\\"), GOOD))
    answer = target.exchange(request("POST", "/v1/predict/batch", [MULTIPART_TYPE], body))
    assert [result["file_name"] for result in answer.json()["results"]] == [name]
    assert target.exchange(request("POST", "/inference", [MULTIPART_TYPE], body)).status == 200
    assert everything() == before


def endless(first: bytes, piece: bytes, bytes_in_all: int, target: ServerProcess) -> tuple[int, "socket.socket"]:
    """Send ``first`` and then ``piece`` again and again until there is an answer or an end; returns what was sent."""
    connection = target.connect()
    sent = 0
    with suppress(ConnectionError):
        connection.sendall(first)
        while sent < bytes_in_all and not select.select([connection], [], [], 0)[0]:
            connection.sendall(piece)
            sent += len(piece)
    return sent, connection


CHUNK = b"10000\r\n" + bytes(65_536) + b"\r\n"
PART_HEAD = multipart(("file", "a.wav", b"")).split(b"\r\n--BoUnDaRy--")[0] + b"\r\n"


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/v1/predict", RAW_WAV), ("/v1/predict", MULTIPART_TYPE), ("/v1/predict/batch", MULTIPART_TYPE)],
    ids=["raw", "multipart", "batch"],
)
def test_300_mb_in_chunks_are_stopped_at_the_limit(target: ServerProcess, path: str, kind: tuple[str, str]) -> None:
    """A body without a length is counted as it comes: 413 soon after the limit, long before it ends."""
    head = request("POST", path, [kind, CHUNKED], b"%x\r\n%s\r\n" % (len(PART_HEAD), PART_HEAD))
    sent, connection = endless(head, CHUNK, 300_000_000, target)
    with connection:
        assert_problem(read_answer(connection), 413, "body_too_large")
    assert sent < 200_000_000


def test_a_client_that_sends_all_300_mb_before_it_reads_finds_the_413(target: ServerProcess) -> None:
    """A client that only looks for an answer once it has sent everything, as most do, gets one too."""
    body = (bytes(2**20) for _ in range(300))
    assert_problem(target.client.post("/v1/predict", content=body, headers=WAV_TYPE), 413, "body_too_large")


@pytest.mark.parametrize("kind", [RAW_WAV, MULTIPART_TYPE], ids=["raw", "multipart"])
@pytest.mark.parametrize("filling", [bytes(1), b"\r\n--BoUnDaR"], ids=["zeros", "almost a boundary"])
def test_31_mib_that_are_no_sound_are_held_once(target: ServerProcess, kind: tuple[str, str], filling: bytes) -> None:
    """As much as may be sent, and nothing but a picture: refused, without copies of it being made on the way."""
    content = PNG + filling * (31 * 2**20 // len(filling))
    body = content if kind == RAW_WAV else multipart(("file", "a.wav", content))
    assert_problem(target.exchange(request("POST", "/v1/predict", [kind], body)), 415, "audio_not_recognised")


@pytest.mark.parametrize("path", UPLOADS)
def test_a_length_over_the_limit_is_refused_before_anything_is_sent(target: ServerProcess, path: str) -> None:
    """Content-Length alone is enough for a 413, at once."""
    head = request("POST", path, [MULTIPART_TYPE, ("content-length", str(10**12))])
    start = time.monotonic()
    assert_problem(target.exchange(head), 413, "body_too_large")
    assert time.monotonic() - start < 1


def test_what_is_no_upload_may_be_64_kib(target: ServerProcess) -> None:
    """A route that takes a few names in JSON takes no megabytes of them, announced or in chunks."""
    path, kind = "/v1/models/aliases/champion", ("content-type", "application/json")
    assert_problem(target.exchange(request("PUT", path, [kind], b" " * 70_000)), 413, "body_too_large")
    assert_problem(target.exchange(request("PUT", path, [kind, CHUNKED], CHUNK + CHUNK)), 413, "body_too_large")


@pytest.mark.parametrize("kind", [RAW_WAV, MULTIPART_TYPE], ids=["raw", "multipart"])
def test_a_body_that_stalls_is_cut_off(target: ServerProcess, kind: tuple[str, str]) -> None:
    """A Content-Length larger than what comes: 408 once the body's time is over, with how much came."""
    head = request("POST", "/v1/predict", [kind, ("content-length", "100000")], PART_HEAD)
    start = time.monotonic()
    problem = assert_problem(target.exchange(head), 408, "body_timeout")
    assert TIMEOUT_S - 0.1 < time.monotonic() - start < TIMEOUT_S + 2
    assert str(len(PART_HEAD)) in problem["detail"]


@pytest.mark.parametrize("kind", [RAW_WAV, MULTIPART_TYPE], ids=["raw", "multipart"])
def test_a_length_smaller_than_the_body_is_a_clean_refusal(target: ServerProcess, kind: tuple[str, str]) -> None:
    """The body is cut where its length says; what is too much is no request, and the connection ends."""
    body = multipart(("file", "a.wav", GOOD))
    with target.connect() as connection:
        connection.sendall(request("POST", "/v1/predict", [kind, ("content-length", "100")], body))
        answer = read_answer(connection)
        assert 400 <= answer.status < 500
        assert_problem(answer, answer.status, answer.json()["code"])


@pytest.mark.parametrize("path", [*UPLOADS, "/v1/models/aliases/champion"])
def test_a_client_that_hangs_up_in_the_middle_is_no_bug(target: ServerProcess, path: str) -> None:
    """A connection that breaks in the middle of a body ends the request, and nothing else."""
    method = "PUT" if "aliases" in path else "POST"
    with target.connect() as connection:
        connection.sendall(request(method, path, [MULTIPART_TYPE, ("content-length", "5000")], PART_HEAD))
        time.sleep(0.05)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


GARBAGE = {
    "words": b"HELLO THERE\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/9": b"GET / HTTP/9.9\r\nhost: x\r\n\r\n",
    "CONNECT": b"CONNECT example.org:443 HTTP/1.1\r\nhost: x\r\n\r\n",
    "bytes in the path": b"GET /\xff\xfe HTTP/1.1\r\nhost: x\r\n\r\n",
    "NUL in a header": b"GET / HTTP/1.1\r\nhost: x\r\na: \0\r\n\r\n",
    "a length below zero": b"POST /inference HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
    "a length beyond 2**64": b"POST /inference HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999999999999999\r\n\r\n",
    "two lengths": b"POST /inference HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello",
    "a length and chunks": request("POST", "/inference", [CHUNKED, ("content-length", "5")], b"0\r\n\r\n"),
    "a chunk of size zz": request("POST", "/v1/predict", [RAW_WAV, CHUNKED], b"zz\r\n"),
}


@pytest.mark.parametrize("kind", GARBAGE)
def test_what_is_not_http_is_a_problem_too(target: ServerProcess, kind: str) -> None:
    """Bytes that are no HTTP/1.1 request get a 400 of the same form as every other error, and the connection ends."""
    with target.connect() as connection:
        connection.sendall(GARBAGE[kind])
        assert_problem(read_answer(connection), 400, "http_malformed")
        assert connection.recv(1) == b""


FRAMEWORK = {
    "no such path": ("GET", "/nope", 404, "route_not_found"),
    "no such path below": ("GET", "/v1/models/a/b/c", 404, "route_not_found"),
    "a path with odd bytes": ("GET", "/%00%ff%0a", 404, "route_not_found"),
    "GET of an upload": ("GET", "/inference", 405, "method_not_allowed"),
    "DELETE of a model": ("DELETE", "/v1/models/champion", 405, "method_not_allowed"),
    "POST of health": ("POST", "/livez", 405, "method_not_allowed"),
    "a flag that is none": ("POST", "/v1/predict?explain=perhaps", 422, "request_invalid"),
    "a body that is no JSON": ("PUT", "/v1/models/aliases/champion", 422, "request_invalid"),
    "an alias that is none": ("PUT", "/v1/models/aliases/king", 422, "request_invalid"),
}


@pytest.mark.parametrize("kind", FRAMEWORK)
def test_the_frameworks_own_refusals_are_problems(target: ServerProcess, kind: str) -> None:
    """404, 405 and 422 come in the one form of every error; a 405 says what is allowed."""
    method, path, status, code = FRAMEWORK[kind]
    headers = {"content-type": "application/json" if method == "PUT" else "audio/wav"}
    body = {"PUT": b"{", "POST": GOOD}.get(method)
    answer = target.client.request(method, path, content=body, headers=headers)
    assert_problem(answer, status, code)
    assert ("allow" in answer.headers) is (status == 405)


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[" * 30_000,
        b"\xff\xfe",
        GOOD,
        b"NaN",
        b"{}",
        b'{"version": "\\ud800"}',
        b'{"version": ""}',
        b"9" * 9_000,
    ],
    ids=["broken", "nested", "UTF-16", "sound", "NaN", "empty", "surrogate", "no name", "a huge number"],
)
def test_json_that_makes_no_sense_is_the_clients_mistake(target: ServerProcess, body: bytes) -> None:
    """Broken, nested without end, mistyped, no text at all: one code for all of it."""
    headers = {"content-type": "application/json"}
    assert_problem(
        target.client.put("/v1/models/aliases/champion", content=body, headers=headers), 422, "request_invalid"
    )


SCORING, RETRAINING = "/v1/jobs/scoring", "/v1/jobs/retraining"
MISTAKES = {
    "a flag": ("/v1/predict?explain=maybe", None, "query.explain is 'maybe'; true or false was expected."),
    "nothing": (SCORING, b"", "There is no body; a JSON object was expected."),
    "a list": (SCORING, b"[]", "body is a list; a JSON object was expected."),
    "null": (SCORING, b'{"dataset": null}', "body.dataset is null; a text was expected."),
    "no JSON": (SCORING, b'{"dataset": }', "The body is no JSON: Expecting value at character 13."),
    "less than all": (SCORING, b"{}", "body.dataset is missing."),
    "more than all": (SCORING, b'{"dataset":"a","path":"/"}', "body.path is no field here; there are: dataset, model."),
    "half a character": (
        SCORING,
        b'{"dataset": "\\ud800"}',
        "body.dataset is '\\ud800'; a text of whole characters was expected.",
    ),
    "a name": (SCORING, b'{"dataset":"../etc"}', "body.dataset is '../etc'; a text of the form ^[a-z0-9]"),
    "a choice": (
        RETRAINING,
        b'{"dataset":"a","learn":"it"}',
        "body.learn is 'it'; 'classifier', 'detector' or 'both' ",
    ),
    "a bound": (RETRAINING, b'{"dataset":"a","copies":21}', "body.copies is 21; 20 or less was expected."),
    "either": (RETRAINING, b'{"dataset":"a","groups":12}', "body.groups is 12; 9 or less or 'auto' was expected."),
    "both": (
        RETRAINING,
        b'{"dataset":"a","copies":-1,"refit":1}',
        "body.copies is -1; 0 or more was expected. body.refit",
    ),
    "a long text": (
        SCORING,
        b'{"dataset":"' + b"x" * 9000 + b'"}',
        f"body.dataset is '{'x' * 63}...; a text of the form",
    ),
}


@pytest.mark.parametrize("kind", MISTAKES)
def test_a_wrong_value_is_shown_beside_what_was_expected(guarded: ServerProcess, kind: str) -> None:
    """In the project's own words, wherever it is."""
    path, body, sentence = MISTAKES[kind]
    sent = {"content": GOOD, "headers": WAV_TYPE} if body is None else {"content": body, "headers": JSON_TYPE}
    answer = guarded.client.post(path, **sent)
    assert assert_problem(answer, 422, "request_invalid")["detail"].startswith(sentence)


@pytest.mark.parametrize(
    "sent", [b"", b"GET /livez HTTP/1.1\r\nhost: x\r\n", b"\r\n\r\n"], ids=["none", "some", "blank"]
)
def test_headers_that_do_not_come_are_cut_off(target: ServerProcess, sent: bytes) -> None:
    """A connection that has not sent its headers in time gets a 408 and ends."""
    start = time.monotonic()
    with target.connect() as connection:
        connection.sendall(sent)
        assert_problem(read_answer(connection), 408, "header_timeout")
        assert connection.recv(1) == b""
    assert TIMEOUT_S - 0.1 < time.monotonic() - start < TIMEOUT_S + 2


def test_a_blank_line_after_an_answer_does_not_hold_a_connection(target: ServerProcess) -> None:
    """A connection that was answered before has no more time for its next headers than a new one."""
    with target.connect(timeout_s=TIMEOUT_S + 5) as connection:
        connection.sendall(request("GET", "/livez"))
        assert read_answer(connection).status == 200
        connection.sendall(b"\r\n")
        while connection.recv(4096):
            pass


WITHOUT_END = {
    "address": (b"GET /", b"a" * 65_536),
    "header": (b"GET / HTTP/1.1\r\nhost: x\r\nbig: ", b"a" * 65_536),
    "headers": (b"GET / HTTP/1.1\r\nhost: x\r\n", b"name: value\r\n" * 5_000),
    "trailers": (request("POST", "/v1/predict", [RAW_WAV, CHUNKED], b"0\r\n"), b"name: value\r\n" * 5_000),
}


@pytest.mark.parametrize("kind", WITHOUT_END)
def test_headers_without_end_are_stopped(target: ServerProcess, kind: str) -> None:
    """Whatever comes before or after a body is bounded, as the body is: refused after little, by name."""
    first, piece = WITHOUT_END[kind]
    sent, connection = endless(first, piece, 100_000_000, target)
    with connection, suppress(ConnectionResetError):
        answer = read_answer(connection)
        assert_problem(answer, 431, "head_too_large")
    assert sent < 50_000_000


def test_200_trickling_connections_keep_nobody_waiting(target: ServerProcess) -> None:
    """While 200 clients send a byte now and then, another is answered within a second each time; then they are cut."""
    with ExitStack() as stack:
        slow = [stack.enter_context(target.connect()) for _ in range(200)]
        pieces = [
            (b"POST /v1/predict HTTP/1.1\r\nhost: x\r\n", b"x"),
            (request("POST", "/v1/predict", [RAW_WAV, CHUNKED]), b"1\r\nx\r\n"),
        ]
        for i, connection in enumerate(slow):
            connection.sendall(pieces[i % 2][0])
        waited, start = [], time.monotonic()
        while time.monotonic() - start < TIMEOUT_S * 0.75:
            for i, connection in enumerate(slow):
                connection.sendall(pieces[i % 2][1])
            before = time.monotonic()
            answer = httpx.post(f"{target.base_url}/v1/predict", content=GOOD, headers=WAV_TYPE, trust_env=False)
            waited.append(time.monotonic() - before)
            assert answer.status_code == 200
        assert len(waited) > 3
        assert max(waited) < 1
        codes = [assert_problem(answer := read_answer(c), 408, answer.json()["code"])["code"] for c in slow]
    assert codes == ["header_timeout", "body_timeout"] * 100


def test_a_trickling_body_is_cut_off_when_its_time_is_over(target: ServerProcess) -> None:
    """Every byte a client sends does not buy it more time."""
    start = time.monotonic()
    with target.connect() as connection:
        connection.sendall(request("POST", "/v1/predict", [RAW_WAV, CHUNKED]))
        while not select.select([connection], [], [], 0.1)[0]:
            assert time.monotonic() - start < TIMEOUT_S + 2
            connection.sendall(b"1\r\nx\r\n")
        assert_problem(read_answer(connection), 408, "body_timeout")


def h2c(*, offer: str = "h2c") -> list[tuple[str, str]]:
    """What Java's HttpClient sends with every first request."""
    return [
        ("Connection", "Upgrade, HTTP2-Settings"),
        ("Upgrade", offer),
        ("HTTP2-Settings", "AAMAAABk"),
        MULTIPART_TYPE,
    ]


@pytest.mark.parametrize("offer", ["h2c", "H2C", "websocket", "TLS/1.2", "h2c, websocket"])
def test_an_offer_of_another_protocol_is_passed_over(target: ServerProcess, offer: str) -> None:
    """A client that offers to go on in another protocol, as Java's does, gets its verdict in this one."""
    body = multipart(("file", "a.wav", GOOD))
    assert target.exchange(request("POST", "/inference", h2c(offer=offer), body)).status == 200


@pytest.mark.parametrize(
    "cut", [b"Upgr", b"Upgrade: h", b"Upgrade: h2c\r", b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"]
)
def test_an_offer_that_comes_in_pieces_is_passed_over(target: ServerProcess, cut: bytes) -> None:
    """However the network cuts the request into packets, the upload is answered."""
    whole = request("POST", "/inference", h2c(), multipart(("file", "a.wav", GOOD)))
    at = whole.index(b"\r\nUpgrade: ") + 2 + len(cut)
    with target.connect() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(whole[:at])
        time.sleep(0.1)
        connection.sendall(whole[at:])
        assert read_answer(connection).status == 200


def test_a_body_that_looks_like_an_offer_stays_as_it_is(target: ServerProcess) -> None:
    """Bodies are not touched: the request after such a one on the same connection is understood."""
    body = b'{"version":\r\nUpgrade: h2c\r\n"nobody"}'
    first = request("PUT", "/v1/models/aliases/champion", [("content-type", "application/json")], body)
    with target.connect() as connection:
        connection.sendall(first + request("GET", "/livez"))
        assert_problem(read_answer(connection), 422, "request_invalid")
        assert read_answer(connection).status == 200


def test_a_place_that_is_taken_is_said_at_once(serve: Serve, original_home: Path, wav: bytes) -> None:
    """One thread, no line: while a long batch is judged, an upload gets 503 with Retry-After, before it is sent."""
    server = serve(original_home, inference_threads=1, inference_queue=0)
    long = sounds.recording(sounds.fan(590.0, rate_hz=8_000), rate_hz=8_000)
    parts = [("file", (f"{i}.wav", long)) for i in range(3)]
    with ThreadPoolExecutor(1) as pool:
        batch = pool.submit(httpx.post, f"{server.base_url}/v1/predict/batch", files=parts, timeout=60, trust_env=False)
        received = 'signalml_inference_stage_seconds_count{stage="receive"} 1.0'
        wait_until(lambda: received in server.client.get("/metrics").text, within_s=10)
        start = time.monotonic()
        answer = server.client.post("/v1/predict", content=wav, headers=WAV_TYPE)
        assert_problem(answer, 503, "busy")
        assert int(answer.headers["retry-after"]) >= 1
        announced = request("POST", "/v1/predict", [RAW_WAV, ("content-length", str(len(wav)))])
        assert_problem(server.exchange(announced), 503, "busy")
        assert time.monotonic() - start < 1
        assert not batch.done()
    assert batch.result().status_code == 200
    assert server.client.post("/v1/predict", content=wav, headers=WAV_TYPE).status_code == 200


def test_all_uploads_together_are_bounded(serve: Serve, original_home: Path, wav: bytes) -> None:
    """Unfinished uploads count together: who goes beyond the bound gets 503 at once, until the others are done."""
    server = serve(original_home, max_buffered_bytes=1_000_000)
    half = request("POST", "/v1/predict", [RAW_WAV, ("content-length", "700000")], bytes(450_000))
    with ExitStack() as stack:
        held = [stack.enter_context(server.connect()) for _ in range(3)]
        for connection in held:
            connection.sendall(half)
        refused, _, _ = select.select(held, [], [], 5)
        (answer,) = [read_answer(connection) for connection in refused]
        assert_problem(answer, 503, "busy")
        assert_problem(server.client.post("/v1/predict", content=wav + bytes(60_000), headers=WAV_TYPE), 503, "busy")
    wait_until(lambda: server.client.post("/v1/predict", content=wav, headers=WAV_TYPE).is_success, within_s=5)
