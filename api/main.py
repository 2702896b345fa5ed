"""The application: :func:`create_app` puts the rooms together."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

from api import problems
from api.limits import BodyLimitMiddleware
from api.observability.requests import RequestLogMiddleware
from api.routers import datasets, health, inference, jobs, machines, models, thresholds
from api.services import Services
from api.settings import Settings
from ml.system.parallel import one_blas_thread

DESCRIPTION = """\
Listens to a machine and says whether it sounds healthy and, if not, what is wrong with it.

    curl -F file=@recording.wav http://localhost:5000/v1/predict

Errors are `application/problem+json` (RFC 9457) with a stable `code`, everywhere. Every answer carries an
`X-Request-ID`; send your own to find a request in the logs.

Under `/v1` a query parameter, a part of a form or a field of a JSON body that a route does not take is refused.
"""


def create_app(settings: Settings | None = None) -> FastAPI:
    """Build the application.

    Args:
        settings: how it is run; by default from the environment.
    """
    settings = settings or Settings()
    services = Services.of(settings)

    # Swagger UI and ReDoc come from a package, so that /docs works where there is no internet.
    app = FastAPIOffline(
        title="Signal Machine Learning",
        version=version("signalml"),
        description=DESCRIPTION,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        lifespan=_lifespan,
        static_url="/docs/static",
        separate_input_output_schemas=False,
    )
    app.state.services = services
    app.include_router(inference.router)
    app.include_router(models.router)
    app.include_router(thresholds.router)
    app.include_router(datasets.router)
    app.include_router(jobs.router)
    app.include_router(machines.router)
    app.include_router(health.router)
    problems.install_error_handlers(app)
    app.add_middleware(
        BodyLimitMiddleware,
        metrics=services.metrics,
        uploads=re.compile("|".join((*map(re.escape, inference.UPLOAD_PATHS), datasets.UPLOAD_PATH))),
        max_body_bytes=settings.max_body_bytes,
        max_buffered_bytes=settings.max_buffered_bytes,
        timeout_s=settings.body_timeout_s,
    )
    app.add_middleware(problems.UnhandledErrorMiddleware)
    app.add_middleware(RequestLogMiddleware, metrics=services.metrics)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Load the champion before the first request; follow the registry and the queue until the end."""
    services: Services = app.state.services
    services.executor.start()
    # The threads are the parallelism: a matrix product that starts threads of its own would only get in their way.
    with one_blas_thread():
        await asyncio.to_thread(services.live_model.refresh)
        services.machine_recorder.start()
        followers = [
            asyncio.create_task(services.live_model.poll_forever(services.settings.poll_interval_s)),
            asyncio.create_task(services.queue_monitor.poll_forever()),
        ]
        yield
        for follower in followers:
            follower.cancel()
        await asyncio.gather(*followers, return_exceptions=True)
        await asyncio.to_thread(services.executor.close)
        await asyncio.to_thread(services.machine_recorder.close)
        services.job_queue.close()
