"""A model as it is served: its bundle, and what was changed of it since."""

from dataclasses import dataclass
from typing import Self

from ml.models.bundle import Bundle, DecisionThreshold
from ml.models.labels import ClassLabels


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel:
    """A bundle with its labels and its threshold in force. Pickles.

    Attributes:
        bundle: a verified bundle.
        labels: the present names of its classes.
        labels_revision: of those labels; 1 is what the bundle was written with.
        decision: the threshold in force.
        threshold_revision: of that threshold; 1 is what the bundle was written with.
    """

    bundle: Bundle
    labels: ClassLabels
    labels_revision: int = 1
    decision: DecisionThreshold
    threshold_revision: int = 1

    @classmethod
    def as_written(cls, bundle: Bundle) -> Self:
        """The model as its bundle has it."""
        return cls(bundle=bundle, labels=bundle.content.labels, decision=bundle.content.decision)

    @property
    def version(self) -> str:
        """The version of the bundle."""
        return self.bundle.version
