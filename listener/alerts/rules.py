"""Rules of a sink: which alerts it gets, and when. Pure functions; :mod:`listener.alerts.sink_queue` applies them.

Some rules are decided when an alert's turn comes, not when it is written: what a sink has been sent is known then, and
so is whether the event still goes on.
"""

import math
import time
from collections.abc import Mapping
from datetime import datetime
from fnmatch import fnmatchcase
from typing import NamedTuple

from listener.config.hours import is_within
from listener.config.sink_types import EmailSink, ServiceSink, Sink
from listener.events.event import Change, Event
from listener.events.event_time import to_seconds
from listener.events.store import NewAlert

BEGINNINGS = ("began", "worsened")
ENDS = ("ended", "interrupted")
REPORTED = ("began", "updated", "worsened", "ended", "interrupted", "clip", "reviewed")
"""Changes that another service gets. It keeps the state of each event, so only the rule of machines leaves one out."""
WINDOW_S = 60.0
RECHECK_S = 60.0
# A clip is written soon after the beginning of its event.
CLIP_WAIT_S, CLIP_POLL_S = 10.0, 0.5


class Send(NamedTuple):
    """Send the alert now."""


class Wait(NamedTuple):
    """Decide again later, at the latest at a time.

    Attributes:
        until: seconds since 1970.
    """

    until: float


class Drop(NamedTuple):
    """Never send the alert.

    Attributes:
        reason: why.
    """

    reason: str


class Collect(NamedTuple):
    """Send the alert as part of a digest."""


Decision = Send | Wait | Drop | Collect


class LastSent(NamedTuple):
    """What a sink was sent about a machine.

    Attributes:
        at: time of the last alert, or of the end of its event, in seconds since 1970.
        score: highest score of the alerts since the last pause of a cool-down.
        event_id: event of the last alert.
        is_open: whether the last alert was not an end.
    """

    at: float
    score: float
    event_id: str
    is_open: bool


class Turn(NamedTuple):
    """An alert whose turn has come, and what is known about it.

    Attributes:
        change: change of the event.
        created: time at which the alert was written, in seconds since 1970.
        event: the event at this change.
        current: the event as it is now.
        sent_score: highest score of this event that the sink was sent; None if it was sent nothing of it.
        last: what the sink was sent about the machine; None without anything.
        now: seconds since 1970.
    """

    change: str
    created: float
    event: Event
    current: Event
    sent_score: float | None
    last: LastSent | None
    now: float


class Window(NamedTuple):
    """Minute in which alerts of a sink are counted.

    Attributes:
        began: seconds since 1970.
        sent: number of alerts that were sent in it.
        over: whether further ones wait for its digest.
    """

    began: float
    sent: int
    over: bool = False


def alerts_for(sinks: Mapping[str, Sink], event: Event, change: Change) -> list[NewAlert]:
    """Return the alerts about a change, for the transaction that writes it."""
    now = time.time()
    return [NewAlert(name, now) for name, sink in sinks.items() if wants(sink, event, change)]


def wants(sink: Sink, event: Event, change: Change) -> bool:
    """Return whether an alert about this change is written for a sink."""
    if not sink.enabled or not any(fnmatchcase(event.machine_id, each) for each in sink.rules.machines):
        return False
    if isinstance(sink, ServiceSink):
        return change in REPORTED and not (change == "clip" and event.clip is None)
    return change in sink.rules.changes or _may_be_first(sink, change)


def decide(sink: Sink, turn: Turn) -> Decision:
    """Decide about an alert whose turn has come. Every rule but that of the digest after many alerts."""
    muted = muted_until(sink)
    if isinstance(sink, ServiceSink):
        return Send() if muted is None or turn.now >= muted else Wait(_recheck(turn.now, muted))
    needless = _needless(sink, turn)
    if needless is not None:
        return needless
    if muted is not None and turn.now < muted:
        is_new = turn.sent_score is None and turn.change in BEGINNINGS
        return Drop("muted") if is_new and _is_over(turn) else Wait(_recheck(turn.now, muted))
    unripe = _too_short(sink, turn) or _cooling_down(sink, turn) or _without_clip(sink, turn)
    if unripe is not None:
        return unripe
    if is_quiet(sink, turn.now):
        return Wait(next_minute(turn.now))
    if turn.sent_score is None and _is_over(turn) and is_quiet(sink, turn.created):
        return Collect()
    return Send()


def decide_digest(sink: Sink, now: float) -> Decision:
    """Decide about a digest whose turn has come."""
    muted = muted_until(sink)
    if muted is not None and now < muted:
        return Wait(_recheck(now, muted))
    return Wait(next_minute(now)) if is_quiet(sink, now) else Send()


