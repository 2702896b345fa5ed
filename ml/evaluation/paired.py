"""Two models on the same recordings: by how much the one is better, and how sure one can be of that.

Both are judged under the same bootstrap draws, so that what makes a recording hard for either falls out of their
difference: its interval is narrower than those of the two figures suggest.
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
    """A candidate beside a champion, on the same recordings.

    Attributes:
        n, normal, abnormal: how many recordings.
        groups, normal_groups, abnormal_groups: from how many recording groups they are.
        candidate_auc, champion_auc: of their scores.
        auc_difference: the candidate's less the champion's, from draws that both share.
        candidate_balanced_accuracy, champion_balanced_accuracy: mean of the shares of abnormal recordings above, and of
            normal ones not above, the model's own threshold.
        balanced_accuracy_difference: as for the AUC.
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
        """Whether a class was drawn recording by recording, so that its intervals are too narrow."""
        return min(self.normal_groups, self.abnormal_groups) < MIN_SESSIONS


def compare_paired(
    candidate: Sequence[JudgedRecording], champion: Sequence[JudgedRecording], *, seed: int = 0
) -> PairedComparison:
    """Hold a candidate's verdicts against a champion's.

    Args:
        candidate: its verdicts, with a random gain on each recording if level is not to win.
        champion: its verdicts on the same recordings in the same order, under the same gains.
        seed: of the bootstrap.

    Returns:
        The figures; those that compare two classes are undefined where one is missing.

    Raises:
        DatasetEmpty: nothing was judged.
        InvalidParameter: the verdicts are on other recordings, or in another order.
    """
    if not candidate:
        raise DatasetEmpty("There is no judged recording to compare on; at least one was expected.")
    if [each.entry for each in candidate] != [each.entry for each in champion]:
        raise InvalidParameter("Candidate and champion judged other recordings; the same in the same order are needed.")
    tables = [JudgedTable.of(judged, None, None) for judged in (candidate, champion)]
    abnormal, group, plan = tables[0].abnormal, tables[0].session, tables[0].bootstrap_plan(seed)
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
        groups=len(np.unique(group)),
        normal_groups=len(np.unique(group[~abnormal])),
        abnormal_groups=len(np.unique(group[abnormal])),
        candidate_auc=auc,
        champion_auc=champion_auc,
        auc_difference=auc_difference,
        candidate_balanced_accuracy=accuracy,
        champion_balanced_accuracy=champion_accuracy,
        balanced_accuracy_difference=accuracy_difference,
    )


def _balanced_accuracy(table: JudgedTable, weights: Floats) -> Floats:
    found = metrics.weighted_share(table.alarm, table.abnormal, weights)
    spared = metrics.weighted_share(~table.alarm, ~table.abnormal, weights)
    return (found + spared) / 2
