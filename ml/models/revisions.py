"""Revisions of a version's labels and threshold, the only parts of a version that can change.

Revision 1 is that of the bundle. The later ones are in files (:mod:`ml.models.revision_store`), or in an archive.
"""

import json
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any, NamedTuple, Self

from ml.detectors.alarm_limit import FalseAlarmLimit
from ml.detectors.thresholds import SENSITIVITIES, Sensitivity
from ml.errors import BundleDamaged, InvalidClassLabels, InvalidParameter, ModelError
from ml.models.bundle import Bundle, DecisionThreshold
from ml.models.labels import ClassLabel, ClassLabels
from ml.models.recalibration import Recalibration

LABELS, THRESHOLDS = "labels", "thresholds"
# Errors of revisions that are damaged or do not fit their bundle.
INVALID = (ModelError, InvalidParameter, ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError)


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
        return cls(_whole(values["revision"]), str(values["created"]), ClassLabels.from_list(values["labels"]))


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
            revision=_whole(values["revision"]),
            created=str(values["created"]),
            decision=DecisionThreshold(values["threshold"], values["false_alarm_rate"], str(values["basis"])),
            sensitivity=sensitivity,
            limit=FalseAlarmLimit.from_dict(values["limit"]) if "limit" in values else None,
            requested_rate=values.get("requested_rate", SENSITIVITIES.get(sensitivity)),
            calibration_revision=_whole(values.get("calibration_revision", 1)),
            recalibration=None if scores is None else Recalibration.from_dict(scores),
        )


class ImportedRevisions(NamedTuple):
    """All revisions of a version from an archive, each list with revision 1 of the bundle."""

    labels: list[ClassLabelsRevision]
    thresholds: list[ThresholdRevision]

    @property
    def n_later(self) -> int:
        """Number of revisions beside those of the bundle."""
        return len(self.labels) + len(self.thresholds) - 2


def recalibration_in_force(revisions: Sequence[ThresholdRevision]) -> Recalibration | None:
    """Return the scores that the current threshold comes from; None for the calibration of the bundle.

    Args:
        revisions: all revisions of a version, the current one last.
    """
    return revisions[revisions[-1].calibration_revision - 1].recalibration


Revision = ClassLabelsRevision | ThresholdRevision


def unpack(packed: bytes | None, found: Bundle, source: str) -> ImportedRevisions:
    """Return the revisions in an archive, checked against the bundle in it.

    Args:
        packed: content of :meth:`ml.models.revision_store.RevisionStore.pack`; None without any.
        found: the bundle.
        source: name of the archive, for messages.

    Raises:
        BundleDamaged: the revisions are damaged, do not fit the bundle, or give a class another meaning.
    """
    try:
        content = {} if packed is None else json.loads(packed)
        by_kind = {LABELS: content} if isinstance(content, list) else dict(content)
        if not by_kind.keys() <= {LABELS, THRESHOLDS}:
            raise ValueError(f"it has {sorted(by_kind)}; {LABELS} and {THRESHOLDS} were expected")
        labels = all_labels(found, [ClassLabelsRevision.from_dict(each) for each in by_kind.get(LABELS, ())])
        thresholds = all_thresholds(found, [ThresholdRevision.from_dict(each) for each in by_kind.get(THRESHOLDS, ())])
        _check_imported(found, labels, thresholds)
    except INVALID as error:
        raise BundleDamaged(
            f"{source}: the revisions of labels and threshold do not fit {found.version} ({error})."
        ) from error
    return ImportedRevisions(labels, thresholds)


def all_labels(found: Bundle, later: Sequence[ClassLabelsRevision]) -> list[ClassLabelsRevision]:
    """Return all revisions of the labels; each has the classes of the bundle, with the same meaning."""
    revisions = [ClassLabelsRevision(1, found.created, found.content.labels), *later]
    _check_numbers(revisions)
    meaning = [label.anomalous for label in found.content.labels.classes]
    for each in later:
        if [label.anomalous for label in each.labels.classes] != meaning:
            raise ValueError(f"revision {each.revision} of the labels has other classes, or other ones are anomalous")
    return revisions


def all_thresholds(found: Bundle, later: Sequence[ThresholdRevision]) -> list[ThresholdRevision]:
    """Return all revisions of the threshold; each calibration that is used exists."""
    revisions = [ThresholdRevision(1, found.created, found.content.decision), *later]
    _check_numbers(revisions)
    _check_calibrations(revisions)
    if found.content.detector is None and any(each.recalibration is not None for each in later):
        raise ValueError("a revision of the threshold has scores of a detector, and the model has none")
    return revisions


def _check_imported(
    found: Bundle, labels: Sequence[ClassLabelsRevision], thresholds: Sequence[ThresholdRevision]
) -> None:
    """Check that each change is one that could have been made here."""
    for before, after in pairwise(labels):
        if before.labels.rename([(label.name, label.message) for label in after.labels.classes]) != after.labels:
            raise ValueError(f"revision {after.revision} of the labels gives the name of a class to another class")
        check_meaning(found, after.labels)
        datetime.fromisoformat(after.created)
    for each in thresholds:
        rate = each.requested_rate
        if type(each.decision.threshold) not in (int, float) or (rate is not None and not 0 < rate < 1):
            raise ValueError(f"revision {each.revision} of the threshold is no number, or its rate is {rate!r}")
        datetime.fromisoformat(each.created)


def check_meaning(found: Bundle, labels: ClassLabels) -> None:
    """Refuse a name of the bundle on a class with another meaning: a fault must not be called normal.

    Raises:
        InvalidClassLabels
    """
    anomalous = {_name_key(label): label.anomalous for label in found.content.labels.classes}
    for label in labels.classes:
        if anomalous.get(_name_key(label), label.anomalous) != label.anomalous:
            raise InvalidClassLabels(
                f"Labels: in {found.version}, {label.name!r} is the name of a class with another meaning; another name "
                "was expected."
            )


def _name_key(label: ClassLabel) -> str:
    return unicodedata.normalize("NFKC", label.name).casefold().strip()


def _check_numbers(revisions: Sequence[Revision]) -> None:
    numbers = [each.revision for each in revisions]
    if numbers != list(range(1, len(numbers) + 1)):
        raise ValueError(f"its revisions have the numbers {numbers[:10]}; 1, 2, 3 and so on were expected")


def _check_calibrations(revisions: Sequence[ThresholdRevision]) -> None:
    for each in revisions:
        if not 1 <= each.calibration_revision <= each.revision:
            raise ValueError(f"revision {each.revision} has the scores of revision {each.calibration_revision}")
        if each.calibration_revision > 1 and revisions[each.calibration_revision - 1].recalibration is None:
            raise ValueError(f"revision {each.calibration_revision} has no scores")


def _whole(value: object) -> int:
    if type(value) is not int:
        raise TypeError(f"{value!r} is no whole number")
    return value
