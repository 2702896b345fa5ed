"""Revisions of a version's labels and threshold, the only parts of a version that can change.

::

    <models>/labels/<version>.json      later revisions of its labels
    <models>/thresholds/<version>.json  later revisions of its threshold

Revision 1 is only in the bundle. A file is replaced in one step, and the writer must hold the registry's lock.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

from ml.detectors.alarm_limit import FalseAlarmLimit
from ml.detectors.thresholds import SENSITIVITIES, Sensitivity
from ml.errors import BundleDamaged, InvalidParameter, ModelError
from ml.models.bundle import Bundle, DecisionThreshold
from ml.models.labels import ClassLabels
from ml.models.recalibration import Recalibration
from ml.system.atomic import make_folder, to_json, write_atomic
from ml.system.clock import timestamp


@dataclass(frozen=True, slots=True)
class ClassLabelsRevision:
    """One revision of the labels; revision 1 is the bundle's."""

    revision: int
    created: str
    labels: ClassLabels

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for serialisation."""
        return {"revision": self.revision, "created": self.created, "labels": self.labels.to_list()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Create a revision from the values of :meth:`to_dict`.

        Raises:
            ModelError, ValueError, KeyError, TypeError: the values are invalid.
        """
        return cls(int(values["revision"]), str(values["created"]), ClassLabels.from_list(values["labels"]))


@dataclass(frozen=True, slots=True)
class ThresholdRevision:
    """One revision of the threshold; revision 1 is the bundle's.

    Attributes:
        revision: number of the revision, from 1.
        created: time, ISO 8601, UTC.
        decision: the threshold.
        sensitivity: name of the requested false-alarm rate; None without a name.
        limit: requested limit of false alarms; None without one.
        requested_rate: requested false-alarm rate; None if it is not known, or if the threshold itself was requested.
        calibration_revision: number of the revision whose scores the threshold comes from; 1 is the bundle's
            calibration.
        recalibration: scores, in a revision that was made with further normal recordings; else None.
    """

    revision: int
    created: str
    decision: DecisionThreshold
    sensitivity: Sensitivity | None = None
    limit: FalseAlarmLimit | None = None
    requested_rate: float | None = None
    calibration_revision: int = 1
    recalibration: Recalibration | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for serialisation."""
        facts = {"revision": self.revision, "created": self.created, "sensitivity": self.sensitivity}
        facts |= asdict(self.decision) | {"requested_rate": self.requested_rate}
        if self.limit is not None:
            facts |= {"limit": self.limit.to_dict()}
        if self.calibration_revision > 1:
            facts |= {"calibration_revision": self.calibration_revision}
        return facts if self.recalibration is None else facts | {"recalibration": self.recalibration.to_dict()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Create a revision from the values of :meth:`to_dict`. Earlier services wrote fewer of them.

        Raises:
            ModelError, InvalidParameter, ValueError, KeyError, TypeError: the values are invalid.
        """
        sensitivity = values["sensitivity"]
        if sensitivity not in (None, *SENSITIVITIES):
            raise ValueError(f"unknown sensitivity {sensitivity!r}")
        scores = values.get("recalibration")
        return cls(
            revision=int(values["revision"]),
            created=str(values["created"]),
            decision=DecisionThreshold(values["threshold"], values["false_alarm_rate"], str(values["basis"])),
            sensitivity=sensitivity,
            limit=FalseAlarmLimit.from_dict(values["limit"]) if "limit" in values else None,
            requested_rate=values.get("requested_rate", SENSITIVITIES.get(sensitivity)),
            calibration_revision=int(values.get("calibration_revision", 1)),
            recalibration=None if scores is None else Recalibration.from_dict(scores),
        )


def recalibration_in_force(revisions: Sequence[ThresholdRevision]) -> Recalibration | None:
    """Return the scores that the current threshold comes from; None for the calibration of the bundle.

    Args:
        revisions: all revisions of a version, the current one last.
    """
    return revisions[revisions[-1].calibration_revision - 1].recalibration


R = TypeVar("R", ClassLabelsRevision, ThresholdRevision)
Revision = ClassLabelsRevision | ThresholdRevision
LABELS, THRESHOLDS = "labels", "thresholds"
KINDS: Mapping[str, type[Revision]] = {LABELS: ClassLabelsRevision, THRESHOLDS: ThresholdRevision}


