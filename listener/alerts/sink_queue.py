"""Alerts of one sink, in the order and at the times of its rules."""

import time
from typing import Any, NamedTuple

from listener.alerts.digest import DigestReason, make_digest
from listener.alerts.outbox import DIGEST, Alert, Outbox
from listener.alerts.rules import (
    BEGINNINGS,
    ENDS,
    Collect,
    Decision,
    Drop,
    LastSent,
    Send,
    Turn,
    Wait,
    Window,
    continues_alarm,
    count_sent,
    decide,
    decide_digest,
    decide_storm,
    is_current,
    sent_about_machine,
)
from listener.config.sink_types import ServiceSink, Sink
from listener.events.event import Event
from listener.events.event_time import to_seconds, to_time
from listener.events.store import EventStore

WINDOW = "window"
# No alert is due later than this; a later time comes from a clock that was set back.
HORIZON_S = 300.0


class Held(NamedTuple):
    """Alert that a rule holds back.

    Attributes:
        last: number of the last alert of its machine when this was decided: a new one can change the decision.
        since, until: seconds since 1970.
    """

    last: int
    since: float
    until: float

    def goes_on(self, alert: Alert, now: float) -> bool:
        """Return whether the decision still holds."""
        return self.last == alert.last and self.since <= now < self.until


