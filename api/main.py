"""Application of the API: routers, middleware and error handlers."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

from api import problems
from api.clients import RequestRateMiddleware
from api.hosts import AllowedHosts, HostMiddleware
from api.limits import BodyLimitMiddleware
from api.observability.requests import RequestLogMiddleware
from api.openapi import describe_scopes
from api.paths import PathMiddleware
from api.routers import (
    datasets,
    events,
    features,
    health,
    inference,
    jobs,
    machines,
    models,
    session,
    sinks,
    sources,
    thresholds,
)
from api.services import Services
from api.serving import poll_forever
from api.settings import Settings
from ml.system.parallel import one_blas_thread

DESCRIPTION = """\
Tells from sound whether a machine is healthy. Upload a recording; the answer is normal or anomalous and, for a known
fault, its name.

    curl -F file=@recording.wav http://localhost:5000/v1/predict

**Errors** are `application/problem+json` (RFC 9457) with a stable `code`.

**Request ids.** Every answer has the header `X-Request-ID`, and every log line of the request has the same id. A client
can send its own id.

**Unknown names.** Routes under `/v1` refuse query parameters, form parts and JSON fields that they do not take.
"""

# Paths whose bodies may be as large as recordings.
UPLOAD_PATHS = (*inference.UPLOAD_PATHS, features.FEATURES, events.UPLOAD_PATH)
UPLOADS = re.compile("|".join((*map(re.escape, UPLOAD_PATHS), datasets.UPLOAD_PATH)))


def create_app(settings: Settings | None = None) -> FastAPI:
    """Build the application.

    Args:
        settings: by default, those of the environment.
    """
    settings = settings or Settings()
    services = Services.of(settings)

    # Swagger UI and ReDoc come from a package: /docs works without an internet connection.
    app = FastAPIOffline(
        title="Signal Machine Learning",
        version=version("signalml"),
        description=DESCRIPTION,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        lifespan=_lifespan,
        static_url="/docs/static",
        redirect_slashes=False,  # PathMiddleware answers without a redirect
        separate_input_output_schemas=False,
    )
    app.state.services = services
    app.include_router(inference.router)
    app.include_router(models.router)
    app.include_router(thresholds.router)
    app.include_router(datasets.router)
    app.include_router(features.router)
    app.include_router(jobs.router)
    app.include_router(machines.router)
    app.include_router(session.router)
    app.include_router(events.router)
    app.include_router(sources.router)
    app.include_router(sinks.router)
    app.include_router(health.router)
    describe_scopes(app)
    problems.install_error_handlers(app)
    app.add_middleware(
        BodyLimitMiddleware,
        metrics=services.metrics,
        uploads=UPLOADS,
        max_body_bytes=settings.max_body_bytes,
        max_buffered_bytes=settings.max_buffered_bytes,
        timeout_s=settings.body_timeout_s,
    )
    app.add_middleware(RequestRateMiddleware, metrics=services.metrics, per_minute=settings.max_requests_per_minute)
    app.add_middleware(PathMiddleware)
    hosts = AllowedHosts(settings.allowed_hosts, settings.host)
    app.add_middleware(HostMiddleware, metrics=services.metrics, hosts=hosts)
    app.add_middleware(problems.UnhandledErrorMiddleware)
    app.add_middleware(RequestLogMiddleware, metrics=services.metrics)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Load the champion before the first request; poll the registry and the queue until the end."""
    services: Services = app.state.services
    services.executor.start()
    # Recordings are judged in parallel threads: threads inside a matrix product would only compete with them.
    with one_blas_thread():
        await asyncio.to_thread(services.live_model.refresh)
        services.machine_recorder.start()
        pollers = [
            asyncio.create_task(poll_forever(services.live_model, services.settings.poll_interval_s)),
            asyncio.create_task(services.queue_monitor.poll_forever()),
            asyncio.create_task(services.listener_monitor.poll_forever()),
        ]
        yield
        for poller in pollers:
            poller.cancel()
        await asyncio.gather(*pollers, return_exceptions=True)
        await asyncio.to_thread(services.executor.close)
        await asyncio.to_thread(services.machine_recorder.close)
        services.job_queue.close()
