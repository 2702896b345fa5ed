"""Saves of events in their order; what cannot be written waits in memory until there is room again."""

import logging
import threading
import time
from collections.abc import Callable, Sequence

from listener.event_facts import JUDGED_FIELDS
from listener.events import Change, Event
from listener.store import EventStore, NewAlert, Route
from ml.errors import EventsUnavailable, StorageFull

logger = logging.getLogger("signalml.events")
RETRY_S = 1.0
MAX_WAITING = 10_000  # about 20 MB


class EventSaves:
    """Saves of events by one process. Any thread may call it.

    Args:
        store: where events are saved.
        route: alerts about a change; it is called just before the change is written.
        clock: seconds that never go back.

    Attributes:
        lost: number of changes that were given up, because too many waited.
    """

    def __init__(self, store: EventStore, route: Route, clock: Callable[[], float] = time.monotonic) -> None:
        self.lost = 0
        self._store, self._route, self._clock = store, route, clock
        self._waiting: list[tuple[Event, Change]] = []
        self._retry_at = 0.0
        self._lock = threading.Lock()

    def save(self, event: Event, change: Change) -> None:
        """Save a change now, or later if it cannot be written. Changes are written in the order of these calls."""
        with self._lock:
            self._append(event, change)
            self._write()

    def retry(self) -> None:
        """Write what waits, at most once a second. Call it again and again."""
        with self._lock:
            self._write()

    def flush(self) -> None:
        """Write what waits, whatever the time of the last attempt."""
        with self._lock:
            self._retry_at = 0.0
            self._write()

    @property
    def waiting(self) -> int:
        """Number of changes that wait."""
        return len(self._waiting)

    def is_saved(self, event_id: str) -> bool:
        """Return whether no change of an event waits."""
        with self._lock:
            return all(event.id != event_id for event, _ in self._waiting)

    def _append(self, event: Event, change: Change) -> None:
        last = next((i for i in reversed(range(len(self._waiting))) if self._waiting[i][0].id == event.id), None)
        if change == "updated" and last is not None and self._waiting[last][1] == "updated":
            self._waiting[last] = (event, change)
            return
        if len(self._waiting) >= MAX_WAITING:
            self._give_up_one()
        self._waiting.append((event, change))

    def _give_up_one(self) -> None:
        """Give up the oldest progress of an event or, without any, the oldest change."""
        changes = [change for _, change in self._waiting]
        given_up, _ = self._waiting.pop(changes.index("updated") if "updated" in changes else 0)
        self.lost += 1
        facts = {"event": given_up.id, "lost": self.lost}
        logger.error("too many changes of events wait: one is lost", extra={"facts": facts})

    def _write(self) -> None:
        if not self._waiting or self._clock() < self._retry_at:
            return
        try:
            while self._waiting:
                event, change = self._waiting[0]
                self._store.save(event, change, self._alerts(event, change), only=JUDGED_FIELDS)
                del self._waiting[0]
        except (StorageFull, EventsUnavailable) as error:
            self._retry_at = self._clock() + RETRY_S
            logger.warning("events wait in memory: %s", error, extra={"facts": {"waiting": len(self._waiting)}})

    def _alerts(self, event: Event, change: Change) -> Sequence[NewAlert]:
        try:
            return self._route(event, change)
        except (StorageFull, EventsUnavailable):
            raise
        except Exception:  # an error in the rules of a sink must not stop all events
            logger.exception("no alerts about event %s (%s)", event.id, change)
            return ()
