"""Alerts that wait for their delivery, and those that were given up, in the file of the events.

An alert is written with its event in one transaction (:meth:`listener.events.store.EventStore.save`). It stays until it
was delivered, was dropped by a rule, or was given up; a dead alert stays until a person sends it again or deletes it.
What the rules remember for a sink is written in the transaction that ends an alert, so a killed process forgets
nothing.
"""

import json
import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from listener.alerts.digest import Digest
from listener.events.event import Event
from listener.events.store import EventStore, parse_event

DIGEST = "digest"
ALL_MACHINES = ""  # the machine of a digest
MAX_ERROR = 500
UNKNOWN_SINK_DAYS = 30.0
DEAD_DAYS = 90.0
DAY_S = 86_400.0

Facts = Mapping[str, Any]
"""Values that a sink remembers, as types of JSON; None removes a value."""


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert for one sink.

    Attributes:
        number: alerts of a sink and machine are delivered in this order.
        id: the same for every attempt.
        sink: name of the sink.
        machine_id: the machine; empty for a digest.
        event_id: id of the event; empty for a digest.
        change: change of the event, or ``digest``.
        content: the event at this change, or the digest, as JSON.
        created: time at which it was written, in seconds since 1970.
        due: time of the next attempt, in seconds since 1970.
        attempts: number of failed attempts.
        state: ``waiting`` or ``dead``.
        error: why the last attempt failed.
        by_hand: whether a person sends it again.
        last: number of the last waiting alert of this sink and machine.
    """

    number: int
    id: str
    sink: str
    machine_id: str
    event_id: str
    change: str
    content: str
    created: float
    due: float
    attempts: int
    state: str
    error: str
    by_hand: bool
    last: int

    @property
    def event(self) -> Event:
        """The event at this change; not for a digest."""
        return parse_event(self.content)

    @property
    def digest(self) -> Digest | None:
        """The digest; None for an alert about an event."""
        return Digest.from_text(self.content) if self.change == DIGEST else None


class Counts(NamedTuple):
    """Number of alerts of a sink that wait, and that were given up."""

    waiting: int = 0
    dead: int = 0


class Outbox:
    """Alerts of all sinks. Several threads and processes may use it; one process delivers.

    Args:
        store: the events.
    """

    def __init__(self, store: EventStore) -> None:
        self._store = store

    def heads(self, sink: str) -> list[Alert]:
        """Return the first waiting alert of each machine, whether it is due or not, in their order."""
        rows = self._store.query(
            "SELECT alerts.*, last FROM alerts JOIN (SELECT min(number) AS first, max(number) AS last FROM alerts "
            "WHERE sink = ? AND state = 'waiting' GROUP BY machine_id) ON alerts.number = first "
            "ORDER BY alerts.number",
            (sink,),
        )
        return [_alert(row) for row in rows]

    def due(self, sink: str, now: float | None = None) -> list[Alert]:
        """Return the first waiting alert of each machine, if it is due.

        Args:
            sink: name of the sink.
            now: seconds since 1970; the present by default.
        """
        now = time.time() if now is None else now
        return [each for each in self.heads(sink) if each.due <= now]

    def waiting(self, sink: str) -> list[Alert]:
        """Return all waiting alerts of a sink, in their order."""
        return self._list("sink = ? AND state = 'waiting'", (sink,))

    def dead(self, sink: str | None = None) -> list[Alert]:
        """Return the alerts that were given up, of one sink or of all, in their order."""
        if sink is None:
            return self._list("state = 'dead'", ())
        return self._list("sink = ? AND state = 'dead'", (sink,))

    def counts(self) -> dict[str, Counts]:
        """Return the number of alerts of each sink that has any."""
        rows = self._store.query("SELECT sink, state, count(*) AS number FROM alerts GROUP BY sink, state")
        found: dict[str, Counts] = {}
        for row in rows:
            found[row["sink"]] = found.get(row["sink"], Counts())._replace(**{row["state"]: row["number"]})
        return found

    def delivered(self, alert: Alert, facts: Facts | None = None) -> None:
        """Delete an alert that the receiver has acknowledged, and remember facts of its sink."""
        self.drop(alert.sink, [alert], facts)

    def drop(self, sink: str, alerts: Iterable[Alert], facts: Facts | None = None) -> None:
        """Delete alerts that are not sent, and remember facts of their sink."""
        with self._store.transaction() as db:
            _delete(db, alerts)
            _remember(db, sink, facts or {})

    def failed(self, alert: Alert, error: str, due: float) -> None:
        """Count a failed attempt.

        Args:
            alert: the alert.
            error: why it failed, without secrets.
            due: time of the next attempt, in seconds since 1970.
        """
        self._change("attempts = attempts + 1, due = ?, error = ?", (due, error[:MAX_ERROR]), alert)

    def give_up(self, alert: Alert, error: str) -> None:
        """Move an alert to the dead ones."""
        self._change("state = 'dead', attempts = attempts + 1, error = ?", (error[:MAX_ERROR],), alert)

    def give_up_old(self, sink: str, before: float, error: str) -> int:
        """Move all waiting alerts of a sink that were written before a time to the dead ones; returns their number."""
        with self._store.transaction() as db:
            return db.execute(
                "UPDATE alerts SET state = 'dead', error = ? WHERE sink = ? AND state = 'waiting' AND created < ?",
                (error[:MAX_ERROR], sink, before),
            ).rowcount

    def send_again(self, sink: str, alert_id: str | None = None) -> int:
        """Let dead alerts wait again, one or all; returns their number. No rule delays or drops them."""
        now = time.time()
        with self._store.transaction() as db:
            return db.execute(
                "UPDATE alerts SET state = 'waiting', attempts = 0, due = ?, created = ?, by_hand = 1 "
                "WHERE sink = ? AND state = 'dead' AND (? IS NULL OR id = ?)",
                (now, now, sink, alert_id, alert_id),
            ).rowcount

    def delete_dead(self, sink: str, alert_id: str | None = None) -> int:
        """Delete dead alerts, one or all; returns their number."""
        with self._store.transaction() as db:
            return db.execute(
                "DELETE FROM alerts WHERE sink = ? AND state = 'dead' AND (? IS NULL OR id = ?)",
                (sink, alert_id, alert_id),
            ).rowcount

    def replace_by_digest(self, sink: str, alerts: Sequence[Alert], digest: Digest, facts: Facts | None = None) -> None:
        """Put one digest in the place of some alerts.

        Args:
            sink: name of the sink.
            alerts: the alerts, in their order, at least one.
            digest: what they report.
            facts: facts of the sink to remember.
        """
        now, first = time.time(), alerts[0].number
        with self._store.transaction() as db:
            _delete(db, alerts)
            _remember(db, sink, facts or {})
            db.execute(
                "INSERT INTO alerts (number, id, sink, machine_id, event, change, content, created, due) "
                "VALUES (?, ?, ?, ?, '', ?, ?, ?, ?)",
                (first, f"digest-{alerts[0].id}", sink, ALL_MACHINES, DIGEST, digest.to_text(), now, now),
            )

    def retry_now(self, sink: str) -> None:
        """Let all waiting alerts of a sink be due: its receiver is back."""
        now = time.time()
        with self._store.transaction() as db:
            db.execute("UPDATE alerts SET due = ? WHERE sink = ? AND state = 'waiting' AND due > ?", (now, sink, now))

    def has_newer(self, alert: Alert) -> bool:
        """Return whether a later alert about the same event waits for the same sink."""
        return bool(
            self._store.query(
                "SELECT 1 FROM alerts WHERE sink = ? AND state = 'waiting' AND number > ? AND event = ? LIMIT 1",
                (alert.sink, alert.number, alert.event_id),
            )
        )

    def trust_clock(self, sink: str, now: float, horizon_s: float) -> None:
        """Bring times of a sink that cannot be right into the present: this computer's clock was set back."""
        with self._store.transaction() as db:
            db.execute(
                "UPDATE alerts SET created = min(created, ?), due = min(due, ?) "
                "WHERE sink = ? AND (created > ? OR due > ?)",
                (now, now, sink, now + horizon_s, now + horizon_s),
            )

    def fact(self, sink: str, name: str) -> Any:
        """Return what a sink remembers under a name; None if nothing."""
        rows = self._store.query("SELECT value FROM facts WHERE sink = ? AND name = ?", (sink, name))
        return json.loads(rows[0]["value"]) if rows else None

    def remember(self, sink: str, facts: Facts) -> None:
        """Remember facts of a sink."""
        with self._store.transaction() as db:
            _remember(db, sink, facts)

    def clean(self, sinks: Iterable[str], now: float | None = None) -> None:
        """Delete what nobody needs any more.

        That is: facts about events that have ended, alerts of sinks that were removed long ago, and old dead alerts.

        Args:
            sinks: names of all sinks of the configuration, also of those that are switched off.
            now: seconds since 1970; the present by default.
        """
        now = time.time() if now is None else now
        known = list(sinks)
        absent = f"sink NOT IN ({', '.join('?' * len(known))})"
        old = now - UNKNOWN_SINK_DAYS * DAY_S
        with self._store.transaction() as db:
            db.execute(
                f"DELETE FROM alerts WHERE {absent} AND created < ?",  # noqa: S608 - only question marks
                (*known, old),
            )
            db.execute("DELETE FROM alerts WHERE state = 'dead' AND created < ?", (now - DEAD_DAYS * DAY_S,))
            db.execute(
                "DELETE FROM facts WHERE name LIKE 'event:%' "
                "AND NOT EXISTS (SELECT 1 FROM alerts WHERE alerts.sink = facts.sink AND event = substr(name, 7)) "
                "AND NOT EXISTS (SELECT 1 FROM events WHERE id = substr(name, 7) AND state = 'active')"
            )

    def _list(self, condition: str, values: Sequence[Any]) -> list[Alert]:
        statement = f"SELECT *, number AS last FROM alerts WHERE {condition} ORDER BY number"  # noqa: S608 - of this module
        return [_alert(row) for row in self._store.query(statement, values)]

    def _change(self, assignments: str, values: Sequence[Any], alert: Alert) -> None:
        with self._store.transaction() as db:
            db.execute(f"UPDATE alerts SET {assignments} WHERE number = ?", (*values, alert.number))  # noqa: S608 - of this module


def _alert(row: sqlite3.Row) -> Alert:
    return Alert(
        row["number"], row["id"], row["sink"], row["machine_id"], row["event"], row["change"], row["content"],
        row["created"], row["due"], row["attempts"], row["state"], row["error"], bool(row["by_hand"]), row["last"],
    )  # fmt: skip


def _delete(db: sqlite3.Connection, alerts: Iterable[Alert]) -> None:
    db.executemany("DELETE FROM alerts WHERE number = ?", [(each.number,) for each in alerts])


def _remember(db: sqlite3.Connection, sink: str, facts: Facts) -> None:
    for name, value in facts.items():
        if value is None:
            db.execute("DELETE FROM facts WHERE sink = ? AND name = ?", (sink, name))
        else:
            db.execute(
                "INSERT INTO facts (sink, name, value) VALUES (?, ?, ?) "
                "ON CONFLICT (sink, name) DO UPDATE SET value = excluded.value",
                (sink, name, json.dumps(value)),
            )
