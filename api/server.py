"""uvicorn, with the defences that it leaves to others: slow headers, slow bodies, and h2c offers."""

import asyncio
import errno
import logging
import re
import socket
from collections.abc import Callable
from functools import cache
from http import HTTPStatus
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from api.main import create_app
from api.problems import PROBLEM_JSON, build_problem
from api.settings import Settings
from ml.system.logs import configure_logging, request_context

# The application answers 408 at the body's deadline; a client that still goes on sending is cut off this much later.
GRACE_S = 5.0
SHUTDOWN_S = 15
BACKLOG = 2048
# Neither llhttp nor uvicorn bounds the request line, headers, trailers or chunk extensions.
MAX_HEAD_BYTES = 64 * 2**10
HEAD_END = b"\r\n\r\n"
# A client may offer another protocol (Java's HttpClient offers HTTP/2 in the clear with every request). RFC 9110 lets a
# server ignore the offer; httptools takes it for accepted and throws the body away, so it is renamed beforehand.
UPGRADE_OFFER = re.compile(rb"\r\nupgrade[ \t]*:", re.IGNORECASE)
logger = logging.getLogger("signalml.server")


class BoundedHttpProtocol(HttpToolsProtocol):
    """HTTP/1.1 with bounds on heads, deadlines for heads and bodies, and problem+json for what is not HTTP at all."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        settings = _settings()
        self._header_timeout_s = settings.header_timeout_s
        self._request_timeout_s = settings.body_timeout_s + GRACE_S
        self._deadline: asyncio.TimerHandle | None = None
        self._head = bytearray()  # of a request, until all of it is there
        self._parsing = False  # the parser is inside a request
        self._without_body = 0  # bytes fed to the parser since something came of them

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """A client has connected: it has a while to say what it wants."""
        super().connection_made(transport)
        self._expect(self._header_timeout_s, self._cut_off_head)

    def data_received(self, data: bytes) -> None:
        """Bytes have come: a head is gathered whole before it is parsed, everything else goes straight through."""
        if self._parsing:
            self._feed(data)
            return
        self._head += data
        end = self._head.find(HEAD_END)
        # What does not begin as a method is no request, and the parser says so at once.
        if end < 0 and self._head[:1].isalpha() and len(self._head) <= MAX_HEAD_BYTES:
            self._unset_keepalive_if_required()
            self._expect_something()
            return
        gathered, self._head = self._head, bytearray()
        if end > MAX_HEAD_BYTES:
            self._refuse_head()
            return
        keep = max(end, 0)
        self._feed(UPGRADE_OFFER.sub(rb"\r\nx-ignored-upgrade:", gathered[:keep]) + gathered[keep:])

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        super().on_message_begin()
        self._parsing = True
        self._expect(self._header_timeout_s, self._cut_off_head)

    def on_headers_complete(self) -> None:
        """All headers are there; now the body."""
        self._without_body = 0
        self._expect(self._request_timeout_s, self._cut_off_body)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        self._without_body = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """All of the request is there."""
        self._without_body = 0
        self._parsing = False
        self._forget()
        super().on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        self._forget()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Answer what could not be parsed."""
        self._refuse(400, "http_malformed", f"This is no HTTP/1.1 request: {msg}")

    def _feed(self, data: bytes) -> None:
        self._without_body += len(data)
        super().data_received(data)
        if self._without_body > MAX_HEAD_BYTES:
            self._refuse_head()
        elif not self._parsing and (self.cycle is None or self.cycle.response_complete):
            # A blank line between two requests ends uvicorn's keep-alive timer and begins no request.
            self._expect_something()

    def _expect_something(self) -> None:
        if self._deadline is None:
            self._expect(self._header_timeout_s, self._cut_off_head)

    def _expect(self, seconds: float, otherwise: Callable[[], None]) -> None:
        self._forget()
        self._deadline = self.loop.call_later(seconds, otherwise)

    def _forget(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _refuse_head(self) -> None:
        self._refuse(431, "head_too_large", f"At most {MAX_HEAD_BYTES} bytes of headers or trailers are taken.")

    def _cut_off_head(self) -> None:
        self._refuse(408, "header_timeout", f"The headers did not come within {self._header_timeout_s:g} s.")

    def _cut_off_body(self) -> None:
        self.transport.abort()

    def _refuse(self, status: int, code: str, detail: str) -> None:
        """Answer below the application, which has seen nothing of this, and close."""
        if self.transport.is_closing():
            return
        with request_context() as request_id:
            body = build_problem(status, code, detail).model_dump_json().encode()
            facts = {"status": status, "code": code, "client": self.client[0] if self.client else None}
            logger.info("refused", extra={"facts": facts})
        application().state.services.metrics.count_refusal(code)
        head = (
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\ncontent-type: {PROBLEM_JSON}\r\n"
            f"content-length: {len(body)}\r\nx-request-id: {request_id}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()


@cache
def _settings() -> Settings:
    """The settings of this process, read once and not for every connection."""
    return Settings()


@cache
def application() -> FastAPI:
    """The one application of this process, configured from the environment."""
    settings = _settings()
    configure_logging(settings.log_level)
    return create_app(settings)


def open_listener(settings: Settings) -> socket.socket:
    """A socket that listens, so that a port in use is told before anything else is done.

    Raises:
        OSError: the address cannot be listened on.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family, backlog=BACKLOG)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise OSError(f"Port {settings.port} is taken: choose another with SIGNALML_PORT or --port.") from error
        raise


def run(listening: socket.socket) -> None:
    """Serve on a socket in this process, until SIGTERM or SIGINT."""
    config = uvicorn.Config(
        application,
        factory=True,
        http=BoundedHttpProtocol,
        ws="none",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=SHUTDOWN_S,
    )
    server = uvicorn.Server(config)
    # Streams of events go on for as long as a job does: they are told when the server stops.
    application().state.services.job_queue.closing = lambda: server.should_exit
    server.run(sockets=[listening])
