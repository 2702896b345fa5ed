"""Log lines of libraries: those that nobody needs are left out."""

import io
import logging
from collections.abc import Iterator

import pytest

from ml.system.logs import QUIET_LOGGERS, configure_logging


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """What is logged at the level info; the root logger is as before after the test."""
    root, stream = logging.getLogger(), io.StringIO()
    handlers, level = root.handlers[:], root.level
    root.handlers = []  # basicConfig closes the handlers that it replaces
    configure_logging("info", stream)
    yield stream
    root.handlers, root.level = handlers, level


@pytest.mark.parametrize("name", QUIET_LOGGERS)
def test_a_library_that_logs_each_file_logs_only_problems(lines: io.StringIO, name: str) -> None:
    logging.getLogger(f"{name}.main").info("3 changes detected")
    logging.getLogger("signalml.listener").info("source hall: listening")
    logging.getLogger(f"{name}.main").warning("no more watches")
    assert "changes" not in lines.getvalue()
    assert "source hall" in lines.getvalue()
    assert "no more watches" in lines.getvalue()
