"""The queue: Celery carries nudges, the store remembers. A message says that work waits, and not which.

Whoever gets one takes the unit whose turn it is from the store. So a message that comes twice, late or never does no
harm: one too many finds nothing to do, and one too few is sent again by the next sweep (:mod:`worker.recovery`).
"""

import logging
from functools import cache
from typing import TYPE_CHECKING, Any

import redis

from worker.jobs import QUEUES, Job, JobParameters, QueueName, QueueUnavailable
from worker.records import Nudges, Submission
from worker.store import CELERY_PREFIX, TIMEOUT_S, JobStore, connect

if TYPE_CHECKING:
    from celery import Celery

logger = logging.getLogger("signalml.queue")
# Longest that one unit of work may take: a part of an extraction or a scoring, or a whole training. At the soft limit
# the job fails by name; a process that does not even notice is killed at the hard one.
SOFT_LIMIT_S: dict[QueueName, int] = {"extraction": 1800, "scoring": 1800, "training": 24 * 3600}
HARD_AFTER_S = 60


def task_name(queue: QueueName) -> str:
    """What the messages of a queue ask for."""
    return f"signalml.{queue}"


@cache
def celery_app(url: str) -> "Celery":
    """The one application of this process, for a broker.

    Args:
        url: ``redis://[:password@]host:port/db``.
    """
    # Late: whoever never asks for long work does without Celery.
    from celery import Celery

    app = Celery("signalml", broker=url, set_as_current=False)
    app.conf.update(
        broker_transport_options={
            "global_keyprefix": CELERY_PREFIX,
            "socket_timeout": TIMEOUT_S,
            "socket_connect_timeout": TIMEOUT_S,
            "retry_on_timeout": False,
            "max_retries": 0,
        },
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        # Messages are nudges and never data: whatever is not JSON is refused.
        accept_content=["json"],
        task_serializer="json",
        result_backend=None,
        task_ignore_result=True,
        task_store_errors_even_if_ignored=False,
        # Workers acknowledge nothing (worker.transport); what is late is the record, which ends with the work.
        task_acks_late=True,
        # What killed its process is begun again by the store, which counts.
        task_reject_on_worker_lost=False,
        worker_prefetch_multiplier=1,
        worker_disable_prefetch=True,
        worker_send_task_events=False,
        worker_enable_remote_control=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        task_routes={task_name(queue): {"queue": queue} for queue in QUEUES},
        task_create_missing_queues=True,
        enable_utc=True,
    )
    return app


class JobQueue:
    """Where long work is asked for, seen and ended.

    Args:
        url: of the broker, whose server holds the records too.
        timeout_s: of one answer.

    Raises:
        QueueUnavailable: it is no address of a Redis server.
    """

    def __init__(self, url: str, *, timeout_s: float = TIMEOUT_S) -> None:
        self.url = url
        self.store = JobStore(connect(url, timeout_s=timeout_s))

    def submit(self, parameters: JobParameters, *, request_id: str, idempotency_key: str = "") -> Submission:
        """Write the record, then nudge a worker; what the store raises is raised."""
        submitted = self.store.submit(parameters, request_id=request_id, idempotency_key=idempotency_key)
        if submitted.created:
            self.nudge(Nudges(parameters.queue, 1))
        return submitted

    def cancel(self, job: str) -> Job:
        """Ask for the end of a job."""
        return self.store.cancel(job)

    def nudge(self, owed: Nudges | None) -> None:
        """Send messages. One that cannot be sent is sent by the next sweep: the record is what counts."""
        if owed is None:
            return
        soft = SOFT_LIMIT_S[owed.queue]
        options: dict[str, Any] = {"queue": owed.queue, "retry": False, "ignore_result": True}
        try:
            for _ in range(owed.n_messages):
                celery_app(self.url).send_task(
                    task_name(owed.queue), soft_time_limit=soft, time_limit=soft + HARD_AFTER_S, **options
                )
        except Exception as error:  # noqa: BLE001 - kombu's errors are many, and none of them loses anything
            logger.warning("no message could be sent to %s: %s", owed.queue, error)


def check_broker(url: str) -> str | None:
    """Ask the broker for a sign of life.

    Args:
        url: ``redis://[:password@]host:port/db``.

    Returns:
        None if it answered within a second, else what is wrong, without the password.
    """
    try:
        with connect(url) as connection:
            connection.ping()
    except (redis.RedisError, OSError) as error:
        return f"{type(error).__name__}: {error}"
    except QueueUnavailable as error:
        return str(error)
    return None
