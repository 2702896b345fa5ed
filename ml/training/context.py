"""What every stage of a training needs to know."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ml.dataset.entries import Dataset, Entry
from ml.dataset.splitting.sides import Split
from ml.features.spec import FeatureSpec
from ml.system.progress import ProgressCallback
from ml.training.options import TrainingOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingContext:
    """A training that has its recordings and its split.

    Attributes:
        options: what was chosen.
        home: where features, records and models are.
        dataset, split: the recordings and their sides.
        spec: how a recording is cut into clips, and what the network takes.
        work: a folder for checkpoints and records, of this training alone.
        notes: sentences for card and report, from whoever started the training.
        processes: for reading and features; None decides by cores and recordings.
        report: told how far the work is.
        started: when the training began, in seconds of the monotonic clock.
    """

    options: TrainingOptions
    home: Path
    dataset: Dataset
    split: Split
    spec: FeatureSpec
    work: Path
    notes: Sequence[str]
    processes: int | None
    report: ProgressCallback
    started: float

    @property
    def has_classifier(self) -> bool:
        """Whether the model tells known faults apart."""
        return self.options.learn != "detector"

    @property
    def has_detector(self) -> bool:
        """Whether the model has a detector."""
        return self.options.learn != "classifier"

    @property
    def development_side(self) -> tuple[Entry, ...]:
        """The recordings that are not held out: training and validation."""
        return (*self.split.train, *self.split.validation)

    @property
    def final_side(self) -> tuple[Entry, ...]:
        """The recordings that the served model learns from: all of them where there is a final fit."""
        return (*self.development_side, *self.split.test) if self.options.refit else self.development_side
