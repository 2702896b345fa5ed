"""Events of all machines: from the state of a machine's alarm after each clip to the begin and the end of its events.

A machine has at most one active event, whatever number of sources record it. An event

- begins with the first anomalous clip while the machine is in alarm;
- ends when the alarm has cleared, or at its longest length, after which another event continues it;
- is interrupted if nothing can be judged any more: all sources of the machine are lost, removed or disabled, or the
  listener has stopped. If the alarm lasts when it is judged again, another event continues it.
"""

import threading
import time
from collections.abc import Callable
from typing import Protocol

from listener.config.source_types import SourceEntry
from listener.events.event import Change, Event
from listener.events.event_saves import EventSaves
from listener.events.event_time import to_seconds, to_time
from listener.events.machine_watch import MachineWatch
from listener.events.store import EventStore, Route
from listener.judging.judged_clip import JudgedClip
from listener.options import ListenerOptions

SAVE_EVERY_S = 10.0  # chosen here: between two saves of an event that only goes on
RESTARTED = "The listener was started again while the event was active."
REMOVED = "Source {source} was removed or disabled."
LONGEST = "It had the longest length of an event, {seconds:.0f} s; another event continues it."


class EventClips(Protocol):
    """Clips of events. No method waits for the disk."""

    def judged(self, event: Event, clip: JudgedClip) -> None:
        """Take note of a clip of an active event that is saved."""

    def ended(self, event: Event) -> None:
        """Take note of the end of an event."""


