"""Verdicts of a candidate on the test side, and their figures."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Self

from ml.evaluation.evaluating import evaluate
from ml.evaluation.judged import JudgedRecording
from ml.evaluation.results import Evaluation
from ml.models.judging import judge
from ml.models.predictor import Predictor
from ml.training.context import TrainingContext
from ml.training.options import GAIN_DB


@dataclass(frozen=True, slots=True)
class HeldOutResult:
    """Verdicts on the test side.

    Attributes:
        evaluation: figures of the verdicts.
        judged: the verdicts.
        judged_with_gain: verdicts with a random gain on each recording.
    """

    evaluation: Evaluation
    judged: tuple[JudgedRecording, ...]
    judged_with_gain: tuple[JudgedRecording, ...]

    @classmethod
    def judge(cls, predictor: Predictor, context: TrainingContext) -> Self:
        """Judge the test side twice: as it is, and with a random gain on each recording."""
        options = context.options
        judged, gained = (
            judge(
                predictor,
                context.dataset,
                context.split.test,
                gain_db=gain_db,
                seed=options.seed,
                processes=context.processes,
                report=context.report,
            )
            for gain_db in (0.0, GAIN_DB)
        )
        threshold = predictor.model.decision.threshold
        evaluation = evaluate(
            judged,
            judged_with_gain=gained,
            threshold=threshold,
            classes=predictor.verdict_labels,
            score_is_probability=predictor.detector is None,
            seed=options.seed,
        )
        return cls(evaluation, judged, gained)

    def with_notes(self, notes: Iterable[str]) -> Self:
        """Return the result with more notes, placed before the existing ones."""
        return replace(self, evaluation=replace(self.evaluation, notes=(*notes, *self.evaluation.notes)))
