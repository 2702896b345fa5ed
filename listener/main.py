"""Listener: one supervisor of all sources of a home.

One thread reads each source, some threads judge, one follows the models. The supervisor looks at the files of sources
and sinks again and again, and starts, stops and replaces what has changed. An error of one source harms no other.
"""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Any

from listener.alerts.delivery import Delivery
from listener.capture.readers import make_reader
from listener.config.files import sink_file, source_file
from listener.config.watched_file import WatchedFile
from listener.device_name import device_name
from listener.events.clips import ClipWriter
from listener.events.event_keeper import EventKeeper
from listener.events.store import EventStore
from listener.judging.judge import Judge
from listener.judging.machine_record import MachineRecord
from listener.judging.models import Models
from listener.live.server import LiveServer
from listener.lock import hold_listener_lock
from listener.metrics import serve_metrics
from listener.options import ListenerOptions
from listener.sources.source_listener import SourceListener
from listener.sources.sources import MakeReader, RunningSources
from listener.status import ListenerStatus, SourceStatus
from ml.errors import ListenerNotRunning, SignalMLError
from ml.models.predictor import Predictor
from ml.system.clock import timestamp
from ml.system.parallel import one_blas_thread

logger = logging.getLogger("signalml.listener")
STOPPED = "The listener was stopped."
LONGEST_POLL_S = 2.0
PUBLISH_EVERY_S = 5.0


class Listener:
    """Listener of one home. Use it once.

    Args:
        options: its options.
        make_reader: makes the reader of a source.

    Example::

        Listener(ListenerOptions(home)).run()
    """

    def __init__(self, options: ListenerOptions, make_reader: MakeReader = make_reader) -> None:
        self.options = options
        self._make_reader = make_reader
        self._source_file = WatchedFile(source_file(options.home))
        self._sink_file = WatchedFile(sink_file(options.home))
        self._started_at = timestamp()
        self._stopped = threading.Event()
        self._parts: _Parts | None = None
        self._publish_at = 0.0

    def run(self) -> None:
        """Listen until SIGTERM, SIGINT or :meth:`stop`.

        Raises:
            ListenerRunsAlready: another listener runs in this home.
            EventsUnavailable, StorageFull: the events cannot be opened.
        """
        with ExitStack() as stack:
            stack.enter_context(hold_listener_lock(self.options))
            self._name_device()
            stack.enter_context(one_blas_thread())
            stack.enter_context(self._stop_at_signals())
            store = stack.enter_context(EventStore(self.options.home, create=True))
            self._parts = parts = _Parts(self.options, store, self._make_reader)
            stack.callback(parts.stop)
            self._open_to_others(stack)
            stack.callback(self.stop)
            self._load_first_models(parts)
            threading.Thread(target=self._follow_models, args=(parts,), name="models", daemon=True).start()
            self._supervise(parts)

    def _name_device(self) -> None:
        with suppress(OSError, ValueError):  # a full disk; it is then named after its computer
            self.options = replace(self.options, device_name=device_name(self.options.home, self.options.device_name))

    def stop(self) -> None:
        """Let :meth:`run` return. Safe from any thread."""
        self._stopped.set()

    # What the local socket shows

    def status(self) -> ListenerStatus:
        """Return the state of the listener, its sources and its sinks. Safe from any thread."""
        status = ListenerStatus(self._started_at, os.getpid())
        status.problems = [*self._source_file.problems, *self._sink_file.problems]
        if self._parts is not None:
            self._parts.fill(status)
        return status

    def source(self, name: str) -> SourceListener | None:
        """Return a source that runs; None if there is none of this name."""
        return None if self._parts is None else self._parts.sources.get(name)

    def source_status(self, name: str) -> SourceStatus | None:
        """Return the state of a source that runs; None if there is none of this name."""
        return None if self._parts is None else self._parts.sources.status(name)

    def predictor(self, reference: str) -> Predictor | None:
        """Return the predictor of a model; None without one."""
        return None if self._parts is None else self._parts.models.get(reference).current

    def test_sink(self, name: str) -> None:
        """Send a test alert to a sink, and wait for its acknowledgement.

        Raises:
            EntryNotFound, DeliveryFailed, MissingExtra, ListenerNotRunning
        """
        if self._parts is None:
            raise ListenerNotRunning("The listener is starting.")
        self._parts.delivery.test(name)

    # Supervision

    def _open_to_others(self, stack: ExitStack) -> None:
        """Open the local socket and the port of the metrics. Without them the listener works as well."""
        port = self.options.metrics_port
        opened: list[Callable[[], Callable[[], None]]] = [LiveServer(self.options, self).start]
        if port is not None:
            opened.append(partial(serve_metrics, port, self.status))
        for each in opened:
            try:
                stack.callback(each())
            except OSError as error:  # a file system without sockets; a port that is taken
                logger.error("the state of the listener cannot be read by other programs: %s", error)

    def _supervise(self, parts: "_Parts") -> None:
        steps = (self._update_sinks, self._update_sources, _tick, self._publish)
        while not self._stopped.is_set():
            for step in steps:
                try:
                    step(parts)
                except Exception:  # must not end the supervision
                    logger.exception("unexpected error of the supervisor")
            self._stopped.wait(min(self.options.poll_interval_s, LONGEST_POLL_S))

    def _publish(self, parts: "_Parts") -> None:
        if time.monotonic() >= self._publish_at:
            self._publish_at = time.monotonic() + PUBLISH_EVERY_S
            parts.delivery.publish_state(parts.sources.statuses())

    def _update_sinks(self, parts: "_Parts") -> None:
        _take_up(self._sink_file, parts.delivery.update)

    def _update_sources(self, parts: "_Parts") -> None:
        if self.options.sources is not None:
            parts.sources.update({each.name: each for each in self.options.sources})
        else:
            _take_up(self._source_file, parts.sources.update)

    def _load_first_models(self, parts: "_Parts") -> None:
        """Load the models before any source starts, so that its first clip is judged."""
        given = self.options.sources
        entries = source_file(self.options.home).read().entries.values() if given is None else given
        parts.models.use({each.model for each in entries if each.enabled})
        self._refresh_models(parts)

    def _refresh_models(self, parts: "_Parts") -> None:
        try:
            parts.models.refresh()
        except Exception:  # the last good models stay
            logger.exception("unexpected error while models were loaded")

    def _follow_models(self, parts: "_Parts") -> None:
        """Load the models, and follow their changes."""
        while not self._stopped.is_set():
            self._refresh_models(parts)
            self._stopped.wait(min(self.options.poll_interval_s, LONGEST_POLL_S))

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


