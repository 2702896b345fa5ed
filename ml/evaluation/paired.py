"""Paired comparison: differences between two models on the same recordings, with their intervals.

Both models have the same bootstrap draws. Recordings that are hard for both do not change the difference. Therefore its
interval is narrower than those of the two figures suggest.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ml.errors import DatasetEmpty, InvalidParameter
from ml.evaluation import metrics
from ml.evaluation.intervals import MIN_SESSIONS, bootstrap_estimates, wilson_difference
from ml.evaluation.judged import JudgedRecording
from ml.evaluation.metrics import Floats, Ranking
from ml.evaluation.results import Estimate
from ml.evaluation.table import ABNORMAL_STRATUM, NORMAL_STRATUM, JudgedTable


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedComparison:
    """Figures of a candidate and a champion on the same recordings. :func:`compare_paired` has an example.

    Attributes:
        n, normal, abnormal: numbers of recordings.
        groups, normal_groups, abnormal_groups: numbers of sessions.
        candidate_auc, champion_auc: area under the ROC curve, 0 to 1.
        auc_difference: candidate minus champion, -1 to 1, from common draws.
        candidate_balanced_accuracy, champion_balanced_accuracy: mean of the share of abnormal recordings with the
            verdict ``anomalous`` and the share of normal recordings without it, 0 to 1.
        balanced_accuracy_difference: candidate minus champion, -1 to 1, from common draws.
        candidate_detection_rate, champion_detection_rate: share of abnormal recordings with the verdict ``anomalous``,
            0 to 1.
        detection_rate_difference: candidate minus champion, -1 to 1, from common draws.
        candidate_false_alarm_rate, champion_false_alarm_rate: share of normal recordings with the verdict
            ``anomalous``, 0 to 1.
        false_alarm_rate_difference: candidate minus champion, -1 to 1, from common draws.
        candidate_unusable, champion_unusable: numbers of recordings with the verdict ``unusable``, which is no alarm.
    """

    n: int
    normal: int
    abnormal: int
    groups: int
    normal_groups: int
    abnormal_groups: int
    candidate_auc: Estimate
    champion_auc: Estimate
    auc_difference: Estimate
    candidate_balanced_accuracy: Estimate
    champion_balanced_accuracy: Estimate
    balanced_accuracy_difference: Estimate
    candidate_detection_rate: Estimate
    champion_detection_rate: Estimate
    detection_rate_difference: Estimate
    candidate_false_alarm_rate: Estimate
    champion_false_alarm_rate: Estimate
    false_alarm_rate_difference: Estimate
    candidate_unusable: int
    champion_unusable: int

    @property
    def too_few_sessions(self) -> bool:
        """Whether a class has fewer than three sessions, so that the intervals are too narrow."""
        return min(self.normal_groups, self.abnormal_groups) < MIN_SESSIONS


def compare_paired(
    candidate: Sequence[JudgedRecording], champion: Sequence[JudgedRecording], *, seed: int = 0
) -> PairedComparison:
    """Compare a candidate with a champion on the same recordings.

    Args:
        candidate: verdicts of the candidate. With a random gain on each recording, level cannot decide.
        champion: verdicts of the champion on the same recordings in the same order, with the same gains.
        seed: seed of the bootstrap.

    Returns:
        The figures. They are undefined if a class is missing.

    Raises:
        DatasetEmpty: there are no verdicts.
        InvalidParameter: the verdicts are on other recordings, or in another order.

    Example:
        >>> from ml.audio.info import AudioInfo
        >>> from ml.dataset.annotations import Annotation
        >>> from ml.dataset.entries import Entry
        >>> info = AudioInfo("0" * 32, 10.0, 16_000, 1, 16, "pcm", -30.0, -10.0, 0.0, 320_044)
        >>> labels = [Annotation(("normal", "abnormal")[i % 2], session=f"{i}") for i in range(8)]
        >>> entries = [Entry(path=f"{i}.wav", annotation=label, info=info) for i, label in enumerate(labels)]
        >>> champion = [JudgedRecording(e, i / 8, i > 4, (), "fault", None) for i, e in enumerate(entries)]
        >>> candidate = [JudgedRecording(e, i % 2, i % 2 > 0, (), "fault", None) for i, e in enumerate(entries)]
        >>> found = compare_paired(candidate, champion)
        >>> found.candidate_auc.value, found.champion_auc.value, found.auc_difference.value
        (1.0, 0.625, 0.375)
        >>> found.candidate_detection_rate.value, found.champion_detection_rate.value
        (1.0, 0.5)
        >>> found.candidate_false_alarm_rate.value, found.champion_false_alarm_rate.value
        (0.0, 0.25)
        >>> found.too_few_sessions
        False
    """
    if not candidate:
        raise DatasetEmpty("There is no judged recording to compare on; at least one was expected.")
    if [each.entry for each in candidate] != [each.entry for each in champion]:
        raise InvalidParameter(
            "Candidate and champion judged different recordings; the same recordings in the same order were expected."
        )
    tables = [JudgedTable.of(judged) for judged in (candidate, champion)]
    abnormal, session, plan = tables[0].abnormal, tables[0].session, tables[0].bootstrap_plan(seed)
    rankings = [Ranking(table.score, abnormal) for table in tables]

    def figures(weights: Floats) -> Floats:
        of_each = [_figures(table, ranking, weights) for table, ranking in zip(tables, rankings, strict=True)]
        return np.concatenate(of_each, axis=1)

    def differences(weights: Floats) -> Floats:
        candidate_figures, champion_figures = np.split(figures(weights), 2, axis=1)
        return candidate_figures - champion_figures

    normal_units, abnormal_units = plan.units(NORMAL_STRATUM), plan.units(ABNORMAL_STRATUM)
    smaller = min(normal_units, abnormal_units)
    units = [smaller, smaller, abnormal_units, normal_units]
    auc, accuracy, detected, false_alarms, *champion_figures = bootstrap_estimates(figures, plan, units * 2)
    difference = bootstrap_estimates(differences, plan, units, wilson_difference)
    return PairedComparison(
        n=len(abnormal),
        normal=int((~abnormal).sum()),
        abnormal=int(abnormal.sum()),
        groups=len(np.unique(session)),
        normal_groups=len(np.unique(session[~abnormal])),
        abnormal_groups=len(np.unique(session[abnormal])),
        candidate_auc=auc,
        champion_auc=champion_figures[0],
        auc_difference=difference[0],
        candidate_balanced_accuracy=accuracy,
        champion_balanced_accuracy=champion_figures[1],
        balanced_accuracy_difference=difference[1],
        candidate_detection_rate=detected,
        champion_detection_rate=champion_figures[2],
        detection_rate_difference=difference[2],
        candidate_false_alarm_rate=false_alarms,
        champion_false_alarm_rate=champion_figures[3],
        false_alarm_rate_difference=difference[3],
        candidate_unusable=sum(each.unusable for each in candidate),
        champion_unusable=sum(each.unusable for each in champion),
    )


def _figures(table: JudgedTable, ranking: Ranking, weights: Floats) -> Floats:
    """Return AUC, balanced accuracy, detection rate and false-alarm rate of one model, ``(draws, 4)``."""
    detected = metrics.weighted_share(table.alarm, table.abnormal, weights)
    false_alarms = metrics.weighted_share(table.alarm, ~table.abnormal, weights)
    accuracy = metrics.balanced_accuracy(table.alarm, table.abnormal, weights)
    return np.stack([metrics.auc(*ranking.roc(weights)), accuracy, detected, false_alarms], axis=1)
