"""A model before it is a version: what was fitted, and where its thresholds are."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ml.detectors.detector import Detector
from ml.models.bundle import Bundle, BundleContent, DecisionThreshold, FaultRule, GoldenClip
from ml.models.golden import make_golden_clip
from ml.models.labels import ClassLabels
from ml.models.predictor import Predictor
from ml.models.served import ServedModel
from ml.training.context import TrainingContext

if TYPE_CHECKING:
    from ml.classifier.fitting import FittedNetwork


@dataclass(frozen=True, slots=True)
class FittedModel:
    """What was learned from one set of recordings.

    Attributes:
        labels: the classes.
        network: of a classifier; None for a detector alone.
        detector: None for a classifier alone.
    """

    labels: ClassLabels
    network: "FittedNetwork | None"
    detector: Detector | None


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Where a model raises an alarm, and where it names a fault.

    Attributes:
        score: on the score of the verdict: the detector's where there is one, else the classifier's.
        classifier: on the classifier's own score; None for a detector alone.
        fault_rule: beside a detector, what it takes to name a known fault; else None.
    """

    score: DecisionThreshold
    classifier: DecisionThreshold | None
    fault_rule: FaultRule | None


def candidate_predictor(context: TrainingContext, model: FittedModel, thresholds: Thresholds) -> Predictor:
    """The model as it would be served, before it is a version."""
    content = BundleContent(
        context.spec,
        model.labels,
        thresholds.score,
        {},
        None if model.network is None else _litert(model.network, context),
        GoldenClip(make_golden_clip(), ()),
        model.detector,
        thresholds.fault_rule,
    )
    return Predictor(ServedModel.as_written(Bundle("candidate", "", content)))


def _litert(network: "FittedNetwork", context: TrainingContext) -> bytes:
    from ml.classifier.network import export

    return export(network.model, context.work, [])[1]
