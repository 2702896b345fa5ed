"""Requests as real clients send them, byte by byte: each gets the verdict that any other client gets.

The shapes are those of the clients' own documentation and of captures: names and order of headers, boundaries, headers
of parts, framing of the body. The server has its default settings.
"""

import shutil
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import httpx
import pytest
import requests

from testing.servers import Answer, Serve, ServerProcess, read_answer
from tests import sounds

WAV = sounds.recording(sounds.fan(1.0))
# Longer than 1 MiB: curl then asks before it sends the body.
LONG_WAV = sounds.recording(sounds.fan(40.0))
PREDICT, INFERENCE = "/v1/predict", "/inference"
H2C = (
    "Connection: Upgrade, HTTP2-Settings",
    "Upgrade: h2c",
    "HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA",
)
CHROME = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0"
Shape = Callable[[str], list[bytes]]


def form(boundary: str, *parts: tuple[Sequence[str], bytes], end: bytes = b"\r\n") -> bytes:
    """A multipart form of (header lines, content)."""
    body = b""
    for lines, content in parts:
        body += f"--{boundary}\r\n".encode() + "\r\n".join(lines).encode() + b"\r\n\r\n" + content + b"\r\n"
    return body + f"--{boundary}--".encode() + end


def message(line: str, headers: Sequence[str], body: bytes = b"") -> bytes:
    """The bytes of a request."""
    return "\r\n".join([f"{line} HTTP/1.1", *headers]).encode("latin-1") + b"\r\n\r\n" + body


def chunked(body: bytes, size: int = 16_384) -> bytes:
    """A body in chunks."""
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(f"{len(piece):x}\r\n".encode() + piece + b"\r\n" for piece in pieces) + b"0\r\n\r\n"


def curl_form(host: str) -> list[bytes]:
    """``curl -F 'file=@x.wav;type=audio/wav'``, curl 8."""
    boundary = "------------------------d74496d66958873eQmBiZ4"
    body = form(
        boundary, (['Content-Disposition: form-data; name="file"; filename="x.wav"', "Content-Type: audio/wav"], WAV)
    )
    headers = [f"Host: {host}", "User-Agent: curl/8.5.0", "Accept: */*", f"Content-Length: {len(body)}"]
    return [message(f"POST {PREDICT}", [*headers, f"Content-Type: multipart/form-data; boundary={boundary}"], body)]


def curl_form_of_a_long_recording(host: str) -> list[bytes]:
    """The same with more than 1 MiB: curl waits for ``100 Continue``."""
    boundary = "------------------------0f1c2b3a4d5e6f708192a3"
    body = form(
        boundary,
        (['Content-Disposition: form-data; name="file"; filename="x.wav"', "Content-Type: audio/wav"], LONG_WAV),
    )
    headers = [f"Host: {host}", "User-Agent: curl/8.5.0", "Accept: */*", f"Content-Length: {len(body)}"]
    kind = f"Content-Type: multipart/form-data; boundary={boundary}"
    return [message(f"POST {PREDICT}", [*headers, kind, "Expect: 100-continue"]), body]


def curl_raw(host: str) -> list[bytes]:
    """``curl --data-binary @x.wav -H 'Content-Type: audio/wav'``."""
    headers = [f"Host: {host}", "User-Agent: curl/8.5.0", "Accept: */*", "Content-Type: audio/wav"]
    return [message(f"POST {PREDICT}", [*headers, f"Content-Length: {len(WAV)}"], WAV)]


def curl_raw_from_a_pipe(host: str) -> list[bytes]:
    """``arecord | curl -X POST -T - -H 'Content-Type: audio/wav'``: chunks, and a question before the body."""
    headers = [f"Host: {host}", "User-Agent: curl/8.5.0", "Accept: */*", "Transfer-Encoding: chunked"]
    head = message(f"POST {PREDICT}", [*headers, "Content-Type: audio/wav", "Expect: 100-continue"])
    return [head, chunked(WAV)]


def _undici(host: str, framing: str) -> list[str]:
    boundary = "----formdata-undici-053452638237"
    return [
        f"host: {host}",
        "connection: keep-alive",
        f"content-type: multipart/form-data; boundary={boundary}",
        "accept: */*",
        "accept-language: *",
        "sec-fetch-mode: cors",
        "user-agent: node",
        "accept-encoding: gzip, deflate",
        framing,
    ]


