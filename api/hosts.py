"""Names under which the service is reached, and pages that may change something.

A web page that a person visits can send requests to a service on the same computer or in the same network:

- Its forms and scripts can send any request that a form can send. The browser then names the page in ``Origin``, and
  its relation to the service in ``Sec-Fetch-Site``.
- The owner of the page's name can point this name to 127.0.0.1 later (DNS rebinding). The browser then takes the
  service for the page's own server. Only ``Host`` still has the foreign name.

Programs that are no browsers send neither ``Origin`` nor ``Sec-Fetch-Site``.
"""

import ipaddress
import re
import socket
from collections.abc import Iterator
from functools import lru_cache

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import HostNotAllowed, OriginNotAllowed, RequestError
from api.observability.requests import Metrics
from api.problems import problem_of_error, problem_response
from ml.system.validation import MAX_SHOWN_LENGTH

LOOPBACK_NAME = "localhost"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
SETTING = "SIGNALML_ALLOWED_HOSTS"
ANY = "*"
# Name or address, then a port; an IPv6 address is in brackets.
AUTHORITY = re.compile(r"(?P<host>\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(?::(?P<port>[0-9]{0,5}))?")
ORIGIN = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<authority>[^/?#@]+)")
DEFAULT_PORTS = {"http": "80", "https": "443"}


class AllowedHosts:
    """Names that a request may have in ``Host``, each with any port.

    IP addresses are always allowed, because no name has to be resolved for them. ``localhost``, the name of this
    computer and the address that the service listens on are allowed, too.

    Args:
        listed: further names, separated by commas; ``*.example.org`` is every name below ``example.org``, ``*`` is
            every name.
        bound: address or name that the service listens on.
    """

    def __init__(self, listed: str, bound: str) -> None:
        self._listed = frozenset(_clean(name) for name in listed.split(",") if name.strip())
        own = socket.gethostname().lower()
        self._names = self._listed | {LOOPBACK_NAME, own, f"{own.partition('.')[0]}.local", _clean(bound)}
        self.allows = lru_cache(1024)(self._allows)

    def _allows(self, host: str) -> bool:
        name = _clean(host)
        return is_address(name) or name.endswith(f".{LOOPBACK_NAME}") or self._includes(name, self._names)

    def lists(self, host: str) -> bool:
        """Return whether the setting lists a name or address; ``*`` lists none."""
        return self._includes(_clean(host), self._listed - {ANY})

    @staticmethod
    def _includes(name: str, names: frozenset[str]) -> bool:
        return ANY in names or name in names or any(f"*{end}" in names for end in _endings(name))


def is_address(host: str) -> bool:
    """Return whether a host is an IPv4 address, or an IPv6 address in brackets."""
    try:
        if host.startswith("["):
            ipaddress.IPv6Address(host[1:-1])
        else:
            ipaddress.IPv4Address(host)
    except ValueError:
        return False
    return True


def _clean(host: str) -> str:
    return host.strip().lower().removesuffix(".")


def _endings(name: str) -> Iterator[str]:
    """Return ``.b.c`` and ``.c`` of ``a.b.c``."""
    parts = name.split(".")
    return (f".{'.'.join(parts[first:])}" for first in range(1, len(parts)))


class HostMiddleware:
    """ASGI middleware that refuses foreign names in ``Host``, and changes that a foreign page asks for.

    Args:
        app: the application.
        metrics: counter of refusals.
        hosts: names of the service.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, hosts: AllowedHosts) -> None:
        self._app = app
        self._metrics = metrics
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            host = self._check_host(scope)
            if scope["method"] not in SAFE_METHODS:
                self._check_page(scope, host)
        except RequestError as error:
            self._metrics.count_refusal(error.code)
            await problem_response(problem_of_error(error))(scope, receive, send)
            return
        await self._app(scope, receive, _without_frames(send))

    def _check_host(self, scope: Scope) -> str:
        """Return ``Host``; empty if a client, which is no browser then, sends none.

        Raises:
            HostNotAllowed
        """
        found = _values(scope, b"host")
        if len(found) > 1:
            raise HostNotAllowed(f"The request has {len(found)} headers Host; one was expected.")
        if not found or not found[0]:
            return ""
        split = AUTHORITY.fullmatch(found[0])
        if split is None or not self._hosts.allows(split["host"]):
            raise HostNotAllowed(
                f"The Host {found[0][:MAX_SHOWN_LENGTH]!r} is not a name of this service; an IP address, "
                f"{LOOPBACK_NAME}, the name of this computer or a name in {SETTING} was expected."
            )
        return found[0]

    def _check_page(self, scope: Scope, host: str) -> None:
        """Refuse a request that another page than one of this service makes a browser send.

        Raises:
            OriginNotAllowed
        """
        origins = _values(scope, b"origin")
        for origin in origins:
            if not self._is_own(origin, host):
                raise OriginNotAllowed(
                    f"The page {origin[:MAX_SHOWN_LENGTH]!r} may not change anything here; a page of this service, or "
                    f"of a host in {SETTING}, was expected as Origin."
                )
        if not origins and "cross-site" in _values(scope, b"sec-fetch-site"):
            raise OriginNotAllowed("A page of another site may not change anything here: Sec-Fetch-Site is cross-site.")

    def _is_own(self, origin: str, host: str) -> bool:
        split = ORIGIN.fullmatch(origin)
        authority = AUTHORITY.fullmatch(split["authority"]) if split else None
        if split is None or authority is None:  # null, from a file or a page that hides its origin
            return False
        port = DEFAULT_PORTS.get(split["scheme"])
        same = _without_port(origin.partition("://")[2], port) == _without_port(host, port)
        return (same and bool(host)) or self._hosts.lists(authority["host"])


def _without_port(authority: str, default: str | None) -> str:
    """Return an authority in lower case, without the port that its scheme has by default."""
    split = AUTHORITY.fullmatch(authority)
    if split is None:
        return authority
    port = split["port"] or default
    return _clean(split["host"]) if port == default else f"{_clean(split['host'])}:{port}"


def _values(scope: Scope, header: bytes) -> list[str]:
    return [value.decode("latin-1").strip() for name, value in scope["headers"] if name == header]


def _without_frames(send: Send) -> Send:
    """Forbid other pages to show an HTML page of this service in a frame, where a click could be guided to it."""

    async def send_with_policy(message: Message) -> None:
        if message["type"] == "http.response.start" and _is_html(message):
            message["headers"] = [*message["headers"], (b"x-frame-options", b"DENY")]
        await send(message)

    return send_with_policy


def _is_html(message: Message) -> bool:
    return any(
        name.lower() == b"content-type" and value.startswith(b"text/html") for name, value in message.get("headers", ())
    )
