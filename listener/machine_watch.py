"""What the listener remembers of one machine between two clips: its last verdicts, its sources and its event."""

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from listener.event_facts import facts_of
from listener.event_time import to_time
from listener.events import Event, new_event_id
from listener.judged_clip import JudgedClip
from listener.source_types import FolderSource, SourceEntry

# Chosen here: a stream that comes back within this time does not end an event.
LOST_S, LOST_HOPS = 60.0, 3
WORSE_FACTOR = 2.0  # a detector's odds are its relative distance: twice as far from normal
LEAST_STEP = 0.02  # chosen here: odds near a score of 1 double with differences that mean nothing
HIGHEST = 1 - 1e-9
OTHER_MODEL = -1.0


class JudgedSpan(NamedTuple):
    """Clip that was judged, without its sound.

    Attributes:
        began: start, in seconds since 1970.
        is_anomalous: whether it was anomalous.
        score: its score, 0 to 1; :data:`OTHER_MODEL` if another model judges now.
        facts: fields of an event of which it is the most anomalous clip.
    """

    began: float
    is_anomalous: bool
    score: float
    facts: dict[str, Any]

    @property
    def rank(self) -> tuple[bool, float]:
        """Order of clips: the most anomalous one is the largest."""
        return self.is_anomalous, self.score


@dataclass(slots=True)
class SourceWatch:
    """One source of a machine.

    Attributes:
        entry: the source, as it was configured at the last clip.
        judged_at: time of the last clip that could be judged, in seconds of a clock that never goes back.
        quiet_s: seconds without such a clip after which the source counts as lost.
        problem: why nothing could be judged since then; empty if it is not known.
    """

    entry: SourceEntry
    judged_at: float
    quiet_s: float
    problem: str = ""

    def is_lost(self, now: float) -> bool:
        """Return whether nothing could be judged for too long."""
        return now - self.judged_at >= self.quiet_s


def quiet_s(source: SourceEntry, longest_event_s: float) -> float:
    """Return for how many seconds a source may judge nothing until it counts as lost.

    Recordings arrive in a folder at any distance.
    """
    if isinstance(source, FolderSource):
        return longest_event_s
    return max(LOST_S, LOST_HOPS * max(source.used_hop_s, source.clip_s))


@dataclass(slots=True)
class MachineWatch:
    """One machine.

    Attributes:
        spans: last clips that could be judged, the oldest first.
        sources: its sources that have judged something, by name.
        event: its active event; None without one.
        length_s: length of the event, by the clips' times; a clock that jumps counts as at most ``quiet_s``.
        last_end: end of the last clip that could be judged, in seconds since 1970.
        alerted: score of the last alert about the event; None until there are clips enough.
        saved_at: time of the last save.
        interrupted: id of its last event, if it was interrupted and the alarm has lasted since.
    """

    spans: deque[JudgedSpan] = field(default_factory=deque)
    sources: dict[str, SourceWatch] = field(default_factory=dict)
    event: Event | None = None
    length_s: float = 0.0
    last_end: float = -math.inf
    alerted: float | None = None
    saved_at: float = -math.inf
    interrupted: str | None = None
    _version: str = ""
    _worst: tuple[bool, float] = (False, 0.0)

    def add(self, clip: JudgedClip, now: float, longest_event_s: float) -> None:
        """Remember a clip. One that could not be judged counts for nothing."""
        name = clip.source.name
        quiet = quiet_s(clip.source, longest_event_s)
        known = self.sources.setdefault(name, SourceWatch(clip.source, now, quiet))
        if clip.verdict.value == "unusable":
            known.problem = clip.verdict.message
            return
        self.sources[name] = SourceWatch(clip.source, now, quiet)
        if clip.verdict.version != self._version:  # scores of two models cannot be compared
            self._version, self.alerted = clip.verdict.version, None
            self.spans = deque(span._replace(score=OTHER_MODEL) for span in self.spans)
        self.spans.append(JudgedSpan(clip.began, clip.is_anomalous, clip.verdict.worst.score, facts_of(clip)))
        while len(self.spans) > clip.rule.n_verdicts:
            self.spans.popleft()

    def first_anomalous(self) -> float | None:
        """Return the start of the first anomalous clip of those that the alarm rule counts; None without one."""
        return min((span.began for span in self.spans if span.is_anomalous), default=None)

    def begin(self, clip: JudgedClip, began: float) -> Event:
        """Begin an event.

        Args:
            clip: the last clip; the machine is in alarm after it.
            began: start of the event, in seconds since 1970.
        """
        counted = [span for span in self.spans if span.began >= began]
        worst = max(counted or self.spans, key=lambda span: span.rank)
        event = Event(
            id=new_event_id(),
            machine_id=clip.machine_id,
            source=clip.source.name,
            began=to_time(began),
            updated=to_time(max(began, clip.ended)),
            clips=len(counted),
            anomalous=sum(span.is_anomalous for span in counted),
            continues=self.interrupted,
            **worst.facts,
        )
        self.event, self.interrupted, self._worst = event, None, worst.rank
        self.length_s, self.last_end = max(clip.ended - began, 0.0), clip.ended
        self.alerted = self.level(clip.rule.raise_at)
        return event

    def go_on(self, event: Event, longest_event_s: float, clip: JudgedClip) -> Event:
        """Add the last clip, which could be judged, to the active event."""
        step = clip.ended - self.last_end
        self.length_s += min(max(step, 0.0), quiet_s(clip.source, longest_event_s))
        self.last_end = clip.ended
        last = self.spans[-1]
        is_worst, self._worst = last.rank > self._worst, max(last.rank, self._worst)
        self.event = event.changed(
            updated=max(event.began, to_time(clip.ended)),
            clips=event.clips + 1,
            anomalous=event.anomalous + clip.is_anomalous,
            **(last.facts if is_worst else {}),
        )
        return self.event

    def close(self) -> None:
        """Forget the event and its clips: those of the next event come after it."""
        self.event, self.alerted = None, None
        self.spans.clear()

    def level(self, clips: int) -> float | None:
        """Return the score that so many of the last clips reach; None with fewer clips of this model."""
        scores = sorted((span.score for span in self.spans if span.score != OTHER_MODEL), reverse=True)
        return scores[clips - 1] if len(scores) >= clips else None

    def has_worsened(self, clips: int) -> bool:
        """Return whether the machine is clearly worse than at the last alert, and remember that.

        As many clips as raise an alarm must be at least twice as far from normal: one loud clip does not count.
        """
        level = self.level(clips)
        if level is None or (self.alerted is not None and not is_clearly_higher(level, self.alerted)):
            return False
        is_first, self.alerted = self.alerted is None, level
        return not is_first

    def lost_sources(self, now: float) -> Iterator[str]:
        """Yield a sentence for each source, if all of them are lost."""
        if all(source.is_lost(now) for source in self.sources.values()):
            for name, source in self.sources.items():
                problem = source.problem or f"no clip could be judged for {now - source.judged_at:.0f} s"
                yield f"Source {name}: {problem.removesuffix('.')}."


def is_clearly_higher(score: float, before: float) -> bool:
    """Return whether a score is clearly higher than another one: its odds are at least twice as high.

    Example:
        >>> is_clearly_higher(0.9, 0.8), is_clearly_higher(0.85, 0.8), is_clearly_higher(0.999, 0.99)
        (True, False, False)
    """
    return score - before >= LEAST_STEP and _odds(score) >= WORSE_FACTOR * _odds(before)


def _odds(score: float) -> float:
    return min(score, HIGHEST) / (1 - min(score, HIGHEST))
