"""Routes of health and metrics."""

import asyncio
from pathlib import Path
from typing import Literal

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from prometheus_client import CONTENT_TYPE_PLAIN_1_0_0
from prometheus_client.registry import Collector

from api.dependencies import ServicesDep
from api.job_queue import JobQueueClient
from api.observability.jobs import JobMetrics
from api.observability.listening import ListeningMetrics
from api.observability.machines import MachineMetrics
from api.schemas.common import AnsweringModel, Live, Ready
from api.settings import Settings
from ml.errors import MachinesUnavailable
from ml.machines.alarms import AlarmState
from ml.machines.ledger import Ledger
from ml.system.server_paths import hide_home
from worker.jobs import QueueUnavailable
from worker.records import QueueStats

router = APIRouter(tags=["health"])
CONSOLE = Path(__file__).parent.parent / "console" / "index.html"


@router.get(
    "/",
    summary="Server is up",
    response_class=PlainTextResponse,
    responses={
        200: {
            "description": "`server is up`; for a client that accepts HTML, a page to try the service.",
            "content": {"text/plain": {"example": "server is up"}, "text/html": {"schema": {"type": "string"}}},
        }
    },
)
async def root(request: Request) -> Response:
    """Answer `server is up`, as the original service does. A browser gets a page to try the service."""
    if "text/html" in request.headers.get("accept", ""):
        return FileResponse(CONSOLE, media_type="text/html", headers={"Vary": "Accept"})
    return PlainTextResponse("server is up", headers={"Vary": "Accept"})


@router.get("/livez", summary="Process is alive")
async def livez() -> Live:
    """Answer while the process is alive, for programs that restart it."""
    return Live()


@router.get(
    "/readyz",
    summary="Service is ready",
    response_model=Ready,
    responses={503: {"model": Ready, "description": "No model is loaded."}},
)
async def readyz(services: ServicesDep) -> Response:
    """Answer 200 if a model is loaded and has answered its golden clip, else 503.

    The body also has the states of the job queue and of the listener, which do not change the status.
    """
    live = services.live_model
    predictor = live.current
    model = None
    if predictor is not None:
        model = AnsweringModel(
            version=predictor.model.version,
            labels_revision=predictor.model.labels_revision,
            threshold_revision=predictor.model.threshold_revision,
            note=predictor.model.note,
        )
    status: Literal["ready", "not ready"] = "ready" if model else "not ready"
    failure = None if live.failure is None else hide_home(live.failure, services.settings.home)
    ready = Ready(
        status=status,
        model=model,
        model_failure=failure,
        queue=services.queue_monitor.state,
        listener=services.listener_monitor.state,
    )
    return JSONResponse(ready.model_dump(), 200 if model else 503)


@router.get(
    "/metrics",
    summary="Prometheus metrics",
    response_class=PlainTextResponse,
    responses={200: {"content": {"text/plain": {"example": 'signalml_requests_total{method="POST"} 1.0'}}}},
)
async def metrics(services: ServicesDep) -> Response:
    """Get metrics of requests, inference, refusals, the model, machines, jobs, queues, workers and live listening."""
    more: list[Collector] = [
        MachineMetrics(await asyncio.to_thread(_states, services.settings)),
        ListeningMetrics(services.listener_monitor.figures),
    ]
    if services.job_queue.configured:
        more.append(JobMetrics(await _figures(services.job_queue)))
    shown = await asyncio.to_thread(services.metrics.exposition, *more)
    return Response(shown, media_type=CONTENT_TYPE_PLAIN_1_0_0)


def _states(settings: Settings) -> dict[str, AlarmState] | None:
    try:
        with Ledger(settings.home, rule=settings.alarm_rule) as ledger:
            return ledger.states()
    except MachinesUnavailable:
        return None


async def _figures(jobs: JobQueueClient) -> QueueStats | None:
    try:
        return await jobs.run(lambda queue: queue.store.stats())
    except QueueUnavailable:
        return None