def _undici_form(end: bytes) -> bytes:
    lines = ['Content-Disposition: form-data; name="file"; filename="x.wav"', "Content-Type: audio/wav"]
    machine = (['Content-Disposition: form-data; name="machine_id"'], b"fan-3")
    return form("----formdata-undici-053452638237", (lines, WAV), machine, end=end)


def node_fetch(host: str) -> list[bytes]:
    """Node's ``fetch`` with ``FormData`` and a ``File``."""
    body = _undici_form(b"\r\n")
    return [message(f"POST {PREDICT}", _undici(host, f"content-length: {len(body)}"), body)]


def node_fetch_of_a_stream(host: str) -> list[bytes]:
    """The same in chunks, by a release that ends the form without a line end."""
    return [message(f"POST {PREDICT}", _undici(host, "transfer-encoding: chunked"), chunked(_undici_form(b"")))]


def dotnet(host: str) -> list[bytes]:
    """.NET: ``HttpClient`` with ``MultipartFormDataContent``: a boundary in quotes, names without."""
    boundary = "b1d7c3a2-7b1c-4c3e-9a2f-6d9f8b1e2c3d"
    disposition = "Content-Disposition: form-data; name=file; filename=x.wav; filename*=utf-8''x.wav"
    machine = ["Content-Type: text/plain; charset=utf-8", "Content-Disposition: form-data; name=machine_id"]
    body = form(boundary, (["Content-Type: audio/wav", disposition], WAV), (machine, b"fan-3"))
    kind = f'Content-Type: multipart/form-data; boundary="{boundary}"'
    return [message(f"POST {PREDICT}", [f"Host: {host}", kind, f"Content-Length: {len(body)}"], body)]


def dotnet_with_an_umlaut(host: str) -> list[bytes]:
    """.NET, with a name that is not ASCII."""
    boundary = "8f3a1b52-1c7e-4f0a-9a57-3d6c1a2b4e5f"
    names = "filename=\"=?utf-8?B?TMO8ZnRlci53YXY=?=\"; filename*=utf-8''L%C3%BCfter.wav"
    body = form(boundary, ([f"Content-Disposition: form-data; name=file; {names}"], WAV))
    kind = f'Content-Type: multipart/form-data; boundary="{boundary}"'
    return [message(f"POST {PREDICT}", [f"Host: {host}", kind, f"Content-Length: {len(body)}"], body)]


def java(host: str) -> list[bytes]:
    """Java's own ``java.net.http.HttpClient``, which offers HTTP/2 with every first request, with a form by hand."""
    boundary = "Java11HttpClientFormBoundary"
    lines = ['Content-Disposition: form-data; name="file"; filename="x.wav"', "Content-Type: application/octet-stream"]
    body = form(boundary, (lines, WAV))
    headers = [H2C[0], f"Content-Length: {len(body)}", f"Host: {host}", H2C[2], H2C[1]]
    agent = ["User-Agent: Java-http-client/21.0.5", f"Content-Type: multipart/form-data; boundary={boundary}"]
    return [message(f"POST {PREDICT}", [*headers, *agent], body)]


def java_raw(host: str) -> list[bytes]:
    """The same with the recording as the body."""
    headers = [H2C[0], f"Content-Length: {len(WAV)}", f"Host: {host}", H2C[2], H2C[1]]
    agent = ["User-Agent: Java-http-client/21.0.5", "Content-Type: audio/wav"]
    return [message(f"POST {PREDICT}", [*headers, *agent], WAV)]


def okhttp(host: str) -> list[bytes]:
    """OkHttp (Android): parts have their length."""
    boundary = "1f6b7c1e-52e3-4b6e-8a0a-0d5f5c1c7b11"
    lines = ['Content-Disposition: form-data; name="file"; filename="x.wav"', "Content-Type: audio/wav"]
    body = form(boundary, ([*lines, f"Content-Length: {len(WAV)}"], WAV))
    headers = [
        f"Content-Type: multipart/form-data; boundary={boundary}",
        f"Content-Length: {len(body)}",
        f"Host: {host}",
    ]
    usual = ["Connection: Keep-Alive", "Accept-Encoding: gzip", "User-Agent: okhttp/4.12.0"]
    return [message(f"POST {PREDICT}", [*headers, *usual], body)]


