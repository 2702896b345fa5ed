"""Limits for each client: connections, and requests within a minute."""

from functools import partial
from pathlib import Path

import pytest
from pydantic import ValidationError

from api.clients import ConnectionCounter, RequestAllowance, client_name
from api.main import create_app
from api.settings import Settings
from testing.servers import assert_problem
from tests.unit.asgi import AppClient


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8::ffff:1", "2001:db8::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("not an address", "not an address"),
        ("127.0.0.1", None),
        ("127.8.9.1", None),
        ("::1", None),
        ("::ffff:127.0.0.1", None),
        (None, None),
    ],
)
def test_a_client_is_an_address_or_a_network(address: str | None, name: str | None) -> None:
    """One computer can have every address of an IPv6 network; this computer has no limits."""
    assert client_name(address) == name


def test_connections_of_a_client_are_counted() -> None:
    """Above the limit until one ends; others, this computer and proxies are not affected."""
    counter = ConnectionCounter(2, "198.51.100.0/24")
    names = [counter.enter("192.0.2.7") for _ in range(3)]
    assert [counter.is_above(name) for name in names] == [True] * 3
    assert not counter.is_above(counter.enter("192.0.2.8"))
    assert [counter.enter(address) for address in ("127.0.0.1", "198.51.100.9")] == [None, None]
    counter.leave(names[0])
    assert not counter.is_above("192.0.2.7")
    assert not ConnectionCounter(0).is_above(ConnectionCounter(0).enter("192.0.2.7"))


def test_an_allowance_is_refilled_evenly() -> None:
    """60 in a minute are 60 at once, and one more each second; refused ones do not count; names are separate."""
    now = [0.0]
    allowance = RequestAllowance(60, lambda: now[0])
    assert [allowance.take("a") for _ in range(62)] == [True] * 60 + [False] * 2
    assert allowance.take("b")
    now[0] = 1.5
    assert [allowance.take("a") for _ in range(2)] == [True, False]
    now[0] = 1000
    assert [allowance.take("a") for _ in range(61)] == [True] * 60 + [False]


def test_too_many_requests_are_refused_by_name(tmp_path: Path) -> None:
    """429 with Retry-After for one client, also with its key from elsewhere; not for health, and not for others."""
    app = create_app(Settings(home=tmp_path, max_requests_per_minute=3))

    client = partial(AppClient, app)
    headers = {"X-API-Key": "sml_a"}
    assert [client("192.0.2.7").get("/v1/models", headers=headers).status_code for _ in range(3)] == [200] * 3
    refused = client("192.0.2.7").get("/v1/models")
    assert_problem(refused, 429, "requests_too_many")
    assert int(refused.headers["retry-after"]) >= 1
    assert_problem(client("192.0.2.8").get("/v1/models", headers=headers), 429, "requests_too_many")
    assert client("192.0.2.8").get("/v1/models").status_code == 200
    assert [client("192.0.2.7").get(path).status_code for path in ("/livez", "/metrics")] == [200, 200]
    assert [client("127.0.0.1").get("/v1/models").status_code for _ in range(9)] == [200] * 9


def test_proxies_are_addresses() -> None:
    """A name is refused at the start, not at the first request."""
    with pytest.raises(ValidationError):
        Settings(trusted_proxies="10.0.0.1, proxy")
