"""Listener: one supervisor of all sources of a home.

One thread reads each source, some threads judge, one follows the models. The supervisor looks at the files of sources
and sinks again and again, and starts, stops and replaces what has changed. An error of one source harms no other.
"""

import logging
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from listener.config import source_file
from listener.event_keeper import EventKeeper
from listener.events import Event
from listener.judge import Judge
from listener.judged_clip import JudgedClip
from listener.live import LiveServer
from listener.lock import hold_listener_lock
from listener.machine_record import MachineRecord
from listener.models import Models
from listener.options import ListenerOptions
from listener.sound import SourceReader
from listener.source_listener import SourceListener
from listener.source_types import SourceEntry
from listener.sources import MakeReader, RunningSources
from listener.status import ListenerStatus
from listener.store import EventStore
from listener.watched_file import WatchedFile
from ml.models.predictor import Predictor
from ml.system.clock import timestamp
from ml.system.parallel import one_blas_thread

logger = logging.getLogger("signalml.listener")
STOPPED = "The listener was stopped."


def no_reader(source: SourceEntry, options: ListenerOptions) -> SourceReader:
    """Placeholder."""
    raise NotImplementedError


class NoClips:
    """Placeholder."""

    def judged(self, event: Event, clip: JudgedClip) -> None:
        """Nothing."""

    def ended(self, event: Event) -> None:
        """Nothing."""


class Listener:
    """Listener of one home.

    Args:
        options: its options.
        sources: sources to listen to in place of those of ``sources.toml``; None for these.
        make_reader: makes the reader of a source.

    Example::

        Listener(ListenerOptions(home)).run()
    """

    def __init__(
        self,
        options: ListenerOptions,
        sources: Sequence[SourceEntry] | None = None,
        make_reader: MakeReader = no_reader,
    ) -> None:
        self.options = options
        self._given = None if sources is None else {each.name: each for each in sources}
        self._make_reader = make_reader
        self._source_file = WatchedFile(source_file(options.home))
        self._models = Models(options.home)
        self._started_at = timestamp()
        self._stopped = threading.Event()
        self._sources: RunningSources | None = None

    def run(self) -> None:
        """Listen until SIGTERM, SIGINT or :meth:`stop`.

        Raises:
            ListenerRunsAlready: another listener runs in this home.
            EventsUnavailable, StorageFull: the events cannot be opened.
        """
        with hold_listener_lock(self.options), one_blas_thread(), self._stop_at_signals():
            store = EventStore(self.options.home, create=True)
            try:
                self._run(store)
            finally:
                store.close()

    def stop(self) -> None:
        """Let :meth:`run` return. Safe from any thread."""
        self._stopped.set()

    def status(self) -> ListenerStatus:
        """Return the state of the listener, its sources and its sinks. Safe from any thread."""
        sources = [] if self._sources is None else self._sources.statuses()
        return ListenerStatus(self._started_at, os.getpid(), sources=sources, problems=list(self._source_file.problems))

    def _run(self, store: EventStore) -> None:
        options = self.options
        models, record = self._models, MachineRecord(options)
        keeper = EventKeeper(options, store, lambda *_: (), NoClips())
        judge = Judge(options, models, record, keeper.judged)
        self._sources = sources = RunningSources(options, judge, models, keeper, self._make_reader)
        live = LiveServer(options, self)
        following = threading.Thread(target=self._follow_models, args=(models,), name="models", daemon=True)
        try:
            judge.start()
            following.start()
            live.start()
            while True:
                self._update(sources)
                sources.tick()
                keeper.tick()
                if self._stopped.wait(options.poll_interval_s):
                    break
        finally:
            self._stopped.set()
            sources.stop()
            judge.stop()
            keeper.close_all(STOPPED)
            live.stop()
            record.close()

    def source(self, name: str) -> SourceListener | None:
        """Return a source that runs; None if there is none of this name."""
        return None if self._sources is None else self._sources.get(name)

    def predictor(self, reference: str) -> Predictor | None:
        """Return the predictor of a model; None without one."""
        return self._models.get(reference).current

    def test_sink(self, name: str) -> None:
        """Send a test alert to a sink, and wait for it."""
        raise NotImplementedError

    def _update(self, sources: RunningSources) -> None:
        """Take up what changed in the files. The first call starts all sources."""
        if self._given is not None:
            sources.update(self._given)
        elif self._source_file.changed():
            sources.update(self._source_file.entries)

    def _follow_models(self, models: Models) -> None:
        while True:
            models.refresh()
            if self._stopped.wait(self.options.poll_interval_s):
                return

    @contextmanager
    def _stop_at_signals(self) -> Iterator[None]:
        """Stop at SIGTERM and SIGINT; only the main thread can set that."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def stop(*_: object) -> None:
            self.stop()

        before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