def decide_storm(sink: Sink, window: Window | None, now: float) -> Decision:
    """Decide whether one more alert is sent now, waits for the end of the minute, or is part of its digest."""
    if isinstance(sink, ServiceSink) or window is None:
        return Send()
    if is_current(window, now):
        return Send() if window.sent < sink.rules.digest_above else Wait(window.began + WINDOW_S)
    return Collect() if window.over and window.began <= now else Send()


def count_sent(window: Window | None, now: float) -> Window:
    """Return the minute after one more alert."""
    if window is None or not is_current(window, now):
        return Window(now, 1)
    return window._replace(sent=window.sent + 1)


def is_current(window: Window, now: float) -> bool:
    """Return whether a minute goes on. After the clock was set back, it does not."""
    return window.began <= now < window.began + WINDOW_S


def continues_alarm(sink: Sink, turn: Turn) -> bool:
    """Return whether a beginning belongs to an alarm of which an e-mail was sent: that is one for each alarm."""
    last, is_new = turn.last, turn.change == "began" and turn.event.continues is not None
    return isinstance(sink, EmailSink) and is_new and last is not None and last[2:] == (turn.event.continues, True)


def sent_about_machine(sink: Sink, last: LastSent | None, new: LastSent) -> LastSent:
    """Return what the sink was sent about a machine, after one more alert."""
    if last is not None and 0 <= new.at - last.at < sink.rules.cooldown_s:
        return new._replace(score=max(new.score, last.score))
    return new


def is_quiet(sink: Sink, at: float) -> bool:
    """Return whether a time, in seconds since 1970, is in the sink's quiet hours."""
    return is_within(sink.rules.quiet_hours, datetime.fromtimestamp(at))


def muted_until(sink: Sink) -> float | None:
    """Return the time until which a sink is muted, in seconds since 1970; None without one."""
    return None if sink.muted_until is None else to_seconds(sink.muted_until)


def next_minute(now: float) -> float:
    """Return the beginning of the next minute of the clock: ranges of hours end on a full minute."""
    return math.floor(now / 60 + 1) * 60.0


def _may_be_first(sink: Sink, change: Change) -> bool:
    """Return whether a worsening can be the first alert of an event whose beginning the cool-down holds back."""
    return change == "worsened" and sink.rules.cooldown_s > 0 and "began" in sink.rules.changes


def _needless(sink: Sink, turn: Turn) -> Drop | None:
    """Drop an end without a beginning, a worsening that is not wanted, and an alarm that e-mail has reported."""
    rules = sink.rules
    if isinstance(sink, EmailSink):
        if turn.change == "ended" and turn.event.cause:
            return Drop("the alarm goes on")
        if continues_alarm(sink, turn):
            return Drop("it continues an alarm that was sent")
    if turn.change in ENDS and turn.sent_score is None and "began" in rules.changes:
        return Drop("its beginning was not sent")
    if turn.change == "worsened" and turn.sent_score is not None and "worsened" not in rules.changes:
        return Drop("not wanted")
    return None


def _too_short(sink: Sink, turn: Turn) -> Decision | None:
    least = sink.rules.min_duration_s
    if turn.sent_score is not None or least <= 0:
        return None
    if _is_over(turn):
        return Drop("too short") if _seconds(turn.current.began, turn.current.ended) < least else None
    # Since the alert was written, this computer's clock counts: recordings of a folder can be of last year.
    ripe = turn.created + least - _seconds(turn.event.began, turn.event.updated)
    return Wait(_recheck(turn.now, ripe)) if turn.now < ripe else None


def _cooling_down(sink: Sink, turn: Turn) -> Decision | None:
    if turn.sent_score is not None or turn.last is None or turn.change not in BEGINNINGS:
        return None
    until = turn.last.at + sink.rules.cooldown_s
    if not turn.last.at <= turn.now < until or turn.current.score > turn.last.score:
        return None
    return Drop("cool-down") if _is_over(turn) else Wait(_recheck(turn.now, until))


def _without_clip(sink: Sink, turn: Turn) -> Decision | None:
    """Wait some seconds for the clip that a message has attached."""
    waits = isinstance(sink, EmailSink) and sink.attach_clip and turn.current.missing_clip == "pending"
    return Wait(turn.now + CLIP_POLL_S) if waits and 0 <= turn.now - turn.created < CLIP_WAIT_S else None


def _is_over(turn: Turn) -> bool:
    return turn.current.state != "active"


def _recheck(now: float, until: float) -> float:
    """Return when to decide again: events change meanwhile, and so can this computer's clock."""
    return min(until, now + RECHECK_S)


def _seconds(began: str, ended: str | None) -> float:
    if ended is None:
        return 0.0
    return to_seconds(ended) - to_seconds(began)
