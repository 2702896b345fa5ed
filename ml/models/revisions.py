"""What may change of a version once it is there: what its classes are called, and where its threshold is.

::

    <models>/labels/<version>.json      what its classes were renamed to, every revision of it
    <models>/thresholds/<version>.json  where its threshold was moved to, every revision of it

Revision 1 is what the bundle was written with, and is in no file but the bundle's. The files are replaced whole, by
whoever holds the registry's lock.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

from ml.detectors.thresholds import SENSITIVITIES, Sensitivity
from ml.errors import BundleDamaged, ModelError
from ml.models.bundle import Bundle, DecisionThreshold
from ml.models.labels import ClassLabels
from ml.system.atomic import to_json, write_atomic
from ml.system.clock import timestamp


@dataclass(frozen=True, slots=True)
class ClassLabelsRevision:
    """Labels at one time. Revision 1 is what the bundle was written with."""

    revision: int
    created: str
    labels: ClassLabels

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as serialised."""
        return {"revision": self.revision, "created": self.created, "labels": self.labels.to_list()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of :meth:`to_dict`.

        Raises:
            ModelError, ValueError, KeyError, TypeError: not what :meth:`to_dict` makes.
        """
        return cls(int(values["revision"]), str(values["created"]), ClassLabels.from_list(values["labels"]))


@dataclass(frozen=True, slots=True)
class ThresholdRevision:
    """The threshold at one time; ``sensitivity`` is the name that it was asked for by. Revision 1 is the bundle's."""

    revision: int
    created: str
    decision: DecisionThreshold
    sensitivity: Sensitivity | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as serialised."""
        facts = {"revision": self.revision, "created": self.created, "sensitivity": self.sensitivity}
        return facts | asdict(self.decision)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of :meth:`to_dict`.

        Raises:
            ModelError, ValueError, KeyError, TypeError: not what :meth:`to_dict` makes.
        """
        decision = DecisionThreshold(values["threshold"], values["false_alarm_rate"], str(values["basis"]))
        sensitivity = values["sensitivity"]
        if sensitivity not in (None, *SENSITIVITIES):
            raise ValueError(f"a sensitivity of {sensitivity!r}")
        return cls(int(values["revision"]), str(values["created"]), decision, sensitivity)


R = TypeVar("R", ClassLabelsRevision, ThresholdRevision)
Revision = ClassLabelsRevision | ThresholdRevision
LABELS, THRESHOLDS = "labels", "thresholds"
KINDS: Mapping[str, type[Revision]] = {LABELS: ClassLabelsRevision, THRESHOLDS: ThresholdRevision}


class RevisionStore:
    """What changed of the versions in one folder.

    Args:
        models: the folder of the versions.
    """

    def __init__(self, models: Path) -> None:
        self._models = models

    def label_revisions(self, found: Bundle) -> list[ClassLabelsRevision]:
        """Every revision of a version's labels, the current one last."""
        first = ClassLabelsRevision(1, found.created, found.content.labels)
        return [first, *_read(self._file(LABELS, found.version), ClassLabelsRevision)]

    def threshold_revisions(self, found: Bundle) -> list[ThresholdRevision]:
        """Every revision of a version's threshold, the current one last."""
        first = ThresholdRevision(1, found.created, found.content.decision)
        return [first, *_read(self._file(THRESHOLDS, found.version), ThresholdRevision)]

    def rename(self, found: Bundle, names: Sequence[tuple[str, str]]) -> ClassLabelsRevision:
        """Add the labels under other names and messages; where they have these, the current revision stays.

        Raises:
            InvalidLabels, BundleDamaged
        """
        revisions = self.label_revisions(found)
        current = revisions[-1]
        renamed = current.labels.rename(names)
        if renamed == current.labels:
            return current
        added = ClassLabelsRevision(current.revision + 1, timestamp(), renamed)
        _write(self._file(LABELS, found.version), [*revisions[1:], added])
        return added

    def move(self, found: Bundle, decision: DecisionThreshold, sensitivity: Sensitivity | None) -> ThresholdRevision:
        """Add a threshold; where it is there already, the current revision stays.

        Raises:
            BundleDamaged
        """
        revisions = self.threshold_revisions(found)
        current = revisions[-1]
        if (decision, sensitivity) == (current.decision, current.sensitivity):
            return current
        added = ThresholdRevision(current.revision + 1, timestamp(), decision, sensitivity)
        _write(self._file(THRESHOLDS, found.version), [*revisions[1:], added])
        return added

    def files(self, version: str) -> tuple[Path, ...]:
        """The files that hold what changed of a version; not all of them need be there."""
        return tuple(self._file(kind, version) for kind in KINDS)

    def pack(self, version: str) -> bytes | None:
        """All that changed of a version, to take along; None where nothing did."""
        there = {file.parent.name: json.loads(file.read_bytes()) for file in self.files(version) if file.exists()}
        # Labels alone are packed as they always were, and older services read them.
        return to_json(there[LABELS] if there.keys() == {LABELS} else there) if there else None

    def import_missing(self, version: str, taken: Mapping[str, Sequence[Revision]]) -> None:
        """Keep what :func:`unpacked` found, but for what changed here already."""
        for kind, revisions in taken.items():
            file = self._file(kind, version)
            if revisions and not file.exists():
                _write(file, revisions)

    def _file(self, kind: str, version: str) -> Path:
        return self._models / kind / f"{version}.json"


def unpack(packed: Path) -> dict[str, list[Revision]]:
    """What :meth:`RevisionStore.packed` made, by kind; nothing where there is no such file.

    Raises:
        BundleDamaged
    """
    if not packed.exists():
        return {}
    with _translate_damage(packed.name):
        found = json.loads(packed.read_bytes())
        kinds = {LABELS: found} if isinstance(found, list) else dict(found)
        return {kind: list(map(KINDS[kind].from_dict, entries)) for kind, entries in kinds.items()}


def _read(path: Path, kind: type[R]) -> list[R]:
    if not path.exists():
        return []
    with _translate_damage(f"{path.parent.name}/{path.name}"):
        return [kind.from_dict(entry) for entry in json.loads(path.read_bytes())]


def _write(path: Path, revisions: Sequence[Revision]) -> None:
    path.parent.mkdir(exist_ok=True)
    write_atomic(path, to_json([revision.to_dict() for revision in revisions]))


@contextmanager
def _translate_damage(file: str) -> Iterator[None]:
    """Say which file it is that cannot be read."""
    try:
        yield
    except (ModelError, ValueError, KeyError, TypeError) as error:
        raise BundleDamaged(f"What changed of a model, in {file}, is damaged ({error}): remove the file.") from error
