"""Events in one SQLite file: ``<home>/listener/events.sqlite3``.

Each change of an event is one transaction, which also writes the alerts of all sinks that get it: an alert is never
lost without its event, and never sent without it. A transaction is on the disk when the method returns.
"""

import json
import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple, Self

from listener.events.event import Change, Event, EventClip, EventState, Review
from listener.events.schema import open_for_reading, open_for_writing
from ml.errors import EventNotFound, EventsUnavailable, StorageFull
from ml.system.clock import timestamp

MAX_PAGE = 1000


class EventFilter(NamedTuple):
    """Which events a list has. None is no limit.

    Attributes:
        machine_id: of this machine.
        source: of this source.
        state: in this state.
        reviewed: with, or without, a review.
        since, until: that began at or after, and before, this time; ISO 8601, UTC.
        origin: that this device reported; empty for events of this one.
        machines: of one of these machines.
    """

    machine_id: str | None = None
    source: str | None = None
    state: EventState | None = None
    reviewed: bool | None = None
    since: str | None = None
    until: str | None = None
    origin: str | None = None
    machines: Sequence[str] | None = None


ALL_EVENTS = EventFilter()


class EventPage(NamedTuple):
    """One page of events, the newest first.

    Attributes:
        events: the events.
        next: cursor of the next page; None on the last one.
    """

    events: list[Event]
    next: int | None


class EventChange(NamedTuple):
    """One change, in the order in which changes happened.

    Attributes:
        number: number of the change; the next one is larger.
        change: what changed.
        at: time, ISO 8601, UTC.
        event: the event as it is now.
    """

    number: int
    change: Change
    at: str
    event: Event


class NewAlert(NamedTuple):
    """Alert for a sink.

    Attributes:
        sink: name of the sink.
        due: time of the first attempt, in seconds since 1970.
    """

    sink: str
    due: float


Route = Callable[[Event, Change], Sequence[NewAlert]]
"""Returns the alerts of all sinks about a change of an event."""


def no_alerts(_event: Event, _change: Change) -> Sequence[NewAlert]:
    """Return no alerts."""
    return ()


