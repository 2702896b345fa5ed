"""What a model answers: a result for each clip, and one verdict for the recording."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

from ml.audio.recording import AudioQuality
from ml.detectors.detector import Novelty
from ml.detectors.quality_checks import UnusableReason
from ml.detectors.reference import Deviations
from ml.models.bundle import FaultRule
from ml.models.labels import ClassLabel

VerdictValue = Literal["normal", "anomalous", "unusable"]
NOT_JUDGED = "Not judged: "


@dataclass(frozen=True, slots=True)
class ClipResult:
    """One clip's worth of the recording.

    Attributes:
        start_s, end_s: in seconds from the recording's start.
        score: 0 to 1, higher is more anomalous: the detector's where there is one, else the classifier's.
        is_anomalous, label: what it was taken for.
        probabilities: in the order of the classes; none without a classifier.
        classifier_score: the classifier's own score; None without a classifier.
        novelty: what the detector measured; None without one.
    """

    start_s: float
    end_s: float
    score: float
    is_anomalous: bool
    label: ClassLabel
    probabilities: tuple[float, ...]
    classifier_score: float | None = None
    novelty: Novelty | None = None


class ClassProbability(NamedTuple):
    """A class, and how probable it is."""

    name: str
    message: str
    anomalous: bool
    probability: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was heard.

    Attributes:
        unusable: why the recording cannot be judged; None where it can. Only a detector says so: it knows what healthy
            recordings are like.
        timeline: every window, in time order.
        worst: the most anomalous of them, which speaks for the recording.
        threshold: the score above which a window is anomalous.
        false_alarm_rate: share of healthy recordings above that threshold; None where nobody has measured it.
        quality: of the recording.
        classes: what the probabilities belong to; none without a classifier.
        p_value: how often a healthy recording is as far from healthy as the worst window; None without a detector.
        machine_known: whether the detector has learned the machine that was named.
        explanation: why the worst window was judged so; None without a detector, or where nobody asked.
        fault_rule: beside a detector, what it takes to name a known fault; else None.
        version: the model that answered, ``labels_revision`` of its labels and ``threshold_revision`` of its threshold.
    """

    unusable: UnusableReason | None
    timeline: tuple[ClipResult, ...]
    worst: ClipResult
    threshold: float
    false_alarm_rate: float | None
    quality: AudioQuality
    classes: tuple[ClassLabel, ...]
    p_value: float | None
    machine_known: bool
    explanation: Deviations | None
    fault_rule: FaultRule | None
    version: str
    labels_revision: int
    threshold_revision: int

    @property
    def class_probabilities(self) -> tuple[ClassProbability, ...]:
        """Each class with its probability in the most anomalous clip; none without a classifier."""
        pairs = zip(self.classes, self.worst.probabilities, strict=True)
        return tuple(ClassProbability(label.name, label.message, label.anomalous, p) for label, p in pairs)

    @property
    def value(self) -> VerdictValue:
        """The verdict in a word."""
        if self.unusable is not None:
            return "unusable"
        return "anomalous" if self.worst.is_anomalous else "normal"

    @property
    def message(self) -> str:
        """What to tell a person."""
        return self.worst.label.message if self.unusable is None else f"{NOT_JUDGED}{self.unusable.detail}"
