"""Delivery of alerts: one thread for each sink, so that a slow or dead one never holds up another."""

import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from listener.alerts.outbox import Counts, Outbox
from listener.alerts.rules import alerts_for
from listener.alerts.sink_worker import SinkWorker
from listener.alerts.sinks.makers import SenderContext
from listener.config.sink_types import Sink
from listener.events.event import Change, Event
from listener.events.store import EventStore, NewAlert
from listener.options import ListenerOptions
from listener.status import SinkStatus, SourceStatus
from ml.errors import EntryNotFound, SignalMLError

logger = logging.getLogger("signalml.alerts")
STOP_WITHIN_S = 4.5
CLEAN_EVERY_S = 3600.0


class Delivery:
    """Alerts of one listener. Any thread may call it.

    Args:
        options: options of the listener.
        store: the events, with their outbox.
        clips_folder: folder of the clips of events.
    """

    def __init__(self, options: ListenerOptions, store: EventStore, clips_folder: Path) -> None:
        self._outbox = Outbox(store)
        self._context = SenderContext(options.device_name, store, self._outbox)
        self._clips_folder = clips_folder
        self._sinks: Mapping[str, Sink] = {}
        self._workers: dict[str, SinkWorker] = {}
        self._ending: dict[str, SinkWorker] = {}
        self._clean_at = 0.0

    def update(self, sinks: Mapping[str, Sink]) -> None:
        """Use these sinks from now on: start, change and end their threads. Returns at once.

        Alerts of a sink that is absent stay for some weeks: it may only be misspelled in its file for a moment.
        """
        self._sinks = dict(sinks)
        enabled = {name: sink for name, sink in sinks.items() if sink.enabled}
        for name in [name for name in self._workers if name not in enabled]:
            self._ending[name] = self._workers.pop(name)
            self._ending[name].stop(removed=True)
        for name, sink in enabled.items():
            if name not in self._workers:
                self._workers[name] = SinkWorker(sink, self._context, self._clips_folder, self._ending.pop(name, None))
                self._workers[name].start()
            elif self._workers[name].sink != sink:
                self._workers[name].change(sink)
        self._clean()

    def route(self, event: Event, change: Change) -> Sequence[NewAlert]:
        """Return the alerts about a change, for the transaction that writes it. Fast, and without the network."""
        alerts = alerts_for(self._sinks, event, change)
        for alert in alerts:
            worker = self._workers.get(alert.sink)
            if worker is not None:
                worker.wake()
        return alerts

    def statuses(self) -> list[SinkStatus]:
        """Return the state of every sink, in the order of names."""
        counts, found = self._outbox.counts(), []
        for name, sink in sorted(self._sinks.items()):
            worker, number = self._workers.get(name), counts.get(name, Counts())
            status = SinkStatus(name, sink.kind) if worker is None else worker.status()
            found.append(status_with(status, number))
        return found

    def test(self, name: str) -> None:
        """Send a test alert to a sink now, and wait for its acknowledgement.

        Raises:
            EntryNotFound: there is no such sink, or it is switched off.
            DeliveryFailed, MissingExtra: it was not acknowledged; the message states why, without secrets.
        """
        worker = self._workers.get(name)
        if worker is None:
            raise EntryNotFound(f"There is no sink {name!r} that is switched on.")
        worker.test()

    def publish_state(self, statuses: Sequence[SourceStatus]) -> None:
        """Send the states of all sources to the sinks that have a place for them. Returns at once."""
        for worker in list(self._workers.values()):
            worker.publish_states(statuses)
        self._clean()

    def stop(self) -> None:
        """End all threads, within five seconds. What was not acknowledged is sent after the next start."""
        workers = [*self._workers.values(), *self._ending.values()]
        for worker in self._workers.values():
            worker.stop()
        deadline = time.monotonic() + STOP_WITHIN_S
        if not all(worker.join(deadline - time.monotonic()) for worker in workers):
            logger.warning("a sink did not end in time; its alerts are sent after the next start")
        self._workers, self._ending = {}, {}

    def _clean(self) -> None:
        """Delete what nobody needs any more, now and then."""
        if time.monotonic() < self._clean_at:
            return
        self._clean_at = time.monotonic() + CLEAN_EVERY_S
        self._ending = {name: worker for name, worker in self._ending.items() if not worker.join(0.0)}
        try:
            self._outbox.clean(self._sinks)
        except SignalMLError as error:
            logger.warning("old alerts stay: %s", error)


def status_with(status: SinkStatus, counts: Counts) -> SinkStatus:
    """Return a state with the numbers of waiting and dead alerts."""
    return SinkStatus(
        status.name, status.kind, counts.waiting, counts.dead, status.delivered, status.last_delivered_at,
        status.last_error,
    )  # fmt: skip
