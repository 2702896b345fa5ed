"""Prometheus metrics of a listener, from its state: on a port of its own, and in those of the API."""

from collections.abc import Callable, Iterator
from typing import get_args

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from listener.sound import SourceState
from listener.status import ListenerStatus, SourceStatus

LOCALHOST = "127.0.0.1"
SOURCE_GAUGES = {
    "level_dbfs": ("signalml_source_level_dbfs", "Level of the last tenth of a second."),
    "drift_ppm": ("signalml_source_drift_ppm", "Difference of the source's clock, in millionths."),
}
SOURCE_COUNTERS = {
    "gaps": ("signalml_source_gaps", "Gaps in the sound of a source."),
    "gap_seconds": ("signalml_source_gap_seconds", "Total length of the gaps in the sound of a source."),
    "dropped_seconds": ("signalml_source_dropped_seconds", "Sound that was dropped because the computer was too slow."),
    "starts": ("signalml_source_starts", "Starts of the program that reads a source."),
    "clips_judged": ("signalml_clips_judged", "Clips that were judged."),
    "clips_skipped": ("signalml_clips_skipped", "Clips that were left out because the computer was too slow."),
    "recordings_refused": ("signalml_recordings_refused", "Recordings of a source that could not be read."),
}
GAUGES = {
    "clip_bytes": ("signalml_event_clip_bytes", "Size of all clips of events."),
    "verdicts_waiting": (
        "signalml_listener_verdicts_waiting",
        "Verdicts that are recorded later, because the record of machines cannot be written now.",
    ),
    "events_waiting": (
        "signalml_listener_events_waiting",
        "Changes of events that are saved later, because they cannot be written now.",
    ),
}
COUNTERS = {
    "clips_dropped": ("signalml_event_clips_dropped", "Clips of events that could not be written."),
    "verdicts_lost": ("signalml_listener_verdicts_lost", "Verdicts that were never recorded."),
    "events_lost": ("signalml_listener_events_lost", "Changes of events that were given up."),
}


class ListenerMetrics(Collector):
    """All metrics of one listener.

    Args:
        status: returns its state.
    """

    def __init__(self, status: Callable[[], ListenerStatus]) -> None:
        self._status = status

    def collect(self) -> Iterator[Metric]:
        """Return every metric family."""
        status = self._status()
        yield from status_metrics(status)
        yield from _sinks(status)


def serve_metrics(port: int, status: Callable[[], ListenerStatus]) -> Callable[[], None]:
    """Serve the metrics on a port of this computer, and return the function that ends it.

    Raises:
        OSError: the port is taken.
    """
    registry = CollectorRegistry()
    registry.register(ListenerMetrics(status))
    server, thread = start_http_server(port, LOCALHOST, registry)

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return stop


def status_metrics(status: ListenerStatus) -> Iterator[Metric]:
    """Return the metrics of sources, clips and verdicts."""
    states = GaugeMetricFamily(
        "signalml_source_state", "1 for the state that a source is in.", labels=("source", "state")
    )
    for source in status.sources:
        for state in get_args(SourceState):
            states.add_metric((source.name, state), float(source.state == state))
    yield states
    for field, names in SOURCE_GAUGES.items():
        yield _of_sources(GaugeMetricFamily(*names, labels=("source",)), status.sources, field)
    for field, names in SOURCE_COUNTERS.items():
        yield _of_sources(CounterMetricFamily(*names, labels=("source",)), status.sources, field)
    for field, names in GAUGES.items():
        yield GaugeMetricFamily(*names, value=getattr(status, field))
    for field, names in COUNTERS.items():
        yield CounterMetricFamily(*names, value=getattr(status, field))


def _of_sources(
    family: GaugeMetricFamily | CounterMetricFamily, sources: list[SourceStatus], field: str
) -> GaugeMetricFamily | CounterMetricFamily:
    for source in sources:
        if (value := getattr(source, field)) is not None:
            family.add_metric((source.name,), value)
    return family


def _sinks(status: ListenerStatus) -> Iterator[Metric]:
    waiting = GaugeMetricFamily("signalml_outbox_waiting", "Alerts that are not delivered yet.", labels=("sink",))
    dead = GaugeMetricFamily("signalml_outbox_dead", "Alerts that were given up.", labels=("sink",))
    for sink in status.sinks:
        waiting.add_metric((sink.name,), sink.waiting)
        dead.add_metric((sink.name,), sink.dead)
    yield waiting
    yield dead
