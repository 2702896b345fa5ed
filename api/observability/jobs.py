"""What Prometheus is told of jobs, queues and workers: from the records at each scrape, alike in each process."""

from collections.abc import Iterator, Mapping

from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from worker.jobs import QUEUES
from worker.records import QueueStats

NOT_BUCKETS = ("sum", "count")
TIMES = {
    "wait": ("signalml_job_wait_seconds", "From the request for a job to the beginning of its work."),
    "run": ("signalml_job_run_seconds", "From the beginning of a job's work to its end."),
}


class JobMetrics(Collector):
    """Jobs by kind and state, what waits, how long things took, and which workers were heard of.

    Args:
        figures: None where the queue does not answer.
    """

    def __init__(self, figures: QueueStats | None) -> None:
        self._figures = figures

    def collect(self) -> Iterator[Metric]:
        """Every family."""
        up = GaugeMetricFamily("signalml_queue_up", "1 while the job queue answers.")
        up.add_metric((), float(self._figures is not None))
        yield up
        if self._figures is not None:
            yield from _counts(self._figures)
            yield from _workers(self._figures)
            for what in TIMES:
                yield _times(what, self._figures)


def _counts(figures: QueueStats) -> Iterator[Metric]:
    jobs = GaugeMetricFamily("signalml_jobs", "Jobs that are remembered.", labels=("kind", "state"))
    for (kind, state), count in figures.jobs.items():
        jobs.add_metric((kind, state), count)
    yield jobs
    waiting = GaugeMetricFamily("signalml_queue_waiting", "Pieces of work that wait for a worker.", labels=("queue",))
    oldest = GaugeMetricFamily(
        "signalml_queue_oldest_seconds", "How long the one that waits longest has waited.", labels=("queue",)
    )
    for queue in QUEUES:
        waiting.add_metric((queue,), figures.waiting[queue])
        oldest.add_metric((queue,), figures.oldest_s[queue])
    yield waiting
    yield oldest


def _workers(figures: QueueStats) -> Iterator[Metric]:
    alive = GaugeMetricFamily("signalml_workers", "Workers of a queue that were heard of lately.", labels=("queue",))
    for queue in QUEUES:
        alive.add_metric((queue,), sum(worker.alive and queue in worker.queues for worker in figures.workers))
    yield alive
    seen = GaugeMetricFamily(
        "signalml_worker_last_seen_seconds", "Seconds since a worker was heard of.", labels=("worker",)
    )
    for worker in figures.workers:
        seen.add_metric((worker.name,), worker.seconds_ago)
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
