"""The threshold of a model: where it is, what normal recordings show of it, and where it is to be moved to."""

from dataclasses import dataclass

from ml.detectors.detector import Calibration
from ml.detectors.thresholds import (
    BY_HAND,
    SENSITIVITIES,
    Operating,
    Sensitivity,
    at_rate,
    at_sensitivity,
    at_threshold,
    require_score,
)
from ml.errors import InvalidParameter, ModelNotCalibrated
from ml.models.bundle import Content, Decision


def decision_at(point: Operating) -> Decision:
    """The decision of a bundle at an operating point, with the expected false-alarm rate."""
    return Decision(point.threshold, point.expected.value, point.basis)


def calibration_of(content: Content) -> Calibration | None:
    """The scores of healthy recordings that a model came with; None where there are none, as with a classifier."""
    detector = content.detector
    return None if detector is None or not len(detector.calibration.named) else detector.calibration


def sensitivities(content: Content) -> dict[Sensitivity, Operating]:
    """What each sensitivity would mean for a model; none where it has no scores of healthy recordings."""
    calibration = calibration_of(content)
    return {} if calibration is None else {name: at_sensitivity(calibration, name) for name in SENSITIVITIES}


def in_force(content: Content, threshold: float) -> Operating | None:
    """What is known of a model's threshold; None where it has no scores of healthy recordings."""
    calibration = calibration_of(content)
    return None if calibration is None else at_threshold(calibration, threshold)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
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


def decide(content: Content, wanted: Wanted) -> Decision:
    """The threshold of a model where it is wanted.

    Raises:
        InvalidParameter: what is no score, no rate, or no name of one.
        ModelNotCalibrated: a rate or a sensitivity, of a model that has no scores of healthy recordings.
    """
    if wanted.threshold is not None:
        return _by_hand(content, wanted.threshold)
    if wanted.false_alarm_rate is not None:
        return decision_at(at_rate(_required(content), wanted.false_alarm_rate))
    if wanted.sensitivity is not None:
        return decision_at(at_sensitivity(_required(content), wanted.sensitivity))
    return content.decision


def _by_hand(content: Content, threshold: float) -> Decision:
    found = in_force(content, require_score(threshold))
    return (
        Decision(threshold, None, f"{BY_HAND}; its false-alarm rate was never measured")
        if found is None
        else decision_at(found)
    )


def _required(content: Content) -> Calibration:
    calibration = calibration_of(content)
    if calibration is None:
        raise ModelNotCalibrated(
            "A rate or a sensitivity needs scores of healthy recordings, which come with a detector, and the model has "
            "none: a threshold was expected, as a score from 0 to 1."
        )
    return calibration
