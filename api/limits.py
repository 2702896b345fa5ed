"""How much a client may send, how long it may take, and how much is held for all clients at once."""

import asyncio
import re

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import BodyTimeout, BodyTooLarge, Busy
from api.observability.requests import Metrics
from api.problems import problem_of_error, problem_response

# What is no upload is a few names in JSON.
SMALL_BODY_BYTES = 64 * 2**10


class BodyLimitMiddleware:
    """ASGI middleware: bounds each body by bytes and time while it streams in, and all of them by their sum.

    A Content-Length over the limit is answered before anything is read; a body without one, or with a false one, is
    counted as it comes. The bytes count against the sum until the answer is sent.

    Paths that ``uploads`` matches as a whole take ``max_body_bytes``; all others take :data:`SMALL_BODY_BYTES`.
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
                    BodyTooLarge(f"The body is announced with {announced} bytes; at most {limit} are accepted here.")
                )
            )
            await refusal(scope, receive, send)
            return

        deadline = asyncio.get_running_loop().time() + self._timeout_s
        received, complete = 0, False

        async def guarded_receive() -> Message:
            nonlocal received, complete
            try:
                # After the body is complete, receive() only waits for the client to hang up, as long as that takes.
                async with asyncio.timeout_at(None if complete else deadline):
                    message = await receive()
            except TimeoutError:
                raise BodyTimeout(
                    f"{received} bytes of the body came in {self._timeout_s:g} s; all of it was expected by then."
                ) from None
            complete = not message.get("more_body", False)
            size = len(message.get("body", b""))
            received += size
            self._buffered += size
            if received > limit:
                raise BodyTooLarge(f"The body goes on after {limit} bytes; at most that many are accepted here.")
            if self._buffered > self._max_buffered_bytes:
                raise Busy(f"{self._buffered} bytes of uploads are being held already; try again in a moment.")
            return message

        try:
            await self._app(scope, guarded_receive, send)
        finally:
            self._buffered -= received


def _content_length(scope: Scope) -> int | None:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value)
    return None
