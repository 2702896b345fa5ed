"""Labels of the classes of a network: names, messages, and which of them are anomalous."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from ml.errors import InvalidClassLabels

MAX_NAME, MAX_MESSAGE = 64, 200


@dataclass(frozen=True, slots=True)
class ClassLabel:
    """One class: a short name, the message for people, and whether the class is anomalous."""

    name: str
    message: str
    anomalous: bool


@dataclass(frozen=True, slots=True)
class ClassLabels:
    """Classes of a network, in the order of its outputs; at least one normal and one anomalous."""

    classes: tuple[ClassLabel, ...]

    def __post_init__(self) -> None:
        for label in self.classes:
            if (type(label.name), type(label.message), type(label.anomalous)) != (str, str, bool):
                raise InvalidClassLabels(f"Labels: {label} must have a name, a message, and true or false.")
        names = [label.name for label in self.classes]
        if len(set(names)) < len(names):
            raise InvalidClassLabels(f"Labels: {names} has a name twice; each class needs a different name.")
        for label in self.classes:
            if not 1 <= len(label.name) <= MAX_NAME or not 1 <= len(label.message) <= MAX_MESSAGE:
                raise InvalidClassLabels(
                    f"Labels: {label.name!r} needs a name of 1 to {MAX_NAME} and a message of 1 to {MAX_MESSAGE} "
                    "characters."
                )
        if not self.normal_indices or not self.fault_indices:
            raise InvalidClassLabels("Labels: at least one class must be normal and at least one must be anomalous.")

    @property
    def normal_indices(self) -> tuple[int, ...]:
        """Indices of the outputs that mean a healthy machine."""
        return tuple(i for i, label in enumerate(self.classes) if not label.anomalous)

    @property
    def fault_indices(self) -> tuple[int, ...]:
        """Indices of the outputs that mean a fault."""
        return tuple(i for i, label in enumerate(self.classes) if label.anomalous)

    def rename(self, names: Sequence[tuple[str, str]]) -> Self:
        """Return the same classes with other names and messages; the anomalous classes stay anomalous.

        If the names are the present names in any order, each message goes to the class of its name. Otherwise they are
        new names in the order of the classes, and a name that is kept must keep its place.

        Raises:
            InvalidClassLabels: the number of names is wrong, a name or message is invalid, or a present name is given
                to another class.
        """
        if len(names) != len(self.classes):
            raise InvalidClassLabels(f"Labels: {len(names)} were given; the network has {len(self.classes)} classes.")
        present = [label.name for label in self.classes]
        if sorted(name for name, _ in names) == sorted(present):
            names = sorted(names, key=lambda pair: present.index(pair[0]))
        for (name, _), now in zip(names, present, strict=True):
            if name != now and name in present:
                raise InvalidClassLabels(
                    f"Labels: {name!r} is in the place of {now!r}; the order of the classes is {', '.join(present)}."
                )
        return type(self)(
            tuple(
                ClassLabel(name, message, label.anomalous)
                for (name, message), label in zip(names, self.classes, strict=True)
            )
        )

    def to_list(self) -> list[dict[str, Any]]:
        """Return plain values for serialisation."""
        return [asdict(label) for label in self.classes]

    @classmethod
    def from_list(cls, values: list[dict[str, Any]]) -> Self:
        """Create labels from the values of :meth:`to_list`.

        Raises:
            InvalidClassLabels: the values are not a list of labels.
        """
        try:
            return cls(tuple(ClassLabel(**value) for value in values))
        except (TypeError, AttributeError) as error:
            raise InvalidClassLabels(
                f"Labels: a list of name, message and anomalous was expected ({error})."
            ) from error


UNKNOWN_FAULT = ClassLabel("unknown_fault", "Unknown fault", anomalous=True)
"""Label of a recording that is far from normal and matches no known fault."""
DETECTOR_LABELS = ClassLabels((ClassLabel("normal", "Component OK", anomalous=False), UNKNOWN_FAULT))
"""Labels of a detector alone."""

ORIGINAL_LABELS = ClassLabels(
    (
        ClassLabel("normal", "Component OK", anomalous=False),
        ClassLabel("imbalance", "Component is imbalanced", anomalous=True),
        ClassLabel("clogging", "Component is clogged", anomalous=True),
        ClassLabel("voltage_change", "Voltage change", anomalous=True),
    )
)
"""The four classes of the original service, in the order of its network's outputs."""
