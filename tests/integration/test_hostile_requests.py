"""Requests that are no HTTP, that no route takes, whose values are wrong, or that offer another protocol."""

import socket
import time
from contextlib import suppress

import pytest

from testing.servers import MULTIPART_TYPE, ServerProcess, assert_problem, multipart, read_answer, request, wait_until
from tests.integration.uploads import CHUNKED, GOOD, JSON_TYPE, RAW_WAV, WAV_TYPE

ALIAS = "/v1/models/aliases/champion"
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
    "PUT of a model": ("PUT", "/v1/models/champion", 405, "method_not_allowed"),
    "POST of health": ("POST", "/livez", 405, "method_not_allowed"),
    "a flag that is none": ("POST", "/v1/predict?explain=perhaps", 422, "request_invalid"),
    "a body that is no JSON": ("PUT", "/v1/models/aliases/champion", 422, "request_invalid"),
    "an alias that is none": ("PUT", "/v1/models/aliases/king", 422, "request_invalid"),
}


@pytest.mark.parametrize("kind", FRAMEWORK)
def test_the_frameworks_own_refusals_are_problems(target: ServerProcess, kind: str) -> None:
    """404, 405 and 422 come in the one form of every error; a 405 lists the allowed methods."""
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


LARGE = bytes(200_000)
GZIP = ("content-encoding", "gzip")
REFUSED_FOR_THEIR_ADDRESS = {
    "no such path": (request("POST", "/nope", [RAW_WAV], LARGE), 404, "route_not_found"),
    "no such path below": (request("PUT", "/v1/models/a/b/c", [RAW_WAV], LARGE), 404, "route_not_found"),
    "no such path, compressed": (
        request("POST", "/nope", [GZIP], b"x"),
        404,
        "route_not_found",
    ),
    "another method": (request("POST", "/livez", [RAW_WAV], LARGE), 405, "method_not_allowed"),
    "another method, more than any": (
        request("GET", "/v1/predict", [RAW_WAV, ("content-length", "40000000")]),
        405,
        "method_not_allowed",
    ),
}


@pytest.mark.parametrize("kind", REFUSED_FOR_THEIR_ADDRESS)
def test_a_large_body_does_not_hide_a_wrong_address(guarded: ServerProcess, kind: str) -> None:
    """A client that has mistyped a path learns this, and not that 65536 bytes are accepted there."""
    sent, status, code = REFUSED_FOR_THEIR_ADDRESS[kind]
    assert_problem(guarded.exchange(sent), status, code)


@pytest.mark.parametrize("path", ["/inference/", "/v1/predict/", "/v1/predict/batch//"])
def test_an_upload_to_a_path_with_a_slash_is_answered(guarded: ServerProcess, path: str) -> None:
    """Most clients would not send the body again after a redirect."""
    answer = guarded.exchange(request("POST", path, [MULTIPART_TYPE], multipart(("file", "a.wav", GOOD))))
    assert answer.status == 200


@pytest.mark.parametrize("coding", ["gzip", "br", "deflate, gzip", "GZIP", "x" * 500])
@pytest.mark.parametrize(("method", "path"), [("POST", "/inference"), ("POST", "/v1/predict"), ("PUT", ALIAS)])
def test_a_compressed_body_is_refused_by_name(guarded: ServerProcess, method: str, path: str, coding: str) -> None:
    """415 names the coding; ``identity`` is none."""
    refused = guarded.exchange(request(method, path, [RAW_WAV, ("content-encoding", coding)], GOOD))
    assert coding[:64] in assert_problem(refused, 415, "content_encoding_unsupported")["detail"]
    as_it_is = guarded.exchange(request("POST", "/v1/predict", [RAW_WAV, ("content-encoding", "identity")], GOOD))
    assert as_it_is.status == 200


def test_a_length_of_thousands_of_digits_is_a_number(guarded: ServerProcess) -> None:
    """Zeros before a length do not change it, and a length that is too large is refused."""
    zeros = [RAW_WAV, ("content-length", f"{len(GOOD):05000d}")]
    assert guarded.exchange(request("POST", "/v1/predict", zeros, GOOD)).status == 200
    large = [RAW_WAV, ("content-length", f"{10**12:05000d}")]
    detail = assert_problem(guarded.exchange(request("POST", "/v1/predict", large)), 413, "body_too_large")["detail"]
    assert "The Content-Length is 1000000000000 bytes" in detail


def test_head_is_answered_like_get(guarded: ServerProcess) -> None:
    """Programs that watch a service ask so; there is no body, and the connection can be used again."""
    for path in ("/livez", "/v1/models", "/nope"):
        get, head = guarded.client.get(path), guarded.client.head(path)
        assert (head.status_code, head.content) == (get.status_code, b"")
        assert head.headers["content-type"] == get.headers["content-type"]
    assert guarded.client.put("/livez").headers["allow"] == "GET, HEAD"


def test_a_proxy_that_nobody_has_named_is_not_believed(guarded: ServerProcess) -> None:
    """Every client on this computer could write another address into the log."""
    headers = {"x-forwarded-for": "203.0.113.9", "x-forwarded-proto": "https", "x-request-id": "not-believed"}
    guarded.client.get("/livez", headers=headers)
    (line,) = wait_until(lambda: [line for line in guarded.lines() if line["request_id"] == "not-believed"])
    assert line["client"] == "127.0.0.1"


