"""When a machine is in alarm.

**Raised** once ``raise_at`` of its last ``of`` verdicts were anomalous, whichever version gave them: an alarm is about
the machine. One wild recording raises none.

**Cleared** once at most ``clear_at`` of the last ``of`` were, acknowledged or not: the state says what the machine
sounds like, not who has looked. Between the two an alarm stays what it is (hysteresis), so that a machine on the edge
does not raise one after another. An alarm that cleared without being acknowledged is in the history as just that.

**Acknowledged** by whoever has seen it: it is silent until it clears. What is raised after that is a new alarm.

**Unheard** is a machine in no alarm of whose last ``of`` recordings ``raise_at`` could not be judged: its microphone is
dead, covered or overloaded. Such recordings count for no alarm, raise none and clear none.

In the words of ANSI/ISA-18.2 this is an alarm that does not latch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ml.errors import InvalidParameter

AlarmState = Literal["normal", "alarm", "acknowledged", "unheard"]
MAX_VERDICTS = 100


@dataclass(frozen=True, slots=True)
class KOfNRule:
    """How many of the last verdicts raise an alarm, and how few clear it.

    Raises:
        InvalidParameter: it could never clear what it has raised, or never raise anything.
    """

    raise_at: int = 3
    n_verdicts: int = 5
    clear_at: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.clear_at < self.raise_at <= self.n_verdicts <= MAX_VERDICTS:
            raise InvalidParameter(
                f"An alarm raised by {self.raise_at} of {self.n_verdicts} anomalous verdicts and cleared by {self.clear_at}; "
                f"0 <= clear < raise <= of <= {MAX_VERDICTS} was expected."
            )

    def is_in_alarm(self, latest: Sequence[bool], before: bool) -> bool:
        """Whether a machine is in alarm now.

        Args:
            latest: whether each of its last ``of`` verdicts was anomalous; of a machine heard less often, of all.
            before: whether it was in alarm before the last of them.
        """
        anomalous = sum(latest)
        return anomalous > self.clear_at if before else anomalous >= self.raise_at

    def state(self, alarm: "Alarm | None", unusable: int) -> AlarmState:
        """What a machine is in.

        Args:
            alarm: the one that lasts; None without one.
            unusable: how many of its last ``of`` recordings could not be judged.
        """
        if alarm is not None:
            return "alarm" if alarm.acknowledged is None else "acknowledged"
        return "unheard" if unusable >= self.raise_at else "normal"


DEFAULT_RULE = KOfNRule()


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """Who has seen an alarm.

    Attributes:
        at: ISO 8601, UTC.
        by: who, as they say.
        key: name of the API key that it was said with; None without one.
        note: what they had to say.
    """

    at: str
    by: str
    key: str | None
    note: str


@dataclass(frozen=True, slots=True)
class Alarm:
    """One alarm of a machine.

    Attributes:
        id: like no other alarm's.
        raised_at: ISO 8601, UTC.
        version: the model whose verdict raised it.
        anomalous, n_verdicts: how many of how many verdicts were anomalous when it was raised.
        acknowledged: None where nobody has.
        cleared_at: ISO 8601, UTC; None while it lasts.
    """

    id: int
    raised_at: str
    version: str
    anomalous: int
    n_verdicts: int
    acknowledged: Acknowledgement | None
    cleared_at: str | None