def apache(host: str) -> list[bytes]:
    """Apache HttpClient 4: parts have a transfer encoding."""
    boundary = "ZQO4nCbEvV6LUoSmkAiKZs1H6bYgXn"
    lines = ['Content-Disposition: form-data; name="file"; filename="x.wav"', "Content-Type: application/octet-stream"]
    body = form(boundary, ([*lines, "Content-Transfer-Encoding: binary"], WAV))
    kind = f"Content-Type: multipart/form-data; boundary={boundary}"
    headers = [f"Content-Length: {len(body)}", kind, f"Host: {host}", "Connection: Keep-Alive"]
    agent = ["User-Agent: Apache-HttpClient/4.5.14 (Java/17.0.9)", "Accept-Encoding: gzip,deflate"]
    return [message(f"POST {INFERENCE}", [*headers, *agent], body)]


def go(host: str) -> list[bytes]:
    """Go: ``mime/multipart`` through a pipe, in chunks."""
    boundary = "8d2f1c3a5b7e9f0d1c2b3a4958677685a4b3c2d1e0f9a8b7c6d5e4f3a2b1"
    lines = ['Content-Disposition: form-data; name="file"; filename="x.wav"', "Content-Type: application/octet-stream"]
    headers = [f"Host: {host}", "User-Agent: Go-http-client/1.1", "Transfer-Encoding: chunked"]
    kind = [f"Content-Type: multipart/form-data; boundary={boundary}", "Accept-Encoding: gzip"]
    return [message(f"POST {PREDICT}", [*headers, *kind], chunked(form(boundary, (lines, WAV)), 32_768))]


def rust(host: str) -> list[bytes]:
    """Rust: ``reqwest``."""
    boundary = "9f2c1d4e5a6b7c8d-0a1b2c3d4e5f6071-8293a4b5c6d7e8f9-0123456789abcdef"
    body = form(
        boundary, (['Content-Disposition: form-data; name="file"; filename="x.wav"', "Content-Type: audio/wav"], WAV)
    )
    kind = f"content-type: multipart/form-data; boundary={boundary}"
    return [message(f"POST {PREDICT}", [kind, f"content-length: {len(body)}", "accept: */*", f"host: {host}"], body)]


def postman(host: str) -> list[bytes]:
    """Postman, to the original's route."""
    boundary = "--------------------------735323031399963166993862"
    body = form(
        boundary, (['Content-Disposition: form-data; name="file"; filename="x.wav"', "Content-Type: audio/wav"], WAV)
    )
    headers = [
        "User-Agent: PostmanRuntime/7.43.0",
        "Accept: */*",
        "Cache-Control: no-cache",
        "Postman-Token: 5f2c7f5e-6c1a-4f5b-9b6e-2f9d6d0f3a51",
        f"Host: {host}",
        "Accept-Encoding: gzip, deflate, br",
        "Connection: keep-alive",
        f"Content-Type: multipart/form-data; boundary={boundary}",
        f"Content-Length: {len(body)}",
    ]
    return [message(f"POST {INFERENCE}", headers, body)]


def home_assistant(host: str) -> list[bytes]:
    """Home Assistant: aiohttp with the recording as the body."""
    headers = [
        f"Host: {host}",
        "User-Agent: HomeAssistant/2026.11.1 aiohttp/3.13.2 Python/3.13",
        "Content-Type: audio/wav",
        "Accept: */*",
        "Accept-Encoding: gzip, deflate, br, zstd",
        f"Content-Length: {len(WAV)}",
    ]
    return [message(f"POST {PREDICT}?machine_id=living-room-fan", headers, WAV)]


