"""Limits of request bodies: size and time of each one, and the total size in memory."""

import asyncio
import re

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import BodyTimeout, BodyTooLarge, Busy
from api.observability.requests import Metrics
from api.problems import problem_of_error, problem_response

# Limit for routes that take no recordings: their bodies are short JSON objects.
SMALL_BODY_BYTES = 64 * 2**10


class BodyLimitMiddleware:
    """ASGI middleware that limits size and time of each body, and the total size of all bodies in memory.

    A Content-Length above the limit is refused before anything is read. A body without one, or with a false one, is
    counted while it arrives. Its bytes count in the total until the answer is sent.

    If ``uploads`` matches the whole path, the limit is ``max_body_bytes``; otherwise it is :data:`SMALL_BODY_BYTES`.
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
        announced = _content_length(scope)
        if announced is not None and announced > limit:
            self._metrics.count_refusal(BodyTooLarge.code)
            refusal = problem_response(
                problem_of_error(
                    BodyTooLarge(f"The Content-Length is {announced} bytes; at most {limit} are accepted here.")
                )
            )
            await refusal(scope, receive, send)
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


def _content_length(scope: Scope) -> int | None:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value)
    return None
