"""Events of machines: begin, progress and end, from the states of alarms."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from listener.events.event import Event
from listener.events.event_keeper import LONGEST, RESTARTED, EventKeeper
from listener.events.recordings import review_event
from listener.events.store import EventStore, NewAlert
from listener.options import ListenerOptions
from ml.errors import StorageFull
from tests.unit.judged_clips import FOLDER, HALL, OTHER, Clock, NoClips, judged, no_alerts

ANOMALOUS, NORMAL = 0.8, 0.2


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EventStore]:
    """An empty file of events."""
    with EventStore(tmp_path, create=True) as opened:
        yield opened


@pytest.fixture
def clock() -> Clock:
    """A clock that the test sets."""
    return Clock()


@pytest.fixture
def keeper(store: EventStore, clock: Clock, tmp_path: Path) -> EventKeeper:
    """A keeper of events that writes no clips."""
    return make(store, clock, tmp_path)


def make(store: EventStore, clock: Clock, home: Path, clips: NoClips | None = None) -> EventKeeper:
    options = ListenerOptions(home, longest_event_s=600)
    return EventKeeper(options, store, no_alerts, clips or NoClips(), clock)


def raise_alarm(keeper: EventKeeper, first: int = 0, score: float = ANOMALOUS) -> None:
    """Judge three anomalous clips, the last of which raises the alarm."""
    for number in range(first, first + 2):
        keeper.judged(judged(number, score))
    keeper.judged(judged(first + 2, score, "alarm"))


def events(store: EventStore) -> list[Event]:
    """All events, the oldest first."""
    return store.page().events[::-1]


def changes(store: EventStore) -> list[str]:
    """All changes, the oldest first."""
    return [each.change for each in store.changes(0)]


def test_an_event_lasts_from_the_first_anomalous_clip_to_the_clear(keeper: EventKeeper, store: EventStore) -> None:
    """One id from the begin to the end, with the facts of its most anomalous clip."""
    keeper.judged(judged(0, NORMAL))
    raise_alarm(keeper, 1)
    active = keeper.active_event("fan-3")
    keeper.judged(judged(4, 0.9, "acknowledged"))
    keeper.judged(judged(5, NORMAL, "alarm"))
    keeper.judged(judged(6, NORMAL, "normal"))
    (event,) = events(store)
    assert event.id == active
    assert keeper.active_event("fan-3") is None
    assert (event.began, event.ended) == ("2026-09-21T14:13:30.000+00:00", "2026-09-21T14:14:30.000+00:00")
    assert (event.state, event.source, event.clips, event.anomalous) == ("ended", "hall", 6, 4)
    assert (event.score, event.threshold, event.label, event.version) == (0.9, 0.5, "worn", "v-1")
    assert (event.labels_revision, event.threshold_revision, event.cause) == (1, 2, "")
    assert [reason["low_hz"] for reason in event.reasons] == [100.0, 200.0, 300.0]
    assert event.quality is not None
    assert event.quality["sample_rate_hz"] == 8000
    assert changes(store) == ["began", "ended"]


def test_the_highest_score_counts_from_the_first_clip(keeper: EventKeeper, store: EventStore) -> None:
    """The most anomalous clip may be before the one that raised the alarm."""
    keeper.judged(judged(0, 0.95))
    keeper.judged(judged(1, 0.6))
    keeper.judged(judged(2, 0.7, "alarm"))
    assert events(store)[0].score == 0.95


def test_several_sources_of_a_machine_have_one_event(keeper: EventKeeper, store: EventStore, clock: Clock) -> None:
    """It goes on while one of them is judged, and ends with the last of them."""
    raise_alarm(keeper)
    keeper.judged(judged(3, ANOMALOUS, "alarm", OTHER))
    keeper.source_removed("hall")
    assert keeper.active_event("fan-3")
    clock.now += 59
    keeper.tick()
    assert keeper.active_event("fan-3")
    keeper.source_lost("other", "Connection refused")
    clock.now += 1
    keeper.tick()
    (event,) = events(store)
    assert (event.state, event.cause) == ("interrupted", "Source other: Connection refused.")
    assert event.ended == "2026-09-21T14:14:00.000+00:00"


def test_progress_is_saved_every_ten_seconds(keeper: EventKeeper, store: EventStore, clock: Clock) -> None:
    """Not with each clip: an event of an hour has at most 360 changes."""
    raise_alarm(keeper)
    for number in range(3, 9):
        clock.now += 4
        keeper.judged(judged(number, 0.7, "alarm"))
    assert changes(store) == ["began", "updated", "updated"]
    assert events(store)[0].clips == 9


def test_a_worse_machine_is_one_alert(keeper: EventKeeper, store: EventStore) -> None:
    """Three of five clips must be twice as far from normal; one loud clip is none, and the same level again is none."""
    raise_alarm(keeper, score=0.6)
    keeper.judged(judged(3, 0.99, "alarm"))
    keeper.judged(judged(4, 0.99, "alarm"))
    assert changes(store) == ["began"]
    for number in range(5, 12):
        keeper.judged(judged(number, 0.99, "alarm"))
    assert changes(store) == ["began", "worsened"]


def test_another_model_is_no_worse_machine(keeper: EventKeeper, store: EventStore) -> None:
    """Scores of two models are not compared."""
    raise_alarm(keeper, score=0.6)
    for number in range(3, 9):
        keeper.judged(judged(number, 0.99, "alarm", version="v-2"))
    assert changes(store) == ["began"]


def test_a_long_event_is_continued_by_another(keeper: EventKeeper, store: EventStore) -> None:
    """Each has an end; the second one begins where the first one ended."""
    raise_alarm(keeper)
    for number in range(3, 70):
        keeper.judged(judged(number, ANOMALOUS, "alarm"))
    first, second = events(store)
    assert (first.state, first.cause) == ("ended", LONGEST.format(seconds=600))
    assert (second.state, second.continues, second.began) == ("active", first.id, first.ended)
    assert keeper.active_event("fan-3") == second.id


def test_an_event_of_an_earlier_listener_is_interrupted(
    keeper: EventKeeper, store: EventStore, clock: Clock, tmp_path: Path
) -> None:
    """It ends with its last clip; if the alarm lasts, the next anomalous clip begins an event that continues it."""
    raise_alarm(keeper)
    again = make(store, clock, tmp_path)
    again.tick()
    (first,) = events(store)
    assert (first.state, first.cause, first.ended) == ("interrupted", RESTARTED, "2026-09-21T14:13:50.000+00:00")
    again.judged(judged(50, NORMAL, "alarm"))
    assert len(events(store)) == 1
    again.judged(judged(51, ANOMALOUS, "alarm"))
    assert events(store)[1].continues == first.id
    assert events(store)[1].began == "2026-09-21T14:21:50.000+00:00"


def test_an_alarm_that_outlasts_a_stop_is_one_alarm(
    keeper: EventKeeper, store: EventStore, clock: Clock, tmp_path: Path
) -> None:
    """Also if the listener was stopped in order, and twice: its next event continues the last one."""
    raise_alarm(keeper)
    keeper.close_all("stopped")
    make(store, clock, tmp_path).close_all("stopped again")
    later = make(store, clock, tmp_path)
    later.judged(judged(10, ANOMALOUS, "alarm"))
    first, second = events(store)
    assert (first.state, second.continues) == ("interrupted", first.id)


def test_after_a_clear_the_next_event_continues_nothing(
    keeper: EventKeeper, store: EventStore, clock: Clock, tmp_path: Path
) -> None:
    """The alarm has not lasted."""
    raise_alarm(keeper)
    again = make(store, clock, tmp_path)
    again.judged(judged(50, NORMAL))
    raise_alarm(again, 51)
    assert events(store)[1].continues is None


def test_an_event_begins_after_the_end_of_the_last_one(keeper: EventKeeper, store: EventStore) -> None:
    """An anomalous clip that was part of the last event counts for the next alarm, but does not begin its event."""
    raise_alarm(keeper)
    keeper.judged(judged(3, NORMAL, "normal"))
    raise_alarm(keeper, 4)
    first, second = events(store)
    assert second.began == first.ended == "2026-09-21T14:14:00.000+00:00"
    assert (second.clips, second.anomalous) == (3, 3)


def test_clips_that_cannot_be_judged_end_an_event_at_last(keeper: EventKeeper, store: EventStore, clock: Clock) -> None:
    """A dead microphone clears no alarm; its event does not last for ever."""
    raise_alarm(keeper)
    for number in range(3, 10):
        clock.now += 10
        keeper.judged(judged(number, 0.0, "alarm", unusable=True))
        keeper.tick()
    (event,) = events(store)
    assert event.state == "interrupted"
    assert event.cause == "Source hall: Not judged: The microphone has no signal."
    assert (event.ended, event.clips) == ("2026-09-21T14:13:50.000+00:00", 3)


def test_recordings_may_arrive_at_any_distance(keeper: EventKeeper, store: EventStore, clock: Clock) -> None:
    """A folder is lost after the longest length of an event."""
    for number in range(3):
        keeper.judged(judged(number, ANOMALOUS, "alarm" if number == 2 else "normal", FOLDER))
    clock.now += 599
    keeper.tick()
    assert events(store)[0].state == "active"
    clock.now += 1
    keeper.tick()
    assert events(store)[0].cause == "Source files: no clip could be judged for 600 s."


def test_a_clip_of_a_removed_source_begins_no_event(keeper: EventKeeper, store: EventStore) -> None:
    """It was judged meanwhile. A source of this name that is added later is another one."""
    raise_alarm(keeper)
    keeper.source_removed("hall")
    keeper.judged(judged(3, ANOMALOUS, "alarm"))
    assert [event.state for event in events(store)] == ["interrupted"]
    keeper.judged(judged(4, ANOMALOUS, "alarm", HALL.model_copy()))
    assert [event.state for event in events(store)] == ["interrupted", "active"]


def test_a_source_of_another_machine_ends_the_event(keeper: EventKeeper, store: EventStore) -> None:
    """The name of a source may be used for another machine."""
    raise_alarm(keeper)
    keeper.judged(judged(3, NORMAL, source=HALL.model_copy(update={"machine_id": "pump-1"})))
    assert events(store)[0].cause == "Source hall records another machine."


@pytest.mark.parametrize("jump", [-360, 360])
def test_a_clock_that_is_set_makes_no_negative_duration(keeper: EventKeeper, store: EventStore, jump: int) -> None:
    """Forward and back by an hour: no end before the begin, and no end of the longest length."""
    raise_alarm(keeper)
    keeper.judged(judged(3 + jump, ANOMALOUS, "alarm"))
    keeper.judged(judged(4 + jump, NORMAL))
    (event,) = events(store)
    assert event.ended is not None
    assert event.ended >= event.began
    assert event.updated >= event.began
    assert event.cause == ""


def test_the_end_of_the_listener_ends_all_events(keeper: EventKeeper, store: EventStore) -> None:
    """They are interrupted with this cause."""
    raise_alarm(keeper)
    keeper.close_all("The listener was stopped.")
    assert [(event.state, event.cause) for event in events(store)] == [("interrupted", "The listener was stopped.")]
    assert store.active() == []


def test_alerts_are_written_with_the_change(store: EventStore, tmp_path: Path) -> None:
    """One transaction: the alerts of each change have its content."""
    keeper = EventKeeper(
        ListenerOptions(tmp_path),
        store,
        lambda _, change: [NewAlert("hook", 5.0)] if change == "began" else [],
        NoClips(),
    )
    raise_alarm(keeper)
    rows = store.query("SELECT sink, change, event FROM alerts")
    assert [tuple(row) for row in rows] == [("hook", "began", keeper.active_event("fan-3"))]


def test_sinks_that_are_read_later_get_the_end_of_an_earlier_event(
    keeper: EventKeeper, store: EventStore, tmp_path: Path
) -> None:
    """A listener reads its sinks after it has made its parts."""
    raise_alarm(keeper)
    sinks: list[NewAlert] = []
    again = EventKeeper(ListenerOptions(tmp_path), store, lambda *_: sinks, NoClips())
    sinks.append(NewAlert("hook", 5.0))
    again.tick()
    assert [row["change"] for row in store.query("SELECT change FROM alerts")] == ["interrupted"]


def test_rules_with_an_error_do_not_stop_events(store: EventStore, tmp_path: Path) -> None:
    """The event is saved without alerts."""

    def fail(*_: object) -> list[NewAlert]:
        raise KeyError("sink")

    raise_alarm(EventKeeper(ListenerOptions(tmp_path), store, fail, NoClips()))
    assert changes(store) == ["began"]


def test_a_review_during_an_event_stays(keeper: EventKeeper, store: EventStore) -> None:
    """The listener writes only the fields that change with clips."""
    raise_alarm(keeper)
    reviewed = review_event(store, events(store)[0].id, "faulty", "worn", "loud", "Ada")
    keeper.judged(judged(3, NORMAL))
    (event,) = events(store)
    assert event.state == "ended"
    assert event.review == reviewed.review


def test_events_wait_while_the_disk_is_full(
    keeper: EventKeeper, store: EventStore, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are written in order when there is room; their clips are dropped first."""
    del keeper
    clips = NoClips()
    again = make(store, clock, tmp_path, clips)
    save = EventStore.save
    monkeypatch.setattr(EventStore, "save", _no_room)
    raise_alarm(again)
    again.judged(judged(3, NORMAL))
    raise_alarm(again, 4)
    assert again.unsaved == 3
    assert [call for call, _ in clips.calls] == ["ended"]
    monkeypatch.setattr(EventStore, "save", save)
    again.tick()
    assert again.unsaved == 3, "a full disk is not tried with each clip"
    clock.now += 1
    again.tick()
    assert again.unsaved == 0
    assert changes(store) == ["began", "ended", "began"]
    assert [event.state for event in events(store)] == ["ended", "active"]


