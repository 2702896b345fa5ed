"""The application: :func:`create_app` puts the rooms together."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from threadpoolctl import threadpool_limits

from api import problems
from api.limits import BodyGuard
from api.observing import Metrics, RequestObserver
from api.routers import health, inference, models
from api.security import KeyStore
from api.serving import InferenceExecutor, LiveModel
from api.settings import Settings
from ml.registry import Registry

DESCRIPTION = """\
Listens to a machine and says whether it sounds healthy and, if not, what is wrong with it.

    curl -F file=@recording.wav http://localhost:5000/v1/predict

Errors are `application/problem+json` (RFC 9457) with a stable `code`, everywhere. Every answer carries an
`X-Request-ID`; send your own to find a request in the logs.
"""


def create_app(settings: Settings | None = None) -> FastAPI:
    """Build the application.

    Args:
        settings: how it is run; by default from the environment.
    """
    settings = settings or Settings()
    registry = Registry(settings.home)
    live = LiveModel(registry)
    metrics = Metrics(live)

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
    app.state.settings = settings
    app.state.registry = registry
    app.state.live = live
    app.state.metrics = metrics
    app.state.keys = KeyStore(settings.home)
    app.state.queue = health.QueueWatch(settings.redis_url)
    app.include_router(inference.router)
    app.include_router(models.router)
    app.include_router(health.router)
    problems.install(app)
    app.add_middleware(
        BodyGuard,
        metrics=metrics,
        upload_limits={
            inference.INFERENCE: settings.max_body_bytes,
            inference.PREDICT: settings.max_body_bytes,
            inference.BATCH: settings.max_batch_bytes,
        },
        max_buffered_bytes=settings.max_buffered_bytes,
        timeout_s=settings.body_timeout_s,
    )
    app.add_middleware(RequestObserver, metrics=metrics)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Load the champion before the first request; follow the registry and the queue until the end."""
    settings: Settings = app.state.settings
    app.state.executor = InferenceExecutor(settings.inference_threads, settings.inference_queue)
    # The threads are the parallelism: a matrix product that starts threads of its own would only get in their way.
    with threadpool_limits(1):
        await asyncio.to_thread(app.state.live.refresh)
        followers = [
            asyncio.create_task(app.state.live.follow(settings.poll_interval_s)),
            asyncio.create_task(app.state.queue.follow()),
        ]
        yield
        for follower in followers:
            follower.cancel()
        await asyncio.gather(*followers, return_exceptions=True)
        await asyncio.to_thread(app.state.executor.close)
