"""Alerts about changes that another process than the listener makes: the API and the command line."""

from collections.abc import Sequence
from pathlib import Path

from listener.alerts.rules import alerts_for
from listener.config.files import sink_file
from listener.events.event import Change, Event
from listener.events.store import NewAlert, Route


def route_by_file(home: Path) -> Route:
    """Return what makes the alerts for the sinks of the file, as it is at each change.

    The listener delivers them. So a central service, to which other devices report, sends alerts of their events.

    Args:
        home: SIGNALML_HOME.
    """

    def route(event: Event, change: Change) -> Sequence[NewAlert]:
        return alerts_for(sink_file(home).read().entries, event, change)

    return route
