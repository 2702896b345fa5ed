"""Client of an application in this process, without a server: for what does not depend on connections."""

import asyncio
from typing import Any

import httpx
from starlette.types import ASGIApp


class AppClient:
    """Client with one address.

    Args:
        app: application; its models are not loaded.
        address: address of the client.
    """

    def __init__(self, app: ASGIApp, address: str = "127.0.0.1") -> None:
        self._app = app
        self._address = address

    def request(self, method: str, path: str, **request: Any) -> httpx.Response:
        """Return the answer to a request."""
        return asyncio.run(self._request(method, path, **request))

    def get(self, path: str, **request: Any) -> httpx.Response:
        """Return the answer to GET."""
        return self.request("GET", path, **request)

    def post(self, path: str, **request: Any) -> httpx.Response:
        """Return the answer to POST."""
        return self.request("POST", path, **request)

    async def _request(self, method: str, path: str, **request: Any) -> httpx.Response:
        transport = httpx.ASGITransport(self._app, client=(self._address, 50_000))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.request(method, path, **request)
