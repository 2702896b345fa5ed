"""Result of the served model, from recordings that the scoring model has not learned from."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ml.dataset.annotations import Label
from ml.dataset.entries import ABNORMAL, NORMAL, Entry
from ml.dataset.splitting.method_names import METHODS_WITHIN_SESSIONS
from ml.detectors.calibration import Calibration
from ml.detectors.detector import Detector
from ml.detectors.thresholds import SENSITIVITIES, calibrated_threshold, operating_point_at_rate
from ml.evaluation.judged import JudgedRecording
from ml.evaluation.results import Estimate
from ml.models.bundle import DecisionThreshold
from ml.reports.expectations import Expectations, SensitivityRow, SessionScores
from ml.training.candidate import FittedModel, Thresholds
from ml.training.classifier_folds import CrossValidation, Scores, fold_calibration
from ml.training.context import TrainingContext
from ml.training.detector_stage import MeasuredRecording, normal_with_sound
from ml.training.held_out_result import HeldOutResult
from ml.training.operating_points import estimate_shares
from ml.training.whole_verdict import calibrated_recordings, classifier_scores


@dataclass(frozen=True, slots=True)
class ScoredRecording:
    """A recording with its score and verdict at the served threshold.

    Attributes:
        session: name of its session.
        label: its label.
        score: 0 to 1, by a model that has not learned from the recording.
        anomalous: whether the verdict is ``anomalous``.
        entry: the recording.
    """

    session: str
    label: Label
    score: float
    anomalous: bool
    entry: Entry


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
        folds: CrossValidation | None,
    ) -> Self:
        """Return the result of the served model.

        **Detector.** Its normal recordings have the scores of its calibration, by engines that have not learned from
        them, and its abnormal recordings those of the served detector, which learned from none. The false alarms are
        those of :func:`held_out_alarms`.

        **Classifier.** The recordings have the scores of the cross-validation over sessions. If its threshold comes
        from them, the false alarms are counted as for a detector. Without it, the verdicts on the test side.

        **Both.** The scores are the detector's. A recording is anomalous if one of the two parts finds it anomalous.

        Args:
            context: the training.
            served: the model that goes into the bundle.
            thresholds: thresholds of the served model.
            result: the evaluation.
            abnormal: all abnormal recordings with their distances by the served detector.
            folds: cross-validation of the classifier; None without one.
        """
        normal = [each for each in result.judged if each.entry.label == NORMAL]
        detector, rate, seed = served.detector, context.options.false_alarm_rate, context.options.seed
        new_session = context.split.method not in METHODS_WITHIN_SESSIONS
        rows: Iterable[SensitivityRow] = ()
        if detector is not None:
            alarms = held_out_alarms(detector.calibration, thresholds.score.threshold, rate)
            recordings = [*_calibrated(context, detector, alarms), *_abnormal(abnormal, thresholds.score)]
            rows = _detector_rows(detector, abnormal, seed)
            new_session = detector.calibration.rate_holds_for == "new_session"
            if served.network is not None:
                recordings = _with_classifier(recordings, result, folds, detector.calibration, thresholds)
        elif folds is not None:
            new_session = any(each.label == NORMAL and each.path in folds.new_session for each in context.final_side)
            scores = folds.new_session if new_session else folds.same_session
            recordings = _cross_validated(context, scores, thresholds.score)
            if (calibration := fold_calibration(context, folds)) is not None:
                # The threshold comes from these scores, so each session is judged at that of the others.
                held_out = held_out_alarms(calibration, thresholds.score.threshold, rate).tolist()
                recordings = _with_alarms(recordings, held_out)
            rows = _classifier_rows(recordings, seed) if new_session else ()
        else:
            recordings = [_judged(each) for each in result.judged]
        expectations = Expectations(
            threshold=thresholds.score.threshold,
            stated_rate=rate,
            new_session=new_session,
            detected=_share_anomalous(recordings, ABNORMAL, seed),
            false_alarms=_share_anomalous(recordings, NORMAL, seed),
            not_judged=(sum(each.unusable for each in normal), len(normal)),
            sessions=by_session(recordings),
            has_detector=detector is not None,
            by_name=detector is not None or (folds is not None and fold_calibration(context, folds) is not None),
            learned_faults=None if folds is None else _learned_faults(context, folds, thresholds, recordings),
            sensitivities=tuple(rows),
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
    """Return which normal recordings are above the threshold of :func:`held_out_thresholds`, ``(recordings,)``."""
    return calibration.named > held_out_thresholds(calibration, threshold, rate)


def held_out_thresholds(calibration: Calibration, threshold: float, rate: float) -> NDArray[np.float64]:
    """Return a threshold for each normal recording, ``(recordings,)``.

    If the rate holds for new sessions, each session is held out in turn: the threshold for its recordings comes from
    the other sessions. So the scores above it are the false alarms of sessions that neither engines nor threshold know.
    Otherwise, and with one session, it is the served threshold.

    Args:
        calibration: scores of normal recordings.
        threshold: served threshold, 0 to 1.
        rate: false-alarm rate that it was chosen for, 0 to 1.
    """
    thresholds = np.full(len(calibration.named), threshold)
    if calibration.rate_holds_for == "same_session" or calibration.n_sessions == 1:
        return thresholds
    for number in np.unique(calibration.session):
        mine = calibration.session == number
        thresholds[mine] = calibrated_threshold(calibration.of(~mine), rate)
    return thresholds


def _score(recording: ScoredRecording) -> float:
    return recording.score


def _judged(each: JudgedRecording) -> ScoredRecording:
    return ScoredRecording(each.entry.session, each.entry.label, each.score, each.anomaly, each.entry)


def _calibrated(context: TrainingContext, detector: Detector, alarms: NDArray[np.bool_]) -> Iterator[ScoredRecording]:
    """Yield the normal recordings with their scores in the calibration."""
    calibration, entries = detector.calibration, calibrated_recordings(context)
    # In the order of their numbers, also of a machine whose only recording has no score.
    names = list(dict.fromkeys(entry.session for entry in normal_with_sound(context.final_side)))
    scores, sessions = calibration.named.tolist(), calibration.session.tolist()
    for entry, score, session, alarm in zip(entries, scores, sessions, alarms.tolist(), strict=True):
        yield ScoredRecording(names[session], NORMAL, score, alarm, entry)


def _abnormal(abnormal: Sequence[MeasuredRecording], decision: DecisionThreshold) -> Iterator[ScoredRecording]:
    for entry, novelty in abnormal:
        yield ScoredRecording(entry.session, ABNORMAL, novelty.score, novelty.score > decision.threshold, entry)


def _cross_validated(context: TrainingContext, scores: Scores, decision: DecisionThreshold) -> list[ScoredRecording]:
    """Return the recordings that have a score in the cross-validation."""
    return [
        ScoredRecording(entry.session, entry.label, score, score > decision.threshold, entry)
        for entry in context.final_side
        if (score := scores.get(entry.path)) is not None
    ]


def _with_alarms(recordings: Iterable[ScoredRecording], alarms: Iterable[bool]) -> list[ScoredRecording]:
    """Return the recordings; the normal ones, in their order, are anomalous as ``alarms`` states."""
    flags = iter(alarms)
    return [replace(each, anomalous=next(flags)) if each.label == NORMAL else each for each in recordings]


def _with_classifier(
    recordings: Iterable[ScoredRecording],
    result: HeldOutResult,
    folds: CrossValidation | None,
    calibration: Calibration,
    thresholds: Thresholds,
) -> list[ScoredRecording]:
    """Return the recordings of a detector, with the verdicts of the classifier too."""
    if folds is None:  # then the verdicts of the test side have both
        return [_judged(each) for each in result.judged]
    limit = 1.0 if thresholds.classifier is None else thresholds.classifier.threshold
    scores = classifier_scores(folds, calibration)
    return [replace(each, anomalous=each.anomalous or scores.get(each.entry.path, 0.0) > limit) for each in recordings]


def _learned_faults(
    context: TrainingContext, folds: CrossValidation, thresholds: Thresholds, recordings: Iterable[ScoredRecording]
) -> tuple[int, int]:
    """Count the abnormal recordings that are found if the other half of their session is learned from, and all."""
    limit = 1.0 if thresholds.classifier is None else thresholds.classifier.threshold
    by_detector = {each.entry.path for each in recordings if each.anomalous}
    scores = {
        entry.path: folds.same_session[entry.path]
        for entry in context.final_side
        if entry.label == ABNORMAL and entry.path in folds.same_session
    }
    return sum(score > limit or path in by_detector for path, score in scores.items()), len(scores)


def _share_anomalous(recordings: Iterable[ScoredRecording], label: Label, seed: int) -> Estimate:
    some = [each for each in recordings if each.label == label]
    flags = np.array([[each.anomalous] for each in some], bool).reshape(-1, 1)
    (share,) = estimate_shares(flags, np.array([each.session for each in some]), seed)
    return share


def _detector_rows(detector: Detector, abnormal: Sequence[MeasuredRecording], seed: int) -> Iterator[SensitivityRow]:
    scores = np.array([novelty.score for _, novelty in abnormal])
    return _sensitivity_rows(detector.calibration, scores, [entry.session for entry, _ in abnormal], seed)


def _classifier_rows(recordings: Sequence[ScoredRecording], seed: int) -> Iterator[SensitivityRow]:
    normal, abnormal = ([each for each in recordings if each.label == label] for label in (NORMAL, ABNORMAL))
    if not normal:
        return iter(())
    scores = np.array([each.score for each in normal])
    session = np.unique([each.session for each in normal], return_inverse=True)[1]
    calibration = Calibration(scores, scores, session, rate_holds_for="new_session")
    sessions = [each.session for each in abnormal]
    return _sensitivity_rows(calibration, np.array([each.score for each in abnormal]), sessions, seed)


def _sensitivity_rows(
    calibration: Calibration, scores: NDArray[np.float64], sessions: Sequence[str], seed: int
) -> Iterator[SensitivityRow]:
    """Yield the threshold at each sensitivity, with the share of the abnormal scores above it."""
    points = [operating_point_at_rate(calibration, rate) for rate in SENSITIVITIES.values()]
    above = np.stack([scores > point.threshold for point in points], axis=1)
    detected = estimate_shares(above, np.array(sessions), seed)
    for name, point, share in zip(SENSITIVITIES, points, detected, strict=True):
        yield SensitivityRow(
            sensitivity=name,
            stated_rate=SENSITIVITIES[name],
            threshold=point.threshold,
            expected_rate=point.expected_rate,
            detected=share,
        )
