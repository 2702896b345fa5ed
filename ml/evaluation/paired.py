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
        aucs = [metrics.auc(*ranking.roc(weights)) for ranking in rankings]
        return np.stack([*aucs, *(_balanced_accuracy(table, weights) for table in tables)], axis=1)

    def differences(weights: Floats) -> Floats:
        each = figures(weights)
        return each[:, ::2] - each[:, 1::2]

    smaller = plan.units(NORMAL_STRATUM, ABNORMAL_STRATUM)
    auc, champion_auc, accuracy, champion_accuracy = bootstrap_estimates(figures, plan, [smaller] * 4)
    auc_difference, accuracy_difference = bootstrap_estimates(differences, plan, [smaller] * 2, wilson_difference)
    return PairedComparison(
        n=len(abnormal),
        normal=int((~abnormal).sum()),
        abnormal=int(abnormal.sum()),
        groups=len(np.unique(session)),
        normal_groups=len(np.unique(session[~abnormal])),
        abnormal_groups=len(np.unique(session[abnormal])),
        candidate_auc=auc,
        champion_auc=champion_auc,
        auc_difference=auc_difference,
        candidate_balanced_accuracy=accuracy,
        champion_balanced_accuracy=champion_accuracy,
        balanced_accuracy_difference=accuracy_difference,
    )


def _balanced_accuracy(table: JudgedTable, weights: Floats) -> Floats:
    detected = metrics.weighted_share(table.alarm, table.abnormal, weights)
    without_alarm = metrics.weighted_share(~table.alarm, ~table.abnormal, weights)
    return (detected + without_alarm) / 2
