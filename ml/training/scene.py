"""What the steps of a training share, once the recordings are read and divided."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ml.dataset.entries import Dataset, Entry
from ml.dataset.splitting.sides import Split
from ml.detectors.detector import Detector
from ml.evaluation.judged import Judged
from ml.features.store import Features
from ml.models.bundle import Decision
from ml.models.judging import judge
from ml.models.predictor import Predictor
from ml.system.progress import Report
from ml.training.classes import Classes
from ml.training.clips import clips_of
from ml.training.detecting import Detecting
from ml.training.options import Options
from ml.training.tested import Tested

if TYPE_CHECKING:
    from ml.classifier.fitting import Fitted
    from ml.classifier.stream import Clips


@dataclass(frozen=True, slots=True)
class Scene:
    """A training under way.

    Attributes:
        options: what was asked for.
        dataset, split: the recordings, and their sides.
        features: of all of them.
        classes: what is told apart.
        work: a folder for checkpoints.
        processes, report: for whatever takes long.
    """

    options: Options
    dataset: Dataset
    split: Split
    features: Features
    classes: Classes
    work: Path
    processes: int | None
    report: Report

    def clips(self, entries: Sequence[Entry], *, augmented: bool) -> "Clips":
        """Windows of some recordings."""
        return clips_of(entries, self.classes.of, self.features, augmented=augmented)

    def detector(self, entries: Sequence[Entry]) -> Detector | None:
        """A detector of the healthy ones of some recordings, if one was asked for."""
        return self.detecting.detector(entries) if self.options.learn == "both" else None

    @property
    def detecting(self) -> Detecting:
        """What its detector is made of."""
        return Detecting(self.dataset, self.features.spec, self.options, self.processes, self.report)

    def judge(self, predictor: Predictor, entries: Sequence[Entry]) -> tuple[Judged, ...]:
        """Verdicts on some recordings."""
        return judge(predictor, self.dataset, entries, processes=self.processes, report=self.report)

    def tested(self, predictor: Predictor) -> Tested:
        """Verdicts on the test side."""
        return Tested.of(predictor, self.dataset, self.split.test, self.options, self.processes, self.report)


@dataclass(frozen=True, slots=True)
class Measured:
    """A network, and what it is worth on recordings it has not learned from.

    Attributes:
        fitted: to the training side.
        decision: its threshold.
        tested: on the test side.
        detector: of the healthy recordings of the training and validation sides, where one was asked for; then
            ``decision`` is the classifier's own.
    """

    fitted: "Fitted"
    decision: Decision
    tested: Tested
    detector: Detector | None