class EventKeeper:
    """Events of one listener. Any thread may call it.

    The first call of :meth:`judged`, :meth:`tick` or :meth:`close_all` interrupts the active events of an earlier
    listener: only then, because ``route`` must know the sinks by then.

    Args:
        options: options of the listener.
        store: where events are saved.
        route: alerts of all sinks about a change of an event.
        clips: clips of the events.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        options: ListenerOptions,
        store: EventStore,
        route: Route,
        clips: EventClips,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._options, self._clips, self._clock = options, clips, clock
        self._saves = EventSaves(store, route, clock)
        self._machines: dict[str, MachineWatch] = {}
        self._removed: dict[str, SourceEntry] = {}
        self._lock = threading.RLock()
        self._earlier = store.active()
        # An alarm that lasts over a stop of the listener is one alarm: its next event continues the interrupted one.
        for event in store.latest_of_machines():
            if event.state == "interrupted":
                self._machine(event.machine_id).interrupted = event.id

    @property
    def unsaved(self) -> int:
        """Number of changes of events that wait for room on the disk."""
        return self._saves.waiting

    @property
    def lost(self) -> int:
        """Number of changes of events that were given up, because too many waited."""
        return self._saves.lost

    def active_event(self, machine_id: str) -> str | None:
        """Return the id of the active event of a machine; None without one."""
        with self._lock:
            machine = self._machines.get(machine_id)
            return None if machine is None or machine.event is None else machine.event.id

    def judged(self, clip: JudgedClip) -> None:
        """Take a clip with its verdict, and the state of its machine's alarm after it."""
        with self._lock:
            self._interrupt_earlier()
            if self._removed.get(clip.source.name) is clip.source:
                return  # it was judged while its source was removed
            self._leave_other_machines(clip)
            machine = self._machine(clip.machine_id)
            machine.add(clip, self._clock(), self._options.longest_event_s)
            if machine.event is None:
                self._begin_in_alarm(machine, clip)
            else:
                self._go_on(machine, machine.event, clip)

    def source_lost(self, source: str, cause: str) -> None:
        """Note why a source sends no sound. If it lasts, and its machine has no other source, its event ends."""
        with self._lock:
            for machine in self._machines.values():
                if source in machine.sources:
                    machine.sources[source].problem = cause

    def source_removed(self, source: str, cause: str = REMOVED) -> None:
        """Note that a source was removed or disabled. The event of its machine ends, if it has no other source."""
        with self._lock:
            for machine in self._machines.values():
                if source in machine.sources:
                    self._removed[source] = machine.sources[source].entry
                self._remove_source(machine, source, cause.format(source=source))

    def close_all(self, cause: str) -> None:
        """End all active events, when the listener stops."""
        with self._lock:
            self._interrupt_earlier()
            for machine in self._machines.values():
                self._interrupt(machine, cause)
            self._saves.flush()

    def tick(self) -> None:
        """End the events of lost sources, and save what waits. Call it about once a second."""
        with self._lock:
            self._interrupt_earlier()
            for machine in self._machines.values():
                if lost := " ".join(machine.lost_sources(self._clock())):
                    self._interrupt(machine, lost)
            self._saves.retry()

    def _machine(self, machine_id: str) -> MachineWatch:
        return self._machines.setdefault(machine_id, MachineWatch())

    def _interrupt_earlier(self) -> None:
        earlier, self._earlier = self._earlier, []
        for event in earlier:
            machine = self._machine(event.machine_id)
            machine.last_end, machine.interrupted = to_seconds(event.updated), event.id
            self._close(machine, event, "interrupted", RESTARTED)

    def _leave_other_machines(self, clip: JudgedClip) -> None:
        """A source that records another machine now is removed from the one before."""
        for machine_id, machine in self._machines.items():
            if machine_id != clip.machine_id:
                self._remove_source(machine, clip.source.name, f"Source {clip.source.name} records another machine.")

    def _remove_source(self, machine: MachineWatch, source: str, cause: str) -> None:
        if machine.sources.pop(source, None) is not None and not machine.sources:
            self._interrupt(machine, cause)

    def _begin_in_alarm(self, machine: MachineWatch, clip: JudgedClip) -> None:
        # After a restart the alarm of the record may last, and no anomalous clip is known yet.
        began = machine.first_anomalous()
        if clip.in_alarm and began is not None:
            self._begin(machine, clip, began)
        elif not clip.in_alarm:
            machine.interrupted = None

    def _begin(self, machine: MachineWatch, clip: JudgedClip, began: float) -> None:
        event = machine.begin(clip, began)
        self._save(machine, event, "began")
        self._note_clip(machine, event, clip)

    def _go_on(self, machine: MachineWatch, event: Event, clip: JudgedClip) -> None:
        if clip.verdict.value != "unusable":
            event = machine.go_on(event, self._options.longest_event_s, clip)
        if not clip.in_alarm:
            self._close(machine, event, "ended", "")
        elif machine.length_s >= self._options.longest_event_s:
            self._continue(machine, event, clip)
        else:
            self._save_progress(machine, event, clip)

    def _continue(self, machine: MachineWatch, event: Event, clip: JudgedClip) -> None:
        spans, alerted = machine.spans.copy(), machine.alerted
        self._close(machine, event, "ended", LONGEST.format(seconds=self._options.longest_event_s))
        machine.spans, machine.interrupted = spans, event.id
        self._begin(machine, clip, max(clip.ended, to_seconds(event.began)))
        machine.alerted = alerted

    def _save_progress(self, machine: MachineWatch, event: Event, clip: JudgedClip) -> None:
        if machine.has_worsened(clip.rule.raise_at):
            self._save(machine, event, "worsened")
        elif self._clock() - machine.saved_at >= SAVE_EVERY_S:
            self._save(machine, event, "updated")
        self._note_clip(machine, event, clip)

    def _interrupt(self, machine: MachineWatch, cause: str) -> None:
        if machine.event is not None:
            machine.interrupted = machine.event.id
            self._close(machine, machine.event, "interrupted", cause)

    def _close(self, machine: MachineWatch, event: Event, state: Change, cause: str) -> None:
        began = to_seconds(event.began)
        # A clock that was set back does not make the event shorter than nothing.
        ended = to_time(machine.last_end if machine.last_end >= began else began + machine.length_s)
        machine.close()
        closed = event.changed(state=state, ended=ended, updated=ended, cause=cause)
        self._save(machine, closed, state)
        self._clips.ended(closed)

    def _save(self, machine: MachineWatch, event: Event, change: Change) -> None:
        machine.saved_at = self._clock()
        self._saves.save(event, change)

    def _note_clip(self, machine: MachineWatch, event: Event, clip: JudgedClip) -> None:
        if self._saves.is_saved(event.id):
            self._clips.judged(event, clip)
        else:
            machine.event = event.changed(missing_clip="disk_full")