def test_a_client_without_a_host_is_answered(guarded: ServerProcess) -> None:
    """HTTP/1.0 has none, and small devices leave it out; a browser always sends one."""
    for version in (b"1.0", b"1.1"):
        assert guarded.exchange(b"GET /livez HTTP/" + version + b"\r\n\r\n").status == 200


def test_a_message_names_what_is_wrong_with_a_request(guarded: ServerProcess) -> None:
    """The words of the parser, instead of one sentence for everything."""
    both = request("POST", "/inference", [CHUNKED, ("content-length", "5")], b"0\r\n\r\n")
    assert "Transfer-Encoding" in guarded.exchange(both).json()["detail"]
    unknown = request("POST", "/inference", [("transfer-encoding", "gzip")], b"x")
    assert "Transfer-Encoding" in guarded.exchange(unknown).json()["detail"]


def test_no_message_describes_the_folders_of_the_server(guarded: ServerProcess) -> None:
    """What is not there is named without the path of the home."""
    answer = guarded.client.get("/v1/models/challenger")
    detail = assert_problem(answer, 404, "model_alias_not_set")["detail"]
    assert str(guarded.home) not in detail


SCORING, RETRAINING = "/v1/jobs/scoring", "/v1/jobs/retraining"
MISTAKES = {
    "a flag": ("/v1/predict?explain=maybe", None, "query.explain is 'maybe'; true or false was expected."),
    "nothing": (SCORING, b"", "There is no body; a JSON object was expected."),
    "a list": (SCORING, b"[]", "body is a list; a JSON object was expected."),
    "null": (SCORING, b'{"dataset": null}', "body.dataset is null; a text was expected."),
    "no JSON": (SCORING, b'{"dataset": }', "The body is not JSON: Expecting value at character 13."),
    "less than all": (SCORING, b"{}", "body.dataset is missing."),
    "more than all": (
        SCORING,
        b'{"dataset":"a","path":"/"}',
        "body.path is not a field of this body; the fields are: dataset, model.",
    ),
    "a field twice": (SCORING, b'{"dataset":"a","dataset":"b"}', "The JSON body has the field 'dataset' twice;"),
    "a field twice, deep": (SCORING, b'{"dataset":{"a":1,"a":1}}', "The JSON body has the field 'a' twice;"),
    "a field twice, escaped": (
        SCORING,
        b'{"dataset":"a","d\\u0061taset":"b"}',
        "The JSON body has the field 'dataset'",
    ),
    "no number": (RETRAINING, b'{"dataset":"a","copies":NaN}', "The JSON body has the number NaN,"),
    "half a character": (
        SCORING,
        b'{"dataset": "\\ud800"}',
        "body.dataset is '\\ud800'; a text of valid Unicode characters was expected.",
    ),
    "a name": (SCORING, b'{"dataset":"../etc"}', "body.dataset is '../etc'; a text that matches ^[a-z0-9]"),
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
        f"body.dataset is '{'x' * 63}...; a text that matches",
    ),
}


@pytest.mark.parametrize("kind", MISTAKES)
def test_a_wrong_value_is_shown_beside_what_was_expected(guarded: ServerProcess, kind: str) -> None:
    """In the project's own words, wherever it is."""
    path, body, sentence = MISTAKES[kind]
    sent = {"content": GOOD, "headers": WAV_TYPE} if body is None else {"content": body, "headers": JSON_TYPE}
    answer = guarded.client.post(path, **sent)
    assert assert_problem(answer, 422, "request_invalid")["detail"].startswith(sentence)


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


INNER = request("GET", "/v1/datasets")


@pytest.mark.parametrize("split", [0, len(INNER) // 2, len(INNER)], ids=["in one packet", "in two", "after it"])
def test_a_body_behind_an_offer_is_never_a_request(guarded: ServerProcess, split: int) -> None:
    """A pipelined request that offers another protocol ends the connection: its body would be read as requests."""
    offer = request("POST", "/inference", [*h2c(), ("content-length", str(len(INNER)))])
    with guarded.connect() as connection:
        connection.sendall(request("GET", "/livez") + offer + INNER[:split])
        time.sleep(0.1)
        with suppress(ConnectionError):
            connection.sendall(INNER[split:])
        answers = received(connection)
    assert answers.count(b"HTTP/1.1") == 1
    assert b"alive" in answers
    assert b"datasets" not in answers


def received(connection: socket.socket) -> bytes:
    """Everything that comes until the connection ends."""
    answers = bytearray()
    with suppress(ConnectionError):
        while piece := connection.recv(65_536):
            answers += piece
    return bytes(answers)


def test_a_body_that_looks_like_an_offer_stays_as_it_is(target: ServerProcess) -> None:
    """Bodies are not touched: the request after such a one on the same connection is understood."""
    body = b'{"version":\r\nUpgrade: h2c\r\n"nobody"}'
    first = request("PUT", "/v1/models/aliases/champion", [("content-type", "application/json")], body)
    with target.connect() as connection:
        connection.sendall(first + request("GET", "/livez"))
        assert_problem(read_answer(connection), 422, "request_invalid")
        assert read_answer(connection).status == 200
