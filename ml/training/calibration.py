"""Thresholds of a model, from recordings that it has not learned from."""

from collections.abc import Iterable

from ml.dataset.entries import NORMAL
from ml.detectors.detector import Detector
from ml.detectors.thresholds import operating_point_at_rate
from ml.models.bundle import DecisionThreshold, FaultRule
from ml.models.judging import judge
from ml.models.thresholds import decision_at
from ml.training.candidate import FittedModel, Thresholds, candidate_predictor
from ml.training.classifier_threshold import EVEN, choose_threshold, measure_false_alarm_rate
from ml.training.context import TrainingContext
from ml.training.detector_stage import MeasuredRecording, max_named_distance, measure_abnormal
from ml.training.held_out_result import HeldOutResult


def calibrate(context: TrainingContext, model: FittedModel) -> Thresholds:
    """The thresholds by which the model is evaluated.

    Args:
        context: the training.
        model: what was learned without the test side; its network without the validation side too.
    """
    classifier = None if model.network is None else _classifier_threshold(context, model)
    if model.detector is None:
        return _of_classifier(classifier)
    faults = [] if classifier is None else measure_abnormal(context, model.detector, context.development_side)
    return _beside_detector(context, model.detector, classifier, faults)


def calibrate_served(
    context: TrainingContext,
    served: FittedModel,
    thresholds: Thresholds,
    result: HeldOutResult,
    abnormal: Iterable[MeasuredRecording],
) -> Thresholds:
    """The thresholds by which the served model answers.

    Args:
        context: the training.
        served: the model that goes into the bundle.
        thresholds: of the model that was evaluated.
        result: of that evaluation, whose normal recordings show the false-alarm rate of a classifier alone.
        abnormal: all abnormal recordings, as the served detector measures them.
    """
    classifier = thresholds.classifier
    if served.detector is None:
        healthy = [each.score for each in result.judged if each.entry.label == NORMAL]
        return _of_classifier(
            None if classifier is None else measure_false_alarm_rate(classifier.threshold, classifier.basis, healthy)
        )
    learned = {entry.path for entry in context.final_side}
    faults = [(entry, novelty) for entry, novelty in abnormal if entry.path in learned]
    return _beside_detector(context, served.detector, classifier, faults)


def _classifier_threshold(context: TrainingContext, model: FittedModel) -> DecisionThreshold:
    """From the normal recordings of the validation side, which chose the epoch but were not fitted to."""
    alone = FittedModel(model.labels, model.network, None)
    predictor = candidate_predictor(context, alone, _of_classifier(DecisionThreshold(EVEN, None, "")))
    normal = [entry for entry in context.split.validation if entry.label == NORMAL]
    judged = judge(predictor, context.dataset, normal, processes=context.processes, report=context.report)
    threshold, basis = choose_threshold([each.score for each in judged], context.options.false_alarm_rate)
    return DecisionThreshold(threshold, None, basis)


def _of_classifier(decision: DecisionThreshold | None) -> Thresholds:
    if decision is None:
        raise ValueError("a model has a network, a detector or both")
    return Thresholds(decision, decision, None)


def _beside_detector(
    context: TrainingContext,
    detector: Detector,
    classifier: DecisionThreshold | None,
    faults: Iterable[MeasuredRecording],
) -> Thresholds:
    """The detector's own threshold and, beside a classifier, what it takes to name one of the faults learned."""
    score = decision_at(operating_point_at_rate(detector.calibration, context.options.false_alarm_rate))
    if classifier is None:
        return Thresholds(score, None, None)
    return Thresholds(score, classifier, FaultRule(classifier.threshold, classifier.basis, max_named_distance(faults)))
