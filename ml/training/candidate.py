"""A model before it is a version: its fitted parts and its thresholds."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ml.detectors.detector import Detector
from ml.evaluation.judged import JudgedRecording
from ml.models.bundle import Bundle, BundleContent, DecisionThreshold, FaultRule, GoldenClip
from ml.models.golden import make_golden_clip
from ml.models.labels import ClassLabels
from ml.models.normal_scores import NormalScores
from ml.models.predictor import Predictor
from ml.models.served import ServedModel
from ml.training.context import TrainingContext

if TYPE_CHECKING:
    from ml.classifier.fitting import FittedNetwork


@dataclass(frozen=True, slots=True)
class FittedModel:
    """Network, detector or both, fitted to one set of recordings.

    Attributes:
        labels: the classes.
        network: network of the classifier; None if there is only a detector.
        detector: None if there is only a classifier.
    """

    labels: ClassLabels
    network: "FittedNetwork | None"
    detector: Detector | None


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Thresholds of the scores, and the rule for fault names.

    Attributes:
        score: threshold of the verdict's score, which is the detector's if there is one, else the classifier's.
        classifier: threshold of the classifier's own score; None if there is only a detector.
        fault_rule: when a known fault is named; None unless there are a classifier and a detector.
        validation: normal recordings of the validation side, judged by the classifier; empty without one.
        normal_scores: scores of normal recordings, for the bundle of a classifier without a detector; else None.
    """

    score: DecisionThreshold
    classifier: DecisionThreshold | None
    fault_rule: FaultRule | None
    validation: tuple[JudgedRecording, ...] = ()
    normal_scores: NormalScores | None = None


def candidate_predictor(context: TrainingContext, model: FittedModel, thresholds: Thresholds) -> Predictor:
    """Return a predictor that answers as the served model would."""
    content = BundleContent(
        context.spec,
        model.labels,
        thresholds.score,
        {},
        None if model.network is None else _litert(model.network, context),
        GoldenClip(make_golden_clip(context.spec), ()),
        model.detector,
        thresholds.fault_rule,
    )
    return Predictor(ServedModel.as_written(Bundle("candidate", "", content)))


def _litert(network: "FittedNetwork", context: TrainingContext) -> bytes:
    from ml.classifier.network import export

    return export(network.model, context.work, [])[1]
