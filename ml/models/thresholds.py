"""Threshold of a model: its operating point, and requests to move it."""

from collections.abc import Sequence
from dataclasses import dataclass

from ml.detectors.alarm_limit import FalseAlarmLimit
from ml.detectors.alarm_rule import KOfNRule
from ml.detectors.calibration import Calibration
from ml.detectors.false_alarms import FalseAlarms, count_false_alarms, limit_notes, operating_point_for_alarms
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
from ml.models.revisions import ThresholdRevision


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


def current_false_alarms(content: BundleContent, threshold: float, rule: KOfNRule) -> FalseAlarms | None:
    """Return the false alarms of a machine at a threshold; None without scores of normal recordings.

    In a model with a classifier and a detector, alarms that the classifier causes are counted if the training has
    measured them (``Calibration.by_classifier``).
    """
    calibration = find_calibration(content)
    return None if calibration is None else count_false_alarms(calibration, threshold, rule)


def current_limit_notes(content: BundleContent, limit: FalseAlarmLimit | None) -> tuple[str, ...]:
    """Return the notes on a limit of false alarms: what the recordings of a model support. Empty without a limit."""
    calibration = find_calibration(content)
    return () if limit is None or calibration is None else limit_notes(calibration, limit)


@dataclass(frozen=True, slots=True, kw_only=True)
class ThresholdRequest:
    """Request to move a threshold; exactly one of the five attributes is given.

    Attributes:
        threshold: threshold, a score from 0 to 1.
        false_alarm_rate: share of normal recordings that may be above the threshold.
        sensitivity: name of a false-alarm rate.
        limit: largest frequency of false alarms of a machine.
        reset: whether to use the threshold in the bundle.

    Raises:
        InvalidParameter: none or several are given.
    """

    threshold: float | None = None
    false_alarm_rate: float | None = None
    sensitivity: Sensitivity | None = None
    limit: FalseAlarmLimit | None = None
    reset: bool = False

    def __post_init__(self) -> None:
        values = (self.threshold, self.false_alarm_rate, self.sensitivity, self.limit)
        given = sum(each is not None for each in values) + self.reset
        if given != 1:
            raise InvalidParameter(
                f"{given} of threshold, false-alarm rate, sensitivity, false alarms and reset were given; exactly one "
                "was expected."
            )

    @property
    def rate(self) -> float | None:
        """Requested false-alarm rate, also if it was requested by name; None without one."""
        return self.false_alarm_rate if self.sensitivity is None else SENSITIVITIES.get(self.sensitivity)


def request_in_force(content: BundleContent, revisions: Sequence[ThresholdRevision]) -> ThresholdRequest:
    """Return the request that the current threshold comes from.

    Args:
        content: content of the bundle. Its card has the rate that the training was given.
        revisions: all revisions of the threshold, the current one last.

    Raises:
        InvalidParameter: a rate was requested, and it is not known which one: an earlier service did not record it.
    """
    current = revisions[-1]
    if current.sensitivity is not None:
        return ThresholdRequest(sensitivity=current.sensitivity)
    if current.requested_rate is not None:
        return ThresholdRequest(false_alarm_rate=current.requested_rate)
    if current.limit is not None:
        return ThresholdRequest(limit=current.limit)
    if BY_HAND in current.decision.basis:
        return ThresholdRequest(threshold=current.decision.threshold)
    options = content.card.get("source", {}).get("options", {})
    if current.decision != content.decision or "false_alarm_rate" not in options:
        raise InvalidParameter(
            f"The requested false-alarm rate of revision {current.revision} is not recorded: give a rate or a "
            "sensitivity."
        )
    return ThresholdRequest(false_alarm_rate=options["false_alarm_rate"])


def resolve_threshold(content: BundleContent, request: ThresholdRequest) -> DecisionThreshold:
    """Return the threshold of a model for a request.

    Raises:
        InvalidParameter: the score, the rate or the sensitivity is invalid.
        ModelNotCalibrated: a rate, a sensitivity or a limit of false alarms is given, and the model has no scores of
            normal recordings.
    """
    if request.threshold is not None:
        return _by_hand(content, request.threshold)
    if request.false_alarm_rate is not None:
        return decision_at(operating_point_at_rate(_require_calibration(content), request.false_alarm_rate))
    if request.sensitivity is not None:
        return decision_at(operating_point_at_sensitivity(_require_calibration(content), request.sensitivity))
    if request.limit is not None:
        return decision_at(operating_point_for_alarms(_require_calibration(content), request.limit))
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
            "A false-alarm rate, a sensitivity or a frequency of false alarms needs scores of normal recordings; the "
            "model has none: it is a demonstration, or was imported, or trained by an earlier version. Train a model "
            "on your recordings, or give a threshold, a score from 0 to 1."
        )
    return calibration
