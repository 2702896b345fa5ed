"""Model in service: a bundle with its current labels and threshold."""

from dataclasses import dataclass
from typing import Self

from ml.models.bundle import Bundle, DecisionThreshold
from ml.models.demonstration import demonstration_note
from ml.models.labels import ClassLabels


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

    @property
    def version(self) -> str:
        """Version of the bundle."""
        return self.bundle.version

    @property
    def note(self) -> str | None:
        """What a user must know about the model; None if there is nothing."""
        return demonstration_note(self.bundle.content.card)