class _Parts:
    """The parts of a running listener, from the models to the alerts."""

    def __init__(self, options: ListenerOptions, store: EventStore, make_reader: MakeReader) -> None:
        self.models = Models(options.home)
        self.record = MachineRecord(options)
        self.delivery = Delivery(options, store, options.clips_folder)
        self.clips = ClipWriter(options, store, self.delivery.route)
        self.keeper = EventKeeper(options, store, self.delivery.route, self.clips)
        self.judge = Judge(options, self.models, self.record, self.keeper.judged)
        self.sources = RunningSources(options, self.judge, self.models, self.keeper, make_reader)
        self.judge.start()

    def fill(self, status: ListenerStatus) -> None:
        """Set what the parts know."""
        status.sources = self.sources.statuses()
        try:
            status.sinks = self.delivery.statuses()
        except SignalMLError as error:  # such as a damaged file of events
            status.problems.append(str(error))
        status.clip_bytes, status.clips_dropped = self.clips.clip_bytes, self.clips.dropped
        status.verdicts_waiting, status.verdicts_lost = self.record.waiting, self.record.lost
        status.events_waiting, status.events_lost = self.keeper.unsaved, self.keeper.lost

    def stop(self) -> None:
        """Stop in the order of the data: nothing that is judged is lost."""
        self.sources.stop()
        self.judge.stop()
        self.keeper.close_all(STOPPED)
        self.clips.stop()
        self.delivery.publish_state(self.sources.statuses())
        self.delivery.stop()
        self.record.close()


def _take_up(file: WatchedFile, use: Callable[[dict[str, Any]], None]) -> None:
    """Use the entries of a file if it changed; after an error, again at the next call."""
    if file.changed():
        try:
            use(file.entries)
        except BaseException:  # also a signal: the change must not be forgotten
            file.take_up_again()
            raise


def _tick(parts: _Parts) -> None:
    parts.sources.tick()
    parts.keeper.tick()