def aiohttp_form(host: str) -> list[bytes]:
    """aiohttp with ``FormData(quote_fields=False)``: the name of the file is in ``filename*`` alone."""
    boundary = "a3f1d5c2b4e64f0f9a8b7c6d5e4f3a2b"
    disposition = "Content-Disposition: form-data; name=\"file\"; filename*=utf-8''L%C3%BCfter.wav"
    body = form(boundary, (["Content-Type: audio/wav", disposition], WAV))
    kind = f"Content-Type: multipart/form-data; boundary={boundary}"
    headers = [
        f"Host: {host}",
        "Accept: */*",
        "Accept-Encoding: gzip, deflate",
        "User-Agent: Python/3.13 aiohttp/3.13.2",
    ]
    return [message(f"POST {PREDICT}", [*headers, f"Content-Length: {len(body)}", kind], body)]


def esp32(host: str) -> list[bytes]:
    """ESP32: Arduino's ``HTTPClient``, and no further request on the connection."""
    headers = [
        f"host: {host}",
        "user-agent: ESP32HTTPClient",
        "connection: close",
        "accept-encoding: identity;q=1,chunked;q=0.1,*;q=0",
        "content-type: audio/wav",
        f"content-length: {len(WAV)}",
    ]
    return [message(f"POST {PREDICT}", headers, WAV)]


def _browser(host: str, agent: str, boundary: str, *more: str) -> list[bytes]:
    lines = ['Content-Disposition: form-data; name="file"; filename="x.wav"', "Content-Type: audio/x-wav"]
    body = form(boundary, (lines, WAV))
    headers = [
        f"Host: {host}",
        "Connection: keep-alive",
        f"Content-Length: {len(body)}",
        f"User-Agent: {agent}",
        "Accept: */*",
        f"Content-Type: multipart/form-data; boundary={boundary}",
        f"Origin: http://{host}",
        "Sec-Fetch-Site: same-origin",
        "Sec-Fetch-Mode: cors",
        "Sec-Fetch-Dest: empty",
        f"Referer: http://{host}/",
        "Accept-Encoding: gzip, deflate, br, zstd",
        "Accept-Language: de-DE,de;q=0.9,en;q=0.8",
        *more,
    ]
    return [message(f"POST {PREDICT}?explain=true", headers, body)]


def chrome(host: str) -> list[bytes]:
    """The page at ``/`` in Chrome."""
    hints = (
        'sec-ch-ua: "Chromium";v="131", "Not_A Brand";v="24"',
        "sec-ch-ua-mobile: ?0",
        'sec-ch-ua-platform: "Linux"',
    )
    return _browser(host, CHROME, "----WebKitFormBoundary7MA4YWxkTrZu0gW", *hints)


def firefox(host: str) -> list[bytes]:
    """The page at ``/`` in Firefox, with a cookie of another program on the same host."""
    boundary = "----geckoformboundary5c9f3f3e0d7b9f0e6c1d8a2b4f7e9d31"
    return _browser(host, FIREFOX, boundary, "Cookie: _xsrf=2|8294f9ac|1", "Priority: u=0", "DNT: 1")


SHAPES: list[Shape] = [
    curl_form,
    curl_form_of_a_long_recording,
    curl_raw,
    curl_raw_from_a_pipe,
    node_fetch,
    node_fetch_of_a_stream,
    dotnet,
    dotnet_with_an_umlaut,
    java,
    java_raw,
    okhttp,
    apache,
    go,
    rust,
    postman,
    home_assistant,
    aiohttp_form,
    esp32,
    chrome,
    firefox,
]


@pytest.fixture(scope="module")
def server(original_home: Path, tmp_path_factory: pytest.TempPathFactory, serve_for_all: Serve) -> ServerProcess:
    """A server of these tests alone: some clients name a machine, which then has a record."""
    return serve_for_all(Path(shutil.copytree(original_home, tmp_path_factory.mktemp("clients") / "home")))


def host_of(server: ServerProcess) -> str:
    """Host and port."""
    return f"127.0.0.1:{server.port}"


