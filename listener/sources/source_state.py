"""State of one source: from what its reader, its schedule and its model report."""

import logging
import threading
from dataclasses import replace
from datetime import UTC, datetime

from listener.config.source_types import SourceEntry
from listener.sound import SourceState
from listener.status import SourceStatus
from ml.machines.alarms import AlarmState
from ml.models.verdict import Verdict
from ml.system.clock import timestamp

logger = logging.getLogger("signalml.listener")
WELL: tuple[SourceState, ...] = ("starting", "listening")  # states in which schedule and model matter
QUIET: tuple[SourceState, ...] = ("listening", "waiting", "starting", "disabled")  # states that are no problem


def iso_time(at: float) -> str:
    """Return a time in seconds since 1970 as ISO 8601, UTC, with milliseconds.

    Example:
        >>> iso_time(0.5)
        '1970-01-01T00:00:00.500+00:00'
    """
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")


class StateKeeper:
    """Status of one source, safe from any thread.

    Args:
        entry: the source.

    Attributes:
        recorded_machine_id: name of the machine in its record; None before the first verdict.
    """

    def __init__(self, entry: SourceEntry) -> None:
        self._lock = threading.Lock()
        self._status = SourceStatus(entry.name, entry.kind, entry.machine_id, since=timestamp())  # type: ignore[attr-defined]  # every source has a kind
        self._reader: tuple[SourceState, str] = ("starting", "")
        self._model_problem: str | None = None
        self._judging_problem: str | None = None
        self._waiting = ""
        self.recorded_machine_id: str | None = None

    def copy(self) -> SourceStatus:
        """Return a copy of the status."""
        with self._lock:
            return replace(self._status)

    def report_reader(self, state: SourceState, cause: str) -> None:
        """Note what the reader reports."""
        with self._lock:
            self._reader = (state, cause)
            self._decide()

    def note_sound(self, ends_at: float, level_dbfs: float | None, sample_rate_hz: int) -> None:
        """Note sound that arrived."""
        with self._lock:
            self._status.last_sound_at = iso_time(ends_at)
            self._status.level_dbfs = level_dbfs
            self._status.sample_rate_hz = sample_rate_hz

    def note_gap(self, seconds: float) -> None:
        """Count a gap."""
        with self._lock:
            self._status.gaps += 1
            self._status.gap_seconds += max(0.0, seconds)

    def note_schedule(self, waiting: str) -> None:
        """Note why the source is not judged, by its schedule; empty if it is judged."""
        with self._lock:
            self._waiting = waiting
            self._decide()

    def note_model(self, problem: str | None) -> None:
        """Note why there is no model; None if there is one."""
        with self._lock:
            self._model_problem = problem
            self._decide()

    def note_verdict(self, verdict: Verdict, machine_state: AlarmState | None) -> None:
        """Note the last verdict, and the state of the machine's alarm if the verdict counts."""
        with self._lock:
            status = self._status
            status.clips_judged += 1
            status.score, status.threshold, status.verdict = verdict.worst.score, verdict.threshold, verdict.value
            status.judged_at, status.version = timestamp(), verdict.version
            status.machine_state = machine_state or status.machine_state
            self._judging_problem = None
            self._decide()

    def note_judging_failed(self, problem: str) -> None:
        """Note why a clip cannot be judged."""
        with self._lock:
            self._judging_problem = problem
            self._decide()

    def count_skipped(self) -> None:
        """Count a clip that was left out because this computer was too slow."""
        with self._lock:
            self._status.clips_skipped += 1

    def count_refused(self) -> None:
        """Count a recording that could not be read."""
        with self._lock:
            self._status.recordings_refused += 1

    def _decide(self) -> None:
        state, cause = self._reader
        if state in WELL and self._model_problem is not None:
            state, cause = "no_model", self._model_problem
        elif state in WELL and self._judging_problem is not None:
            state, cause = "failed", self._judging_problem
        elif state == "listening" and self._waiting:
            state, cause = "waiting", self._waiting
        if (state, cause) == (self._status.state, self._status.cause):
            return
        if state != self._status.state:
            self._status.since = timestamp()
            level = logging.INFO if state in QUIET else logging.WARNING
            logger.log(level, "source %s: %s%s", self._status.name, state, f" ({cause})" if cause else "")
        self._status.state, self._status.cause = state, cause
