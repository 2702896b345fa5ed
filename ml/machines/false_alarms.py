"""Expected time between the false alarms of one machine, at the rhythm of its recordings."""

from dataclasses import dataclass
from typing import Self

from ml.detectors.alarm_rule import KOfNRule
from ml.detectors.false_alarms import FalseAlarms
from ml.evaluation.results import Estimate
from ml.machines.rhythm import FEWEST_RECORDINGS, SHORTEST_S
from ml.models.served import ServedModel
from ml.models.thresholds import current_false_alarms


@dataclass(frozen=True, slots=True)
class MachineFalseAlarms:
    """Expected false alarms of a machine.

    Attributes:
        version: model version that they are expected of; the one that answers now.
        every_s: median time from one recording to the next, s.
        time_between_s: expected time between false alarms with its 95 % interval, s. The upper limit is None if the
            data show none.
        basis: the same in a sentence, with the data.
        found: false alarms per recording, with the number of recordings and sessions.
    """

    version: str
    every_s: float
    time_between_s: Estimate
    basis: str
    found: FalseAlarms

    @classmethod
    def of(cls, model: ServedModel, rule: KOfNRule, every_s: float) -> Self | None:
        """Return the expected false alarms at a rhythm; None for a model without scores of normal recordings."""
        found = current_false_alarms(model.bundle.content, model.decision.threshold, rule)
        if found is None:
            return None
        return cls(model.version, every_s, found.time_between_s(every_s), found.describe(every_s), found)


def expect_false_alarms(
    model: ServedModel | None, rule: KOfNRule, every_s: float | None
) -> tuple[MachineFalseAlarms | None, str | None]:
    """Return the expected false alarms of a machine, or the reason why they are not known.

    Args:
        model: the model that answers; None without one.
        rule: alarm rule.
        every_s: median time from one recording of the machine to the next, s; None if it is not known.

    Returns:
        One of the two; the other is None.
    """
    if model is None:
        return None, "No model answers."
    if every_s is None:
        return None, (
            f"The time between recordings is not known: it needs {FEWEST_RECORDINGS} recordings that were "
            f"uploaded at least {SHORTEST_S:g} s apart."
        )
    expected = MachineFalseAlarms.of(model, rule, every_s)
    if expected is None:
        return None, (
            f"The model {model.version} has no scores of normal recordings: it was imported, or trained by an "
            "earlier version."
        )
    return expected, None
