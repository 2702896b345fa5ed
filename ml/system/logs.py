"""Structured log lines on stderr, with ids that connect a request, its job and the job's worker."""

import json
import logging
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, TextIO

NO_REQUEST = "-"
QUIET_LOGGERS = ("watchfiles",)  # a line for each new file
_request_id: ContextVar[str] = ContextVar("request_id", default=NO_REQUEST)
_job: ContextVar[dict[str, Any]] = ContextVar("job", default={})  # noqa: B039 - replaced, never changed


@contextmanager
def request_context(proposed: str | None = None) -> Iterator[str]:
    """Set the id of the current request within this context.

    Args:
        proposed: the client's id; None makes a new one.

    Yields:
        The id.
    """
    request_id = proposed or secrets.token_hex(8)
    token = _request_id.set(request_id)
    try:
        yield request_id
    finally:
        _request_id.reset(token)


def current_request_id() -> str:
    """Return the id of the request that is answered or that caused the job; ``-`` outside of a request."""
    return _request_id.get()


def current_job_id() -> str | None:
    """Return the id of the job whose work is done in this context; None outside of a job."""
    return _job.get().get("job")


@contextmanager
def job_context(request_id: str, **facts: Any) -> Iterator[None]:
    """Add the id of the request that caused a job, and ``facts``, to every log line within this context."""
    with request_context(request_id):
        token = _job.set(facts)
        try:
            yield
        finally:
            _job.reset(token)


class JsonLines(logging.Formatter):
    """Formatter of JSON lines: time, level, logger, message, request id, job and ``facts`` of the call."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one record as a line of JSON."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "request_id": current_request_id(),
            **_job.get(),
            **getattr(record, "facts", {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def configure_logging(level: str, stream: TextIO | None = None) -> None:
    """Write every log line of this process as JSON to stderr or to another stream."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name in QUIET_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
