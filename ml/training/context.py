"""Values that all stages of a training share."""

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
    """A training with its recordings and its split.

    Attributes:
        options: options of the training.
        home: folder of features, records and models.
        dataset, split: the recordings and their sides.
        spec: clip length, and features of the network.
        work: folder for checkpoints and records of this training only.
        notes: sentences from the caller for card and report.
        processes: number of processes for reading and features; None chooses it from the cores and the recordings.
        report: called with the progress.
        demonstration: whether the model is a demonstration: its answers state this, and no false-alarm rate.
        started: start of the training, in seconds of the monotonic clock.
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
    demonstration: bool = False

    @property
    def has_classifier(self) -> bool:
        """Whether the model has a classifier."""
        return self.options.learn != "detector"

    @property
    def has_detector(self) -> bool:
        """Whether the model has a detector."""
        return self.options.learn != "classifier"

    @property
    def development_side(self) -> tuple[Entry, ...]:
        """Recordings of the training and validation sides."""
        return (*self.split.train, *self.split.validation)

    @property
    def final_side(self) -> tuple[Entry, ...]:
        """Recordings that the served model learns from: all sides if there is a final fit."""
        return (*self.development_side, *self.split.test) if self.options.refit else self.development_side