def send(server: ServerProcess, pieces: list[bytes]) -> Iterator[Answer]:
    """Send a request; where it asks before the body, wait for the interim answer. Then send it again."""
    with server.connect() as connection:
        while True:
            for piece in pieces:
                connection.sendall(piece)
                if b"\r\nExpect: 100-continue" in piece[:2000]:
                    assert connection.recv(100).startswith(b"HTTP/1.1 100 ")
            yield read_answer(connection)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_client_gets_its_verdict(server: ServerProcess, shape: Shape) -> None:
    """The status is 200, and a client that keeps its connection can send the next request on it."""
    pieces = shape(host_of(server))
    answers = send(server, pieces)
    first = next(answers)
    assert first.status == 200, first.content
    found = first.json()
    assert "verdict" in found or "Details" in found
    place = {"machine": None} if "machine" in found else {}  # the second upload is a repetition of the first one
    if b"connection: close" in pieces[0][:500]:
        return
    again = next(answers)
    assert (again.status, again.json() | place) == (200, found | place)


def test_every_client_gets_the_same_verdict(server: ServerProcess) -> None:
    """The score does not depend on the client."""
    expected = server.client.post(PREDICT, content=WAV, headers={"content-type": "audio/wav"}).json()["score"]
    for shape in (curl_form, node_fetch_of_a_stream, dotnet, java_raw, go, rust, esp32, chrome):
        assert next(send(server, shape(host_of(server)))).json()["score"] == expected, shape.__name__


@pytest.mark.parametrize("path", [PREDICT, INFERENCE, f"{INFERENCE}/"])
def test_httpx_and_requests_send_files(server: ServerProcess, path: str) -> None:
    """The real libraries, also with the slash at the end that clients of the original send."""
    url = f"{server.base_url}{path}"
    with requests.Session() as session:
        session.trust_env = False
        answers = [
            session.post(url, files={"file": ("Lüfter.wav", WAV, "audio/wav")}, timeout=60),
            session.post(url, files={"file": WAV}, data={"machine_id": "fan-3"}, timeout=60),
            httpx.post(url, files={"file": ("Lüfter.wav", WAV, "audio/wav")}, trust_env=False, timeout=60),
            httpx.post(url, files={"file": ("x.wav", WAV)}, data={"machine_id": "fan-3"}, trust_env=False, timeout=60),
        ]
    assert [answer.status_code for answer in answers] == [200] * 4, [answer.text for answer in answers]


def test_requests_and_httpx_send_generators_in_chunks(server: ServerProcess) -> None:
    """A recording that is read while it is sent."""

    def pieces() -> Iterator[bytes]:
        yield from (WAV[start : start + 10_000] for start in range(0, len(WAV), 10_000))

    url, headers = f"{server.base_url}{PREDICT}", {"Content-Type": "audio/wav"}
    with requests.Session() as session:
        session.trust_env = False
        assert session.post(url, data=pieces(), headers=headers, timeout=60).status_code == 200
    assert httpx.post(url, content=pieces(), headers=headers, trust_env=False, timeout=60).status_code == 200


def test_urllib_sends_the_body(server: ServerProcess) -> None:
    """Python without any package."""
    asked = urllib.request.Request(f"{server.base_url}{PREDICT}", WAV, {"Content-Type": "audio/wav"})
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(asked, timeout=60) as answer:
        assert answer.status == 200


@pytest.mark.parametrize(
    "kind", ["application/json", "application/json; charset=utf-8", "application/json;charset=UTF-8"]
)
def test_a_rest_command_sends_json(server: ServerProcess, kind: str) -> None:
    """Home Assistant's ``rest_command``, Node and .NET state the type of JSON in their own ways."""
    body = b'{"by": "Ana", "note": "seen"}'
    headers = [f"Host: {host_of(server)}", "User-Agent: HomeAssistant/2026.11.1 aiohttp/3.13.2 Python/3.13"]
    sent = message(
        "POST /v1/machines/absent/acknowledge",
        [*headers, f"Content-Type: {kind}", f"Content-Length: {len(body)}"],
        body,
    )
    answer = server.exchange(sent)
    assert (answer.status, answer.json()["code"]) == (404, "machine_not_found")


def test_java_reads_with_its_offer_of_http_2(server: ServerProcess) -> None:
    """A GET with the offer is answered as HTTP/1.1, and so is the next one on the connection."""
    asked = message(
        "GET /readyz", [H2C[0], f"Host: {host_of(server)}", H2C[2], H2C[1], "User-Agent: Java-http-client/21"]
    )
    answers = send(server, [asked])
    assert [next(answers).status for _ in range(3)] == [200, 200, 200]
