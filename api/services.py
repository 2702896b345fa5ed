"""What one application is made of, and where a request finds it."""

from dataclasses import dataclass
from typing import Self

from starlette.requests import HTTPConnection

from api.keys import KeyStore
from api.observing import Metrics
from api.queue_watch import QueueWatch
from api.serving import InferenceExecutor, LiveModel
from api.settings import Settings
from ml.audio import AudioLimits
from ml.registry import Registry


@dataclass(frozen=True, slots=True)
class Services:
    """Everything that routes work with."""

    settings: Settings
    limits: AudioLimits
    registry: Registry
    live: LiveModel
    executor: InferenceExecutor
    metrics: Metrics
    keys: KeyStore
    queue: QueueWatch

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Put them together; nothing is loaded or started yet."""
        registry = Registry(settings.home)
        live = LiveModel(registry)
        return cls(
            settings=settings,
            limits=AudioLimits(max_duration_s=settings.max_duration_s),
            registry=registry,
            live=live,
            executor=InferenceExecutor(settings.inference_threads, settings.inference_queue),
            metrics=Metrics(live),
            keys=KeyStore(settings.home),
            queue=QueueWatch(settings.redis_url),
        )


def services_of(connection: HTTPConnection) -> Services:
    """The services of the application that a request belongs to."""
    services: Services = connection.app.state.services
    return services
