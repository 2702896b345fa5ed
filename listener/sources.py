"""Sources that run now: started, stopped and replaced as their entries change."""

import logging
from collections.abc import Callable, Iterable, Mapping

from listener.judge import Judge
from listener.models import Models
from listener.options import ListenerOptions
from listener.sound import SourceReader
from listener.source_listener import Schedule, SourceListener
from listener.source_runner import SourceRunner
from listener.source_types import SourceEntry
from listener.status import SourceStatus

logger = logging.getLogger("signalml.listener")
ReaderOf = Callable[[SourceEntry, ListenerOptions], SourceReader]
ScheduleOf = Callable[[SourceEntry], Schedule]
