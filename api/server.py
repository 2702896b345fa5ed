"""uvicorn, with the defences that it leaves to others: slow headers, slow bodies, and h2c offers."""

import asyncio
import os
import re
import shutil
import tempfile
from functools import cache
from http import HTTPStatus
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from api.observing import MULTIPROCESS_VARIABLE, configure_logging
from api.problems import PROBLEM_JSON, problem
from api.settings import Settings

# The application answers 408 at the body's deadline; a client that still goes on sending is cut off this much later.
GRACE_S = 5.0
SHUTDOWN_S = 15
# A client may offer HTTP/2 in the clear (Java's HttpClient does so on every request). RFC 9110 lets a server ignore the
# offer; httptools takes it for accepted and throws the body away, so it is renamed before it is parsed.
H2C_OFFER = re.compile(rb"\r\nupgrade:(?=[ \t]*h2c[ \t]*\r\n)", re.IGNORECASE)


class GuardedProtocol(HttpToolsProtocol):
    """HTTP/1.1 with a deadline for headers and for whole requests, and problem+json for what is not HTTP at all."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        settings = _settings()
        self._header_timeout_s = settings.header_timeout_s
        self._request_timeout_s = settings.body_timeout_s + GRACE_S
        self._deadline: asyncio.TimerHandle | None = None
        self._in_request = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has connected: it has a while to say what it wants."""
        super().connection_made(transport)
        self._expect(self._header_timeout_s, self._cut_off_headers)

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""
        if not self._in_request:
            data = H2C_OFFER.sub(rb"\r\nx-ignored-upgrade:", data, count=1)
        super().data_received(data)
        # A blank line between two requests ends uvicorn's keep-alive timer and begins no request.
        idle = self.cycle is None or self.cycle.response_complete
        if idle and not self._in_request and self._deadline is None:
            self._expect(self._header_timeout_s, self._cut_off_headers)

    def on_message_begin(self) -> None:
        """The first byte of a request on a connection that was kept alive."""
        super().on_message_begin()
        self._expect(self._header_timeout_s, self._cut_off_headers)

    def on_headers_complete(self) -> None:
        """All headers are there; now the body."""
        self._in_request = True
        self._expect(self._request_timeout_s, self._cut_off_body)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """All of the request is there."""
        self._in_request = False
        self._forget()
        super().on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        self._forget()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Answer what could not be parsed."""
        self._refuse(400, "http_malformed", f"This is no HTTP/1.1 request: {msg}")

    def _expect(self, seconds: float, otherwise: Any) -> None:
        self._forget()
        self._deadline = self.loop.call_later(seconds, otherwise)

    def _forget(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _cut_off_headers(self) -> None:
        self._refuse(
            408, "header_timeout", f"The headers did not come within {self._header_timeout_s:g} s of the connection."
        )

    def _cut_off_body(self) -> None:
        self.transport.abort()

    def _refuse(self, status: int, code: str, detail: str) -> None:
        if self.transport.is_closing():
            return
        body = problem(status, code, detail).model_dump_json().encode()
        head = (
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\ncontent-type: {PROBLEM_JSON}\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()


@cache
def _settings() -> Settings:
    """The settings of this process, read once and not for every connection."""
    return Settings()


def application() -> Any:
    """The application of one process, configured from the environment."""
    from api.main import create_app

    settings = _settings()
    configure_logging(settings.log_level)
    return create_app(settings)


def serve(settings: Settings) -> None:
    """Serve until told to stop. The settings reach the processes through the environment."""
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if value is not None:
            os.environ[f"SIGNALML_{name.upper()}"] = str(value)
    counters = tempfile.mkdtemp(prefix="signalml-metrics-") if settings.processes > 1 else None
    if counters:
        os.environ[MULTIPROCESS_VARIABLE] = counters
    configure_logging(settings.log_level)
    try:
        uvicorn.run(
            "api.server:application",
            factory=True,
            host=settings.host,
            port=settings.port,
            workers=settings.processes,
            http=GuardedProtocol,
            ws="none",
            access_log=False,
            log_config=None,
            server_header=False,
            timeout_graceful_shutdown=SHUTDOWN_S,
        )
    finally:
        if counters:
            shutil.rmtree(counters, ignore_errors=True)
