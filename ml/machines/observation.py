"""One verdict on one machine, as it is remembered."""

import re
from dataclasses import dataclass
from typing import Self

from ml.predictor import Verdict, VerdictWord
from ml.revisions import now

MAX_MACHINE_ID = 64
# A name, or the kind of machine and its id as datasets have them (``fan/id_00``); as JSON Schema knows it too.
MACHINE_ID_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?$"


def is_machine_id(name: str) -> bool:
    """Whether a machine can be remembered by this name."""
    return len(name) <= MAX_MACHINE_ID and re.fullmatch(MACHINE_ID_PATTERN, name) is not None


def called(said: str, known: str | None) -> str:
    """The name that a machine is remembered by, whichever of its names was said.

    Args:
        said: the name that somebody gave.
        known: what the detector calls the machine of that name; None where it knows none. Datasets may call machines
            what no address can.
    """
    return known if known is not None and is_machine_id(known) else said


@dataclass(frozen=True, slots=True)
class Observation:
    """What was said of one recording of a machine.

    Attributes:
        machine_id: which machine, as :func:`called` has it.
        at: when it was answered, ISO 8601, UTC; the recording may be older.
        version: the model that answered.
        threshold_revision: of that model's threshold.
        score: 0 to 1, higher is more anomalous.
        threshold: the score above which a recording was anomalous then.
        verdict: in a word; ``unusable`` where the recording could not be judged.
        label: name of the class that was heard; of no account, as the score, where the recording could not be judged.
        also_called: another name that was said for it, under which there may be a record from before; not kept.
    """

    machine_id: str
    at: str
    version: str
    threshold_revision: int
    score: float
    threshold: float
    verdict: VerdictWord
    label: str
    also_called: str | None = None

    @property
    def anomalous(self) -> bool:
        """Whether it counts for an alarm."""
        return self.verdict == "anomalous"

    @property
    def judged(self) -> bool:
        """Whether it is a verdict on the machine, and not one on its microphone."""
        return self.verdict != "unusable"

    @classmethod
    def of(cls, said: str, verdict: Verdict) -> Self:
        """A verdict that has just been given on the machine of that name."""
        worst = verdict.worst
        known = worst.novelty.machine if verdict.machine_known and worst.novelty is not None else None
        machine_id = called(said, known)
        return cls(
            machine_id=machine_id,
            at=now(),
            version=verdict.version,
            threshold_revision=verdict.decision_revision,
            score=worst.score,
            threshold=verdict.threshold,
            verdict=verdict.word,
            label=worst.label.name,
            also_called=said if said != machine_id else None,
        )
