"""Thresholds of a model, from recordings that it was not fitted to."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from ml.dataset.entries import NORMAL
from ml.detectors.detector import Detector
from ml.detectors.thresholds import operating_point_at_rate
from ml.evaluation.judged import JudgedRecording
from ml.models.bundle import DecisionThreshold, FaultRule
from ml.models.judging import judge
from ml.models.normal_scores import NormalScores
from ml.models.thresholds import decision_at
from ml.training.candidate import FittedModel, Thresholds, candidate_predictor
from ml.training.classifier_folds import CrossValidation, fold_calibration
from ml.training.classifier_threshold import EVEN, choose_threshold, held_out_scores, measure_false_alarm_rate
from ml.training.context import TrainingContext
from ml.training.detector_stage import MeasuredRecording, max_named_distance, measure_abnormal
from ml.training.held_out_result import HeldOutResult


def calibrate(context: TrainingContext, model: FittedModel) -> Thresholds:
    """Choose the thresholds for the evaluation.

    Args:
        context: the training.
        model: the model fitted without the test side; its network is fitted without the validation side too.
    """
    validation = () if model.network is None else _judge_validation(context, model)
    classifier = None if model.network is None else _classifier_threshold(context, validation)
    if model.detector is None:
        return replace(_classifier_only(classifier), validation=validation)
    faults = [] if classifier is None else measure_abnormal(context, model.detector, context.development_side)
    return _with_detector(context, model.detector, classifier, faults)


def calibrate_served(
    context: TrainingContext,
    served: FittedModel,
    thresholds: Thresholds,
    result: HeldOutResult,
    abnormal: Iterable[MeasuredRecording],
    folds: CrossValidation | None = None,
) -> Thresholds:
    """Choose the thresholds of the served model.

    A classifier without a detector has the threshold of its cross-validation over sessions, if there are enough
    sessions: it can be far below even odds, because networks that have not learned from a session give its faults low
    scores too (docs/decisions/0021). Otherwise it keeps the threshold of the evaluated model.

    Args:
        context: the training.
        served: the model that goes into the bundle.
        thresholds: thresholds of the evaluated model.
        result: the evaluation; its normal recordings give the false-alarm rate of a classifier without a detector.
        abnormal: all abnormal recordings with their distances by the served detector.
        folds: cross-validation of the classifier; None without one.
    """
    classifier = thresholds.classifier
    known = None if folds is None or served.detector is not None else fold_calibration(context, folds)
    if known is not None:
        decision = decision_at(operating_point_at_rate(known, context.options.false_alarm_rate))
        return Thresholds(decision, decision, None, normal_scores=NormalScores.of(known))
    if served.detector is None:
        normal = [each for each in result.judged if each.entry.label == NORMAL]
        scores = [each.score for each in normal]
        measured = _classifier_only(
            None if classifier is None else measure_false_alarm_rate(classifier.threshold, classifier.basis, scores)
        )
        held_out = held_out_scores((*thresholds.validation, *normal), context.split.method)
        return replace(measured, normal_scores=held_out)
    learned = {entry.path for entry in context.final_side}
    faults = [(entry, novelty) for entry, novelty in abnormal if entry.path in learned]
    return _with_detector(context, served.detector, classifier, faults)


def _judge_validation(context: TrainingContext, model: FittedModel) -> tuple[JudgedRecording, ...]:
    """Judge the normal recordings of the validation side with the classifier.

    These recordings chose the epoch, but the network was not fitted to them.
    """
    classifier = FittedModel(model.labels, model.network, None)
    predictor = candidate_predictor(context, classifier, _classifier_only(DecisionThreshold(EVEN, None, "")))
    normal = [entry for entry in context.split.validation if entry.label == NORMAL]
    return judge(predictor, context.dataset, normal, processes=context.processes, report=context.report)


def _classifier_threshold(context: TrainingContext, validation: Sequence[JudgedRecording]) -> DecisionThreshold:
    threshold, basis = choose_threshold([each.score for each in validation], context.options.false_alarm_rate)
    return DecisionThreshold(threshold, None, basis)


def _classifier_only(decision: DecisionThreshold | None) -> Thresholds:
    if decision is None:
        raise ValueError("a model needs a network, a detector or both")
    return Thresholds(decision, decision, None)


def _with_detector(
    context: TrainingContext,
    detector: Detector,
    classifier: DecisionThreshold | None,
    faults: Iterable[MeasuredRecording],
) -> Thresholds:
    """Choose the detector's threshold and, with a classifier, the rule for fault names."""
    score = decision_at(operating_point_at_rate(detector.calibration, context.options.false_alarm_rate))
    if classifier is None:
        return Thresholds(score, None, None)
    return Thresholds(score, classifier, FaultRule(classifier.threshold, classifier.basis, max_named_distance(faults)))
