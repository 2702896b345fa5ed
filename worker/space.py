"""A full server of the queue: it answers, but refuses changes until it has space again."""

import redis

# Begin of the refusal of a server whose disk is full: it cannot write its append-only file.
DISK_REFUSAL = "MISCONF"


class QueueOutOfSpace(redis.RedisError):
    """The server refused a change because its memory or its disk is full. Nothing was changed; try again later."""


def out_of_space(error: redis.ResponseError) -> QueueOutOfSpace | None:
    """Return the error of a full server for its refusal; None if it refuses for another reason."""
    if isinstance(error, redis.OutOfMemoryError):
        return QueueOutOfSpace("The memory of the queue's server is full (maxmemory)")
    # In a script, the server puts other words before its refusal.
    if DISK_REFUSAL in str(error):
        return QueueOutOfSpace("The queue's server cannot write its append-only file: its disk is full or damaged")
    return None
