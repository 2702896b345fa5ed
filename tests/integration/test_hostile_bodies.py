"""Bodies and headers without end, without a length, too slow or broken off: bounded, timed and refused by name."""

import select
import socket
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from testing.servers import (
    MULTIPART_TYPE,
    PATIENCE_S,
    Answer,
    Serve,
    ServerProcess,
    assert_problem,
    multipart,
    read_answer,
    request,
    wait_until,
)
from tests.integration.conftest import HASTY_S
from tests.integration.uploads import CHUNKED, GOOD, PNG, RAW_WAV, UPLOADS, WAV_TYPE


def endless(first: bytes, piece: bytes, bytes_in_all: int, target: ServerProcess) -> tuple[int, socket.socket]:
    """Send ``first`` and then ``piece`` again and again until there is an answer or an end; returns what was sent."""
    connection = target.connect()
    sent = 0
    with suppress(ConnectionError):
        connection.sendall(first)
        while sent < bytes_in_all and not is_answered(connection):
            connection.sendall(piece)
            sent += len(piece)
    return sent, connection


LONGER = ("content-length", "100000")
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
    """Content-Length alone is enough for a 413."""
    head = request("POST", path, [MULTIPART_TYPE, ("content-length", str(10**12))])
    assert_problem(target.exchange(head), 413, "body_too_large")


def test_what_is_no_upload_may_be_64_kib(target: ServerProcess) -> None:
    """A route that takes a few names in JSON takes no megabytes of them, announced or in chunks."""
    path, kind = "/v1/models/aliases/champion", ("content-type", "application/json")
    assert_problem(target.exchange(request("PUT", path, [kind], b" " * 70_000)), 413, "body_too_large")
    assert_problem(target.exchange(request("PUT", path, [kind, CHUNKED], CHUNK + CHUNK)), 413, "body_too_large")


@pytest.mark.parametrize("kind", [RAW_WAV, MULTIPART_TYPE], ids=["raw", "multipart"])
def test_a_length_smaller_than_the_body_is_a_clean_refusal(target: ServerProcess, kind: tuple[str, str]) -> None:
    """The body ends at its declared length; what follows is not a request, and the connection ends."""
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


def cut_off(server: ServerProcess, *sent: bytes, ends: bool) -> list[Answer]:
    """The answers to what is sent and not gone on with, each on a connection of its own, which may end then."""
    start = time.monotonic()
    with ExitStack() as stack:
        connections = [stack.enter_context(server.connect()) for _ in sent]
        for connection, piece in zip(connections, sent, strict=True):
            connection.sendall(piece)
        answers = [read_answer(connection) for connection in connections]
        assert time.monotonic() - start > HASTY_S - 0.1
        assert not ends or [connection.recv(1) for connection in connections] == [b""] * len(sent)
    return answers


def test_a_body_that_stalls_is_cut_off(hasty: ServerProcess) -> None:
    """A Content-Length larger than what comes: 408 once the body's time is over, with how much came."""
    heads = [request("POST", "/v1/predict", [kind, LONGER], PART_HEAD) for kind in (RAW_WAV, MULTIPART_TYPE)]
    for answer in cut_off(hasty, *heads, ends=False):
        assert str(len(PART_HEAD)) in assert_problem(answer, 408, "body_timeout")["detail"]


def test_headers_that_do_not_come_are_cut_off(hasty: ServerProcess) -> None:
    """A connection that has not sent its headers in time, whether none, some or a blank line, gets a 408 and ends."""
    for answer in cut_off(hasty, b"", b"GET /livez HTTP/1.1\r\nhost: x\r\n", b"\r\n\r\n", ends=True):
        assert_problem(answer, 408, "header_timeout")


def test_a_blank_line_after_an_answer_does_not_hold_a_connection(hasty: ServerProcess) -> None:
    """A connection that was answered before has no more time for its next headers than a new one."""
    with hasty.connect() as connection:
        connection.sendall(request("GET", "/livez"))
        assert read_answer(connection).status == 200
        connection.sendall(b"\r\n")
        while connection.recv(4096):
            pass


def test_200_trickling_connections_keep_nobody_waiting(hasty: ServerProcess) -> None:
    """While 200 clients send a byte now and then, another is answered; then they are cut off."""
    with ExitStack() as stack:
        slow = [stack.enter_context(hasty.connect()) for _ in range(200)]
        pieces = [
            (b"POST /v1/predict HTTP/1.1\r\nhost: x\r\n", b"x"),
            (request("POST", "/v1/predict", [RAW_WAV, CHUNKED]), b"1\r\nx\r\n"),
        ]
        for i, connection in enumerate(slow):
            connection.sendall(pieces[i % 2][0])
        answered = 0
        while not is_answered(*slow):
            for i, connection in enumerate(slow):
                connection.sendall(pieces[i % 2][1])
            answer = hasty.afresh("POST", "/v1/predict", content=GOOD, headers=WAV_TYPE)
            assert answer.status_code == 200
            answered += not is_answered(*slow)
        codes = [assert_problem(answer := read_answer(c), 408, answer.json()["code"])["code"] for c in slow]
    assert answered > 0
    assert codes == ["header_timeout", "body_timeout"] * 100


def is_answered(*connections: socket.socket) -> bool:
    """Whether something came on any of them."""
    return bool(select.select(connections, [], [], 0)[0])


def test_a_trickling_body_is_cut_off_when_its_time_is_over(hasty: ServerProcess) -> None:
    """Every byte a client sends does not buy it more time."""

    def goes_on() -> bool:
        connection.sendall(b"1\r\nx\r\n")
        return is_answered(connection)

    with hasty.connect() as connection:
        connection.sendall(request("POST", "/v1/predict", [RAW_WAV, CHUNKED]))
        wait_until(goes_on, every_s=0.1)
        assert_problem(read_answer(connection), 408, "body_timeout")


def test_a_taken_place_is_refused_at_once(serve: Serve, original_home: Path, wav: bytes, long_wav: bytes) -> None:
    """One thread, no line: while a long batch is judged, an upload gets 503 with Retry-After, before it is sent."""
    server = serve(original_home, inference_threads=1, inference_queue=0)
    parts = [("file", (f"{i}.wav", long_wav)) for i in range(3)]
    with ThreadPoolExecutor(1) as pool:
        batch = pool.submit(server.afresh, "POST", "/v1/predict/batch", files=parts)
        received = 'signalml_inference_stage_seconds_count{stage="receive"} 1.0'
        wait_until(lambda: received in server.client.get("/metrics").text)
        answer = server.client.post("/v1/predict", content=wav, headers=WAV_TYPE)
        assert_problem(answer, 503, "busy")
        assert int(answer.headers["retry-after"]) >= 1
        announced = request("POST", "/v1/predict", [RAW_WAV, ("content-length", str(len(wav)))])
        assert_problem(server.exchange(announced), 503, "busy")
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
        refused, _, _ = select.select(held, [], [], PATIENCE_S)
        (answer,) = [read_answer(connection) for connection in refused]
        assert_problem(answer, 503, "busy")
        assert_problem(server.client.post("/v1/predict", content=wav + bytes(60_000), headers=WAV_TYPE), 503, "busy")
    wait_until(lambda: server.client.post("/v1/predict", content=wav, headers=WAV_TYPE).is_success)
