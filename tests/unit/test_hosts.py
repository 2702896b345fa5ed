"""Names of the service, and pages of other sites: DNS rebinding and foreign forms reach nothing."""

import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from api.hosts import AllowedHosts
from api.main import create_app
from api.settings import Settings
from testing.servers import assert_problem
from tests.unit.asgi import AppClient

OWN = socket.gethostname()
ALLOWED = (
    *("localhost", "LOCALHOST:5000", "localhost.", "hall.localhost:81", "127.0.0.1", "127.0.0.1:5000", "10.0.0.7:80"),
    *("[::1]", "[::1]:5000", "[fe80::1]", OWN, f"{OWN.upper()}:5000", "0.0.0.0:5000"),
)
OTHER_NAMES = (
    *("evil.example", "evil.example:5000", "localhost.evil.example", "127.0.0.1.evil.example", "evil-localhost"),
    *(
        "127.0.0.1@evil.example",
        "evil.example#localhost",
        "localhost/../evil",
        "[::1].evil.example",
        "a b",
        "127.1.evil",
    ),
    *("localhost:80:80", "localhost, evil.example", "0x7f.0.0.1", "hall.example.org.evil.example", "[evil.example]"),
)
Connect = Callable[..., AppClient]


@pytest.fixture
def connect(tmp_path: Path) -> Connect:
    """A function that returns a client of an application in this process, without a model."""

    def made(**settings: object) -> AppClient:
        return AppClient(create_app(Settings(home=tmp_path, **settings)))

    return made


def test_only_names_of_the_service_are_answered(connect: Connect) -> None:
    """Loopback names, addresses and the name of this computer, with any port; any other name is refused."""
    client = connect()
    for host in ALLOWED:
        assert client.get("/livez", headers={"host": host}).status_code == 200, host
    for host in OTHER_NAMES:
        for method, path in (
            ("GET", "/v1/models"),
            ("DELETE", "/v1/datasets/hall"),
            ("GET", "/docs"),
            ("GET", "/nope"),
        ):
            answer = client.request(method, path, headers={"host": host})
            assert "SIGNALML_ALLOWED_HOSTS" in assert_problem(answer, 421, "host_not_allowed")["detail"], host


def test_a_second_host_header_is_refused(connect: Connect) -> None:
    """Another program in front of the service could have read the other one."""
    for hosts in (("localhost", "evil.example"), ("localhost", "localhost")):
        answer = connect().get("/livez", headers=[("host", host) for host in hosts])
        assert_problem(answer, 421, "host_not_allowed")


def test_an_empty_name_is_not_looked_up() -> None:
    """HTTP/1.0 has none, and a browser always sends one: an empty name is not looked up."""
    assert not AllowedHosts("", "127.0.0.1").allows("")


@pytest.mark.parametrize(
    ("listed", "allowed", "refused"),
    [
        ("hall.example.org", ["hall.example.org:443", "HALL.example.org."], ["x.hall.example.org", "example.org"]),
        (
            "*.example.org, api",
            ["a.example.org", "a.b.example.org", "api:5000"],
            ["example.org", "api2"],
        ),
        ("*", ["evil.example"], []),
    ],
)
def test_further_names_are_listed(connect: Connect, listed: str, allowed: list[str], refused: list[str]) -> None:
    """A name, every name below one, or every name."""
    client = connect(allowed_hosts=listed)
    assert [client.get("/livez", headers={"host": host}).status_code for host in allowed] == [200] * len(allowed)
    assert [client.get("/livez", headers={"host": host}).status_code for host in refused] == [421] * len(refused)


def test_the_name_that_the_service_listens_on_is_its_name(connect: Connect) -> None:
    """A name as SIGNALML_HOST needs no second setting."""
    assert connect(host="hall-pc.example.org").get("/livez", headers={"host": "hall-pc.example.org"}).is_success


OTHER_PAGES = {
    "another site": {"origin": "http://evil.example"},
    "another site with our name in it": {"origin": "http://localhost.evil.example"},
    "a page that hides its origin, or a file": {"origin": "null"},
    "another port": {"origin": "http://localhost:3000"},
    "another address of this computer": {"origin": "http://127.0.0.1"},
    "an extension": {"origin": "chrome-extension://abcdef"},
    "no authority": {"origin": "http://"},
    "no origin, but another site": {"sec-fetch-site": "cross-site"},
}
OWN_PAGES = {
    "no browser": {},
    "the page of the service": {"origin": "http://localhost", "sec-fetch-site": "same-origin"},
    "with the port of its scheme": {"origin": "http://localhost:80"},
    "behind TLS": {"origin": "https://localhost"},
    "typed by the user": {"sec-fetch-site": "none"},
    "Node": {"sec-fetch-mode": "cors"},
}


@pytest.mark.parametrize("page", OTHER_PAGES)
def test_a_page_of_another_site_changes_nothing(connect: Connect, page: str, tmp_path: Path) -> None:
    """Refused for every method that changes something, before the body is read; reading is answered."""
    client, headers = connect(), OTHER_PAGES[page]
    for method, path in (
        ("POST", "/v1/datasets"),
        ("POST", "/inference"),
        ("PUT", "/v1/models/aliases/champion"),
        ("DELETE", "/v1/datasets/hall?confirm=hall"),
        ("PATCH", "/v1/models/x/threshold"),
    ):
        assert_problem(
            client.request(method, path, headers=headers, content=b'{"name":"a"}'), 403, "origin_not_allowed"
        )
    assert client.get("/livez", headers=headers).status_code == 200
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("page", OWN_PAGES)
def test_own_pages_and_programs_change_what_they_may(connect: Connect, page: str) -> None:
    """What a browser sends from the page at ``/``, and what programs send."""
    assert connect().post("/v1/datasets", json={"name": "hall-3"}, headers=OWN_PAGES[page]).status_code == 201


def test_a_page_of_a_listed_host_may_change_things(connect: Connect) -> None:
    """A page behind a proxy that changes Host has the name of the proxy as its origin."""
    client = connect(allowed_hosts="hall.example.org")
    headers = {"host": "127.0.0.1:5000", "origin": "https://hall.example.org", "sec-fetch-site": "same-origin"}
    assert client.post("/v1/datasets", json={"name": "hall-3"}, headers=headers).status_code == 201
    headers["origin"] = "https://evil.example"
    for every in (client, connect(allowed_hosts="*")):
        assert_problem(every.post("/v1/datasets", json={"name": "hall-4"}, headers=headers), 403, "origin_not_allowed")


@pytest.mark.parametrize("path", ["/v1/datasets/", "/v1/jobs/", "/docs/", "/inference/", "/v1/predict//"])
def test_no_answer_sends_a_client_elsewhere(connect: Connect, path: str) -> None:
    """A path with a slash at its end is answered, not redirected to an address made from ``Host``."""
    client = connect(allowed_hosts="*")
    for method in ("GET", "POST"):
        headers = {"host": "evil.example", "x-forwarded-host": "evil.example"}
        answer = client.request(method, path, headers=headers)
        assert not answer.is_redirect
        assert "evil.example" not in answer.text + str(answer.headers)


def test_no_page_may_show_the_service_in_a_frame(connect: Connect) -> None:
    """A frame under another page's picture would guide clicks to the console and to /docs."""
    client = connect()
    for path in ("/", "/docs", "/redoc"):
        assert client.get(path, headers={"accept": "text/html"}).headers["x-frame-options"] == "DENY"
