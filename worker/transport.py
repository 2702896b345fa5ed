"""What a worker takes out of the broker: the messages that :mod:`worker.queue` sends, and nothing else.

Celery is told to refuse what is not JSON, and refuses it; but a message without the fields that it expects ends its
worker, and comes back to the next one. So whatever is not exactly a nudge is thrown away here, before Celery sees it.

Nor is a nudge acknowledged: one that is lost is sent again by the next sweep. With acknowledgements, one that is lost
with its connection would count as work under way for ever, and keep one of the worker's processes idle as long.
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
# No arguments, and nothing to be done afterwards.
NOTHING = [[], {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}]


class NotANudge(ValueError):
    """A message that nobody here has sent."""


class Transport(redis.Transport):
    """Kombu's way to Redis, which hands on nudges alone."""

    class Channel(redis.Channel):
        """Goes on with the next message after one that cannot be read, and forgets each that it has handed on."""

        def basic_consume(self, queue: str, no_ack: bool, *arguments: Any, **options: Any) -> Any:  # noqa: ARG002 - see above
            """Read a queue."""
            return super().basic_consume(queue, True, *arguments, **options)  # type: ignore[no-untyped-call]  # half typed

        def basic_ack(self, delivery_tag: str, multiple: bool = False) -> None:
            """Nobody waits for it."""

        def basic_reject(self, delivery_tag: str, requeue: bool = False) -> None:
            """Nobody waits for it."""

        def _brpop_read(self, **options: Any) -> Any:
            try:
                return super()._brpop_read(**options)  # type: ignore[no-untyped-call]  # kombu is half typed
            except ValueError as error:  # the codec's errors are of this kind too
                logger.warning("a message was thrown away: %s", error)
                raise Empty from error

    def _deliver(self, message: Any, queue: str) -> None:
        if not _is_nudge(message, cast("QueueName", queue)):
            raise NotANudge(f"It is none that is sent to {queue}: {str(message)[:200]!r}.")
        super()._deliver(message, queue)  # type: ignore[no-untyped-call]  # kombu is half typed


class PollingConnection(connection.Connection):
    """One that looks every second for a broker that is away; kombu's own gets as slow as twice a minute."""

    def ensure_connection(self, *arguments: Any, **options: Any) -> Any:
        """Wait until the broker is there."""
        return super().ensure_connection(*arguments, **options | {"interval_start": SWEEP_S, "interval_step": 0.0})  # type: ignore[no-untyped-call]  # half typed


def use_for_redis(app: "Celery") -> None:
    """From now on this process, and this application in it, reach a broker like this."""
    name = f"{__name__}:{Transport.__name__}"
    TRANSPORT_ALIASES.update({"redis": name, "rediss": name})
    app.amqp.Connection = PollingConnection


def _is_nudge(message: Any, queue: QueueName) -> bool:
    """Whether it is what is sent to this queue, but for its ids."""
    try:
        headers, properties = message["headers"], message["properties"]
        return (
            headers["task"] == task_name(queue)
            and json.loads(b64decode(message["body"])) == NOTHING
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
