"""Threshold of a model: its operating point, and requests to move it."""

from dataclasses import dataclass

from ml.detectors.calibration import Calibration
from ml.detectors.thresholds import (
    BY_HAND,
    SENSITIVITIES,
    OperatingPoint,
    Sensitivity,
    check_threshold,
    operating_point_at_rate,
    operating_point_at_sensitivity,
    operating_point_at_threshold,
)
from ml.errors import InvalidParameter, ModelNotCalibrated
from ml.models.bundle import BundleContent, DecisionThreshold


def decision_at(point: OperatingPoint) -> DecisionThreshold:
    """Return the threshold of a bundle for an operating point, with the expected false-alarm rate."""
    return DecisionThreshold(point.threshold, point.expected_rate.value, point.basis)


def find_calibration(content: BundleContent) -> Calibration | None:
    """Return the scores of normal recordings in a model; None if it has none."""
    if content.normal_scores is not None:
        return content.normal_scores.calibration
    detector = content.detector
    return None if detector is None or not len(detector.calibration.named) else detector.calibration


def sensitivities(content: BundleContent) -> dict[Sensitivity, OperatingPoint]:
    """Return a model's operating point at each sensitivity; empty without scores of normal recordings."""
    calibration = find_calibration(content)
    return (
        {}
        if calibration is None
        else {name: operating_point_at_sensitivity(calibration, name) for name in SENSITIVITIES}
    )


def current_operating_point(content: BundleContent, threshold: float) -> OperatingPoint | None:
    """Return the operating point of a model at a threshold; None without scores of normal recordings."""
    calibration = find_calibration(content)
    return None if calibration is None else operating_point_at_threshold(calibration, threshold)


@dataclass(frozen=True, slots=True, kw_only=True)
class ThresholdRequest:
    """Request to move a threshold; exactly one of the four attributes is given.

    Attributes:
        threshold: threshold, a score from 0 to 1.
        false_alarm_rate: share of normal recordings that may be above the threshold.
        sensitivity: name of a false-alarm rate.
        reset: whether to use the threshold in the bundle.

    Raises:
        InvalidParameter: none or several are given.
    """

    threshold: float | None = None
    false_alarm_rate: float | None = None
    sensitivity: Sensitivity | None = None
    reset: bool = False

    def __post_init__(self) -> None:
        numbers = (self.threshold, self.false_alarm_rate, self.sensitivity)
        given = sum(each is not None for each in numbers) + self.reset
        if given != 1:
            raise InvalidParameter(
                f"{given} of threshold, false-alarm rate, sensitivity and reset were given; exactly one was expected."
            )


def resolve_threshold(content: BundleContent, request: ThresholdRequest) -> DecisionThreshold:
    """Return the threshold of a model for a request.

    Raises:
        InvalidParameter: the score, the rate or the sensitivity is invalid.
        ModelNotCalibrated: a rate or a sensitivity is given, and the model has no scores of normal recordings.
    """
    if request.threshold is not None:
        return _by_hand(content, request.threshold)
    if request.false_alarm_rate is not None:
        return decision_at(operating_point_at_rate(_require_calibration(content), request.false_alarm_rate))
    if request.sensitivity is not None:
        return decision_at(operating_point_at_sensitivity(_require_calibration(content), request.sensitivity))
    return content.decision


def _by_hand(content: BundleContent, threshold: float) -> DecisionThreshold:
    found = current_operating_point(content, check_threshold(threshold))
    return (
        DecisionThreshold(threshold, None, f"{BY_HAND}; its false-alarm rate was never measured")
        if found is None
        else decision_at(found)
    )


def _require_calibration(content: BundleContent) -> Calibration:
    calibration = find_calibration(content)
    if calibration is None:
        raise ModelNotCalibrated(
            "A false-alarm rate or a sensitivity needs scores of normal recordings; the model has none, because it was "
            "imported or trained by an earlier version: train it again, or give a threshold, a score from 0 to 1."
        )
    return calibration
