"""Clocks that jump while a process runs; see ``clocks.c``."""

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

from testing.preload import build

DAY_S = 24 * 3600


class FakeClock:
    """Wall clock of the processes that are started with it; their monotonic clock is the true one.

    Args:
        folder: an empty folder.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / "offset"
        self._file.write_bytes(struct.pack("q", 0))
        self._environment = {"LD_PRELOAD": str(build("clocks", folder)), "CLOCK_FILE": str(self._file)}

    def jump(self, days: int) -> None:
        """Set the clock to so many days after the true time, or before it."""
        self.shift(days * DAY_S)

    def shift(self, seconds: int) -> None:
        """Set the clock to so many seconds after the true time, or before it."""
        with self._file.open("r+b") as mapped:
            mapped.write(struct.pack("q", seconds))

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Give this clock to the processes that are started meanwhile."""
        with patch.dict(os.environ, self._environment):
            yield
