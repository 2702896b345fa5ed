"""Structured log lines on stderr, and the ids that lead from a request to its job and to the worker that does it."""

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
_request_id: ContextVar[str] = ContextVar("request_id", default=NO_REQUEST)
_job: ContextVar[dict[str, Any]] = ContextVar("job", default={})  # noqa: B039 - never changed, only replaced


@contextmanager
def request_context(proposed: str | None = None) -> Iterator[str]:
    """Everything inside belongs to one request, under the id that its client proposed or a new one."""
    request_id = proposed or secrets.token_hex(8)
    token = _request_id.set(request_id)
    try:
        yield request_id
    finally:
        _request_id.reset(token)


def current_request_id() -> str:
    """The id of the request that is being answered, or that caused the job; '-' outside of one."""
    return _request_id.get()


@contextmanager
def job_context(request_id: str, **facts: Any) -> Iterator[None]:
    """Every line inside is about a job: it carries the id of the request that caused it, and ``facts``."""
    with request_context(request_id):
        token = _job.set(facts)
        try:
            yield
        finally:
            _job.reset(token)


class JsonLines(logging.Formatter):
    """One JSON object per line: time, level, logger, message, request id, job, and whatever was passed as ``facts``."""

    def format(self, record: logging.LogRecord) -> str:
        """Format one record."""
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
    """Send every log line of this process to stderr, or to another stream, as JSON."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