def _no_room(*_: object, **__: object) -> int:
    raise StorageFull("The disk filled up.")


def test_waiting_progress_is_bounded(
    store: EventStore, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the last progress of an event waits; a begin or an end is given up last, and counted."""
    keeper = make(store, clock, tmp_path)
    monkeypatch.setattr(EventStore, "save", _no_room)
    monkeypatch.setattr("listener.events.event_saves.MAX_WAITING", 3)
    raise_alarm(keeper)
    for number in range(3, 9):
        clock.now += 10
        keeper.judged(judged(number, 0.7, "alarm"))
    assert (keeper.unsaved, keeper.lost) == (2, 0)
    keeper.judged(judged(9, NORMAL))
    raise_alarm(keeper, 10)
    assert (keeper.unsaved, keeper.lost) == (3, 1)


def test_a_rule_of_one_clip(keeper: EventKeeper, store: EventStore) -> None:
    """One of one: each anomalous clip after a normal one is an event."""
    one = judged(0, ANOMALOUS, "alarm")
    rule = replace(one.rule, raise_at=1, n_verdicts=1, clear_at=0)
    for number in range(4):
        is_bad = number % 2 == 0
        clip = judged(number, ANOMALOUS if is_bad else NORMAL, "alarm" if is_bad else "normal", rule=rule)
        keeper.judged(clip)
    assert [event.state for event in events(store)] == ["ended", "ended"]
