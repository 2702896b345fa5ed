"""Request ids in log lines, and Prometheus metrics of requests."""

import logging
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.settings import METRICS_VARIABLE
from ml.models.live_model import LiveModel
from ml.system.logs import request_context

logger = logging.getLogger("signalml.access")
REQUEST_ID_HEADER = b"x-request-id"
ACCEPTED_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)


class Metrics:
    """Counters of one application.

    With several processes, the counters are in files under ``PROMETHEUS_MULTIPROC_DIR``, and each process reports the
    sum of all.
    """

    def __init__(self, live: LiveModel) -> None:
        self._several = METRICS_VARIABLE in os.environ
        registry = self._registry = CollectorRegistry()
        self._live = live
        self._requests = Counter(
            "signalml_requests", "HTTP requests answered.", ("method", "route", "status"), registry=registry
        )
        self._duration = Histogram(
            "signalml_request_seconds",
            "Seconds from the headers of a request to the end of its answer.",
            ("route",),
            buckets=SECONDS,
            registry=registry,
        )
        self._stages = Histogram(
            "signalml_inference_stage_seconds",
            "Seconds of each stage of an inference: receive, wait, decode, predict, explain.",
            ("stage",),
            buckets=SECONDS,
            registry=registry,
        )
        self._refusals = Counter(
            "signalml_refusals", "Requests and files refused, by error code.", ("code",), registry=registry
        )
        self._failed_authentications = Counter(
            "signalml_failed_authentications",
            "Requests that were refused because of their API key, by error code.",
            ("code",),
            registry=registry,
        )
        self._not_recorded = Counter(
            "signalml_observations_not_recorded",
            "Verdicts on machines that were answered but not recorded.",
            registry=registry,
        )

    def count_response(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one answer. It is not counted if the folder of the counters was deleted, or its disk is full."""
        with suppress(OSError):
            self._requests.labels(method, route, status).inc()
            self._duration.labels(route).observe(seconds)

    def count_refusal(self, code: str) -> None:
        """Count one refusal."""
        self._refusals.labels(code).inc()

    def count_failed_authentication(self, code: str) -> None:
        """Count one request that was refused because of its API key."""
        self._failed_authentications.labels(code).inc()

    def count_unrecorded(self, count: int) -> None:
        """Count verdicts on machines that were answered but not recorded."""
        self._not_recorded.inc(count)

    @contextmanager
    def time_stage(self, name: str) -> Iterator[None]:
        """Time one stage of an inference, also if it raises."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.observe_stage(name, time.perf_counter() - start)

    def observe_stage(self, name: str, seconds: float) -> None:
        """Record the duration of one stage of an inference."""
        self._stages.labels(name).observe(seconds)

    def exposition(self, *more: Collector) -> bytes:
        """Return all metrics in Prometheus's text format.

        Args:
            more: further collectors, for this scrape alone.
        """
        scrape = CollectorRegistry()
        if self._several:
            scrape.register(_AllProcesses())
            counted = generate_latest(scrape)
        else:
            counted = generate_latest(self._registry)
        present = CollectorRegistry()
        for collector in (_ModelInfo(self._live), *more):
            present.register(collector)
        return counted + generate_latest(present)


class _AllProcesses(MultiProcessCollector):
    """Sums of the counters of all processes.

    A process creates the file of a counter before it writes to it. The library fails on an empty file, so empty files
    are skipped: nothing has been counted there yet.
    """

    def __init__(self) -> None:
        super().__init__(None)  # type: ignore[no-untyped-call]  # the library has no types here

    def collect(self) -> list[Metric]:
        counted = [str(path) for path in Path(self._path).glob("*.db") if path.stat().st_size]
        return list(self.merge(counted))  # type: ignore[no-untyped-call]  # the library has no types here


class _ModelInfo(Collector):
    """Model that answers in this process, read at each scrape."""

    def __init__(self, live: LiveModel) -> None:
        self._live = live

    def collect(self) -> Iterator[GaugeMetricFamily]:
        info = GaugeMetricFamily(
            "signalml_model_info", "The model that answers.", labels=("version", "labels_revision")
        )
        predictor = self._live.current
        if predictor is not None:
            info.add_metric((predictor.model.version, str(predictor.model.labels_revision)), 1)
        yield info
        failed = GaugeMetricFamily("signalml_model_failed", "1 while the present champion cannot be loaded.")
        failed.add_metric((), float(self._live.failure is not None))
        yield failed


class RequestLogMiddleware:
    """ASGI middleware that gives each request an id, and logs and counts its answer."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        with request_context(_incoming_id(scope)) as request_id:
            await self._observe(scope, receive, send, request_id)

    async def _observe(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        start, status = time.perf_counter(), 500

        async def observed_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (REQUEST_ID_HEADER, request_id.encode())]
            await send(message)

        try:
            await self._app(scope, receive, observed_send)
        finally:
            seconds = time.perf_counter() - start
            route = getattr(scope.get("route"), "path", "unknown")
            self._metrics.count_response(scope["method"], route, status, seconds)
            facts = {
                "method": scope["method"],
                "path": scope["path"],
                "status": status,
                "ms": round(seconds * 1000, 2),
                "client": scope["client"][0] if scope.get("client") else None,
            }
            logger.info("answered", extra={"facts": facts})


def _incoming_id(scope: Scope) -> str | None:
    """Return the client's own id if it is safe in logs and headers, else None."""
    for name, value in scope["headers"]:
        if name == REQUEST_ID_HEADER:
            text: str = value.decode("latin-1")
            return text if ACCEPTED_REQUEST_ID.fullmatch(text) else None
    return None
