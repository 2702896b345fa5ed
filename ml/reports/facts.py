"""All that a report is made of: plain facts, gathered by whoever trained the model."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml.faults.agreement import Agreement
from ml.faults.groups import FaultGroups
from ml.features.spec import FeatureSpec
from ml.models.bundle import DecisionThreshold
from ml.models.labels import ClassLabels

if TYPE_CHECKING:
    from ml.classifier.fitting import Epoch
    from ml.evaluation.results import Evaluation


@dataclass(frozen=True, slots=True)
class Exemplar:
    """A recording to be drawn and heard.

    Attributes:
        title: whose exemplar it is (``group 1``, ``healthy``).
        path: the file.
        caption: what a listener should know, such as its name in the dataset and its distance to the centroid.
    """

    title: str
    path: Path
    caption: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportFacts:
    """One model version. What is None or empty is left out of the report, and the report says so.

    Attributes:
        version: of the model.
        card: as in its bundle.
        labels, decision, spec: as in its bundle.
        evaluation: on held-out recordings.
        groups: of the abnormal training recordings.
        group_names: what the groups are called now; empty for ``group 1`` and so on.
        agreement: of the groups with true faults, where those are known.
        history: of the training, epoch by epoch.
        best_epoch: whose weights were kept, as numbered in the history.
        dataset_summary: :func:`ml.dataset.summarise`.
        split_summary: method, seed, and counts per side.
        exemplars: recordings to draw and play.
        notes: what a reader must know before believing anything; shown first.
    """

    version: str
    card: dict[str, Any]
    labels: ClassLabels
    decision: DecisionThreshold
    spec: FeatureSpec
    evaluation: "Evaluation | None" = None
    groups: FaultGroups | None = None
    group_names: tuple[str, ...] = ()
    agreement: Agreement | None = None
    history: "tuple[Epoch, ...]" = ()
    best_epoch: int | None = None
    dataset_summary: dict[str, Any] = field(default_factory=dict)
    split_summary: dict[str, Any] = field(default_factory=dict)
    exemplars: tuple[Exemplar, ...] = ()
    notes: tuple[str, ...] = ()
