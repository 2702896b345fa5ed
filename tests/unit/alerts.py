"""Events and alerts for the tests of the outbox, the rules and the senders."""

import time
from collections.abc import Sequence
from typing import Any

from listener.alerts.outbox import Outbox
from listener.alerts.rules import alerts_for
from listener.alerts.sink_queue import SinkQueue
from listener.config.sink_types import Sink
from listener.events.event import Change, Event, new_event_id
from listener.events.event_time import to_time
from listener.events.store import EventStore, NewAlert

NOON = 1_795_953_600.0  # Sunday, 29 November 2026, 12:00 UTC


def event(machine_id: str = "fan-3", began: float | None = None, **values: Any) -> Event:
    """An event that has just begun."""
    at = to_time(time.time() if began is None else began)
    facts = {"score": 0.8, "threshold": 0.5, "label": "abnormal", "version": "hall-1", "missing_clip": "off"}
    return Event(new_event_id(), machine_id, "hall", at, at, **(facts | values))


def ended(event: Event, at: float | None = None, **values: Any) -> Event:
    """The event after its end."""
    end = to_time(time.time() if at is None else at)
    return event.changed(**({"state": "ended", "ended": end, "updated": end} | values))


class Device:
    """A listener without sound, with a clock that the test moves: it writes events, and one sink is sent its alerts.

    Attributes:
        now: seconds since 1970.
        delivered: change and machine of each alert that was delivered.
        digests: the digests that were delivered.
    """

    def __init__(self, store: EventStore, sink: Sink) -> None:
        self.store, self.sink, self.now = store, sink, NOON
        self.outbox = Outbox(store)
        self.delivered: list[tuple[str, str]] = []
        self.digests: list[Any] = []
        self.restart()

    def restart(self) -> None:
        """Forget everything that is not in the file, as kill -9 does."""
        self._queue = SinkQueue(self.outbox, self.store, self.sink.name)

    def begins(self, machine_id: str = "fan-3", **values: Any) -> Event:
        """An event begins."""
        return self.changes(event(machine_id, self.now, **values), "began")

    def worsens(self, event: Event, score: float) -> Event:
        """An event becomes worse."""
        return self.changes(event.changed(score=score, updated=to_time(self.now)), "worsened")

    def ends(self, event: Event, change: Change = "ended") -> Event:
        """An event ends."""
        return self.changes(ended(event, self.now, state=change), change)

    def changes(self, event: Event, change: Change) -> Event:
        """Write a change with its alerts."""
        number = self.store.save(event, change, self._alerts(event, change))
        with self.store.transaction() as db:
            db.execute("UPDATE alerts SET created = ? WHERE id = ?", (self.now, f"{event.id}-{number}"))
        return event

    def deliver(self, after_s: float = 0.0) -> list[tuple[str, str]]:
        """Deliver what is due some seconds later; returns change and machine of these alerts."""
        self.now += after_s
        before = len(self.delivered)
        while (alert := self._queue.next_alert(self.sink, self.now)) is not None:
            self._queue.sent(self.sink, alert, self.now)
            self.delivered.append((alert.change, alert.machine_id))
            self.digests += [alert.digest] if alert.digest else []
        return self.delivered[before:]

    def deliver_for(self, seconds: float, every_s: float = 10.0) -> list[tuple[str, str]]:
        """Deliver during some time."""
        before = len(self.delivered)
        for _ in range(round(seconds / every_s)):
            self.deliver(every_s)
        return self.delivered[before:]

    def waiting(self) -> int:
        """Number of alerts that wait."""
        return len(self.outbox.waiting(self.sink.name))

    def _alerts(self, event: Event, change: Change) -> Sequence[NewAlert]:
        alerts = alerts_for({self.sink.name: self.sink}, event, change)
        return [NewAlert(each.sink, self.now) for each in alerts]
