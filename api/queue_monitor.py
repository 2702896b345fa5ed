"""The job queue's broker, watched from afar: its absence is reported and changes nothing."""

import asyncio

from api.schemas.common import QueueState
from worker.queue import check_broker

POLL_INTERVAL_S = 5.0


class QueueMonitor:
    """The broker's state as last seen, so that no request ever waits for it."""

    def __init__(self, url: str | None) -> None:
        self._url = url
        self.state = QueueState(status="unknown" if url else "not configured", detail=None)

    async def poll_forever(self) -> None:
        """Ask for ever, if there is a broker to ask."""
        while self._url is not None:
            problem = await asyncio.to_thread(check_broker, self._url)
            self.state = QueueState(status="unreachable" if problem else "reachable", detail=problem)
            await asyncio.sleep(POLL_INTERVAL_S)