class RevisionStore:
    """Store of the revisions of all versions in one folder.

    Args:
        models: folder of the versions.
    """

    def __init__(self, models: Path) -> None:
        self._models = models

    def label_revisions(self, found: Bundle) -> list[ClassLabelsRevision]:
        """Return all revisions of a version's labels, the current one last."""
        first = ClassLabelsRevision(1, found.created, found.content.labels)
        return [first, *_read(self._file(LABELS, found.version), ClassLabelsRevision)]

    def threshold_revisions(self, found: Bundle) -> list[ThresholdRevision]:
        """Return all revisions of a version's threshold, the current one last."""
        first = ThresholdRevision(1, found.created, found.content.decision)
        file = self._file(THRESHOLDS, found.version)
        revisions = [first, *_read(file, ThresholdRevision)]
        with _translate_damage(f"{THRESHOLDS}/{file.name}"):
            _check_calibrations(revisions)
        return revisions

    def rename(self, found: Bundle, names: Sequence[tuple[str, str]]) -> ClassLabelsRevision:
        """Add a revision with other names and messages; without a change, the current revision stays.

        Raises:
            InvalidClassLabels, BundleDamaged
        """
        revisions = self.label_revisions(found)
        current = revisions[-1]
        renamed = current.labels.rename(names)
        if renamed == current.labels:
            return current
        added = ClassLabelsRevision(current.revision + 1, timestamp(), renamed)
        _write(self._file(LABELS, found.version), [*revisions[1:], added])
        return added

    def move(
        self,
        found: Bundle,
        decision: DecisionThreshold,
        *,
        sensitivity: Sensitivity | None = None,
        limit: FalseAlarmLimit | None = None,
        requested_rate: float | None = None,
        recalibration: Recalibration | None = None,
    ) -> ThresholdRevision:
        """Add a revision with another threshold; without a change, the current revision stays.

        Args:
            found: the version.
            decision: the threshold.
            sensitivity: name of the requested false-alarm rate; None without a name.
            limit: requested limit of false alarms; None without one.
            requested_rate: requested false-alarm rate; None without one.
            recalibration: the scores that the threshold comes from; None for the calibration of the bundle.

        Raises:
            BundleDamaged: a file of revisions cannot be read.
        """
        revisions = self.threshold_revisions(found)
        current, scores = revisions[-1], recalibration_in_force(revisions)
        known = (current.decision, current.sensitivity, current.limit, scores)
        if (decision, sensitivity, limit, recalibration) == known:
            return current
        number = current.revision + 1
        keeps_scores = recalibration == scores
        calibration_revision = 1 if recalibration is None else current.calibration_revision if keeps_scores else number
        added = ThresholdRevision(
            revision=number,
            created=timestamp(),
            decision=decision,
            sensitivity=sensitivity,
            limit=limit,
            requested_rate=requested_rate,
            calibration_revision=calibration_revision,
            recalibration=None if keeps_scores else recalibration,
        )
        _write(self._file(THRESHOLDS, found.version), [*revisions[1:], added])
        return added

    def files(self, version: str) -> tuple[Path, ...]:
        """Return the files of a version's revisions, whether or not they exist."""
        return tuple(self._file(kind, version) for kind in KINDS)

    def pack(self, version: str) -> bytes | None:
        """Return all later revisions of a version as JSON, for an archive; None without any.

        Raises:
            BundleDamaged: a file of revisions cannot be read.
        """
        with _translate_damage(f"of {version}"):
            by_kind = {file.parent.name: json.loads(file.read_bytes()) for file in self.files(version) if file.exists()}
        # Labels alone keep the old form, so that older services can read them.
        return to_json(by_kind[LABELS] if by_kind.keys() == {LABELS} else by_kind) if by_kind else None

    def import_missing(self, version: str, by_kind: Mapping[str, Sequence[Revision]]) -> None:
        """Store the revisions from :func:`unpack`, except for kinds that already have revisions here."""
        for kind, revisions in by_kind.items():
            file = self._file(kind, version)
            if revisions and not file.exists():
                _write(file, revisions)

    def _file(self, kind: str, version: str) -> Path:
        return self._models / kind / f"{version}.json"


def unpack(packed: Path) -> dict[str, list[Revision]]:
    """Return the revisions in a file of :meth:`RevisionStore.pack`, by kind; empty without a file.

    Raises:
        BundleDamaged
    """
    if not packed.exists():
        return {}
    with _translate_damage(packed.name):
        found = json.loads(packed.read_bytes())
        kinds = {LABELS: found} if isinstance(found, list) else dict(found)
        return {kind: list(map(KINDS[kind].from_dict, entries)) for kind, entries in kinds.items()}


def _check_calibrations(revisions: Sequence[ThresholdRevision]) -> None:
    for each in revisions:
        if not 1 <= each.calibration_revision <= each.revision:
            raise ValueError(f"revision {each.revision} has the scores of revision {each.calibration_revision}")
        if each.calibration_revision > 1 and revisions[each.calibration_revision - 1].recalibration is None:
            raise ValueError(f"revision {each.calibration_revision} has no scores")


def _read(path: Path, kind: type[R]) -> list[R]:
    if not path.exists():
        return []
    with _translate_damage(f"{path.parent.name}/{path.name}"):
        return [kind.from_dict(entry) for entry in json.loads(path.read_bytes())]


def _write(path: Path, revisions: Sequence[Revision]) -> None:
    make_folder(path.parent)
    write_atomic(path, to_json([revision.to_dict() for revision in revisions]))


@contextmanager
def _translate_damage(file: str) -> Iterator[None]:
    """Raise BundleDamaged with the name of the file if it cannot be read."""
    try:
        yield
    except (ModelError, InvalidParameter, ValueError, KeyError, TypeError) as error:
        raise BundleDamaged(f"The file {file} with a model's revisions is damaged ({error}): remove it.") from error
