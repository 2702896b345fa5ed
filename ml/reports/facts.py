"""Content of a report, as plain values."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ml.faults.agreement import Agreement
from ml.faults.groups import FaultGroups
from ml.features.spec import FeatureSpec
from ml.models.bundle import DecisionThreshold
from ml.models.labels import ClassLabels
from ml.reports.expectations import Expectations

if TYPE_CHECKING:
    from ml.classifier.fitting import Epoch
    from ml.evaluation.results import Evaluation


@dataclass(frozen=True, slots=True)
class Exemplar:
    """A recording that is shown with spectrogram and player.

    Attributes:
        title: group or class that it is an example of (``group 1``, ``normal``).
        path: path of the file.
        caption: name in the dataset, and score or distance to the centroid.
    """

    title: str
    path: Path
    caption: str


@dataclass(frozen=True, slots=True)
class HallExample:
    """A recording by both microphones: its deviation from normal, and what is left without the hall.

    Attributes:
        title: label of the recording (``normal``, ``abnormal``).
        caption: name in the dataset, and score.
        main_db: float64 ``(bands,)``: mean mel spectrum of the main channel minus that of the machine's normal
            recordings, in dB.
        residual_db: the same without what the reference channel explains.
    """

    title: str
    caption: str
    main_db: NDArray[np.float64]
    residual_db: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ReferenceFacts:
    """What a training has found about its reference channel.

    Attributes:
        sentence: what it explains, and whether and why it is used.
        centres_hz: float64 ``(bands,)``: centres of the mel bands of the examples.
        examples: recordings before and after; empty if the reference is not used.
    """

    sentence: str
    centres_hz: NDArray[np.float64]
    examples: tuple[HallExample, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportFacts:
    """Content of the report of one model version.

    A section without facts is left out, and the report lists it.

    Attributes:
        version: version of the model.
        card: card of the bundle.
        labels, decision, spec: labels, threshold and feature spec of the bundle.
        evaluation: figures of the held-out recordings.
        expectations: what to expect of the served model.
        groups: fault groups of the abnormal training recordings.
        group_names: present names of the groups; empty for ``group 1`` and so on.
        agreement: agreement of the groups with the true faults, if these are known.
        history: loss and accuracy of each epoch.
        best_epoch: number of the epoch whose weights were kept.
        dataset_summary: result of :func:`ml.dataset.summary.summarise`.
        split_summary: method, seed, and counts per side.
        exemplars: recordings to draw and play.
        reference: the reference channel; None if the training had none.
        notes: warnings that are shown first.
    """

    version: str
    card: dict[str, Any]
    labels: ClassLabels
    decision: DecisionThreshold
    spec: FeatureSpec
    evaluation: "Evaluation | None" = None
    expectations: Expectations | None = None
    groups: FaultGroups | None = None
    group_names: tuple[str, ...] = ()
    agreement: Agreement | None = None
    history: "tuple[Epoch, ...]" = ()
    best_epoch: int | None = None
    dataset_summary: dict[str, Any] = field(default_factory=dict)
    split_summary: dict[str, Any] = field(default_factory=dict)
    exemplars: tuple[Exemplar, ...] = ()
    reference: ReferenceFacts | None = None
    notes: tuple[str, ...] = ()
