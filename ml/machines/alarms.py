"""Alarm rule of machines: k of the last n verdicts raise an alarm.

- **Raised**: at least ``raise_at`` of the last ``n_verdicts`` verdicts are anomalous. Verdicts of all versions count,
  because an alarm is about the machine. One unusual recording raises no alarm with the default rule.
- **Cleared**: at most ``clear_at`` of the last ``n_verdicts`` are anomalous, whether or not the alarm is acknowledged.
  The state describes the machine, not its users. Between the two limits nothing changes (hysteresis), so that a
  machine near the limit does not raise one alarm after another. The history shows which alarms nobody acknowledged.
- **Acknowledged**: a person has seen the alarm. It is silent until it clears. A later alarm is a new alarm.
- **No valid audio** (``unheard``): no alarm, and at least ``raise_at`` of the last ``n_verdicts`` recordings could not
  be judged: the microphone is dead, covered or clipped. Such recordings raise no alarm and clear none.

In the terms of ANSI/ISA-18.2, this alarm does not latch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ml.errors import InvalidParameter

AlarmState = Literal["normal", "alarm", "acknowledged", "unheard"]
MAX_VERDICTS = 100


@dataclass(frozen=True, slots=True)
class KOfNRule:
    """Rule that raises and clears alarms.

    Attributes:
        raise_at: number of anomalous verdicts that raises an alarm, and of recordings that could not be judged that
            gives the state ``unheard``. SIGNALML_ALARM_RAISE.
        n_verdicts: number of last verdicts that are counted, at most 100. SIGNALML_ALARM_OF; ``of`` in answers.
        clear_at: number of anomalous verdicts at which, or below which, an alarm clears. SIGNALML_ALARM_CLEAR.

    Raises:
        InvalidParameter: the numbers are not ``0 <= clear_at < raise_at <= n_verdicts <= 100``.
    """

    raise_at: int = 3
    n_verdicts: int = 5
    clear_at: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.clear_at < self.raise_at <= self.n_verdicts <= MAX_VERDICTS:
            raise InvalidParameter(
                f"An alarm is raised by {self.raise_at} of {self.n_verdicts} verdicts and cleared by {self.clear_at}; "
                f"0 <= clear < raise <= of <= {MAX_VERDICTS} was expected."
            )

    def is_in_alarm(self, latest: Sequence[bool], before: bool) -> bool:
        """Decide whether a machine is in alarm.

        Args:
            latest: for each of its last ``n_verdicts`` verdicts (all, if there are fewer), whether it is anomalous;
                newest first.
            before: whether the machine was in alarm before the last verdict.
        """
        anomalous = sum(latest)
        return anomalous > self.clear_at if before else anomalous >= self.raise_at

    def state(self, alarm: "Alarm | None", unusable: int) -> AlarmState:
        """Decide the state of a machine.

        Args:
            alarm: its active alarm; None without one.
            unusable: number of its last ``n_verdicts`` recordings that could not be judged.
        """
        if alarm is not None:
            return "alarm" if alarm.acknowledged is None else "acknowledged"
        return "unheard" if unusable >= self.raise_at else "normal"


DEFAULT_RULE = KOfNRule()


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
