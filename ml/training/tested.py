"""What a candidate says of recordings it has not learned from, and what that is worth."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Self

from ml.dataset.entries import Dataset, Entry
from ml.evaluation.evaluating import evaluate
from ml.evaluation.judged import Judged
from ml.evaluation.results import Evaluation
from ml.models.judging import judge
from ml.models.predictor import Predictor
from ml.system.progress import Report
from ml.training.options import GAIN_DB, Options


@dataclass(frozen=True, slots=True)
class Tested:
    """Verdicts on the test side.

    Attributes:
        evaluation: their figures.
        judged: the verdicts.
        gain_judged: the same with a random gain on each recording.
    """

    evaluation: Evaluation
    judged: tuple[Judged, ...]
    gain_judged: tuple[Judged, ...]

    @classmethod
    def of(
        cls,
        predictor: Predictor,
        dataset: Dataset,
        entries: Sequence[Entry],
        options: Options,
        processes: int | None,
        report: Report,
    ) -> Self:
        """Let a candidate judge recordings of a dataset, as they are and with a random gain on each."""
        judged, gained = (
            judge(predictor, dataset, entries, gain_db=gain_db, seed=options.seed, processes=processes, report=report)
            for gain_db in (0.0, GAIN_DB)
        )
        threshold = predictor.decision.threshold
        evaluation = evaluate(
            judged, gain_judged=gained, threshold=threshold, classes=predictor.answers, seed=options.seed
        )
        return cls(evaluation, judged, gained)

    def noting(self, notes: Iterable[str]) -> Self:
        """The same, with notes that are read before those on the figures."""
        return replace(self, evaluation=replace(self.evaluation, notes=(*notes, *self.evaluation.notes)))
