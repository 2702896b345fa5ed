"""The queue: Celery carries nudges, and the store holds the records.

A nudge states only that a queue has work. A worker that receives one takes the next unit from the store. If there is no
unit, it does nothing. A missing nudge is sent again by the next sweep (:mod:`worker.recovery`).
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
# Time limit of one unit: a part of an extraction or a scoring, or a whole training. At the soft limit the job fails
# with the code time_limit. A process that does not react is killed by its lease 10 s later (lease.GRACE_S), or by
# Celery HARD_AFTER_S later.
SOFT_LIMIT_S: dict[QueueName, int] = {"extraction": 1800, "scoring": 1800, "training": 24 * 3600}
HARD_AFTER_S = 60


def task_name(queue: QueueName) -> str:
    """Return the name of the Celery task of a queue."""
    return f"signalml.{queue}"


@cache
def celery_app(url: str) -> "Celery":
    """Return the Celery application of this process for a broker.

    Args:
        url: ``redis://[:password@]host:port/db``.
    """
    # Imported here, because a process without jobs does not need Celery.
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
        # Messages contain no data. Any message that is not JSON is refused.
        accept_content=["json"],
        task_serializer="json",
        result_backend=None,
        task_ignore_result=True,
        task_store_errors_even_if_ignored=False,
        # This has no effect on messages: the transport ignores acknowledgements (worker.transport).
        task_acks_late=True,
        # The store, not Celery, starts lost work again, because it counts the attempts.
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
    """Queue for submitting, reading and cancelling jobs.

    Args:
        url: address of the broker, whose server also holds the records.
        timeout_s: timeout of one answer, in seconds.

    Raises:
        QueueUnavailable: ``url`` is not an address of a Redis server.
    """

    def __init__(self, url: str, *, timeout_s: float = TIMEOUT_S) -> None:
        self.url = url
        self.store = JobStore(connect(url, timeout_s=timeout_s))

    def submit(self, parameters: JobParameters, *, request_id: str, idempotency_key: str = "") -> Submission:
        """Write the record, then send a nudge; see :meth:`worker.store.JobStore.submit` for the errors."""
        submitted = self.store.submit(parameters, request_id=request_id, idempotency_key=idempotency_key)
        if submitted.created:
            self.nudge(Nudges(parameters.queue, 1))
        return submitted

    def cancel(self, job: str) -> Job:
        """Cancel a job; see :meth:`worker.store.JobStore.cancel`."""
        return self.store.cancel(job)

    def nudge(self, nudges: Nudges | None) -> None:
        """Send nudges. The next sweep sends those that cannot be sent now."""
        if nudges is None:
            return
        soft = SOFT_LIMIT_S[nudges.queue]
        options: dict[str, Any] = {"queue": nudges.queue, "retry": False, "ignore_result": True}
        try:
            for _ in range(nudges.n_messages):
                celery_app(self.url).send_task(
                    task_name(nudges.queue), soft_time_limit=soft, time_limit=soft + HARD_AFTER_S, **options
                )
        except Exception as error:  # noqa: BLE001 - kombu has many errors, and the next sweep corrects all of them
            logger.warning("no nudge could be sent to %s: %s", nudges.queue, error)


def check_broker(url: str) -> str | None:
    """Check whether the broker answers.

    Args:
        url: ``redis://[:password@]host:port/db``.

    Returns:
        None if it answered within a second, else the problem, without the password.
    """
    try:
        with connect(url) as connection:
            connection.ping()
    except (redis.RedisError, OSError) as error:
        return f"{type(error).__name__}: {error}"
    except QueueUnavailable as error:
        return str(error)
    return None
