"""Alarm rule: k of the last n verdicts on a machine raise an alarm.

With 3 of 5, an alarm is raised exactly if the rolling median of the last five scores is above the threshold. A rolling
mean needs a threshold of its own and was not better (decision 19).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ml.errors import InvalidParameter

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

    def __str__(self) -> str:
        return f"{self.raise_at} of {self.n_verdicts}"

    def is_in_alarm(self, latest: Sequence[bool], before: bool) -> bool:
        """Decide whether a machine is in alarm.

        Args:
            latest: for each of its last ``n_verdicts`` verdicts (all, if there are fewer), whether it is anomalous;
                newest first.
            before: whether the machine was in alarm before the last verdict.
        """
        anomalous = sum(latest)
        return anomalous > self.clear_at if before else anomalous >= self.raise_at


DEFAULT_RULE = KOfNRule()
