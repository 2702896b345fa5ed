"""Events under any order of verdicts, losses, restarts, full disks and set clocks."""

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from listener.config.source_types import FolderSource, PipeSource, SourceEntry
from listener.events.event import Event
from listener.events.event_keeper import EventKeeper
from listener.events.machine_watch import is_clearly_higher
from listener.events.store import EventStore
from listener.options import ListenerOptions
from ml.detectors.alarm_rule import KOfNRule
from ml.errors import StorageFull
from tests.unit.judged_clips import Clock, NoClips, judged, no_alerts

SOURCES = (
    PipeSource(name="a", machine_id="m1", path="/a"),
    PipeSource(name="b", machine_id="m1", path="/b"),
    PipeSource(name="a", machine_id="m2", path="/a"),
    FolderSource(name="c", machine_id="m3", path="c"),
)
RULE = KOfNRule(2, 3, 0)
STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("judged"),
            st.sampled_from(range(len(SOURCES))),
            st.sampled_from([0.2, 0.6, 0.9, None]),
            st.booleans(),
        ),
        st.tuples(st.just("wait"), st.sampled_from([1, 20, 70, 700])),
        st.tuples(st.just("jump"), st.sampled_from([-3600, 3600])),
        st.tuples(st.just("removed"), st.sampled_from("abc")),
        st.tuples(st.just("added")),
        st.tuples(st.just("lost"), st.sampled_from("abc")),
        st.tuples(st.just("restart")),
        st.tuples(st.just("disk"), st.booleans()),
    ),
    max_size=60,
)


class SmallStore(EventStore):
    """A store that a test can fill up."""

    is_full = False

    def save(self, *args: object, **given: object) -> int:
        if self.is_full:
            raise StorageFull("The disk filled up.")
        return super().save(*args, **given)  # type: ignore[arg-type]  # passed on


class Run:
    """A listener under a list of steps."""

    def __init__(self, home: Path) -> None:
        self.options = ListenerOptions(home, longest_event_s=120)
        self.store, self.clock, self.offset_s = SmallStore(home, create=True), Clock(), 0.0
        self.sources: list[SourceEntry] = list(SOURCES)
        self.restart()

    def restart(self) -> None:
        """Start the listener again after a kill. What waits in memory is lost, which a full disk alone can cause."""
        self.store.is_full = False
        self.keeper = EventKeeper(self.options, self.store, no_alerts, NoClips(), self.clock)
        self.keeper.tick()

    def do(self, step: tuple[object, ...]) -> None:
        """Take one step."""
        match step:
            case ("judged", int(place), score, alarm):
                self.clock.now += 10
                number = (self.clock.now + self.offset_s) / 10
                state = "alarm" if alarm else "normal"
                unusable = score is None
                clip = judged(number, score or 0.0, state, self.sources[place], unusable=unusable, rule=RULE)  # type: ignore[arg-type]
                self.keeper.judged(clip)
            case ("wait", int(seconds)):
                self.clock.now += seconds
                self.keeper.tick()
            case ("jump", int(seconds)):
                self.offset_s += seconds
            case ("removed", str(name)):
                self.keeper.source_removed(name)
            case ("added",):
                self.sources = [source.model_copy() for source in SOURCES]
            case ("lost", str(name)):
                self.keeper.source_lost(name, "gone")
            case ("restart",):
                self.restart()
            case ("disk", bool(is_full)):
                self.store.is_full = is_full

    def end(self) -> None:
        """Stop the listener in order, with room on the disk."""
        self.store.is_full = False
        self.keeper.close_all("stopped")
        assert self.keeper.unsaved == 0


@given(STEPS)
@settings(max_examples=60)
def test_each_event_has_one_end_and_a_machine_one_active_event(steps: list[tuple[object, ...]]) -> None:
    """Whatever happens, in any order."""
    with tempfile.TemporaryDirectory() as folder:
        run = Run(Path(folder))
        for step in steps:
            run.do(step)
            active = [event.machine_id for event in run.store.active()]
            assert run.store.is_full or len(active) == len(set(active))
        run.end()
        check(run.store)
        run.store.close()


def check(store: EventStore) -> None:
    """Every event is whole: one begin, one end, in this order, and no negative duration."""
    events = store.page(most=1000).events
    by_id = {event.id: event for event in events}
    for event in events:
        kinds = [change for change, _ in store.changes_of(event.id)]
        assert kinds[0] == "began"
        assert [kind for kind in kinds if kind in ("ended", "interrupted")] == [event.state]
        assert kinds[-1] == event.state
        _check_times(event)
        assert event.continues is None or by_id[event.continues].machine_id == event.machine_id
        assert (event.state == "interrupted") <= bool(event.cause)


def _check_times(event: Event) -> None:
    assert event.ended is not None
    assert event.began <= event.updated
    assert event.began <= event.ended


@given(st.lists(st.floats(0, 1), min_size=1, max_size=200))
def test_a_machine_worsens_only_a_few_times(scores: list[float]) -> None:
    """However the scores move: each alert needs a clearly higher score than the last one."""
    alerted, alerts = 0.5, 0
    for score in scores:
        if is_clearly_higher(score, alerted):
            alerted, alerts = score, alerts + 1
    assert alerts <= 6
