"""Kombu transport that passes on only the nudges of :mod:`worker.queue`.

A message without the fields that Celery expects ends its worker, and the broker then delivers it to the next worker. So
every message that is not exactly a nudge is discarded here, before Celery reads it.

Nudges are not acknowledged, because the next sweep replaces a lost one. With acknowledgements, Celery counts a message
whose connection broke as reserved for ever, and one process of the worker stays idle.
"""

import json
import logging
from base64 import b64decode
from queue import Empty
from typing import TYPE_CHECKING, Any, cast

from kombu import connection
from kombu.transport import TRANSPORT_ALIASES, redis

from worker.jobs import QueueName
from worker.queue import HARD_AFTER_S, SOFT_LIMIT_S, task_name
from worker.store import SWEEP_S

if TYPE_CHECKING:
    from celery import Celery

logger = logging.getLogger("signalml.transport")
# Body of a nudge: no arguments, no callbacks.
EMPTY_BODY = [[], {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}]


class NotANudge(ValueError):
    """A message that this project has not sent."""


class Transport(redis.Transport):
    """Kombu's Redis transport, limited to nudges."""

    class Channel(redis.Channel):
        """Channel that skips unreadable messages and needs no acknowledgements."""

        def basic_consume(self, queue: str, no_ack: bool, *arguments: Any, **options: Any) -> Any:  # noqa: ARG002 - always True
            """Read a queue without acknowledgements."""
            return super().basic_consume(queue, True, *arguments, **options)  # type: ignore[no-untyped-call]  # half typed

        def basic_ack(self, delivery_tag: str, multiple: bool = False) -> None:
            """Do nothing."""

        def basic_reject(self, delivery_tag: str, requeue: bool = False) -> None:
            """Do nothing."""

        def _brpop_read(self, **options: Any) -> Any:
            try:
                return super()._brpop_read(**options)  # type: ignore[no-untyped-call]  # kombu is half typed
            except ValueError as error:  # includes errors of the codec
                logger.warning("a message was discarded: %s", error)
                raise Empty from error

    def _deliver(self, message: Any, queue: str) -> None:
        if not _is_nudge(message, cast("QueueName", queue)):
            raise NotANudge(f"It is not a nudge for {queue}: {str(message)[:200]!r}.")
        super()._deliver(message, queue)  # type: ignore[no-untyped-call]  # kombu is half typed


class PollingConnection(connection.Connection):
    """Connection that tries every second to reach the broker; kombu's own slows down to twice a minute."""

    def ensure_connection(self, *arguments: Any, **options: Any) -> Any:
        """Wait until the broker answers."""
        return super().ensure_connection(*arguments, **options | {"interval_start": SWEEP_S, "interval_step": 0.0})  # type: ignore[no-untyped-call]  # half typed


def use_for_redis(app: "Celery") -> None:
    """Use this transport and connection in this process and this application."""
    name = f"{__name__}:{Transport.__name__}"
    TRANSPORT_ALIASES.update({"redis": name, "rediss": name})
    app.amqp.Connection = PollingConnection


def _is_nudge(message: Any, queue: QueueName) -> bool:
    """Whether a message equals a nudge for this queue, except for its ids."""
    try:
        headers, properties = message["headers"], message["properties"]
        return (
            headers["task"] == task_name(queue)
            and json.loads(b64decode(message["body"])) == EMPTY_BODY
            and (message["content-type"], message["content-encoding"]) == ("application/json", "utf-8")
            and headers["timelimit"] == [SOFT_LIMIT_S[queue] + HARD_AFTER_S, SOFT_LIMIT_S[queue]]
            and (headers["eta"], headers["expires"], headers["retries"]) == (None, None, 0)
            and properties["delivery_info"] | {"redelivered": True}
            == {"redelivered": True, "exchange": "", "routing_key": queue}
            and isinstance(headers["id"], str)
            and isinstance(properties["delivery_tag"], str)
        )
    except (KeyError, TypeError, ValueError):
        return False
