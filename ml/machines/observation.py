"""One verdict on one machine, as it is remembered."""

from dataclasses import dataclass
from typing import Self

from ml.predictor import Verdict
from ml.revisions import now

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
        anomaly: the verdict.
        label: name of the class that was heard.
    """

    machine_id: str
    at: str
    version: str
    threshold_revision: int
    score: float
    threshold: float
    anomaly: bool
    label: str

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
            anomaly=worst.anomaly,
            label=worst.label.name,
        )
