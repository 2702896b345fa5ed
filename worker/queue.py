"""The job queue's broker: for now, whether it can be reached."""

# A frozen server accepts connections and never answers: without a limit, asking it would hang for ever.
TIMEOUT_S = 1.0


def broker_problem(url: str) -> str | None:
    """Ask the broker for a sign of life.

    Args:
        url: ``redis://[:password@]host:port/db``.

    Returns:
        None if it answered within a second, else what is wrong, without the password.
    """
    # A service without a queue spares itself redis-py: a quarter of a second of its start, and 10 MB.
    import redis

    try:
        with redis.Redis.from_url(
            url, socket_connect_timeout=TIMEOUT_S, socket_timeout=TIMEOUT_S, retry=None
        ) as connection:
            connection.ping()
    except (redis.RedisError, OSError) as error:
        return f"{type(error).__name__}: {error}"
    except ValueError:
        return "SIGNALML_REDIS_URL is not a redis:// address"
    return None
