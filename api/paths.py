"""Requests in the shapes that routes expect: a path without a slash at its end, and GET in place of HEAD."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class PathMiddleware:
    """ASGI middleware for paths with a slash at their end, and for HEAD.

    A redirect to the path without the slash would lose the body of an upload with many clients, and its address would
    contain the ``Host`` of the client. So the request is answered as if it had no slash.

    HEAD is answered like GET, without the body.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http":
            if scope["path"].endswith("/"):
                scope["path"] = scope["path"].rstrip("/") or "/"
            if scope["method"] == "HEAD":
                await self._answer_head(scope, receive, send)
                return
        await self._app(scope, receive, send)

    async def _answer_head(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as to GET. The answer ends after its headers, also if the body would be a stream of events."""
        ended = False

        async def send_head(message: Message) -> None:
            nonlocal ended
            if ended:
                return
            await send(message)
            if message["type"] == "http.response.start":
                ended = True
                await send({"type": "http.response.body", "body": b"", "more_body": False})

        inner = {**scope, "method": "GET"}
        try:
            await self._app(inner, receive, send_head)
        finally:
            scope["route"] = inner.get("route")  # for the log and the metrics
