"""Monitor of the queue server. A missing server is reported; uploads are answered without it."""

import asyncio

from api.schemas.common import QueueState
from worker.queue import check_broker

POLL_INTERVAL_S = 5.0


class QueueMonitor:
    """Last known state of the queue server; no request has to wait for the server itself."""

    def __init__(self, url: str | None) -> None:
        self._url = url
        self.state = QueueState(status="unknown" if url else "not configured", detail=None)

    async def poll_forever(self) -> None:
        """Check the server every :data:`POLL_INTERVAL_S` seconds, if one is configured."""
        while self._url is not None:
            problem = await asyncio.to_thread(check_broker, self._url)
            self.state = QueueState(status="unreachable" if problem else "reachable", detail=problem)
            await asyncio.sleep(POLL_INTERVAL_S)
