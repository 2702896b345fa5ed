"""Rate of the whole verdict of a model with a detector and a classifier.

A recording is anomalous if one of the two finds it anomalous. So the false-alarm rate of the detector alone is not that
of the answers. Both are measured on the same normal recordings, by engines and networks that have not learned from
their sessions (or, with one session, from their part of it).
"""

from collections import Counter
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ml.dataset.entries import Entry
from ml.detectors.calibration import Calibration
from ml.detectors.thresholds import allowed_above, calibrated_threshold
from ml.models.bundle import DecisionThreshold
from ml.training.candidate import FittedModel, Thresholds
from ml.training.classifier_folds import CrossValidation, Scores
from ml.training.context import TrainingContext
from ml.training.detector_stage import normal_with_sound


def measure_whole_verdict(
    context: TrainingContext, served: FittedModel, thresholds: Thresholds, folds: CrossValidation | None
) -> tuple[FittedModel, Thresholds]:
    """Let the requested false-alarm rate be that of detector and classifier together.

    The threshold of the classifier is raised until both together find no more normal recordings anomalous than the rate
    allows or, if the detector alone finds more, than the detector. The detector's calibration then states which normal
    recordings the classifier finds anomalous, so that every rate of the model counts them.

    Args:
        context: the training.
        served: the model that goes into the bundle.
        thresholds: thresholds of the evaluated model.
        folds: cross-validation of the classifier; None without one.

    Returns:
        The model and the thresholds; unchanged without both parts, or if the cross-validation has no score for one of
        the detector's normal recordings.
    """
    detector, classifier = served.detector, thresholds.classifier
    if detector is None or classifier is None or folds is None:
        return served, thresholds
    calibration = detector.calibration
    known = classifier_scores(folds, calibration)
    entries = calibrated_recordings(context)
    if len(entries) != len(calibration.named) or any(entry.path not in known for entry in entries):
        return served, thresholds
    scores, rate = np.array([known[entry.path] for entry in entries]), context.options.false_alarm_rate
    by_detector, kept = calibration.named > calibrated_threshold(calibration, rate), calibration.kept
    raised = raised_threshold(classifier.threshold, scores[kept], by_detector[kept], rate)
    if raised > classifier.threshold:
        which = "sessions" if calibration.rate_holds_for == "new_session" else "parts of sessions"
        classifier = DecisionThreshold(raised, None, f"what healthy recordings of held-out {which} reach")
    calibration = replace(calibration, by_classifier=scores > raised)
    return (
        replace(served, detector=replace(detector, calibration=calibration)),
        replace(thresholds, classifier=classifier),
    )


def raised_threshold(
    threshold: float, scores: NDArray[np.float64], by_detector: NDArray[np.bool_], rate: float
) -> float:
    """Return the classifier's threshold for which detector and classifier together keep to a rate.

    Args:
        threshold: smallest threshold, 0 to 1.
        scores: scores of normal recordings by the classifier, ``(recordings,)``.
        by_detector: which of them the detector finds anomalous, ``(recordings,)``.
        rate: false-alarm rate, above 0 and below 1.

    Example:
        >>> scores, by_detector = np.array([0.9, 0.8, 0.7, 0.1]), np.array([True, False, False, False])
        >>> raised_threshold(0.5, scores, by_detector, rate=0.6), raised_threshold(0.5, scores, by_detector, rate=0.4)
        (0.7, 0.8)
    """
    allowed = max(allowed_above(len(scores), rate) - int(by_detector.sum()), 0)
    others = np.sort(scores[~by_detector])[::-1]
    return max(threshold, float(others[allowed])) if len(others) > allowed else threshold


def classifier_scores(folds: CrossValidation, calibration: Calibration) -> Scores:
    """Return the classifier's scores that go with the detector's: by networks that know as little of the sessions."""
    return folds.new_session if calibration.rate_holds_for == "new_session" else folds.same_session


def calibrated_recordings(context: TrainingContext) -> list[Entry]:
    """Return the normal recordings with scores in the calibration of the served detector, in its order.

    The only recording of a machine has no score, because nothing would be known about the machine without it.
    """
    learned = normal_with_sound(context.final_side)
    count = Counter(entry.machine_name for entry in learned)
    return [entry for entry in learned if count[entry.machine_name] > 1]
