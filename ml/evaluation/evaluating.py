"""Evaluation of judged recordings: all figures with their intervals."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ml.errors import DatasetEmpty, InvalidParameter
from ml.evaluation import metrics
from ml.evaluation.intervals import BootstrapPlan, bootstrap_estimates
from ml.evaluation.judged import JudgedRecording
from ml.evaluation.metrics import Floats, Ranking
from ml.evaluation.notes import notes
from ml.evaluation.results import UNDEFINED, Estimate, Evaluation, Slice
from ml.evaluation.table import ABNORMAL_STRATUM, NORMAL_STRATUM, JudgedTable, SliceMembers, all_slices, slices_by


def evaluate(
    judged: Sequence[JudgedRecording],
    *,
    judged_with_gain: Sequence[JudgedRecording] | None = None,
    threshold: float,
    classes: Sequence[str],
    score_is_probability: bool = True,
    seed: int = 0,
) -> Evaluation:
    """Compute the figures of a model from its verdicts.

    The figures and their formulas are in :mod:`ml.evaluation.metrics`, the intervals in
    :mod:`ml.evaluation.intervals`. Alarms are the model's own verdicts.

    Args:
        judged: verdicts, from :func:`ml.models.judging.judge`.
        judged_with_gain: the same recordings in the same order, each with a random gain; None if not measured.
        threshold: the model's threshold on the score, 0 to 1; stored, and not used in the figures.
        classes: names of the model's classes, in the order of its outputs.
        score_is_probability: whether the score is a probability of a fault, as that of a classifier. Brier score and
            ECE are undefined if not, as for a detector.
        seed: seed of the bootstrap.

    Raises:
        DatasetEmpty: there are no verdicts.
        InvalidParameter: ``judged_with_gain`` is of other recordings, or a predicted class is not in ``classes``.

    Example:
        >>> from ml.audio.info import AudioInfo
        >>> from ml.dataset.annotations import Annotation
        >>> from ml.dataset.entries import Entry
        >>> info = AudioInfo("0" * 32, 10.0, 16_000, 1, 16, "pcm", -30.0, -10.0, 0.0, 320_044)
        >>> labels = [Annotation(("normal", "abnormal")[i % 2], session=f"{i}") for i in range(8)]
        >>> entries = [Entry(path=f"{i}.wav", annotation=label, info=info) for i, label in enumerate(labels)]
        >>> judged = [JudgedRecording(e, i / 8, i > 4, (), e.label, e.label) for i, e in enumerate(entries)]
        >>> found = evaluate(judged, threshold=0.5, classes=["normal", "abnormal"])
        >>> found.pooled.auc.value, found.pooled.detection_rate.value, found.pooled.false_alarm_rate.value
        (0.625, 0.5, 0.25)
        >>> Evaluation.from_dict(found.to_dict()) == found
        True
    """
    if not judged:
        raise DatasetEmpty("There is no judged recording to evaluate; at least one was expected.")
    if judged_with_gain is not None and [j.entry for j in judged_with_gain] != [j.entry for j in judged]:
        raise InvalidParameter(
            "judged_with_gain has other recordings than judged; the same recordings in the same order were expected."
        )
    table = JudgedTable.of(judged, judged_with_gain)
    slices = tuple(_slice(table, each, seed) for each in all_slices(judged))
    classified = _ClassifiedRecordings.of(judged, classes)
    accuracy, balanced_accuracy, macro_f1 = _class_figures(classified, table, len(classes), seed)
    brier, ece = _calibration(table, seed) if score_is_probability else (UNDEFINED, UNDEFINED)
    mean_auc, mean_pauc = _harmonic_means(table, slices_by(judged, "id"), seed)
    return Evaluation(
        threshold=threshold,
        slices=slices,
        harmonic_mean_auc=mean_auc,
        harmonic_mean_pauc=mean_pauc,
        classes=tuple(classes),
        confusion=classified.confusion(len(classes)),
        accuracy=accuracy,
        balanced_accuracy=balanced_accuracy,
        macro_f1=macro_f1,
        brier=brier,
        ece=ece,
        auc_gain_randomised=slices[0].auc_gain_randomised,
        auc_level_only=slices[0].auc_level_only,
        roc=_roc(table),
        scores_normal=tuple(map(float, table.score[~table.abnormal])),
        scores_abnormal=tuple(map(float, table.score[table.abnormal])),
        notes=notes(judged, slices, classes, score_is_probability=score_is_probability),
    )


def _slice(table: JudgedTable, each: SliceMembers, seed: int) -> Slice:
    part = table.take(each.which)
    plan = part.bootstrap_plan(seed)
    normal, abnormal = plan.units(NORMAL_STRATUM), plan.units(ABNORMAL_STRATUM)
    both = plan.units(NORMAL_STRATUM, ABNORMAL_STRATUM)
    columns = [part.score, part.level_dbfs, *([] if part.gain_score is None else [part.gain_score])]
    rankings = [Ranking(scores, part.abnormal) for scores in columns]

    def figures(weights: Floats) -> Floats:
        curves = [ranking.roc(weights) for ranking in rankings]
        rates = [metrics.weighted_share(part.alarm, among, weights) for among in (part.abnormal, ~part.abnormal)]
        return np.stack([metrics.partial_auc(*curves[0]), *rates, *(metrics.auc(*curve) for curve in curves)], axis=1)

    pauc, detection_rate, false_alarm_rate, auc, level_only, *with_gain = bootstrap_estimates(
        figures, plan, [both, abnormal, normal, *[both] * len(rankings)]
    )
    return Slice(
        name=each.name,
        kind=each.kind,
        machine=each.machine,
        machine_id=each.machine_id,
        snr_db=each.snr_db,
        n=len(part.score),
        normal=int((~part.abnormal).sum()),
        abnormal=int(part.abnormal.sum()),
        groups=len(np.unique(part.session)),
        normal_groups=len(np.unique(part.session[~part.abnormal])),
        abnormal_groups=len(np.unique(part.session[part.abnormal])),
        auc=auc,
        pauc=pauc,
        detection_rate=detection_rate,
        false_alarm_rate=false_alarm_rate,
        auc_gain_randomised=with_gain[0] if with_gain else UNDEFINED,
        auc_level_only=level_only,
    )


def _harmonic_means(table: JudgedTable, ids: Sequence[SliceMembers], seed: int) -> tuple[Estimate, Estimate]:
    """Harmonic means of AUC and pAUC over the machine ids. Draws are within each id: each has all ids."""
    if not ids:
        return UNDEFINED, UNDEFINED
    part = table.take(np.concatenate([each.which for each in ids]))
    number = np.repeat(np.arange(len(ids)), [len(each.which) for each in ids])
    columns = [np.flatnonzero(number == each) for each in range(len(ids))]
    rankings = [Ranking(part.score[mine], part.abnormal[mine]) for mine in columns]

    def figures(weights: Floats) -> Floats:
        curves = [ranking.roc(weights[:, mine]) for ranking, mine in zip(rankings, columns, strict=True)]
        of_each = [[figure(*curve) for curve in curves] for figure in (metrics.auc, metrics.partial_auc)]
        return np.stack([metrics.harmonic_mean(np.stack(each, axis=1)) for each in of_each], axis=1)

    plan = BootstrapPlan.of(2 * number + part.abnormal, part.session, seed)
    auc, pauc = bootstrap_estimates(
        figures, plan, [table.bootstrap_plan(seed).units(NORMAL_STRATUM, ABNORMAL_STRATUM)] * 2
    )
    return auc, pauc


class _ClassifiedRecordings(NamedTuple):
    """Recordings whose true class the model has: indices, true and predicted classes, each ``(n,)``."""

    which: NDArray[np.int64]
    truth: NDArray[np.int64]
    predicted: NDArray[np.int64]

    @classmethod
    def of(cls, judged: Sequence[JudgedRecording], classes: Sequence[str]) -> "_ClassifiedRecordings":
        number = {name: i for i, name in enumerate(classes)}
        unknown = {j.predicted for j in judged} - number.keys()
        if unknown:
            raise InvalidParameter(
                f"{sorted(unknown)[0]} was predicted; one of the classes {', '.join(classes)} was expected."
            )
        rows = [(i, number[j.truth], number[j.predicted]) for i, j in enumerate(judged) if j.truth in number]
        return cls(*np.array(rows, np.int64).reshape(-1, 3).T)

    def confusion(self, classes: int) -> tuple[tuple[int, ...], ...]:
        """Count recordings by true class (rows) and predicted class (columns)."""
        counts = np.bincount(self.truth * classes + self.predicted, minlength=classes**2)
        return tuple(tuple(map(int, row)) for row in counts.reshape(classes, classes))


def _class_figures(
    classified: _ClassifiedRecordings, table: JudgedTable, classes: int, seed: int
) -> tuple[Estimate, ...]:
    """Accuracy, balanced accuracy and macro-F1. Draws are within each true class: each has all classes."""
    plan = BootstrapPlan.of(classified.truth, table.session[classified.which], seed)

    def figures(weights: Floats) -> Floats:
        return metrics.class_figures(classified.truth, classified.predicted, classes, weights)

    smallest = plan.units(*map(int, np.unique(classified.truth)))
    return bootstrap_estimates(figures, plan, [smallest] * 3)


def _calibration(table: JudgedTable, seed: int) -> tuple[Estimate, ...]:
    """Brier score and expected calibration error."""
    plan = table.bootstrap_plan(seed)
    bins = metrics.calibration_bins(table.score)

    def figures(weights: Floats) -> Floats:
        error = metrics.calibration_error(table.score, table.abnormal, bins, weights)
        return np.stack([metrics.brier(table.score, table.abnormal, weights), error], axis=1)

    return bootstrap_estimates(figures, plan, [min(stratum.units for stratum in plan.strata)] * 2)


def _roc(table: JudgedTable) -> tuple[tuple[float, float, float], ...]:
    """Corners of the ROC curve; none if a class is missing. Points on a straight line are left out."""
    if table.abnormal.all() or not table.abnormal.any():
        return ()
    ranking = Ranking(table.score, table.abnormal)
    false_alarms, detections = (rates[0] for rates in ranking.roc(np.ones((1, len(table.score)))))
    # Threshold of each point: at the highest score no recording is anomalous, at -1 all are.
    thresholds = np.r_[ranking.thresholds, -1.0]
    steps = np.diff(false_alarms), np.diff(detections)
    turns = [np.r_[True, (step[1:] > 0) != (step[:-1] > 0), True] for step in steps]
    sloping = np.r_[True, (steps[0][1:] > 0) & (steps[1][1:] > 0), True]
    corners = np.flatnonzero(turns[0] | turns[1] | sloping)
    points = np.stack([false_alarms, detections, thresholds], axis=1)[corners]
    return tuple((float(x), float(y), float(t)) for x, y, t in points)
