"""Result of the served model, from recordings that the scoring model has not learned from."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ml.dataset.annotations import Label
from ml.dataset.entries import ABNORMAL, NORMAL, Entry
from ml.detectors.calibration import Calibration
from ml.detectors.detector import Detector
from ml.detectors.thresholds import SENSITIVITIES, calibrated_threshold, operating_point_at_rate
from ml.evaluation.judged import JudgedRecording
from ml.models.bundle import DecisionThreshold
from ml.reports.expectations import Expectations, SensitivityRow, SessionScores
from ml.training.candidate import FittedModel, Thresholds
from ml.training.context import TrainingContext
from ml.training.detector_stage import MeasuredRecording, normal_with_sound
from ml.training.held_out_result import HeldOutResult
from ml.training.operating_points import detected_shares, estimate_shares


@dataclass(frozen=True, slots=True)
class ScoredRecording:
    """A recording with its score and verdict at the served threshold.

    Attributes:
        session: name of its session.
        label: its label.
        score: 0 to 1, by a model that has not learned from the recording.
        anomalous: whether the verdict is ``anomalous``.
        entry: the recording; None if the calibration of the detector does not name it.
    """

    session: str
    label: Label
    score: float
    anomalous: bool
    entry: Entry | None


@dataclass(frozen=True, slots=True)
class ServedResult:
    """What to expect of the served model, and the recordings behind it."""

    expectations: Expectations
    recordings: tuple[ScoredRecording, ...]

    @classmethod
    def of(
        cls,
        context: TrainingContext,
        served: FittedModel,
        thresholds: Thresholds,
        result: HeldOutResult,
        abnormal: Sequence[MeasuredRecording],
    ) -> Self:
        """Return the result of the served model.

        A detector alone: its normal recordings have the scores of its calibration, by engines that have not learned
        from them, and its abnormal recordings those of the served detector, which learned from none. The false alarms
        are those of :func:`held_out_alarms`. With a classifier: the verdicts on the test side.

        Args:
            context: the training.
            served: the model that goes into the bundle.
            thresholds: thresholds of the served model.
            result: the evaluation.
            abnormal: all abnormal recordings with their distances by the served detector.
        """
        normal = [each for each in result.judged if each.entry.label == NORMAL]
        detector, pooled, decision = served.detector, result.evaluation.pooled, thresholds.score
        if detector is None or served.network is not None:
            recordings = [_judged(each) for each in result.judged]
            detected, false_alarms, new_session = pooled.detection_rate, pooled.false_alarm_rate, True
        else:
            alarms = held_out_alarms(detector.calibration, decision.threshold, context.options.false_alarm_rate)
            recordings = [*_calibrated(context, detector, alarms), *_abnormal(abnormal, decision)]
            (detected,) = detected_shares(abnormal, [decision.threshold], context.options.seed)
            (false_alarms,) = estimate_shares(alarms[:, None], detector.calibration.session, context.options.seed)
            new_session = detector.calibration.rate_holds_for == "new_session"
        expectations = Expectations(
            threshold=decision.threshold,
            stated_rate=context.options.false_alarm_rate,
            new_session=new_session,
            detected=detected,
            false_alarms=false_alarms,
            not_judged=(sum(each.unusable for each in normal), len(normal)),
            sessions=by_session(recordings),
            sensitivities=() if detector is None else tuple(_sensitivity_rows(context, detector, abnormal)),
        )
        return cls(expectations, tuple(recordings))

    def missed(self) -> list[ScoredRecording]:
        """Return the abnormal recordings that are not anomalous; the lowest score is first."""
        return sorted((e for e in self.recordings if e.label == ABNORMAL and not e.anomalous), key=_score)

    def false_alarms(self) -> list[ScoredRecording]:
        """Return the normal recordings that are anomalous; the highest score is first."""
        return sorted((e for e in self.recordings if e.label == NORMAL and e.anomalous), key=_score, reverse=True)


def by_session(recordings: Iterable[ScoredRecording]) -> tuple[SessionScores, ...]:
    """Return the scores by session; sessions of normal recordings are first."""
    found: defaultdict[tuple[bool, str], list[ScoredRecording]] = defaultdict(list)
    for each in recordings:
        found[each.label == ABNORMAL, each.session].append(each)
    return tuple(
        SessionScores(session, some[0].label, tuple(e.score for e in some), sum(e.anomalous for e in some))
        for (_, session), some in sorted(found.items())
    )


def held_out_alarms(calibration: Calibration, threshold: float, rate: float) -> NDArray[np.bool_]:
    """Return which normal recordings are false alarms, ``(recordings,)``.

    If the rate holds for new sessions, each session is held out in turn: the threshold for its recordings comes from
    the other sessions. So these are the false alarms of sessions that neither engines nor threshold know. Otherwise,
    and with one session, the served threshold counts.

    Args:
        calibration: scores of normal recordings.
        threshold: served threshold, 0 to 1.
        rate: false-alarm rate that it was chosen for, 0 to 1.
    """
    if calibration.rate_holds_for == "same_session" or calibration.n_sessions == 1:
        return calibration.named > threshold
    alarms = np.zeros(len(calibration.named), bool)
    for number in np.unique(calibration.session):
        mine = calibration.session == number
        others = replace(
            calibration,
            named=calibration.named[~mine],
            unnamed=calibration.unnamed[~mine],
            session=calibration.session[~mine],
            odd=None if calibration.odd is None else calibration.odd[~mine],
        )
        alarms[mine] = calibration.named[mine] > calibrated_threshold(others, rate)
    return alarms


def _score(recording: ScoredRecording) -> float:
    return recording.score


def _judged(each: JudgedRecording) -> ScoredRecording:
    return ScoredRecording(each.entry.session, each.entry.label, each.score, each.anomaly, each.entry)


def _calibrated(context: TrainingContext, detector: Detector, alarms: NDArray[np.bool_]) -> Iterator[ScoredRecording]:
    """Yield the normal recordings with their scores in the calibration."""
    learned, calibration = normal_with_sound(context.final_side), detector.calibration
    names = list(dict.fromkeys(entry.session for entry in learned))  # in the order of their numbers
    # A machine with one recording has no score; then it is not known which recording a score belongs to.
    entries = learned if len(learned) == len(calibration.named) else [None] * len(calibration.named)
    scores, sessions = calibration.named.tolist(), calibration.session.tolist()
    for entry, score, session, alarm in zip(entries, scores, sessions, alarms.tolist(), strict=True):
        yield ScoredRecording(names[session], NORMAL, score, alarm, entry)


def _abnormal(abnormal: Sequence[MeasuredRecording], decision: DecisionThreshold) -> Iterator[ScoredRecording]:
    for entry, novelty in abnormal:
        yield ScoredRecording(entry.session, ABNORMAL, novelty.score, novelty.score > decision.threshold, entry)


def _sensitivity_rows(
    context: TrainingContext, detector: Detector, abnormal: Sequence[MeasuredRecording]
) -> Iterator[SensitivityRow]:
    points = [operating_point_at_rate(detector.calibration, rate) for rate in SENSITIVITIES.values()]
    detected = detected_shares(abnormal, [point.threshold for point in points], context.options.seed)
    for name, point, share in zip(SENSITIVITIES, points, detected, strict=True):
        yield SensitivityRow(
            sensitivity=name,
            stated_rate=SENSITIVITIES[name],
            threshold=point.threshold,
            expected_rate=point.expected_rate,
            detected=share,
        )
