"""What the classes of a network are called, and what a person is told when one is heard."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from ml.errors import InvalidClassLabels

MAX_NAME, MAX_MESSAGE = 64, 200


@dataclass(frozen=True, slots=True)
class ClassLabel:
    """One class: a short name, the message shown for it, and whether hearing it is an anomaly."""

    name: str
    message: str
    anomalous: bool


@dataclass(frozen=True, slots=True)
class ClassLabels:
    """The classes of a network, in the order of its outputs. At least one is healthy and one is not."""

    classes: tuple[ClassLabel, ...]

    def __post_init__(self) -> None:
        for label in self.classes:
            if (type(label.name), type(label.message), type(label.anomalous)) != (str, str, bool):
                raise InvalidClassLabels(f"Labels: {label} is not a name, a message, and true or false.")
        names = [label.name for label in self.classes]
        if len(set(names)) < len(names):
            raise InvalidClassLabels(f"Labels: {names} holds a name twice; each class needs its own.")
        for label in self.classes:
            if not 1 <= len(label.name) <= MAX_NAME or not 1 <= len(label.message) <= MAX_MESSAGE:
                raise InvalidClassLabels(
                    f"Labels: {label.name!r} needs a name of 1 to {MAX_NAME} and a message of 1 to {MAX_MESSAGE} "
                    "characters."
                )
        if not self.normal_indices or not self.fault_indices:
            raise InvalidClassLabels("Labels: at least one class must be healthy and at least one an anomaly.")

    @property
    def normal_indices(self) -> tuple[int, ...]:
        """Outputs that mean a healthy machine."""
        return tuple(i for i, label in enumerate(self.classes) if not label.anomalous)

    @property
    def fault_indices(self) -> tuple[int, ...]:
        """Outputs that mean a fault."""
        return tuple(i for i, label in enumerate(self.classes) if label.anomalous)

    def rename(self, names: Sequence[tuple[str, str]]) -> Self:
        """The same classes under other names and messages; which of them are anomalies stays.

        Where the names are those that the classes have, each message goes to the class of its name. Otherwise they are
        new names in the order of the classes, and one that is kept must keep its place.

        Raises:
            InvalidLabels: not one (name, message) for each class, an unusable one, or one at another's place.
        """
        if len(names) != len(self.classes):
            raise InvalidClassLabels(f"Labels: {len(names)} were given; the network has {len(self.classes)} classes.")
        present = [label.name for label in self.classes]
        if sorted(name for name, _ in names) == sorted(present):
            names = sorted(names, key=lambda pair: present.index(pair[0]))
        for (name, _), now in zip(names, present, strict=True):
            if name != now and name in present:
                raise InvalidClassLabels(
                    f"Labels: {name!r} stands where {now!r} does; the classes in order: {', '.join(present)}."
                )
        return type(self)(
            tuple(
                ClassLabel(name, message, label.anomalous)
                for (name, message), label in zip(names, self.classes, strict=True)
            )
        )

    def to_list(self) -> list[dict[str, Any]]:
        """Plain values, as serialised."""
        return [asdict(label) for label in self.classes]

    @classmethod
    def from_list(cls, values: list[dict[str, Any]]) -> Self:
        """The inverse of :meth:`to_list`.

        Raises:
            InvalidLabels: not a list of labels.
        """
        try:
            return cls(tuple(ClassLabel(**value) for value in values))
        except (TypeError, AttributeError) as error:
            raise InvalidClassLabels(f"Labels: not a list of name, message and anomalous ({error}).") from error


UNKNOWN_FAULT = ClassLabel("unknown_fault", "Unknown fault", anomalous=True)
"""What is said of a sound that is far from healthy and of no known fault."""
DETECTOR_LABELS = ClassLabels((ClassLabel("normal", "Component OK", anomalous=False), UNKNOWN_FAULT))
"""All that a detector can tell apart."""

ORIGINAL_LABELS = ClassLabels(
    (
        ClassLabel("normal", "Component OK", anomalous=False),
        ClassLabel("imbalance", "Component is imbalanced", anomalous=True),
        ClassLabel("clogging", "Component is clogged", anomalous=True),
        ClassLabel("voltage_change", "Voltage change", anomalous=True),
    )
)
"""The four answers of the original service, in the order of its network's outputs."""
