"""Is it up, does it answer uploads, what has it done."""

import asyncio
from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from prometheus_client import CONTENT_TYPE_PLAIN_1_0_0

from api.dependencies import LiveModelDep, MetricsDep
from api.schemas import AnsweringModel, Live, QueueState, Ready
from worker.queue import broker_problem

router = APIRouter(tags=["health"])
CONSOLE = Path(__file__).parent.parent / "console" / "index.html"
QUEUE_ASKED_EVERY_S = 5.0


class QueueWatch:
    """The broker's state as last seen, so that no request ever waits for it."""

    def __init__(self, url: str | None) -> None:
        self._url = url
        self.state = QueueState(status="unknown" if url else "not configured", detail=None)

    async def follow(self) -> None:
        """Ask for ever, if there is a broker to ask."""
        while self._url is not None:
            problem = await asyncio.to_thread(broker_problem, self._url)
            self.state = QueueState(status="unreachable" if problem else "reachable", detail=problem)
            await asyncio.sleep(QUEUE_ASKED_EVERY_S)


@router.get(
    "/",
    summary="Server is up",
    response_class=PlainTextResponse,
    responses={
        200: {
            "description": "`server is up`, or a page to try the service on for a client that asks for HTML.",
            "content": {"text/plain": {"example": "server is up"}, "text/html": {"schema": {"type": "string"}}},
        }
    },
)
async def root(request: Request) -> Response:
    """Answers as the original service does; a browser gets a page."""
    if "text/html" in request.headers.get("accept", ""):
        return FileResponse(CONSOLE, media_type="text/html", headers={"Vary": "Accept"})
    return PlainTextResponse("server is up", headers={"Vary": "Accept"})


@router.get("/livez", summary="The process answers")
async def livez() -> Live:
    """For whoever restarts processes that hang."""
    return Live()


@router.get(
    "/readyz",
    summary="Uploads are answered",
    response_model=Ready,
    responses={503: {"model": Ready, "description": "No model is loaded."}},
)
async def readyz(request: Request, live: LiveModelDep) -> Response:
    """200 when a model is loaded and has answered its golden clip; the job queue is reported and changes nothing."""
    predictor = live.current
    model = None
    if predictor is not None:
        model = AnsweringModel(version=predictor.bundle.version, labels_revision=predictor.labels_revision)
    watch: QueueWatch = request.app.state.queue
    ready = Ready(status="ready" if model else "not ready", model=model, model_failure=live.failure, queue=watch.state)
    return JSONResponse(ready.model_dump(), 200 if model else 503)


@router.get(
    "/metrics",
    summary="Prometheus metrics",
    response_class=PlainTextResponse,
    responses={200: {"content": {"text/plain": {"example": 'signalml_requests_total{method="POST"} 1.0'}}}},
)
async def metrics(metrics: MetricsDep) -> Response:
    """Requests, stages of inference in seconds, refusals by code, the model that answers."""
    return Response(await asyncio.to_thread(metrics.exposition), media_type=CONTENT_TYPE_PLAIN_1_0_0)
