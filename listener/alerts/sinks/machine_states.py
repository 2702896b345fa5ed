"""State of each machine, as its topics have it: made of the states of its sources."""

import json
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from listener.events.event import Event
from listener.status import SourceStatus

ONLINE, OFFLINE = b"online", b"offline"
AVAILABLE = frozenset({"listening", "waiting", "wrong_rate"})
IN_ALARM = frozenset({"alarm", "acknowledged"})
LAST_EVENT = ("id", "state", "began", "ended", "score", "threshold", "label")


def by_machine(statuses: Iterable[SourceStatus]) -> dict[str, list[SourceStatus]]:
    """Return the sources of each machine."""
    found: defaultdict[str, list[SourceStatus]] = defaultdict(list)
    for each in statuses:
        found[each.machine_id].append(each)
    return dict(found)


def availability(sources: Iterable[SourceStatus]) -> bytes:
    """Return whether a machine is watched: one of its sources listens, or waits until the machine runs.

    A folder into which nobody writes at present is watched, too.
    """
    watched = (each.state in AVAILABLE or (each.kind, each.state) == ("folder", "no_data") for each in sources)
    return ONLINE if any(watched) else OFFLINE


def machine_state(sources: list[SourceStatus], last_event: Event | None) -> bytes:
    """Return the state of a machine as JSON.

    The values are of the source that was judged last; values that change many times a second are not in it.
    """
    latest = max(sources, key=lambda each: each.judged_at or "")
    values: dict[str, Any] = {
        "machine_id": latest.machine_id,
        "state": latest.machine_state,
        "alarm": latest.machine_state in IN_ALARM,
        "score": latest.score,
        "threshold": latest.threshold,
        "verdict": latest.verdict,
        "judged_at": latest.judged_at,
        "version": latest.version,
        "sources": {each.name: each.state for each in sorted(sources, key=lambda each: each.name)},
        "last_event": None if last_event is None else {name: getattr(last_event, name) for name in LAST_EVENT},
    }
    return json.dumps(values, ensure_ascii=False).encode()
