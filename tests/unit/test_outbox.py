"""Outbox: order for each machine, attempts, dead alerts, and what a killed process leaves."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from listener.alerts.outbox import Alert, Counts, Outbox
from listener.events.event import Event
from listener.events.store import EventStore, NewAlert
from tests.unit.alerts import event

DAY_S = 86_400.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EventStore]:
    with EventStore(tmp_path, create=True) as opened:
        opened.query("PRAGMA synchronous = OFF")  # the computer does not fail here, and a flush takes milliseconds
        yield opened


@pytest.fixture
def outbox(store: EventStore) -> Outbox:
    return Outbox(store)


def begin(store: EventStore, machine_id: str = "fan-3", *sinks: str, due: float = 0.0) -> Event:
    began = event(machine_id)
    store.save(began, "began", [NewAlert(sink, due) for sink in sinks or ("hook",)])
    return began


def machines(alerts: list[Alert]) -> list[str]:
    return [each.machine_id for each in alerts]


def test_an_alert_has_the_event_as_it_was_and_one_id(store: EventStore, outbox: Outbox) -> None:
    """Later changes of the event do not change it; the id is the event's and the number of the change."""
    began = begin(store)
    store.save(began.changed(score=0.99), "worsened")
    (alert,) = outbox.due("hook")
    assert alert.event == began
    assert alert.id == f"{began.id}-1"


def test_a_machine_waits_for_its_first_alert_and_no_other_machine_does(store: EventStore, outbox: Outbox) -> None:
    """The second alert of a machine is not due before the first one is delivered, dropped or dead."""
    for machine in ("fan-1", "fan-1", "fan-2"):
        begin(store, machine)
    first, other = outbox.due("hook", 10.0)
    assert (first.machine_id, other.machine_id) == ("fan-1", "fan-2")
    outbox.failed(first, "away", due=100.0)
    assert machines(outbox.due("hook", 10.0)) == ["fan-2"]
    assert [each.attempts for each in outbox.due("hook", 100.0)] == [1, 0]
    outbox.delivered(first)
    assert machines(outbox.due("hook", 10.0)) == ["fan-1", "fan-2"]
    outbox.give_up(outbox.due("hook", 10.0)[0], "gone")
    assert machines(outbox.due("hook", 10.0)) == ["fan-2"]


def test_sinks_are_independent(store: EventStore, outbox: Outbox) -> None:
    """One event is one alert for each sink, with the same id; the delivery of one changes no other."""
    begin(store, "fan-3", "hook", "mail")
    outbox.delivered(outbox.due("hook")[0])
    assert not outbox.due("hook")
    assert len(outbox.due("mail")) == 1
    assert outbox.counts() == {"mail": Counts(waiting=1)}


def test_dead_alerts_are_listed_sent_again_and_deleted(store: EventStore, outbox: Outbox) -> None:
    """One or all, of one sink."""
    for _ in range(3):
        begin(store, "fan-3")
        outbox.give_up(outbox.due("hook")[0], "410 Gone")
    dead = outbox.dead("hook")
    assert [each.error for each in dead] == ["410 Gone"] * 3
    assert outbox.counts() == {"hook": Counts(dead=3)}
    assert outbox.send_again("hook", dead[1].id) == 1
    (alert,) = outbox.due("hook")
    assert (alert.id, alert.by_hand, alert.attempts) == (dead[1].id, True, 0)
    assert outbox.delete_dead("hook", dead[0].id) == 1
    assert outbox.send_again("mail") == 0
    assert outbox.send_again("hook") == 1
    assert outbox.dead() == []
    assert outbox.counts() == {"hook": Counts(waiting=2)}


def test_old_alerts_are_given_up_together(store: EventStore, outbox: Outbox) -> None:
    """Those before a time; of this sink only."""
    begin(store, "fan-1", "hook", "mail")
    with store.transaction() as db:
        db.execute("UPDATE alerts SET created = 1000")
    begin(store, "fan-2", "hook")
    assert outbox.give_up_old("hook", 2000.0, "away") == 1
    assert outbox.counts() == {"hook": Counts(waiting=1, dead=1), "mail": Counts(waiting=1)}


def test_facts_are_written_with_the_end_of_an_alert(store: EventStore, outbox: Outbox) -> None:
    """A later process reads them; None removes one."""
    begin(store)
    outbox.delivered(outbox.due("hook")[0], {"window": [1.0, 2, False], "event:1": 0.5})
    assert Outbox(store).fact("hook", "window") == [1.0, 2, False]
    outbox.remember("hook", {"event:1": None})
    assert outbox.fact("hook", "event:1") is None
    assert outbox.fact("mail", "window") is None


def test_another_process_sees_only_finished_transactions(tmp_path: Path, store: EventStore, outbox: Outbox) -> None:
    """A reader waits for no writer, and never sees an alert without its event."""
    seen: list[tuple[int, int]] = []
    done = threading.Event()

    def read() -> None:
        with EventStore(tmp_path) as other:
            while not done.is_set():
                with other.transaction() as db:  # both numbers of one moment
                    row = db.execute("SELECT (SELECT count(*) FROM events), (SELECT count(*) FROM alerts)").fetchone()
                seen.append((row[0], row[1]))

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(30):
        begin(store)
    done.set()
    reader.join()
    assert all(events == alerts for events, alerts in seen)


def test_what_nobody_needs_is_deleted(store: EventStore, outbox: Outbox) -> None:
    """Alerts of sinks that were removed, after weeks; facts about events that have ended."""
    began = begin(store, "fan-3", "hook", "removed")
    outbox.remember("hook", {f"event:{began.id}": 0.5, "event:gone": 0.5, "machine:fan-3": 0.5})
    outbox.clean(["hook"])
    assert outbox.counts() == {"hook": Counts(1), "removed": Counts(1)}
    assert outbox.fact("hook", f"event:{began.id}") == 0.5
    assert outbox.fact("hook", "event:gone") is None
    assert outbox.fact("hook", "machine:fan-3") == 0.5
    with store.transaction() as db:
        db.execute("UPDATE alerts SET created = created - ?", (31 * DAY_S,))
    outbox.clean(["hook"])
    assert outbox.counts() == {"hook": Counts(1)}


def test_events_that_are_removed_keep_their_alerts(store: EventStore, outbox: Outbox) -> None:
    """The alert has the event in it."""
    began = begin(store)
    store.remove([began.id])
    assert outbox.due("hook")[0].event == began
