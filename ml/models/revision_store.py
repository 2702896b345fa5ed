"""Store of the revisions of labels and threshold.

::

    <models>/labels/<version>.json      later revisions of its labels
    <models>/thresholds/<version>.json  later revisions of its threshold

Revision 1 is only in the bundle. A file is replaced in one step, and the writer must hold the registry's lock.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from ml.detectors.alarm_limit import FalseAlarmLimit
from ml.detectors.thresholds import Sensitivity
from ml.errors import BundleDamaged
from ml.models.bundle import Bundle, DecisionThreshold
from ml.models.recalibration import Recalibration
from ml.models.revisions import (
    INVALID,
    LABELS,
    THRESHOLDS,
    ClassLabelsRevision,
    ImportedRevisions,
    Revision,
    ThresholdRevision,
    all_labels,
    all_thresholds,
    check_meaning,
    recalibration_in_force,
)
from ml.system.atomic import make_folder, to_json, write_atomic
from ml.system.clock import timestamp
from ml.system.names import child

KINDS = (LABELS, THRESHOLDS)
R = TypeVar("R", ClassLabelsRevision, ThresholdRevision)


class RevisionStore:
    """Store of the revisions of all versions in one folder.

    Args:
        models: folder of the versions.
    """

    def __init__(self, models: Path) -> None:
        self._models = models

    def label_revisions(self, found: Bundle) -> list[ClassLabelsRevision]:
        """Return all revisions of a version's labels, the current one last."""
        file = self._file(LABELS, found.version)
        with _translate_damage(f"{LABELS}/{file.name}"):
            return all_labels(found, _read(file, ClassLabelsRevision))

    def threshold_revisions(self, found: Bundle) -> list[ThresholdRevision]:
        """Return all revisions of a version's threshold, the current one last."""
        file = self._file(THRESHOLDS, found.version)
        with _translate_damage(f"{THRESHOLDS}/{file.name}"):
            return all_thresholds(found, _read(file, ThresholdRevision))

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
        check_meaning(found, renamed)
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

    def exist(self, version: str) -> bool:
        """Return whether a version has later revisions here."""
        return any(file.exists() for file in self.files(version))

    def has(self, found: Bundle, imported: ImportedRevisions) -> bool:
        """Return whether the later revisions here are those of an archive; not if those here are damaged."""
        try:
            here = ImportedRevisions(self.label_revisions(found), self.threshold_revisions(found))
        except BundleDamaged:
            return False
        return here.labels[1:] == imported.labels[1:] and here.thresholds[1:] == imported.thresholds[1:]

    def add_imported(self, version: str, imported: ImportedRevisions) -> None:
        """Store the revisions from :func:`unpack`; the version must have none here."""
        for kind, revisions in ((LABELS, imported.labels), (THRESHOLDS, imported.thresholds)):
            if len(revisions) > 1:
                _write(self._file(kind, version), revisions[1:])

    def remove(self, version: str) -> None:
        """Delete all later revisions of a version."""
        for file in self.files(version):
            file.unlink(missing_ok=True)

    def _file(self, kind: str, version: str) -> Path:
        return child(self._models / kind, f"{version}.json")


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
    except INVALID as error:
        raise BundleDamaged(f"The file {file} with a model's revisions is damaged ({error}): remove it.") from error
