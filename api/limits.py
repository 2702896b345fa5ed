"""Limits of request bodies: size and time of each one, and the total size in memory."""

import asyncio
import re

from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import BodyTimeout, BodyTooLarge, Busy, RequestError, UnsupportedContentEncoding
from api.observability.requests import Metrics
from api.problems import problem_of_error, problem_response
from ml.system.validation import MAX_SHOWN_LENGTH

# Limit for routes that take no recordings: their bodies are short JSON objects.
SMALL_BODY_BYTES = 64 * 2**10
UNCHANGED = b"identity"
MAX_SHOWN_DIGITS = 20


class BodyLimitMiddleware:
    """ASGI middleware that limits size and time of each body, and the total size of all bodies in memory.

    A Content-Length above the limit is refused before anything is read. A body without one, or with a false one, is
    counted while it arrives. Its bytes count in the total until the answer is sent.

    If ``uploads`` matches the whole path, the limit is ``max_body_bytes``; otherwise it is :data:`SMALL_BODY_BYTES`.
    A request that no route answers is not refused for its body: the client should learn that the route does not exist.
    """

    def __init__(
        self,
        app: ASGIApp,
        metrics: Metrics,
        uploads: re.Pattern[str],
        max_body_bytes: int,
        max_buffered_bytes: int,
        timeout_s: float,
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._uploads = uploads
        self._max_body_bytes = max_body_bytes
        self._max_buffered_bytes = max_buffered_bytes
        self._timeout_s = timeout_s
        self._buffered = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = self._max_body_bytes if self._uploads.fullmatch(scope["path"]) else SMALL_BODY_BYTES
        refusal = _refusal(scope, limit)
        if refusal is not None and _has_route(scope):
            self._metrics.count_refusal(refusal.code)
            await problem_response(problem_of_error(refusal))(scope, receive, send)
            return

        deadline = asyncio.get_running_loop().time() + self._timeout_s
        received, complete = 0, False

        async def limited_receive() -> Message:
            nonlocal received, complete
            try:
                # Once the body is complete, receive() only waits for the client to disconnect: no deadline then.
                async with asyncio.timeout_at(None if complete else deadline):
                    message = await receive()
            except TimeoutError:
                raise BodyTimeout(
                    f"{received} bytes of the body arrived in {self._timeout_s:g} s; the whole body was expected."
                ) from None
            complete = not message.get("more_body", False)
            size = len(message.get("body", b""))
            received += size
            self._buffered += size
            if received > limit:
                raise BodyTooLarge(f"The body is longer than {limit} bytes; at most that many are accepted here.")
            if self._buffered > self._max_buffered_bytes:
                raise Busy(f"Too many uploads are in memory ({self._buffered} bytes); try again in a moment.")
            return message

        try:
            await self._app(scope, limited_receive, send)
        finally:
            self._buffered -= received


def _refusal(scope: Scope, limit: int) -> RequestError | None:
    """Return why a body is refused because of its headers; None if it is not."""
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit() and _exceeds(value, limit):
            shown = value.lstrip(b"0").decode()
            size = f"{shown} bytes" if len(shown) <= MAX_SHOWN_DIGITS else f"a number of {len(shown)} digits"
            return BodyTooLarge(f"The Content-Length is {size}; at most {limit} bytes are accepted here.")
        if name == b"content-encoding" and value.strip().lower() not in (b"", UNCHANGED):
            coding = value.decode("latin-1")[:MAX_SHOWN_LENGTH]
            return UnsupportedContentEncoding(
                f"The body has the Content-Encoding {coding!r}; a body that is not compressed was expected. FLAC makes "
                "a recording smaller without loss."
            )
    return None


def _exceeds(digits: bytes, limit: int) -> bool:
    """Return whether a number is above a limit. Python refuses to convert a text of thousands of digits."""
    significant = digits.lstrip(b"0")
    return len(significant) > MAX_SHOWN_DIGITS or int(significant or b"0") > limit


def _has_route(scope: Scope) -> bool:
    return any(route.matches(scope)[0] is Match.FULL for route in scope["app"].routes)
