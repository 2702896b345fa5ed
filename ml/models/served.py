"""Model in service: a bundle with its current labels and threshold."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

from ml.models.bundle import Bundle, DecisionThreshold
from ml.models.demonstration import demonstration_note
from ml.models.labels import ClassLabels
from ml.models.recalibration import recalibrated
from ml.models.revisions import ClassLabelsRevision, ThresholdRevision, recalibration_in_force


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel:
    """Bundle with its current labels and threshold; can be pickled.

    Attributes:
        bundle: verified bundle.
        labels: current labels of the classes.
        labels_revision: revision of the labels; 1 is the bundle's.
        decision: current threshold.
        threshold_revision: revision of the threshold; 1 is the bundle's.
    """

    bundle: Bundle
    labels: ClassLabels
    labels_revision: int = 1
    decision: DecisionThreshold
    threshold_revision: int = 1

    @classmethod
    def as_written(cls, bundle: Bundle) -> Self:
        """Return the model with the labels and the threshold of its bundle."""
        return cls(bundle=bundle, labels=bundle.content.labels, decision=bundle.content.decision)

    @classmethod
    def of(cls, bundle: Bundle, labels: Sequence[ClassLabelsRevision], thresholds: Sequence[ThresholdRevision]) -> Self:
        """Return the model with the last revisions of its labels and its threshold."""
        return cls(
            bundle=with_calibration_in_force(bundle, thresholds),
            labels=labels[-1].labels,
            labels_revision=labels[-1].revision,
            decision=thresholds[-1].decision,
            threshold_revision=thresholds[-1].revision,
        )

    @property
    def version(self) -> str:
        """Version of the bundle."""
        return self.bundle.version

    @property
    def note(self) -> str | None:
        """What a user must know about the model; None if there is nothing."""
        return demonstration_note(self.bundle.content.card)


def with_calibration_in_force(found: Bundle, revisions: Sequence[ThresholdRevision]) -> Bundle:
    """Return a bundle with the calibration that its current threshold comes from.

    Args:
        found: the bundle.
        revisions: all revisions of its threshold, the current one last.
    """
    return replace(found, content=recalibrated(found.content, recalibration_in_force(revisions)))
