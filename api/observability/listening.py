"""Prometheus metrics of live listening, from the last known state of the listener."""

from collections.abc import Iterator
from typing import get_args

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from api.listening import ListeningFigures
from listener.alerts.outbox import Counts
from listener.events.event import EventState
from listener.metrics import status_metrics


class ListeningMetrics(Collector):
    """Sources, clips, events and alerts.

    Args:
        figures: last known figures. Without a listener there is only ``signalml_listener_up``, and nothing without
            sources.
    """

    def __init__(self, figures: ListeningFigures) -> None:
        self._figures = figures

    def collect(self) -> Iterator[Metric]:
        """Return every metric family."""
        figures = self._figures
        if figures.status is None and figures.sources == 0:
            return
        up = GaugeMetricFamily("signalml_listener_up", "1 while a listener runs.")
        up.add_metric((), float(figures.status is not None))
        yield up
        if figures.status is not None:
            yield from status_metrics(figures.status)
            yield from _events_and_alerts(figures)


def _events_and_alerts(figures: ListeningFigures) -> Iterator[Metric]:
    events = GaugeMetricFamily("signalml_events", "Events that are kept, by state.", labels=("state",))
    for state in get_args(EventState):
        events.add_metric((state,), figures.events.get(state, 0))
    yield events
    waiting = GaugeMetricFamily("signalml_outbox_waiting", "Alerts that are not delivered yet.", labels=("sink",))
    dead = GaugeMetricFamily("signalml_outbox_dead", "Alerts that were given up.", labels=("sink",))
    sinks = [] if figures.status is None else [sink.name for sink in figures.status.sinks]
    for name in dict.fromkeys((*sinks, *figures.alerts)):
        counts = figures.alerts.get(name, Counts())
        waiting.add_metric((name,), counts.waiting)
        dead.add_metric((name,), counts.dead)
    yield waiting
    yield dead
