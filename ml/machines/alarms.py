"""Alarms of machines, by the rule of :mod:`ml.detectors.alarm_rule`.

- **Raised**: at least ``raise_at`` of the last ``n_verdicts`` verdicts are anomalous. Verdicts of all versions count,
  because an alarm is about the machine. One unusual recording raises no alarm with the default rule.
- **Cleared**: at most ``clear_at`` of the last ``n_verdicts`` are anomalous, whether or not the alarm is acknowledged.
  The state describes the machine, not its users. Between the two limits nothing changes (hysteresis), so that a
  machine near the limit does not raise one alarm after another. The history shows which alarms nobody acknowledged.
- **Acknowledged**: a person has seen the alarm. It is silent until it clears. A later alarm is a new alarm.
- **No valid audio** (``unheard``): no alarm, and at least ``raise_at`` of the last ``n_verdicts`` recordings could not
  be judged: the microphone is dead, covered or clipped. Such recordings raise no alarm and clear none. The state is the
  same if the last ``raise_at`` recordings have the same bytes: the recorder sends an old file again and again.

In the terms of ANSI/ISA-18.2, this alarm does not latch.
"""

from dataclasses import dataclass
from typing import Literal

from ml.detectors.alarm_rule import KOfNRule

AlarmState = Literal["normal", "alarm", "acknowledged", "unheard"]


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """Acknowledgement of an alarm by a person.

    Attributes:
        at: time, ISO 8601, UTC.
        by: name that the person gave.
        key: name of the API key of the request; None without one.
        note: text of the person.
    """

    at: str
    by: str
    key: str | None
    note: str


@dataclass(frozen=True, slots=True)
class Alarm:
    """Alarm of a machine.

    Attributes:
        id: unique number over all machines; never used twice.
        raised_at: time, ISO 8601, UTC.
        version: model version whose verdict raised the alarm.
        anomalous, n_verdicts: number of anomalous and of all counted verdicts when it was raised.
        acknowledged: its acknowledgement; None without one.
        cleared_at: time, ISO 8601, UTC; None while the alarm is active.
    """

    id: int
    raised_at: str
    version: str
    anomalous: int
    n_verdicts: int
    acknowledged: Acknowledgement | None
    cleared_at: str | None


def state_of(rule: KOfNRule, alarm: Alarm | None, unusable: int) -> AlarmState:
    """Decide the state of a machine.

    Args:
        rule: alarm rule.
        alarm: active alarm of the machine; None without one.
        unusable: number of its last ``n_verdicts`` recordings that could not be judged, or that have the same bytes.

    Example:
        >>> state_of(KOfNRule(), None, unusable=2)
        'normal'
    """
    if alarm is not None:
        return "alarm" if alarm.acknowledged is None else "acknowledged"
    return "unheard" if unusable >= rule.raise_at else "normal"
