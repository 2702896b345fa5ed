"""Answer of a model: a result for each clip, and one verdict for the recording."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

from ml.audio.recording import AudioQuality
from ml.detectors.calibration import RateHoldsFor
from ml.detectors.detector import Novelty
from ml.detectors.deviations import Deviations
from ml.detectors.recorder_checks import UnusableReason
from ml.models.bundle import FaultRule
from ml.models.labels import ClassLabel

VerdictValue = Literal["normal", "anomalous", "unusable"]
NOT_JUDGED = "Not judged: "


@dataclass(frozen=True, slots=True)
class ClipResult:
    """Result of one clip.

    Attributes:
        start_s, end_s: start and end, in seconds from the recording's start.
        score: 0 to 1, higher is more anomalous; the detector's score or, without a detector, the classifier's.
        is_anomalous, label: whether the clip is anomalous, and its label.
        probabilities: probabilities in the order of the classes; empty without a classifier.
        classifier_score: score of the classifier; None without a classifier.
        novelty: result of the detector; None without a detector.
    """

    start_s: float
    end_s: float
    score: float
    is_anomalous: bool
    label: ClassLabel
    probabilities: tuple[float, ...]
    classifier_score: float | None = None
    novelty: Novelty | None = None


class LabelProbability(NamedTuple):
    """Class with its probability."""

    name: str
    message: str
    anomalous: bool
    probability: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """Verdict on one recording.

    Attributes:
        unusable: reason why the recording cannot be judged; None if it can. A model without a detector checks only what
            needs no normal recordings.
        timeline: results of all clips, in time order.
        worst: result of the most anomalous clip, which decides.
        threshold: a clip with a higher score is anomalous.
        false_alarm_rate: share of normal recordings above the threshold; None if it was not measured.
        rate_holds_for: whether this rate holds for new sessions; None without scores of normal recordings.
        quality: quality of the recording.
        classes: classes of the probabilities; empty without a classifier.
        p_value: share of normal recordings at least as far from normal as the worst clip; None without a detector.
        machine_known: whether the detector was trained on the named machine.
        explanation: deviations of the worst clip from normal; None without a detector, or if not requested.
        fault_rule: fault rule of a model with classifier and detector; else None.
        version: version of the model.
        labels_revision: revision of its labels.
        threshold_revision: revision of its threshold.
        note: what a user must know about the model, such as that it is a demonstration; None if there is nothing.
    """

    unusable: UnusableReason | None
    timeline: tuple[ClipResult, ...]
    worst: ClipResult
    threshold: float
    false_alarm_rate: float | None
    rate_holds_for: RateHoldsFor | None
    quality: AudioQuality
    classes: tuple[ClassLabel, ...]
    p_value: float | None
    machine_known: bool
    explanation: Deviations | None
    fault_rule: FaultRule | None
    version: str
    labels_revision: int
    threshold_revision: int
    note: str | None

    @property
    def class_probabilities(self) -> tuple[LabelProbability, ...]:
        """Each class with its probability in the most anomalous clip; empty without a classifier."""
        pairs = zip(self.classes, self.worst.probabilities, strict=True)
        return tuple(LabelProbability(label.name, label.message, label.anomalous, p) for label, p in pairs)

    @property
    def value(self) -> VerdictValue:
        """Verdict: ``normal``, ``anomalous`` or ``unusable``."""
        if self.unusable is not None:
            return "unusable"
        return "anomalous" if self.worst.is_anomalous else "normal"

    @property
    def message(self) -> str:
        """Message for people: the message of the label, or why the recording was not judged."""
        return self.worst.label.message if self.unusable is None else f"{NOT_JUDGED}{self.unusable.detail}"
