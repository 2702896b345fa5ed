"""Server-sent events: their form, and the number of streams at the same time."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from api.errors import Busy

EVENT_STREAM = "text/event-stream"
NO_CACHE = {"Cache-Control": "no-cache"}
# A client that lost its stream waits this long before it connects again.
RECONNECT_MS = 1000


class StreamEvent(NamedTuple):
    """One event of a stream.

    Attributes:
        id: id after which a client that connects again continues; empty without one.
        kind: its kind.
        data: its data as JSON, in one line.
    """

    id: str
    kind: str
    data: str


class StreamPlaces:
    """Places for streams of one application.

    Args:
        most: number of streams at the same time.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._taken = 0
        self.closing: Callable[[], bool] = lambda: False
        """Whether the server is about to stop; streams then end, and their clients connect again."""

    def refuse_if_full(self, what: str) -> None:
        """Refuse a stream for which there is no place, before its answer begins.

        Raises:
            Busy
        """
        if self._taken >= self.most:
            raise Busy(f"{self._taken} clients {what} already; try again in a moment.")

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Take a place for the time of a stream."""
        self._taken += 1
        try:
            yield
        finally:
            self._taken -= 1


async def encode_events(events: AsyncIterator[StreamEvent | None], first_id: str = "") -> AsyncIterator[bytes]:
    """Encode events as in the HTML standard (9.2.5). Comments keep proxies from closing the connection.

    Args:
        events: the events; None where nothing happened for a while.
        first_id: id from which a client continues that connects again before the first event; empty without one.
    """
    named = f"id: {first_id}\n" if first_id else ""
    yield f"retry: {RECONNECT_MS}\n{named}\n".encode()
    async for event in events:
        yield _encode(event) if event else b": waiting\n\n"


def _encode(event: StreamEvent) -> bytes:
    named = f"id: {event.id}\n" if event.id else ""
    return f"{named}event: {event.kind}\ndata: {event.data}\n\n".encode()


def stream_answer(description: str, example: str) -> dict[int | str, dict[str, Any]]:
    """Return the entry of a stream in the OpenAPI schema."""
    content = {EVENT_STREAM: {"schema": {"type": "string"}, "example": example}}
    return {200: {"description": description, "content": content}}
