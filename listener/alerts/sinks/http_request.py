"""One HTTP request, with a deadline for the whole of it and a bounded answer.

The standard library's client is used: it follows no redirect, uses no proxy of the environment, and takes a connection
that was made to a checked address. Its time limits are for single reads; a timer closes the connection at the deadline,
so a receiver that sends one byte now and then cannot hold a sink up.
"""

import http.client
import re
import socket
import ssl
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import quote, unquote, urlsplit

from listener.alerts.sinks.addresses import require_public, resolve
from ml.errors import DeliveryFailed

MAX_BODY = 16 * 1024
LONGEST_RETRY_AFTER_S = 3600.0
KEPT_IN_TARGETS = "%/:?@!$&'()*+,;=~"
USER_AGENT = "signalml-listener"
# The receiver refuses this message for good: it is gone, or the message is too large or cannot be used.
PERMANENT = frozenset({410, 413, 414, 422})
TOO_OFTEN = frozenset({429, 503})


class HttpAnswer(NamedTuple):
    """Answer of a receiver.

    Attributes:
        status: HTTP status.
        retry_after_s: seconds after which the next attempt is wanted; None without.
        body: beginning of the body, at most :data:`MAX_BODY` bytes.
    """

    status: int
    retry_after_s: float | None
    body: bytes

    @property
    def is_success(self) -> bool:
        """Whether the receiver has taken the request."""
        return 200 <= self.status < 300

    def error(self, who: str, detail: str = "") -> DeliveryFailed:
        """Return the failure that this answer is."""
        meaning = HTTPStatus(self.status).phrase if self.status in set(HTTPStatus) else "unknown"
        more = " Redirects are not followed." if 300 <= self.status < 400 else ""
        return DeliveryFailed(
            f"{who} answered {self.status} {meaning}{detail}.{more}", self.status in PERMANENT, self.retry_after_s
        )


class _WholeLines:
    """File of an answer in which a line without its end is an error: the receiver has failed in the middle."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def readline(self, most: int = -1) -> bytes:
        line: bytes = self._file.readline(most)
        if not line.endswith(b"\n") and len(line) != most:
            raise http.client.RemoteDisconnected("")
        return line

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


class _WholeResponse(http.client.HTTPResponse):
    """Answer whose status and headers are complete."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.fp = _WholeLines(self.fp)  # type: ignore[assignment]  # it has the methods that are used


class HttpRequest:
    """One request. Another thread may interrupt it.

    Args:
        url: address; user and password in it become Basic authentication.
        timeout_s: seconds for the whole request.
        allow_private: whether the address may be of a private network or this computer.
    """

    def __init__(self, url: str, timeout_s: float, allow_private: bool) -> None:
        self._parts = urlsplit(url)
        self._host = _ascii_host(self._parts.hostname or "")
        self._port = self._parts.port or (443 if self._parts.scheme == "https" else 80)
        self._deadline = time.monotonic() + timeout_s
        self._timeout_s = timeout_s
        self._allow_private = allow_private
        self._socket: socket.socket | None = None
        self._is_open = False
        self._ended = threading.Event()

    def send(self, method: str, body: bytes, headers: Mapping[str, str], who: str) -> HttpAnswer:
        """Send the request, and return the answer.

        Args:
            method: such as ``POST``.
            body: content.
            headers: headers; ``Host`` and ``Content-Length`` are added.
            who: name of the receiver in messages.

        Raises:
            DeliveryFailed: there was no complete answer before the deadline.
        """
        timer = threading.Timer(self._timeout_s, self.interrupt)
        timer.daemon = True
        timer.start()
        try:
            return self._exchange(method, body, headers)
        except ssl.SSLCertVerificationError as error:
            raise DeliveryFailed(f"The certificate of {who} cannot be trusted: {error.verify_message}.") from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise DeliveryFailed(f"{who} {self._reason(error)}.") from None
        finally:
            timer.cancel()
            self._close()

    def interrupt(self) -> None:
        """Make the request fail now."""
        self._ended.set()
        current = self._socket
        if current is not None:
            with suppress(OSError):
                current.shutdown(socket.SHUT_RDWR)

    def _exchange(self, method: str, body: bytes, headers: Mapping[str, str]) -> HttpAnswer:
        connection = http.client.HTTPConnection(self._host, self._port)
        connection.response_class = _WholeResponse
        connection.sock = self._connect()
        path = self._parts.path or "/"
        target = quote(f"{path}?{self._parts.query}" if self._parts.query else path, safe=KEPT_IN_TARGETS)
        common = {"Host": self._host_header(), "User-Agent": USER_AGENT, "Connection": "close"}
        connection.request(method, target, body, {**common, **self._authorization(), **headers})
        with connection.getresponse() as response:
            retry_after = response.headers.get("Retry-After") if response.status in TOO_OFTEN else None
            return HttpAnswer(response.status, parse_retry_after(retry_after), response.read(MAX_BODY))

    def _connect(self) -> socket.socket:
        addresses = resolve(self._host, self._port)
        usable = addresses if self._allow_private else require_public(self._host, addresses)
        self._socket = self._first_open(usable)
        if self._parts.scheme == "https":
            self._socket = secured = ssl.create_default_context().wrap_socket(
                self._socket, server_hostname=self._host, do_handshake_on_connect=False
            )
            secured.do_handshake()  # now that the timer knows this socket
        self._is_open = True
        if self._ended.is_set():  # the timer found no socket to close
            raise TimeoutError
        return self._socket

    def _first_open(self, addresses: list[str]) -> socket.socket:
        for number, address in enumerate(addresses, 1):
            try:
                return socket.create_connection((address, self._port), self._left_s())
            except OSError:
                if number == len(addresses):
                    raise
        raise AssertionError("a host has at least one address")

    def _left_s(self) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0 or self._ended.is_set():
            raise TimeoutError
        return left

    def _close(self) -> None:
        current, self._socket = self._socket, None
        if current is not None:
            current.close()

    def _host_header(self) -> str:
        host = f"[{self._host}]" if ":" in self._host else self._host
        return host if self._parts.port is None else f"{host}:{self._parts.port}"

    def _authorization(self) -> dict[str, str]:
        if self._parts.username is None:
            return {}
        pair = f"{unquote(self._parts.username)}:{unquote(self._parts.password or '')}"
        return {"Authorization": f"Basic {b64encode(pair.encode()).decode()}"}

    def _reason(self, error: Exception) -> str:
        if time.monotonic() >= self._deadline or isinstance(error, TimeoutError):
            return f"did not answer within {self._timeout_s:g} s"
        if self._ended.is_set():
            return "was not waited for: the listener stops"
        if isinstance(error, ConnectionError | http.client.HTTPException) and self._is_open:
            return "closed the connection without a complete answer"
        return f"cannot be reached: {getattr(error, 'strerror', None) or type(error).__name__}"


def _ascii_host(host: str) -> str:
    """Return a host name as name servers know it; unchanged if it is no valid name."""
    try:
        return host.encode("idna").decode()
    except UnicodeError:
        return host


def parse_retry_after(value: str | None, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> float | None:
    """Return the seconds of the header Retry-After, at most an hour; None without a usable value.

    Example:
        >>> parse_retry_after("120"), parse_retry_after("999999"), parse_retry_after("soon")
        (120.0, 3600.0, None)
    """
    if value is None:
        return None
    if re.fullmatch(r"[0-9]{1,9}", value.strip()):
        return min(float(value), LONGEST_RETRY_AFTER_S)
    try:
        seconds = (parsedate_to_datetime(value) - now()).total_seconds()
    except (ValueError, TypeError):
        return None
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER_S)