@contextmanager
def translate_errors() -> Iterator[None]:
    """Translate errors of SQLite and the system to errors of this project."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
            raise StorageFull("The disk filled up while events were written: they are unchanged.") from error
        reason = error.strerror if isinstance(error, OSError) else error  # strerror has no path
        raise EventsUnavailable(f"listener/events.sqlite3 in the home cannot be used: {reason}.") from error


class EventStore:
    """Events, safe for use by several threads. Close it after use, or use it as a context manager.

    Args:
        home: SIGNALML_HOME.
        create: create the file if it is absent; without this, an absent file reads as no events.
        route: alerts about changes for which the caller gives none.

    Raises:
        EventsUnavailable: the file cannot be read or created.
    """

    @translate_errors()
    def __init__(self, home: Path, create: bool = False, route: Route = no_alerts) -> None:
        self._route = route
        self._db = open_for_writing(home) if create else open_for_reading(home)
        self._lock = threading.RLock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    def save(
        self, event: Event, change: Change, alerts: Sequence[NewAlert] = (), *, only: Collection[str] | None = None
    ) -> int:
        """Write an event, its change and the alerts about it: all or nothing.

        Args:
            event: the whole event; a known id replaces its content.
            change: what changed.
            alerts: alerts of sinks about this change.
            only: fields to write; the others of a known event stay as they are in the file, where another thread or
                process may have changed them. None for all.

        Returns:
            Number of the change.

        Raises:
            StorageFull, EventsUnavailable: nothing was written.
        """
        with self.transaction() as db:
            event = event if only is None else _merge(db, event, only)
            return _write_change(db, event, change, alerts or self._route(event, change))

    def update(self, event_id: str, modify: Callable[[Event | None], tuple[Event, Change] | None]) -> Event | None:
        """Read an event, change it and write it, with no other writer meanwhile.

        Args:
            event_id: the event.
            modify: gets the event as it is, or None if there is none of this id; returns the new one with what
                changed, or None to change nothing. Errors that it raises are passed on, and nothing is written.

        Returns:
            The event after the change; None if there is none.

        Raises:
            StorageFull, EventsUnavailable: nothing was written.
        """
        with self.transaction() as db:
            found = self.find(event_id)
            changed = modify(found)
            if changed is None:
                return found
            event, change = changed
            _write_change(db, event, change, self._route(event, change))
            return event

    def get(self, event_id: str) -> Event:
        """Return an event.

        Raises:
            EventNotFound, EventsUnavailable
        """
        row = self._one("SELECT content FROM events WHERE id = ?", (event_id,))
        if row is None:
            raise EventNotFound(f"There is no event {event_id!r}.")
        return parse_event(row["content"])

    def find(self, event_id: str) -> Event | None:
        """Return an event, or None if there is none of this id."""
        row = self._one("SELECT content FROM events WHERE id = ?", (event_id,))
        return None if row is None else parse_event(row["content"])

    def active(self) -> list[Event]:
        """Return the active events of this device, in the order of their beginning."""
        rows = self._all("SELECT content FROM events WHERE state = 'active' AND origin = '' ORDER BY number", ())
        return [parse_event(row["content"]) for row in rows]

    def latest_of_machines(self) -> list[Event]:
        """Return the last event of each machine that this device recorded."""
        last = "SELECT max(number) FROM events WHERE origin = '' GROUP BY machine_id"
        rows = self._all(f"SELECT content FROM events WHERE number IN ({last})", ())  # noqa: S608 - a constant
        return [parse_event(row["content"]) for row in rows]

    def page(self, wanted: EventFilter = ALL_EVENTS, most: int = 50, before: int | None = None) -> EventPage:
        """Return events, the newest first.

        Args:
            wanted: which events.
            most: largest number, at most :data:`MAX_PAGE`.
            before: cursor of the page before.
        """
        conditions, values = _conditions(wanted)
        if before is not None:
            conditions.append("number < ?")
            values.append(before)
        where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
        most = min(most, MAX_PAGE)
        rows = self._all(
            f"SELECT number, content FROM events {where} ORDER BY number DESC LIMIT ?",  # noqa: S608 - conditions from this code
            (*values, most + 1),
        )
        return EventPage(
            [parse_event(row["content"]) for row in rows[:most]],
            rows[most - 1]["number"] if len(rows) > most else None,
        )

    def changes(self, after: int, most: int = 500) -> list[EventChange]:
        """Return the changes after a number, the oldest first."""
        rows = self._all(
            "SELECT changes.number, change, at, content FROM changes JOIN events ON events.id = changes.event "
            "WHERE changes.number > ? ORDER BY changes.number LIMIT ?",
            (after, most),
        )
        return [EventChange(row["number"], row["change"], row["at"], parse_event(row["content"])) for row in rows]

    def changes_of(self, event_id: str) -> list[tuple[Change, str]]:
        """Return the changes of one event with their times, the oldest first."""
        rows = self._all("SELECT change, at FROM changes WHERE event = ? ORDER BY number", (event_id,))
        return [(row["change"], row["at"]) for row in rows]

    def machines(self) -> list[str]:
        """Return the names of all machines with an event, in alphabetical order."""
        return [row["machine_id"] for row in self._all("SELECT DISTINCT machine_id FROM events ORDER BY 1", ())]

    def counts(self) -> dict[EventState, int]:
        """Return the number of events in each state that occurs."""
        rows = self._all("SELECT state, count(*) AS events FROM events GROUP BY state", ())
        return {row["state"]: row["events"] for row in rows}

    def last_change(self) -> int:
        """Return the number of the last change; 0 without any."""
        row = self._one("SELECT max(number) AS last FROM changes", ())
        return 0 if row is None else row["last"] or 0

    def remove(self, event_ids: Iterable[str]) -> None:
        """Remove events with their changes. Alerts about them that wait are still sent."""
        with self.transaction() as db:
            db.executemany("DELETE FROM events WHERE id = ?", [(each,) for each in event_ids])

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Open a transaction for writing: all or nothing, and no other writer meanwhile.

        Raises:
            StorageFull, EventsUnavailable
        """
        with self._lock, translate_errors(), self._db:
            self._db.execute("BEGIN IMMEDIATE")
            yield self._db

    def query(self, statement: str, values: Sequence[Any] = ()) -> list[sqlite3.Row]:
        """Return the rows of a query, for the modules of this package that keep alerts and clips."""
        return self._all(statement, values)

    def _all(self, statement: str, values: Sequence[Any]) -> list[sqlite3.Row]:
        with self._lock, translate_errors():
            return self._db.execute(statement, values).fetchall()

    def _one(self, statement: str, values: Sequence[Any]) -> sqlite3.Row | None:
        rows = self._all(statement, values)
        return rows[0] if rows else None


