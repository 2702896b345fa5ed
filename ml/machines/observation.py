"""One verdict on one machine, as it is remembered."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Self

from ml.models.verdict import Verdict, VerdictValue
from ml.system.clock import timestamp

MAX_MACHINE_ID = 64
# A name, or the kind of machine and its id as datasets have them (``fan/id_00``); as JSON Schema knows it too.
MACHINE_ID_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?$"


def is_machine_id(name: str) -> bool:
    """Whether a machine can be remembered by this name."""
    return len(name) <= MAX_MACHINE_ID and re.fullmatch(MACHINE_ID_PATTERN, name) is not None


class MachineNames(NamedTuple):
    """What a machine is called.

    Attributes:
        machine_id: the name that it is remembered by.
        other_name: another that means no other machine, under which there may be a record from before; None if it has none.
    """

    machine_id: str
    other_name: str | None

    @classmethod
    def resolve(cls, name: str, knows: Callable[[str], str | None]) -> Self:
        """The names of a machine, whichever of them was said.

        Args:
            name: the name that somebody gave.
            knows: what the detector calls the machine of a name; None where it knows none. Datasets may call machines
                what no address can.
        """
        known = knows(name)
        if known is None or not is_machine_id(known):
            return cls(name, None)
        short = known.rpartition("/")[2]
        return cls(known, short if short != known and knows(short) == known else None)


@dataclass(frozen=True, slots=True)
class Observation:
    """What was said of one recording of a machine.

    Attributes:
        machine_id: which machine, as :class:`MachineNames` has it.
        at: when it was answered, ISO 8601, UTC; the recording may be older.
        version: the model that answered.
        threshold_revision: of that model's threshold.
        score: 0 to 1, higher is more anomalous.
        threshold: the score above which a recording was anomalous then.
        verdict: in a word; ``unusable`` where the recording could not be judged.
        label: name of the class that was heard; of no account, as the score, where the recording could not be judged.
        other_name: another name of the machine; not kept.
    """

    machine_id: str
    at: str
    version: str
    threshold_revision: int
    score: float
    threshold: float
    verdict: VerdictValue
    label: str
    other_name: str | None = None

    @property
    def anomalous(self) -> bool:
        """Whether it counts for an alarm."""
        return self.verdict == "anomalous"

    @property
    def judged(self) -> bool:
        """Whether it is a verdict on the machine, and not one on its microphone."""
        return self.verdict != "unusable"

    @classmethod
    def of(cls, names: MachineNames, verdict: Verdict) -> Self:
        """A verdict that has just been given on a machine."""
        worst = verdict.worst
        return cls(
            machine_id=names.machine_id,
            at=timestamp(),
            version=verdict.version,
            threshold_revision=verdict.threshold_revision,
            score=worst.score,
            threshold=verdict.threshold,
            verdict=verdict.value,
            label=worst.label.name,
            other_name=names.other_name,
        )
