"""Listener: one supervisor of all sources of a home.

One thread reads each source, some threads judge, one follows the models. This thread looks at the files of sources and
sinks again and again, and starts, stops and replaces what has changed. An error of one source harms no other.
"""

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import FrameType

from listener.config import sink_file, source_file
from listener.judge import Judge
from listener.lock import hold_listener_lock
from listener.machine_record import MachineRecord
from listener.models import Models
from listener.options import ListenerOptions
from listener.source_listener import SourceListener
from listener.source_runner import SourceRunner
from listener.source_types import SourceEntry
from listener.sources import RunningSources
from listener.status import ListenerStatus
from listener.watched_file import WatchedFile
from ml.system.clock import timestamp
from ml.system.parallel import one_blas_thread

logger = logging.getLogger("signalml.listener")
STOPPED = "The listener was stopped."


class Listener:
    """Listener of one home.

    Args:
        options: its options.
        sources: sources to listen to in place of those of ``sources.toml``; None for these.

    Example::

        Listener(ListenerOptions(home)).run()
    """

    def __init__(self, options: ListenerOptions, sources: Sequence[SourceEntry] | None = None) -> None:
        self.options = options
        self._given = None if sources is None else {each.name: each for each in sources}
        self._started_at = timestamp()
        self._stop = threading.Event()
