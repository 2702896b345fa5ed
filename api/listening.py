"""State of live listening for routes, metrics and readiness: of the listener, if one runs, and of its files."""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from api.entry_changes import shown_entry
from api.schemas.common import ListenerState
from api.schemas.listening import ListenerNow, SinkFacts, SourceFacts
from listener.alerts.outbox import Counts, Outbox
from listener.config.entry import Entry
from listener.config.files import source_file
from listener.events.event import EventState
from listener.events.store import EventStore
from listener.live.client import ListenerClient
from listener.options import LISTENER_FOLDER
from listener.status import ListenerStatus
from ml.errors import ListenerError, ListenerNotRunning
from ml.system.server_paths import hide_home

logger = logging.getLogger("signalml.listening")
POLL_INTERVAL_S = 2.0
NOT_LISTENING = (
    "No listener runs in this home; start one with  signalml listen, or the whole service with  signalml run"
)


def read_status(home: Path) -> ListenerStatus | None:
    """Return the state of the listener; None if none runs, or if it does not answer."""
    try:
        return ListenerClient(home).status()
    except ListenerNotRunning:
        return None


def describe_listener(status: ListenerStatus | None) -> ListenerNow:
    """Return the state of the listener as answers show it."""
    if status is None:
        return ListenerNow(running=False, started_at=None, detail=NOT_LISTENING, clip_bytes=None, clips_dropped=None)
    return ListenerNow(
        running=True,
        started_at=status.started_at,
        detail="",
        clip_bytes=status.clip_bytes,
        clips_dropped=status.clips_dropped,
    )


def describe_source(entry: Entry, status: ListenerStatus | None, home: Path) -> dict[str, Any]:
    """Return a source with its state as answers show it."""
    shown = shown_entry(entry, home)
    found = None if status is None else next((each for each in status.sources if each.name == entry.name), None)
    if found is not None:
        facts = {name: value for name, value in asdict(found).items() if name in SourceFacts.model_fields}
        return shown | {"state": found.state, "cause": hide_home(found.cause, home), "status": facts}
    if not entry.enabled:
        return shown | {"state": "disabled", "cause": "", "status": None}
    if status is None:
        return shown | {"state": "not_listening", "cause": NOT_LISTENING, "status": None}
    return shown | {"state": "starting", "cause": "The listener takes it up within 2 s.", "status": None}


def describe_sink(entry: Entry, status: ListenerStatus | None, counts: Counts, home: Path) -> dict[str, Any]:
    """Return a sink with its state as answers show it."""
    found = None if status is None else next((each for each in status.sinks if each.name == entry.name), None)
    facts = SinkFacts(
        waiting=counts.waiting,
        dead=counts.dead,
        delivered=0 if found is None else found.delivered,
        last_delivered_at=None if found is None else found.last_delivered_at,
        last_error=None if found is None or found.last_error is None else hide_home(found.last_error, home),
    )
    state, cause = _sink_state(entry, status)
    return shown_entry(entry, home) | {"state": state, "cause": cause, "status": facts.model_dump()}


def _sink_state(entry: Entry, status: ListenerStatus | None) -> tuple[str, str]:
    if not entry.enabled:
        return "disabled", ""
    muted_until: str | None = getattr(entry, "muted_until", None)
    if muted_until is not None and datetime.fromisoformat(muted_until).astimezone(UTC) > datetime.now(UTC):
        return "muted", f"It gets no alerts until {muted_until}."
    return ("not_listening", NOT_LISTENING) if status is None else ("delivering", "")


@dataclass(frozen=True, slots=True)
class ListeningFigures:
    """Figures of live listening at one time.

    Attributes:
        status: state of the listener; None if none runs.
        sources: number of sources in the file that are switched on.
        events: number of events in each state.
        alerts: number of alerts of each sink.
    """

    status: ListenerStatus | None = None
    sources: int = 0
    events: Mapping[EventState, int] = field(default_factory=dict)
    alerts: Mapping[str, Counts] = field(default_factory=dict)


class ListenerMonitor:
    """Last known figures of live listening; no request for metrics has to wait for the listener.

    Args:
        home: SIGNALML_HOME.
    """

    def __init__(self, home: Path) -> None:
        self._home = home
        self.figures = ListeningFigures()

    @property
    def state(self) -> ListenerState | None:
        """State for /readyz; None without sources."""
        status, sources = self.figures.status, self.figures.sources
        if status is None and sources == 0:
            return None
        working = 0 if status is None else sum(each.state in ("listening", "waiting") for each in status.sources)
        return ListenerState(
            status="not running" if status is None else "running",
            sources=sources if status is None else len(status.sources),
            listening=working,
            detail=NOT_LISTENING if status is None else None,
        )

    async def poll_forever(self) -> None:
        """Read the figures every :data:`POLL_INTERVAL_S` seconds, if this home was ever used for listening."""
        while True:
            try:
                self.figures = await asyncio.to_thread(self._read)
            except Exception:  # a bug, or a damaged file: the figures are missing, and the service goes on
                logger.exception("the figures of live listening cannot be read")
                self.figures = ListeningFigures()
            await asyncio.sleep(POLL_INTERVAL_S)

    def _read(self) -> ListeningFigures:
        if not (self._home / LISTENER_FOLDER).is_dir():
            return ListeningFigures()
        sources = sum(entry.enabled for entry in source_file(self._home).read().entries.values())
        status = read_status(self._home)
        if status is None:
            return ListeningFigures(sources=sources)
        try:
            with EventStore(self._home) as store:
                return ListeningFigures(status, sources, store.counts(), Outbox(store).counts())
        except ListenerError:
            return ListeningFigures(status, sources)
