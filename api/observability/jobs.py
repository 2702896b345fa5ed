"""Prometheus metrics of jobs, queues and workers, read from the job records at each scrape."""

from collections.abc import Iterator, Mapping

from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from ml.system.text import printable
from worker.jobs import QUEUES
from worker.records import QueueStats

NOT_BUCKETS = ("sum", "count")
TIMES = {
    "wait": ("signalml_job_wait_seconds", "Seconds from the submission of a job to its start."),
    "run": ("signalml_job_run_seconds", "Seconds from the start of a job to its end."),
}


class JobMetrics(Collector):
    """Jobs by kind and state, waiting work, durations and workers.

    Args:
        figures: None if the queue does not answer.
    """

    def __init__(self, figures: QueueStats | None) -> None:
        self._figures = figures

    def collect(self) -> Iterator[Metric]:
        """Return every metric family."""
        up = GaugeMetricFamily("signalml_queue_up", "1 while the job queue answers.")
        up.add_metric((), float(self._figures is not None))
        yield up
        if self._figures is not None:
            yield from _counts(self._figures)
            yield from _workers(self._figures)
            for what in TIMES:
                yield _times(what, self._figures)


def _counts(figures: QueueStats) -> Iterator[Metric]:
    jobs = GaugeMetricFamily("signalml_jobs", "Jobs with a record.", labels=("kind", "state"))
    for (kind, state), count in figures.jobs.items():
        jobs.add_metric((kind, state), count)
    yield jobs
    waiting = GaugeMetricFamily("signalml_queue_waiting", "Units of work that wait for a worker.", labels=("queue",))
    oldest = GaugeMetricFamily(
        "signalml_queue_oldest_seconds", "Seconds that the oldest waiting unit has waited.", labels=("queue",)
    )
    for queue in QUEUES:
        waiting.add_metric((queue,), figures.waiting[queue])
        oldest.add_metric((queue,), figures.oldest_s[queue])
    yield waiting
    yield oldest


def _workers(figures: QueueStats) -> Iterator[Metric]:
    alive = GaugeMetricFamily("signalml_workers", "Workers of a queue that reported recently.", labels=("queue",))
    for queue in QUEUES:
        alive.add_metric((queue,), sum(worker.alive and queue in worker.queues for worker in figures.workers))
    yield alive
    seen = GaugeMetricFamily(
        "signalml_worker_last_seen_seconds", "Seconds since a worker last reported.", labels=("worker",)
    )
    for worker in figures.workers:
        seen.add_metric((printable(worker.name),), worker.seconds_ago)
    yield seen


def _times(what: str, figures: QueueStats) -> Metric:
    family = HistogramMetricFamily(*TIMES[what], labels=("kind",))
    for (measured, kind), buckets in figures.seconds.items():
        if measured == what and buckets:
            family.add_metric((kind,), _cumulative(buckets), buckets["sum"])
    return family


def _cumulative(buckets: Mapping[str, float]) -> list[tuple[str, float]]:
    bounds = sorted((name for name in buckets if name not in NOT_BUCKETS), key=float)
    return [*((bound, buckets[bound]) for bound in bounds), ("+Inf", buckets["count"])]
