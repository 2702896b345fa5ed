"""Rate of the verdict of detector and classifier together."""

from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.detectors.alarm_limit import FalseAlarmLimit
from ml.detectors.alarm_rule import DEFAULT_RULE
from ml.detectors.calibration import Calibration, join_calibrations
from ml.detectors.detector_files import detector_from_bytes, detector_to_bytes
from ml.detectors.false_alarms import count_false_alarms, operating_point_for_alarms
from ml.detectors.thresholds import allowed_above, operating_point_at_rate, operating_point_at_threshold
from ml.errors import BundleDamaged
from ml.models.bundle import DecisionThreshold
from ml.models.labels import DETECTOR_LABELS
from ml.training.candidate import FittedModel, Thresholds
from ml.training.classifier_folds import CrossValidation
from ml.training.context import TrainingContext
from ml.training.whole_verdict import measure_whole_verdict, raised_threshold
from tests.unit import detectors
from tests.unit.judgements import entry

N, SESSIONS = 40, 4
ENTRIES = [entry(number, group=f"day {number * SESSIONS // N}") for number in range(N)]
HALF = DecisionThreshold(0.5, None, "even odds")


def calibration(by_classifier: np.ndarray | None = None) -> Calibration:
    """Scores of 40 normal recordings, of four sessions; the highest are 0.9 and 0.89."""
    scores = np.linspace(0.1, 0.5, N)
    scores[[5, 15]] = 0.9, 0.89
    session = np.arange(N) * SESSIONS // N
    return Calibration(scores, scores, session, rate_holds_for="new_session", by_classifier=by_classifier)


def measured(classifier_scores: dict[int, float], rate: float = 0.01) -> tuple[FittedModel, Thresholds]:
    """The model and its thresholds; the classifier's scores are 0 except for these recordings."""
    given_options = SimpleNamespace(false_alarm_rate=rate)
    context = cast("TrainingContext", SimpleNamespace(final_side=tuple(ENTRIES), options=given_options))
    served = FittedModel(DETECTOR_LABELS, None, replace(detectors.detector(), calibration=calibration()))
    scores = {each.path: classifier_scores.get(number, 0.0) for number, each in enumerate(ENTRIES)}
    folds = CrossValidation(scores, {}, 4)
    return measure_whole_verdict(context, served, Thresholds(HALF, HALF, None), folds)


def test_a_classifier_that_alarms_on_normal_recordings_has_a_higher_threshold() -> None:
    """At 1 %, 40 recordings allow no alarm; the recordings 2 and 3 would be alarms of the classifier."""
    served, thresholds = measured({2: 0.8, 3: 0.7})
    assert thresholds.classifier is not None
    assert thresholds.classifier.threshold == 0.8
    assert served.detector is not None
    assert served.detector.calibration.by_classifier is not None
    assert not served.detector.calibration.by_classifier.any()


def test_the_rate_of_the_model_counts_the_classifier() -> None:
    """At 10 %, three alarms are allowed: what the classifier finds at even odds counts in every figure."""
    served, thresholds = measured({2: 0.8, 3: 0.7}, rate=0.1)
    assert thresholds.classifier == HALF
    assert served.detector is not None
    found = served.detector.calibration
    assert np.flatnonzero(found.by_classifier).tolist() == [2, 3]
    point, alone = operating_point_at_threshold(found, 0.6), operating_point_at_threshold(calibration(), 0.6)
    assert (point.expected_rate.value, alone.expected_rate.value) == pytest.approx((5 / 41, 3 / 41))
    assert "above it, or anomalous by the classifier, were 4 of 40 healthy recordings" in point.basis
    assert operating_point_at_rate(found, 0.1).threshold == operating_point_at_rate(calibration(), 0.1).threshold


def test_alarms_of_a_machine_count_the_classifier() -> None:
    """Three anomalous verdicts in a row are an alarm, by whichever part."""
    by_classifier = np.isin(np.arange(N), [4, 5, 6])
    assert count_false_alarms(calibration(by_classifier), 0.6, DEFAULT_RULE).counted == 1
    assert count_false_alarms(calibration(), 0.6, DEFAULT_RULE).counted == 0


def test_a_limit_of_alarms_counts_the_classifier() -> None:
    """No threshold of the detector removes the classifier's alarms: a note states that the limit is missed."""
    scores, session = np.linspace(0, 0.9, 400), np.arange(400) * SESSIONS // 400
    rows = np.arange(400) % 40 < 5  # ten alarms
    found = Calibration(scores, scores, session, rate_holds_for="new_session", by_classifier=rows)
    limit = FalseAlarmLimit("1/week", "1h")
    assert "more false alarms than 1/week" in operating_point_for_alarms(found, limit).notes[0]
    alone = operating_point_for_alarms(replace(found, by_classifier=None), limit)
    assert not any("more false alarms" in note for note in alone.notes)
    assert "50 of 400 normal recordings are anomalous" in operating_point_at_rate(found, 0.01).notes[0]


def test_recordings_without_a_score_of_the_classifier_change_nothing() -> None:
    """Then the rate of both together is not known, and the model states that of the detector."""
    context = cast(
        "TrainingContext",
        SimpleNamespace(final_side=tuple(ENTRIES), options=SimpleNamespace(false_alarm_rate=0.01)),
    )
    served = FittedModel(DETECTOR_LABELS, None, replace(detectors.detector(), calibration=calibration()))
    thresholds = Thresholds(HALF, HALF, None)
    for folds in (None, CrossValidation({ENTRIES[0].path: 0.9}, {}, 4)):
        assert measure_whole_verdict(context, served, thresholds, folds) == (served, thresholds)


@given(
    st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60),
    st.floats(0.001, 0.5),
    st.floats(0.1, 0.9),
)
def test_both_together_keep_to_the_rate(recordings: list[tuple[float, bool]], rate: float, lowest: float) -> None:
    """Unless the detector alone exceeds it; the classifier then adds no alarm."""
    scores, by_detector = (np.array(each) for each in zip(*recordings, strict=True))
    threshold = raised_threshold(lowest, scores, by_detector, rate)
    alarms = int((by_detector | (scores > threshold)).sum())
    assert threshold >= lowest
    assert alarms <= max(by_detector.sum(), allowed_above(len(scores), rate))


def test_bundle_and_recalibration_keep_the_verdicts_of_the_classifier() -> None:
    """Joined scores have them if both have; damaged ones are refused."""
    by_classifier = np.arange(N) < 3
    fitted = replace(detectors.detector(), calibration=calibration(by_classifier))
    again = detector_from_bytes(*detector_to_bytes(fitted))
    assert again.calibration.by_classifier is not None
    assert again.calibration.by_classifier.tolist() == by_classifier.tolist()
    joined = join_calibrations(calibration(by_classifier), calibration(~by_classifier))
    assert joined.by_classifier is not None
    assert joined.by_classifier.sum() == N
    assert join_calibrations(calibration(by_classifier), calibration()).by_classifier is None
    damaged = replace(fitted, calibration=calibration(by_classifier[:-1]))
    with pytest.raises(BundleDamaged, match="verdicts by classifier"):
        detector_from_bytes(*detector_to_bytes(damaged))
