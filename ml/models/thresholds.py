"""The threshold of a model: where it is, what normal recordings show of it, and where it is to be moved to."""

from dataclasses import dataclass

from ml.detectors.detector import Calibration
from ml.detectors.thresholds import (
    BY_HAND,
    SENSITIVITIES,
    OperatingPoint,
    Sensitivity,
    _check_threshold,
    operating_point_at_rate,
    operating_point_at_sensitivity,
    operating_point_at_threshold,
)
from ml.errors import InvalidParameter, ModelNotCalibrated
from ml.models.bundle import BundleContent, DecisionThreshold


def decision_at(point: OperatingPoint) -> DecisionThreshold:
    """The decision of a bundle at an operating point, with the expected false-alarm rate."""
    return DecisionThreshold(point.threshold, point.expected_rate.value, point.basis)


def find_calibration(content: BundleContent) -> Calibration | None:
    """The scores of healthy recordings that a model came with; None where there are none, as with a classifier."""
    detector = content.detector
    return None if detector is None or not len(detector.calibration.named) else detector.calibration


def sensitivities(content: BundleContent) -> dict[Sensitivity, OperatingPoint]:
    """What each sensitivity would mean for a model; none where it has no scores of healthy recordings."""
    calibration = find_calibration(content)
    return (
        {}
        if calibration is None
        else {name: operating_point_at_sensitivity(calibration, name) for name in SENSITIVITIES}
    )


def current_operating_point(content: BundleContent, threshold: float) -> OperatingPoint | None:
    """What is known of a model's threshold; None where it has no scores of healthy recordings."""
    calibration = find_calibration(content)
    return None if calibration is None else operating_point_at_threshold(calibration, threshold)


@dataclass(frozen=True, slots=True, kw_only=True)
class ThresholdRequest:
    """Where a threshold is to be: exactly one of the four says so.

    Attributes:
        threshold: the score itself, 0 to 1.
        false_alarm_rate: the share of healthy recordings that may be above it.
        sensitivity: that share by its name.
        reset: where it was when the model was written.

    Raises:
        InvalidParameter: none or several of them.
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
    """The threshold of a model where it is wanted.

    Raises:
        InvalidParameter: what is no score, no rate, or no name of one.
        ModelNotCalibrated: a rate or a sensitivity, of a model that has no scores of healthy recordings.
    """
    if request.threshold is not None:
        return _by_hand(content, request.threshold)
    if request.false_alarm_rate is not None:
        return decision_at(operating_point_at_rate(_require_calibration(content), request.false_alarm_rate))
    if request.sensitivity is not None:
        return decision_at(operating_point_at_sensitivity(_require_calibration(content), request.sensitivity))
    return content.decision


def _by_hand(content: BundleContent, threshold: float) -> DecisionThreshold:
    found = current_operating_point(content, _check_threshold(threshold))
    return (
        DecisionThreshold(threshold, None, f"{BY_HAND}; its false-alarm rate was never measured")
        if found is None
        else decision_at(found)
    )


def _require_calibration(content: BundleContent) -> Calibration:
    calibration = find_calibration(content)
    if calibration is None:
        raise ModelNotCalibrated(
            "A rate or a sensitivity needs scores of healthy recordings, which come with a detector, and the model has "
            "none: a threshold was expected, as a score from 0 to 1."
        )
    return calibration
