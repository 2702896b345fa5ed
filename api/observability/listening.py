"""Prometheus metrics of live listening, from the last known state of the listener."""

from collections.abc import Iterator
from typing import get_args

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from api.listening import ListeningFigures
from listener.events import EventState
from listener.outbox import Counts
from listener.sound import SourceState
from listener.status import ListenerStatus, SourceStatus

GAUGES = {
    "level_dbfs": ("signalml_source_level_dbfs", "Level of the last tenth of a second."),
    "drift_ppm": ("signalml_source_drift_ppm", "Difference of the source's clock, in millionths."),
}
COUNTERS = {
    "gaps": ("signalml_source_gaps", "Gaps in the sound of a source."),
    "gap_seconds": ("signalml_source_gap_seconds", "Total length of the gaps in the sound of a source."),
    "dropped_seconds": ("signalml_source_dropped_seconds", "Sound that was dropped because the computer was too slow."),
    "restarts": ("signalml_source_restarts", "Restarts of the program that reads a source."),
    "clips_judged": ("signalml_clips_judged", "Clips that were judged."),
    "clips_skipped": ("signalml_clips_skipped", "Clips that were left out because the computer was too slow."),
    "recordings_refused": ("signalml_recordings_refused", "Recordings of a source that could not be read."),
}


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
            yield from _sources(figures.status)
            yield from _clips(figures.status)
            yield from _events_and_alerts(figures)


def _sources(status: ListenerStatus) -> Iterator[Metric]:
    states = GaugeMetricFamily(
        "signalml_source_state", "1 for the state that a source is in.", labels=("source", "state")
    )
    for source in status.sources:
        for state in get_args(SourceState):
            states.add_metric((source.name, state), float(source.state == state))
    yield states
    for field, names in GAUGES.items():
        gauge = GaugeMetricFamily(*names, labels=("source",))
        for source in _with_value(status, field):
            gauge.add_metric((source.name,), getattr(source, field))
        yield gauge
    for field, names in COUNTERS.items():
        counter = CounterMetricFamily(*names, labels=("source",))
        for source in status.sources:
            counter.add_metric((source.name,), _count(source, field))
        yield counter


def _count(source: SourceStatus, field: str) -> float:
    return max(0, source.starts - 1) if field == "restarts" else float(getattr(source, field))


def _with_value(status: ListenerStatus, field: str) -> Iterator[SourceStatus]:
    return (source for source in status.sources if getattr(source, field) is not None)


def _clips(status: ListenerStatus) -> Iterator[Metric]:
    size = GaugeMetricFamily("signalml_event_clip_bytes", "Size of all clips of events.")
    size.add_metric((), status.clip_bytes)
    yield size
    dropped = CounterMetricFamily("signalml_event_clips_dropped", "Clips of events that could not be written.")
    dropped.add_metric((), status.clips_dropped)
    yield dropped


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
