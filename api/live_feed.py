"""Live values of sources for streams: one connection to the listener for each source that somebody watches."""

import asyncio
import json
import threading
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from api.errors import Busy
from api.event_streams import StreamEvent, StreamPlaces
from listener.live.client import ListenerClient
from ml.errors import ListenerNotRunning, SignalMLError

MAX_SOURCES = 8  # watched at the same time in one process; the listener serves 32 clients
WAIT_S = 1.0
UNWATCHED_VALUES = 20  # after them, at ten values a second, the connection is closed


class LiveFeed:
    """Feed of one application.

    Args:
        home: SIGNALML_HOME.
        places: places for streams.
    """

    def __init__(self, home: Path, places: StreamPlaces) -> None:
        self._client = ListenerClient(home)
        self._places = places
        self._channels: dict[str, _Channel] = {}

    async def watch(self, source: str) -> AsyncGenerator[StreamEvent | None]:
        """Return the values of a source as they arrive; a client that is slow gets only the latest ones.

        Raises:
            Busy: there is no place.
            SignalMLError: the listener does not run, or not this source.
        """
        self._places.refuse_if_full("watch jobs, events or sources")
        channel = self._channel(source)
        await channel.wait_for(1)
        channel.raise_failure()
        return self._values(channel)

    def _channel(self, source: str) -> "_Channel":
        self._channels = {name: each for name, each in self._channels.items() if not each.has_ended}
        if source not in self._channels:
            if len(self._channels) >= MAX_SOURCES:
                raise Busy(f"{MAX_SOURCES} sources are watched already; try again in a moment.")
            self._channels[source] = _Channel(self._client, source)
        return self._channels[source]

    async def _values(self, channel: "_Channel") -> AsyncGenerator[StreamEvent | None]:
        seen = 0
        with self._places.taken(), channel.watched():
            while not self._places.closing():
                if await channel.wait_for(seen + 1):
                    seen = channel.number
                    yield StreamEvent("", "level", json.dumps(channel.latest, separators=(",", ":")))
                elif channel.has_ended:
                    yield StreamEvent("", "end", json.dumps({"detail": str(channel.failure or "")}))
                    return
                else:
                    yield None


class _Channel:
    """Values of one source, read by a thread until nobody watches for a while. All but the thread is in the event loop.

    Attributes:
        number: number of values until now.
        latest: the latest value.
        failure: why the thread has ended; None if the source ended, or nobody watched.
        has_ended: whether no further value will come.
    """

    def __init__(self, client: ListenerClient, source: str) -> None:
        self.number = 0
        self.latest: dict[str, Any] = {}
        self.failure: SignalMLError | None = None
        self.has_ended = False
        self._watchers = 0
        self._client, self._source = client, source
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        threading.Thread(target=self._read, name=f"live-{source}", daemon=True).start()

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Keep the thread reading for the time of a stream."""
        self._watchers += 1
        try:
            yield
        finally:
            self._watchers -= 1

    async def wait_for(self, number: int) -> bool:
        """Wait a second for a value; return whether it is there."""
        with suppress(TimeoutError):
            async with asyncio.timeout(WAIT_S):
                while self.number < number and not self.has_ended:
                    await self._changed.wait()
        return self.number >= number

    def raise_failure(self) -> None:
        """Raise the reason why there is no value yet, if there is none."""
        if self.number == 0:
            raise self.failure or ListenerNotRunning(f"The listener sends no values of the source {self._source!r}.")

    def _read(self) -> None:
        failure: SignalMLError | None = None
        unwatched = 0
        try:
            for value in self._client.live(self._source):
                self._hand_over(value, None)
                unwatched = 0 if self._watchers else unwatched + 1
                if unwatched > UNWATCHED_VALUES:
                    break
        except SignalMLError as error:
            failure = error
        finally:
            self._hand_over(None, failure)

    def _hand_over(self, value: dict[str, Any] | None, failure: SignalMLError | None) -> None:
        with suppress(RuntimeError):  # the loop is closed: the process ends
            self._loop.call_soon_threadsafe(self._take, value, failure)

    def _take(self, value: dict[str, Any] | None, failure: SignalMLError | None) -> None:
        """Take a value, or the end."""
        if value is None:
            self.failure, self.has_ended = failure, True
        else:
            self.number, self.latest = self.number + 1, value
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
