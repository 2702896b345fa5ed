"""One verdict on one machine, as it is remembered."""

from dataclasses import dataclass
from typing import Literal, Self

from ml.predictor import Verdict
from ml.revisions import now

Word = Literal["normal", "anomalous", "unusable"]
MAX_MACHINE_ID = 64
# A name, or the kind of machine and its id as datasets have them (``fan/id_00``); as JSON Schema knows it too.
MACHINE_ID_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?$"


@dataclass(frozen=True, slots=True)
class Observation:
    """What was said of one recording of a machine.

    Attributes:
        machine_id: which machine.
        at: when it was answered, ISO 8601, UTC; the recording may be older.
        version: the model that answered.
        threshold_revision: of that model's threshold.
        score: 0 to 1, higher is more anomalous.
        threshold: the score above which a recording was anomalous then.
        verdict: in a word; ``unusable`` where the recording could not be judged.
        label: name of the class that was heard; of no account, as the score, where the recording could not be judged.
    """

    machine_id: str
    at: str
    version: str
    threshold_revision: int
    score: float
    threshold: float
    verdict: Word
    label: str

    @property
    def anomalous(self) -> bool:
        """Whether it counts for an alarm."""
        return self.verdict == "anomalous"

    @property
    def judged(self) -> bool:
        """Whether it is a verdict on the machine, and not one on its microphone."""
        return self.verdict != "unusable"

    @classmethod
    def of(cls, machine_id: str, verdict: Verdict) -> Self:
        """A verdict that has just been given."""
        worst = verdict.worst
        return cls(
            machine_id=machine_id,
            at=now(),
            version=verdict.version,
            threshold_revision=verdict.decision_revision,
            score=worst.score,
            threshold=verdict.threshold,
            verdict=verdict.word,
            label=worst.label.name,
        )
