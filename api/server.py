"""uvicorn server with deadlines for headers, bodies and answers, limits of headers and connections, no upgrades."""

import asyncio
import errno
import logging
import re
import socket
from collections.abc import Callable
from functools import cache
from http import HTTPStatus
from typing import Any

import httptools
import uvicorn
from fastapi import FastAPI
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from api.clients import ConnectionCounter
from api.main import create_app
from api.problems import PROBLEM_JSON, RETRY_AFTER_S, RETRY_STATUSES, build_problem
from api.settings import Settings
from api.write_deadline import WriteDeadline
from ml.system.logs import configure_logging, request_context

# The application answers 408 at the deadline of the body. A client that still sends is disconnected this much later.
GRACE_S = 5.0
SHUTDOWN_S = 15
BACKLOG = 2048
# Neither llhttp nor uvicorn limits the request line, headers, trailers or chunk extensions.
MAX_HEAD_BYTES = 64 * 2**10
HEAD_END = b"\r\n\r\n"
# A client may offer another protocol (Java's HttpClient offers HTTP/2 without TLS with every request). RFC 9110 allows
# a server to ignore the offer. httptools treats it as accepted and drops the body, so the header is renamed first.
# One behind a pipelined request, and CONNECT, end the connection: the bytes after their headers must not be requests.
UPGRADE_OFFER = re.compile(rb"\r\nupgrade[ \t]*:", re.IGNORECASE)
# Time in which a client with too many connections can send its request, so that it reads the refusal.
REFUSAL_S = 1.0
logger = logging.getLogger("signalml.server")


