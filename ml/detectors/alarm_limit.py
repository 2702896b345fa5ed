"""Limit of false alarms as a person states it: at most 1 a month, at a recording every 10 minutes."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from ml.detectors.alarm_rule import DEFAULT_RULE, KOfNRule
from ml.errors import InvalidParameter

DAY_S = 86_400.0
YEAR_S = 365.25 * DAY_S
PERIODS_S = {"day": DAY_S, "week": 7 * DAY_S, "month": YEAR_S / 12, "year": YEAR_S}
UNITS_S = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": DAY_S}
# Both patterns are also valid in JSON Schema.
FALSE_ALARMS_PATTERN = rf"^[1-9][0-9]{{0,3}}/({'|'.join(PERIODS_S)})$"
EVERY_PATTERN = rf"^[1-9][0-9]{{0,5}}({'|'.join(UNITS_S)})$"
# The largest unit of which a time is at least one and a half is used.
SHOWN_UNITS_S = {"years": YEAR_S, "days": DAY_S, "hours": 3600.0, "minutes": 60.0}
LONG_ENOUGH = 1.5
USUAL_EVERY_S = 600.0
"""Time between recordings, s, where it is not known: chosen here, 10 minutes."""
MANY = 99.5  # from here on, two significant digits would be written as 1e+02


@dataclass(frozen=True, slots=True)
class FalseAlarmLimit:
    """Largest frequency of false alarms of a machine.

    Attributes:
        false_alarms: number and period: ``1/month``; a day, week, month (a twelfth of a year) or year.
        every: time from one recording to the next: ``30s``, ``10min``, ``1h`` or ``1d``.
        rule: alarm rule.

    Raises:
        InvalidParameter: a text has another form, or there may be as many false alarms as recordings.

    Example:
        >>> limit = FalseAlarmLimit("1/day", "10min")
        >>> round(1 / limit.frequency), str(limit)
        (144, '1/day at a recording every 10min (alarm: 3 of 5)')
    """

    false_alarms: str
    every: str
    rule: KOfNRule = field(default=DEFAULT_RULE)

    def __post_init__(self) -> None:
        _check(self.false_alarms, FALSE_ALARMS_PATTERN, "number of false alarms", "1/day, 1/week, 1/month or 1/year")
        _check(self.every, EVERY_PATTERN, "time between recordings", "a time such as 30s, 10min, 1h or 1d")
        if self.frequency >= 1:
            raise InvalidParameter(
                f"{self.false_alarms} false alarms at a recording every {self.every} are as many as the recordings, or "
                "more; fewer were expected."
            )

    def __str__(self) -> str:
        return f"{self.false_alarms} at a recording every {self.every} (alarm: {self.rule})"

    @property
    def every_s(self) -> float:
        """Time from one recording to the next, s."""
        number, unit = re.findall(r"\d+|[a-z]+", self.every)
        return int(number) * UNITS_S[unit]

    @property
    def frequency(self) -> float:
        """Largest number of false alarms per recording, above 0 and below 1."""
        number, period = self.false_alarms.split("/")
        return int(number) * self.every_s / PERIODS_S[period]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for serialisation."""
        rule = self.rule
        numbers = {"raise_at": rule.raise_at, "n_verdicts": rule.n_verdicts, "clear_at": rule.clear_at}
        return {"false_alarms": self.false_alarms, "every": self.every, "rule": numbers}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Create a limit from the values of :meth:`to_dict`.

        Raises:
            InvalidParameter, KeyError, TypeError: the values are invalid.
        """
        return cls(str(values["false_alarms"]), str(values["every"]), KOfNRule(**values["rule"]))


def _check(text: str, pattern: str, name: str, expected: str) -> None:
    if re.fullmatch(pattern, text) is None:
        raise InvalidParameter(f"The {name} is {text!r}; {expected} was expected.")


def format_time(time_s: float) -> str:
    """Return a time as text, with two significant digits.

    Args:
        time_s: time, s, 0 or more.

    Example:
        >>> [format_time(time_s) for time_s in (12.0, 600, 40 * 86_400, 1e9)]
        ['12 s', '10 minutes', '40 days', '32 years']
    """
    for unit, unit_s in SHOWN_UNITS_S.items():
        if time_s >= LONG_ENOUGH * unit_s:
            return f"{_two_digits(time_s / unit_s)} {unit}"
    return f"{_two_digits(time_s)} s"


def _two_digits(number: float) -> str:
    return f"{number:.2g}" if number < MANY else f"{number:.0f}"