class SinkQueue:
    """Alerts of one sink. One thread uses it.

    Args:
        outbox: alerts of all sinks.
        store: the events.
        name: name of the sink.
    """

    def __init__(self, outbox: Outbox, store: EventStore, name: str) -> None:
        self._outbox, self._store, self._name = outbox, store, name
        self._held: dict[int, Held] = {}

    def rules_changed(self) -> None:
        """Forget what the rules held back."""
        self._held.clear()

    def next_alert(self, sink: Sink, now: float | None = None) -> Alert | None:
        """Return the alert that is to be sent now; None without one.

        Alerts that the rules drop are deleted, and digests are made.

        Args:
            sink: the sink, with its rules.
            now: seconds since 1970; the present by default.
        """
        now = time.time() if now is None else now
        while True:
            heads = self._outbox.heads(self._name)
            if any(max(each.due, each.created) > now + HORIZON_S for each in heads):
                self._outbox.trust_clock(self._name, now, HORIZON_S)
                continue
            self._held = {each.number: self._held[each.number] for each in heads if each.number in self._held}
            for head in heads:
                if head.due <= now and not self._is_held(head, now):
                    decision = self._decide(sink, head, now)
                    if isinstance(decision, Send):
                        return head
                    self._obey(sink, head, decision, now)
                    if not isinstance(decision, Wait):
                        break  # the machine has another first alert now
            else:
                return None

    def sent(self, sink: Sink, alert: Alert, now: float | None = None) -> None:
        """Delete an alert that was delivered, and remember what the rules need."""
        now = time.time() if now is None else now
        facts: dict[str, Any] = {}
        if not isinstance(sink, ServiceSink):
            facts[WINDOW] = count_sent(self._window(), now)
            if alert.change != DIGEST:
                self._note_sent(sink, alert, alert.event.score, now, facts)
        self._outbox.delivered(alert, facts)

    def current_event(self, alert: Alert) -> Event:
        """Return the event of an alert as it is now; as it was, if it was deleted."""
        return self._store.find(alert.event_id) or alert.event

    def _is_held(self, head: Alert, now: float) -> bool:
        held = self._held.get(head.number)
        return held is not None and held.goes_on(head, now)

    def _decide(self, sink: Sink, head: Alert, now: float) -> Decision:
        if head.by_hand:
            return Send()
        if isinstance(sink, ServiceSink) and self._outbox.has_newer(head):
            return Drop("a newer state of the event waits")
        decision = decide_digest(sink, now) if head.change == DIGEST else decide(sink, self._turn(head, now, {}))
        if not isinstance(decision, Send):
            return decision
        return decide_storm(sink, self._window(), now)

    def _obey(self, sink: Sink, head: Alert, decision: Decision, now: float) -> None:
        window = self._window()
        if isinstance(decision, Drop):
            self._outbox.drop(self._name, [head], self._dropped(sink, head, now))
        elif isinstance(decision, Collect):
            self._make_digest(sink, "storm" if window is not None and window.over else "quiet_hours", now)
        elif isinstance(decision, Wait):
            self._held[head.number] = Held(head.last, now, decision.until)
            if window is not None and is_current(window, now) and window.sent >= sink.rules.digest_above:
                self._mark_storm(window)

    def _dropped(self, sink: Sink, head: Alert, now: float) -> dict[str, Any]:
        """Return what is remembered of an alert that is not sent."""
        if head.change in ENDS:
            return {_event_fact(head.event_id): None}
        turn = self._turn(head, now, {})
        if not continues_alarm(sink, turn):
            return {}
        facts: dict[str, Any] = {}
        self._note_sent(sink, head, turn.event.score, now, facts)  # what follows belongs to the alarm that was sent
        return facts

    def _mark_storm(self, window: Window) -> None:
        if not window.over:
            self._outbox.remember(self._name, {WINDOW: window._replace(over=True)})

    def _make_digest(self, sink: Sink, reason: DigestReason, now: float) -> None:
        """Put one digest in the place of the alerts that wait, as far as the rules let them through."""
        covered: list[tuple[Alert, Turn]] = []
        dropped: list[Alert] = []
        facts: dict[str, Any] = {WINDOW: None}
        blocked: set[str] = set()
        for alert in self._outbox.waiting(self._name):
            if alert.machine_id in blocked or alert.by_hand or alert.change == DIGEST:
                blocked.add(alert.machine_id)
                continue
            turn = self._turn(alert, now, facts)
            decision = decide(sink, turn)
            if isinstance(decision, Drop):
                dropped.append(alert)
            elif isinstance(decision, Collect) or (isinstance(decision, Send) and reason == "storm"):
                covered.append((alert, turn))
                self._note_collected(sink, alert, turn, now, facts)
            else:
                blocked.add(alert.machine_id)
        self._outbox.drop(self._name, dropped, None if covered else facts)
        if covered:
            alerts = [alert for alert, _ in covered]
            began, ended = (to_time(each([alert.created for alert in alerts])) for each in (min, max))
            digest = make_digest(reason, began, ended, [(turn.change, turn.current) for _, turn in covered])
            self._outbox.replace_by_digest(self._name, alerts, digest, facts)

    def _note_sent(self, sink: Sink, alert: Alert, score: float, now: float, facts: dict[str, Any]) -> None:
        """Remember that an alert was sent by itself: its end will be sent too."""
        name = _event_fact(alert.event_id)
        if alert.change in ENDS:
            facts[name] = None
        elif alert.change in BEGINNINGS:
            before = self._fact(name, facts)
            facts[name] = score if before is None else max(score, before)
        self._note_machine(sink, alert, score, now, facts)

    def _note_collected(self, sink: Sink, alert: Alert, turn: Turn, now: float, facts: dict[str, Any]) -> None:
        """Remember that an alert is in a digest: it is known to the receiver, but was not sent by itself."""
        if alert.change in ENDS:
            facts[_event_fact(alert.event_id)] = None
        self._note_machine(sink, alert, turn.current.score, now, facts)

    def _note_machine(self, sink: Sink, alert: Alert, score: float, now: float, facts: dict[str, Any]) -> None:
        new = LastSent(now, score, alert.event_id, alert.change not in ENDS)
        last = self._last_sent(alert.machine_id, now, facts)
        facts[_machine_fact(alert.machine_id)] = sent_about_machine(sink, last, new)

    def _turn(self, alert: Alert, now: float, facts: dict[str, Any]) -> Turn:
        return Turn(
            alert.change,
            alert.created,
            alert.event,
            self.current_event(alert),
            self._fact(_event_fact(alert.event_id), facts),
            self._last_sent(alert.machine_id, now, facts),
            now,
        )

    def _last_sent(self, machine_id: str, now: float, facts: dict[str, Any]) -> LastSent | None:
        """Return what was sent about a machine; the cool-down begins with the end of that event."""
        found = self._fact(_machine_fact(machine_id), facts)
        if found is None:
            return None
        last = LastSent(*found)
        event = self._store.find(last.event_id)
        ended = last.at if event is None or event.ended is None else to_seconds(event.ended)
        return last._replace(at=max(last.at, min(ended, now)))

    def _window(self) -> Window | None:
        found = self._outbox.fact(self._name, WINDOW)
        return None if found is None else Window(*found)

    def _fact(self, name: str, newer: dict[str, Any]) -> Any:
        return newer[name] if name in newer else self._outbox.fact(self._name, name)


def _event_fact(event_id: str) -> str:
    return f"event:{event_id}"


def _machine_fact(machine_id: str) -> str:
    return f"machine:{machine_id}"
