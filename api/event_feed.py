"""Changes of events as they happen, for streams of this process: one look at the file for all of them."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

from api.event_streams import StreamEvent, StreamPlaces
from listener.events.store import EventChange, EventStore
from ml.errors import EventsUnavailable

POLL_S = 0.3
SIGN_OF_LIFE_S = 1.0
AT_ONCE = 200  # changes of one look; an event has about 1 KB
Encode = Callable[[EventChange], str | None]


class EventFeed:
    """Feed of one application.

    Args:
        home: SIGNALML_HOME.
        places: places for streams.
    """

    def __init__(self, home: Path, places: StreamPlaces) -> None:
        self._home = home
        self._places = places
        self._last = 0
        self._read_at = float("-inf")
        self._reading: asyncio.Lock | None = None  # of the event loop of the first stream

    async def last_change(self) -> int:
        """Return the number of the last change, as of the last :data:`POLL_S` seconds.

        Raises:
            EventsUnavailable
        """
        self._reading = self._reading or asyncio.Lock()
        async with self._reading:
            if time.monotonic() - self._read_at >= POLL_S:
                self._last = await asyncio.to_thread(self._read_last)
                self._read_at = time.monotonic()
            return self._last

    def changes(self, after: int, encode: Encode) -> AsyncGenerator[StreamEvent | None]:
        """Return the changes after a number as they arrive; None now and then while none arrives.

        Args:
            after: number of a change; only later ones are returned.
            encode: returns a change as JSON, or None to leave it out.

        Raises:
            Busy: there is no place.
        """
        self._places.refuse_if_full("watch jobs or events")
        return self._changes(after, encode)

    async def _changes(self, after: int, encode: Encode) -> AsyncGenerator[StreamEvent | None]:
        with self._places.taken():
            sign_at = time.monotonic() + SIGN_OF_LIFE_S
            while not self._places.closing():
                found = await self._next(after)
                for change in found:
                    after = change.number
                    if (data := encode(change)) is not None:
                        yield StreamEvent(str(after), change.change, data)
                if found:
                    yield None  # all of them may have been left out
                    continue
                if time.monotonic() >= sign_at:
                    yield None
                    sign_at = time.monotonic() + SIGN_OF_LIFE_S
                await asyncio.sleep(POLL_S)

    async def _next(self, after: int) -> list[EventChange]:
        """Return the next changes. While the file cannot be read, there are none."""
        try:
            return await asyncio.to_thread(self._read, after) if await self.last_change() > after else []
        except EventsUnavailable:
            return []

    def _read_last(self) -> int:
        with EventStore(self._home) as store:
            return store.last_change()

    def _read(self, after: int) -> list[EventChange]:
        with EventStore(self._home) as store:
            return store.changes(after, AT_ONCE)