class BoundedHttpProtocol(HttpToolsProtocol):
    """HTTP/1.1 protocol with a size limit for heads, deadlines for heads, bodies and answers, and few connections each.

    The head of a request is its request line and its headers. Bytes that are not HTTP are answered with problem+json.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        settings = _settings()
        self._header_timeout_s = settings.header_timeout_s
        self._request_timeout_s = settings.body_timeout_s + GRACE_S
        self._deadline: asyncio.TimerHandle | None = None
        self._head = bytearray()  # received part of a head that is not complete
        self._parsing = False  # whether the parser is inside a request
        self._without_body = 0  # bytes given to the parser since the last head, body part or end of a request
        self._ignoring = False  # whether no further byte of this connection is read
        self._running: RequestResponseCycle | None = None  # request that is being answered
        self._counted: str | None = None  # client, in the count of connections
        self._surplus = False  # whether the client has too many connections, this one included

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Count the connection, and start the deadlines of its first head and of all answers."""
        super().connection_made(transport)
        self._write_deadline = WriteDeadline(transport, self.loop, _settings().write_timeout_s, self._disconnect)
        self._counted = _connections().enter(self.client[0] if self.client else None)
        self._surplus = _connections().is_above(self._counted)
        if self._surplus:
            self._set_deadline(REFUSAL_S, self._refuse_connection)
        else:
            self._set_deadline(self._header_timeout_s, self._refuse_slow_head)

    def data_received(self, data: bytes) -> None:
        """Collect a head until it is complete, then parse it; pass on all other bytes at once."""
        if self._ignoring:
            return
        if self._surplus:
            self._refuse_connection()
            return
        if self._parsing:
            self._feed(data)
            return
        self._head += data
        end = self._head.find(HEAD_END)
        # Bytes that do not begin with a letter are not a request; the parser refuses them at once.
        if end < 0 and self._head[:1].isalpha() and len(self._head) <= MAX_HEAD_BYTES:
            self._unset_keepalive_if_required()
            self._ensure_deadline()
            return
        received, self._head = self._head, bytearray()
        if end > MAX_HEAD_BYTES:
            self._refuse_large_head()
            return
        head_bytes = max(end, 0)
        self._feed(UPGRADE_OFFER.sub(rb"\r\nx-ignored-upgrade:", received[:head_bytes]) + received[head_bytes:])

    def on_message_begin(self) -> None:
        """Restart the deadline of the head at the first byte of a request."""
        super().on_message_begin()
        self._parsing = True
        self._set_deadline(self._header_timeout_s, self._refuse_slow_head)

    def on_headers_complete(self) -> None:
        """Start the deadline of the body, unless the request asks for another protocol."""
        self._without_body = 0
        if self.parser.should_upgrade():
            self._ignoring = True
            return
        self._set_deadline(self._request_timeout_s, self._disconnect)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Pass on a part of the body."""
        self._without_body = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End the deadline: the request is complete."""
        if self._ignoring:
            return
        self._without_body = 0
        self._parsing = False
        self._clear_deadline()
        super().on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """End the deadlines: the client has disconnected."""
        self._clear_deadline()
        self._write_deadline.end()
        _connections().leave(self._counted)
        if self._running is not None and not self._running.response_complete:
            # uvicorn marks the last request of a connection alone, which is another one if requests are pipelined.
            self._running.disconnected = True
            self._running.message_event.set()
        super().connection_lost(exc)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def send_400_response(self, msg: str) -> None:
        """Answer bytes that cannot be parsed."""
        self._refuse(400, "http_malformed", f"This is not an HTTP/1.1 request: {msg}")

    def _feed(self, data: bytes) -> None:
        self._without_body += len(data)
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # _ignoring is set
        except httptools.HttpParserError as error:
            self.send_400_response(f"{error or 'it cannot be read'}.")
            return
        if self._ignoring:
            self._end_after_answers()
        elif self._without_body > MAX_HEAD_BYTES:
            self._refuse_large_head()
        elif not self._parsing and (self.cycle is None or self.cycle.response_complete):
            # A blank line between two requests ends uvicorn's keep-alive timer, but starts no request.
            self._ensure_deadline()

    def _end_after_answers(self) -> None:
        """Answer the requests before one that asks for another protocol, and then close the connection."""
        self._clear_deadline()
        if self.cycle is None or self.cycle.response_complete:
            self.send_400_response("it asks for another protocol.")
        else:
            self.cycle.keep_alive = False

    def _ensure_deadline(self) -> None:
        if self._deadline is None:
            self._set_deadline(self._header_timeout_s, self._refuse_slow_head)

    def _set_deadline(self, seconds: float, on_timeout: Callable[[], None]) -> None:
        self._clear_deadline()
        self._deadline = self.loop.call_later(seconds, on_timeout)

    def _clear_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _refuse_large_head(self) -> None:
        self._refuse(431, "head_too_large", f"At most {MAX_HEAD_BYTES} bytes of headers or trailers are accepted.")

    def _refuse_slow_head(self) -> None:
        self._refuse(408, "header_timeout", f"The headers did not arrive within {self._header_timeout_s:g} s.")

    def _refuse_connection(self) -> None:
        detail = f"At most {_settings().max_connections_per_client} connections of one client are accepted."
        self._refuse(429, "connections_too_many", detail)

    def _disconnect(self) -> None:
        self.transport.abort()

    def _refuse(self, status: int, code: str, detail: str) -> None:
        """Send an error answer and close the connection; the application does not see the request."""
        if self.transport.is_closing():
            return
        self._clear_deadline()
        with request_context() as request_id:
            body = build_problem(status, code, detail).model_dump_json().encode()
            facts = {"status": status, "code": code, "client": self.client[0] if self.client else None}
            logger.info("refused", extra={"facts": facts})
        application().state.services.metrics.count_refusal(code)
        retry = f"retry-after: {RETRY_AFTER_S}\r\n" if status in RETRY_STATUSES else ""
        head = (
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\ncontent-type: {PROBLEM_JSON}\r\n{retry}"
            f"content-length: {len(body)}\r\nx-request-id: {request_id}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()


@cache
def _settings() -> Settings:
    """Return the settings of this process, read once and not for every connection."""
    return Settings()


@cache
def _connections() -> ConnectionCounter:
    """Return the counter of the connections of this process."""
    return ConnectionCounter(_settings().max_connections_per_client, _settings().trusted_proxies)


@cache
def application() -> FastAPI:
    """Return the one application of this process, configured from the environment."""
    settings = _settings()
    configure_logging(settings.log_level)
    return create_app(settings)


def open_listener(settings: Settings) -> socket.socket:
    """Open a socket that listens. A port in use is then reported before anything else is done.

    Raises:
        OSError: the address cannot be used.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family, backlog=BACKLOG)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise OSError(f"Port {settings.port} is in use: choose another with SIGNALML_PORT or --port.") from error
        raise


def run(listener: socket.socket) -> None:
    """Serve on a socket in this process, until SIGTERM or SIGINT."""
    config = uvicorn.Config(
        application,
        factory=True,
        http=BoundedHttpProtocol,
        ws="none",
        access_log=False,
        log_config=None,
        server_header=False,
        # uvicorn's default is to believe every client on this computer.
        proxy_headers=bool(_settings().trusted_proxies),
        forwarded_allow_ips=_settings().trusted_proxies,
        timeout_graceful_shutdown=SHUTDOWN_S,
    )
    server = uvicorn.Server(config)
    # A stream of events lasts as long as its job; it ends early when the server stops.
    application().state.services.streams.closing = lambda: server.should_exit
    server.run(sockets=[listener])
