"""Services of one application, and access to them from a request."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Self

from starlette.requests import HTTPConnection

from api.api_keys import ApiKeyStore
from api.browser_sessions import BrowserSessions
from api.event_feed import EventFeed
from api.event_intake import EventIntake
from api.event_streams import StreamPlaces
from api.executor import InferenceExecutor
from api.job_queue import JobQueueClient
from api.listening import ListenerMonitor
from api.live_feed import LiveFeed
from api.machine_recorder import MachineRecorder
from api.observability.requests import Metrics
from api.queue_monitor import QueueMonitor
from api.settings import Settings
from ml.audio.limits import AudioLimits
from ml.dataset.collection.counts import KeptCounts
from ml.dataset.collection.store import Collection
from ml.models.live_model import LiveModel
from ml.models.registry import Registry

# Collections whose journals are kept in memory; ten thousand recordings take 10 MB.
COLLECTIONS_KEPT = 16


@dataclass(frozen=True, slots=True)
class Services:
    """Objects that routes work with."""

    settings: Settings
    limits: AudioLimits
    registry: Registry
    live_model: LiveModel
    executor: InferenceExecutor
    metrics: Metrics
    machine_recorder: MachineRecorder
    keys: ApiKeyStore
    sessions: BrowserSessions
    queue_monitor: QueueMonitor
    streams: StreamPlaces
    job_queue: JobQueueClient
    event_feed: EventFeed
    event_intake: EventIntake
    live_feed: LiveFeed
    listener_monitor: ListenerMonitor
    collection: Callable[[str], Collection]
    collection_counts: KeptCounts

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Create the services; nothing is loaded or started yet."""
        registry = Registry(settings.home)
        live = LiveModel(registry)
        metrics = Metrics(live)
        streams = StreamPlaces(settings.event_streams)
        limits = AudioLimits(max_duration_s=settings.max_duration_s)
        executor = InferenceExecutor(
            settings.inference_threads, settings.inference_queue, settings.inference_queue_s, settings.max_wait_s
        )
        return cls(
            settings=settings,
            limits=limits,
            registry=registry,
            live_model=live,
            executor=executor,
            metrics=metrics,
            machine_recorder=MachineRecorder(settings, metrics),
            keys=ApiKeyStore(settings.home),
            sessions=BrowserSessions(settings.home, settings.session_hours),
            queue_monitor=QueueMonitor(settings.redis_url),
            streams=streams,
            job_queue=JobQueueClient(settings.redis_url, streams),
            event_feed=EventFeed(settings.home, streams),
            event_intake=EventIntake(settings, executor, limits),
            live_feed=LiveFeed(settings.home, streams),
            listener_monitor=ListenerMonitor(settings.home),
            collection=lru_cache(COLLECTIONS_KEPT)(partial(Collection, settings.home)),
            collection_counts=KeptCounts(),
        )


def services_of(connection: HTTPConnection) -> Services:
    """Return the services of the application that answers a request."""
    services: Services = connection.app.state.services
    return services
