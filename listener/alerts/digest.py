"""One message in the place of many alerts: how many, of which machines, and the worst of them."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Literal, NamedTuple, Self

from listener.events.event import Event

DigestReason = Literal["storm", "quiet_hours"]
MAX_WORST = 10
MAX_EVENT_IDS = 1000


class WorstMachine(NamedTuple):
    """Machine of a digest.

    Attributes:
        machine_id: the machine.
        events: number of its events in the digest.
        active: whether one of them goes on.
        score, threshold, label: of its event with the highest score.
    """

    machine_id: str
    events: int
    active: bool
    score: float
    threshold: float
    label: str


@dataclass(frozen=True, slots=True)
class Digest:
    """What many alerts report.

    Attributes:
        reason: ``storm``: there were too many alerts within a minute; ``quiet_hours``: they waited for the end of the
            quiet hours.
        began, ended: times of the first and the last alert, ISO 8601, UTC.
        alerts: number of alerts.
        machines: number of machines.
        changes: number of alerts for each change.
        worst: machines with the highest scores, at most :data:`MAX_WORST`.
        events: ids of the events, at most :data:`MAX_EVENT_IDS`.
    """

    reason: DigestReason
    began: str
    ended: str
    alerts: int
    machines: int
    changes: dict[str, int]
    worst: tuple[WorstMachine, ...]
    events: tuple[str, ...]

    def to_text(self) -> str:
        """Return the digest as JSON."""
        return json.dumps(self.to_dict(), ensure_ascii=False)

    def to_dict(self) -> dict[str, object]:
        """Return the values as JSON types."""
        return {**asdict(self), "worst": [each._asdict() for each in self.worst], "events": list(self.events)}

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Make a digest of its JSON."""
        values = json.loads(text)
        values["worst"] = tuple(WorstMachine(**each) for each in values["worst"])
        values["events"] = tuple(values["events"])
        return cls(**values)


def make_digest(reason: DigestReason, began: str, ended: str, reported: Iterable[tuple[str, Event]]) -> Digest:
    """Make a digest.

    Args:
        reason: why there is a digest.
        began: time of the first alert, ISO 8601, UTC.
        ended: time of the last alert, ISO 8601, UTC.
        reported: change and event of each alert; the event as it is now.
    """
    pairs = list(reported)
    events = {event.id: event for _, event in pairs}
    of_machine: defaultdict[str, list[Event]] = defaultdict(list)
    for event in events.values():
        of_machine[event.machine_id].append(event)
    worst = sorted((_worst(each) for each in of_machine.values()), key=lambda each: (-each.score, each.machine_id))
    changes = dict(Counter(change for change, _ in pairs))
    return Digest(
        reason, began, ended, len(pairs), len(of_machine), changes, tuple(worst[:MAX_WORST]),
        tuple(events)[:MAX_EVENT_IDS],
    )  # fmt: skip


def _worst(events: Sequence[Event]) -> WorstMachine:
    top = max(events, key=lambda each: each.score)
    active = any(each.state == "active" for each in events)
    return WorstMachine(top.machine_id, len(events), active, top.score, top.threshold, top.label)
