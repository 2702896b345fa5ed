"""Clients by their address, and how much each may ask of the service at a time.

Clients on the same computer have no limits. Behind a proxy, every client has the address of the proxy, unless the
setting SIGNALML_TRUSTED_PROXIES names it; then the proxy names the client, and the proxy itself has no limits.
"""

import ipaddress
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from hashlib import sha256

from starlette.types import ASGIApp, Receive, Scope, Send

from api.errors import TooManyRequests
from api.observability.requests import Metrics
from api.problems import problem_of_error, problem_response
from api.security import HEADER

# A provider gives a whole IPv6 network of this size to one customer.
IPV6_NETWORK_BITS = 64
MINUTE_S = 60.0
CLIENTS_KEPT = 10_000
KEY_HEADER = HEADER.lower().encode()
# Programs that watch the service ask these in short intervals, whatever else their address asks.
UNLIMITED_PATHS = frozenset({"/livez", "/readyz", "/metrics"})


def client_name(address: str | None) -> str | None:
    """Return the name under which a client is counted; None for a client without limits.

    Args:
        address: IP address of the connection, or None for a connection without one.

    Example:
        >>> client_name("192.0.2.7"), client_name("2001:db8::1:2"), client_name("127.0.0.1")
        ('192.0.2.7', '2001:db8::/64', None)
    """
    if address is None:
        return None
    try:
        found = _address(address)
    except ValueError:  # what a trusted proxy put into X-Forwarded-For
        return address
    if found.is_loopback:
        return None
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    return str(ipaddress.ip_network((found, IPV6_NETWORK_BITS), strict=False))


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Return an address without its zone; an IPv4 address that an IPv6 socket shows is an IPv4 address."""
    found = ipaddress.ip_address(text.partition("%")[0])
    return getattr(found, "ipv4_mapped", None) or found


class ConnectionCounter:
    """Open connections of each client.

    Args:
        most: largest number for one client; 0 for no limit.
        proxies: addresses and networks of proxies, separated by commas; they have no limit.
    """

    def __init__(self, most: int, proxies: str = "") -> None:
        self._most = most
        listed = filter(None, map(str.strip, proxies.split(",")))
        self._proxies = [ipaddress.ip_network(each, strict=False) for each in listed]
        self._open: Counter[str] = Counter()

    def enter(self, address: str | None) -> str | None:
        """Count a connection, and return the name of its client; None for a client without limits."""
        name = client_name(address)
        if address is None or name is None or not self._most or self._is_proxy(address):
            return None
        self._open[name] += 1
        return name

    def leave(self, name: str | None) -> None:
        """Count the end of a connection that :meth:`enter` counted."""
        if name is not None:
            self._open[name] -= 1
            if not self._open[name]:
                del self._open[name]

    def is_above(self, name: str | None) -> bool:
        """Return whether a client has more connections than it may have."""
        return name is not None and self._open[name] > self._most

    def _is_proxy(self, address: str) -> bool:
        return bool(self._proxies) and any(_address(address) in network for network in self._proxies)


class RequestAllowance:
    """Requests that each name has left: as many as may come in a minute, refilled evenly.

    Args:
        per_minute: requests of one name in a minute; 0 for no limit.
        clock: monotonic time in seconds.
    """

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # requests left, and when

    def take(self, name: str) -> bool:
        """Return whether a name may send a request now, and count it."""
        if not self._per_minute:
            return True
        now = self._clock()
        left, since = self._left.pop(name, (float(self._per_minute), now))
        left = min(self._per_minute, left + (now - since) * self._per_minute / MINUTE_S)
        self._left[name] = (left - 1 if left >= 1 else left, now)
        if len(self._left) > CLIENTS_KEPT:
            self._left.popitem(last=False)
        return left >= 1


class RequestRateMiddleware:
    """ASGI middleware that limits the requests of each client, and of each API key, within a minute.

    Args:
        app: the application.
        metrics: counter of refusals.
        per_minute: largest number of requests; 0 for no limit.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, per_minute: int) -> None:
        self._app = app
        self._metrics = metrics
        self._per_minute = per_minute
        self._allowance = RequestAllowance(per_minute)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http" and scope["path"] not in UNLIMITED_PATHS:
            client = client_name(scope["client"][0] if scope.get("client") else None)
            allowed = [self._allowance.take(name) for name in (client, *_key(scope))] if client is not None else []
            if not all(allowed):
                self._metrics.count_refusal(TooManyRequests.code)
                refusal = TooManyRequests(
                    f"More than {self._per_minute} requests came within a minute from {client}, or with this API key; "
                    "send fewer, or several recordings in one request to /v1/predict/batch."
                )
                await problem_response(problem_of_error(refusal))(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _key(scope: Scope) -> list[str]:
    """Return a name for the API key of a request, without its secret; nothing without a key."""
    return [f"key {sha256(value).hexdigest()}" for name, value in scope["headers"] if name == KEY_HEADER][:1]
