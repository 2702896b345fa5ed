"""Sources that run now: started, stopped and replaced as their entries change."""

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from listener.config.source_types import SourceEntry
from listener.judging.judge import Judge
from listener.judging.models import Models
from listener.options import ListenerOptions
from listener.sound import SourceReader
from listener.sources.schedule import RunningSchedule
from listener.sources.source_listener import SourceListener
from listener.sources.source_runner import SourceRunner
from listener.status import SourceStatus
from ml.errors import SignalMLError

logger = logging.getLogger("signalml.listener")
RETRY_S = 30.0  # of sources that cannot start
MakeReader = Callable[[Any, ListenerOptions], SourceReader]  # of one of the types of sources


class SourceEvents(Protocol):
    """Events, as far as sources concern them."""

    def source_lost(self, source: str, cause: str) -> None:
        """Note why a source sends no sound."""

    def source_removed(self, source: str) -> None:
        """Note that a source was removed or disabled."""

    def active_event(self, machine_id: str) -> str | None:
        """Return the id of the active event of a machine; None without one."""


class RunningSources:
    """Sources of a listener. :meth:`update` and :meth:`stop` are for one thread; all else for any.

    Args:
        options: options of the listener.
        judge: judges their clips.
        models: their models.
        events: gets what happens to a source.
        make_reader: makes the reader of a source.
    """

    def __init__(
        self,
        options: ListenerOptions,
        judge: Judge,
        models: Models,
        events: SourceEvents,
        make_reader: MakeReader,
    ) -> None:
        self._options, self._judge, self._models, self._events = options, judge, models, events
        self._make_reader = make_reader
        self._runners: dict[str, SourceRunner] = {}
        self._disabled: dict[str, SourceEntry] = {}
        self._failed: dict[str, tuple[SourceEntry, str]] = {}
        self._wanted: Mapping[str, SourceEntry] = {}
        self._retry_at = 0.0

    def update(self, wanted: Mapping[str, SourceEntry]) -> None:
        """Start, stop and replace sources, so that those that are enabled run. Returns without waiting for them."""
        self._wanted, self._retry_at = wanted, time.monotonic() + RETRY_S
        enabled = {name: entry for name, entry in wanted.items() if entry.enabled}
        failed: dict[str, tuple[SourceEntry, str]] = {}
        runners = dict(self._runners)
        before = {name: runner for name, runner in runners.items() if enabled.get(name) != runner.listener.entry}
        for name, runner in before.items():
            self._begin_stop(runner, enabled.get(name))
            del runners[name]
        for name, entry in enabled.items():
            if name not in runners:
                try:
                    runners[name] = self._start(entry, before.get(name))
                except Exception as error:  # an error of one source must never end another
                    if name not in self._failed:
                        logger.error("source %s: %s", name, error, exc_info=not isinstance(error, SignalMLError))
                    failed[name] = entry, str(error) or type(error).__name__
        self._models.use({entry.model for entry in enabled.values()})
        self._disabled = {name: entry for name, entry in wanted.items() if not entry.enabled}
        self._runners, self._failed = runners, failed

    def tick(self) -> None:
        """Check the state of each source, and start those again that could not start; call it again and again."""
        if self._failed and time.monotonic() >= self._retry_at:
            self.update(self._wanted)
        for runner in self._runners.values():
            runner.listener.tick()

    def get(self, name: str) -> SourceListener | None:
        """Return a source that runs; None if there is none of this name."""
        runner = self._runners.get(name)
        return None if runner is None else runner.listener

    def status(self, name: str) -> SourceStatus | None:
        """Return the state of a source that runs; None if there is none of this name."""
        runner = self._runners.get(name)
        return None if runner is None else self._status(runner)

    def statuses(self) -> list[SourceStatus]:
        """Return the state of each source, in the order of names."""
        running = [self._status(runner) for runner in self._runners.values()]
        disabled = [
            SourceStatus(name, entry.kind, entry.machine_id, state="disabled")  # type: ignore[attr-defined]  # every source has a kind
            for name, entry in self._disabled.items()
        ]
        failed = [
            SourceStatus(name, entry.kind, entry.machine_id, state="failed", cause=cause)  # type: ignore[attr-defined]  # as above
            for name, (entry, cause) in self._failed.items()
        ]
        return sorted(running + disabled + failed, key=lambda status: status.name)

    def stop(self) -> None:
        """Stop all readers, and wait until they have ended."""
        runners = list(self._runners.values())
        for runner in runners:
            runner.begin_stop()
        for runner in runners:
            self._judge.remove(runner.listener.entry.name)
        for runner in runners:
            runner.wait()

    def _status(self, runner: SourceRunner) -> SourceStatus:
        status = runner.status()
        status.event = self._events.active_event(runner.listener.machine_id)
        return status

    def _start(self, entry: SourceEntry, before: SourceRunner | None) -> SourceRunner:
        schedule = RunningSchedule(entry.schedule)
        listener = SourceListener(entry, self._options, self._judge, self._models, schedule, self._events.source_lost)
        runner = SourceRunner(listener, lambda: self._make_reader(entry, self._options), before)
        logger.info("source %s: %s", entry.name, "started" if before is None else "replaced")
        runner.start()
        return runner

    def _begin_stop(self, runner: SourceRunner, replaced_by: SourceEntry | None) -> None:
        entry = runner.listener.entry
        runner.begin_stop()
        self._judge.remove(entry.name)
        if replaced_by is None or replaced_by.machine_id != entry.machine_id:
            self._events.source_removed(entry.name)
        if replaced_by is None:
            logger.info("source %s: stopped", entry.name)