def to_text(event: Event) -> str:
    """Return an event as JSON."""
    return json.dumps(asdict(event), ensure_ascii=False)


def parse_event(text: str) -> Event:
    """Make an event of its JSON."""
    values = json.loads(text)
    values["reasons"] = tuple(values["reasons"])
    values["clip"] = None if values["clip"] is None else EventClip(**values["clip"])
    values["review"] = None if values["review"] is None else Review(**values["review"])
    return Event(**values)


def _merge(db: sqlite3.Connection, event: Event, only: Collection[str]) -> Event:
    """Return the event as it is in the file, with some fields of another one; that one if it is not in the file."""
    row = db.execute("SELECT content FROM events WHERE id = ?", (event.id,)).fetchone()
    if row is None:
        return event
    return parse_event(row["content"]).changed(**{name: getattr(event, name) for name in only})


def _write_change(db: sqlite3.Connection, event: Event, change: Change, alerts: Sequence[NewAlert]) -> int:
    """Write an event, its change and the alerts about it; returns the number of the change."""
    _write(db, event)
    number = db.execute(
        "INSERT INTO changes (event, change, at) VALUES (?, ?, ?)", (event.id, change, timestamp())
    ).lastrowid
    about = (f"{event.id}-{number}", event.machine_id, event.id, change, to_text(event), time.time())
    db.executemany(
        "INSERT INTO alerts (id, machine_id, event, change, content, created, sink, due) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [(*about, each.sink, each.due) for each in alerts],
    )
    return int(number or 0)


def _write(db: sqlite3.Connection, event: Event) -> None:
    verdict = None if event.review is None else event.review.verdict
    db.execute(
        "INSERT INTO events "
        "(id, machine_id, source, origin, state, began, ended, verdict, reviewed, clip_bytes, content) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
        "ON CONFLICT (id) DO UPDATE SET state = excluded.state, ended = excluded.ended, verdict = excluded.verdict, "
        "reviewed = excluded.reviewed, clip_bytes = excluded.clip_bytes, content = excluded.content",
        (
            event.id, event.machine_id, event.source, event.origin, event.state, event.began, event.ended, verdict,
            event.review is not None, 0 if event.clip is None else event.clip.size_bytes, to_text(event),
        ),
    )  # fmt: skip


def _conditions(wanted: EventFilter) -> tuple[list[str], list[Any]]:
    columns = {
        "machine_id = ?": wanted.machine_id,
        "source = ?": wanted.source,
        "state = ?": wanted.state,
        "reviewed = ?": wanted.reviewed,
        "began >= ?": wanted.since,
        "began < ?": wanted.until,
        "origin = ?": wanted.origin,
        "machine_id IN (SELECT value FROM json_each(?))": None
        if wanted.machines is None
        else json.dumps(list(wanted.machines)),
    }
    used = {condition: value for condition, value in columns.items() if value is not None}
    return list(used), list(used.values())
