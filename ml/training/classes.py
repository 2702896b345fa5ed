"""Classes of the network, and the class of each recording."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ml.dataset.entries import ABNORMAL, NORMAL, Dataset, Entry
from ml.dataset.splitting.sides import Split
from ml.errors import InvalidParameter, OneClassOnly
from ml.faults.agreement import Agreement, measure_agreement
from ml.faults.groups import FaultGroups, group_faults
from ml.faults.vectors import recording_vector, subtract_normal_mean
from ml.features.store import StoredFeatures
from ml.models.labels import DETECTOR_LABELS, MAX_NAME, ORIGINAL_LABELS, ClassLabel, ClassLabels
from ml.training.choices import FEWEST_FAULT_GROUPS, LabelsFrom
from ml.training.options import TrainingOptions

MESSAGES = {label.name: label.message for label in ORIGINAL_LABELS.classes}
WITHOUT_FAULTS = (
    ', or train a detector, which needs normal recordings only: --detector, or over HTTP "learn": "detector"'
)
# Fault groups that are only shown in the report need this number of recordings each.
RECORDINGS_PER_GROUP = 4


@dataclass(frozen=True, slots=True)
class TrainingClasses:
    """Classes of a training.

    Attributes:
        labels: names and messages of the classes, the normal class first.
        source: source of the classes.
        class_by_path: class number of each recording, by path.
        groups: fault groups of the abnormal training recordings, for the report and, if requested, as classes.
        agreement: agreement of the groups with the true faults; None if these are unknown.
        grouped: the grouped recordings, in the order of ``groups.assignments``.
        unlearned: recordings of faults that do not occur on the training side; they have no class.
    """

    labels: ClassLabels
    source: Literal["manifest", "groups", "binary"]
    class_by_path: dict[str, int]
    groups: FaultGroups | None
    agreement: Agreement | None
    grouped: tuple[Entry, ...]
    unlearned: tuple[Entry, ...]


def unlearned_notes(unlearned: Sequence[Entry]) -> Iterator[str]:
    """Yield a sentence about the faults of recordings without a class; nothing if there are none."""
    sessions: defaultdict[str, set[str]] = defaultdict(set)
    for entry in unlearned:
        sessions[str(entry.annotation.fault)].add(entry.session)
    if sessions:
        named = ", ".join(f"{fault} ({len(names)})" for fault, names in sorted(sessions.items()))
        yield (
            f"Not learned, because all their recordings are held out: {named}; in parentheses, their number of "
            "sessions. Record another session of each."
        )


def require_both_labels(dataset: Dataset) -> None:
    """Check that there are normal and abnormal recordings.

    Raises:
        OneClassOnly: all recordings have the same label.
    """
    present = {entry.label for entry in dataset.entries}
    if len(present) == 1:
        (only,), missing = present, {NORMAL, ABNORMAL} - present
        count = len(dataset.entries)
        which = "The only recording" if count == 1 else f"All {count} recordings"
        raise OneClassOnly(
            f"{which} in {dataset.name} {'is' if count == 1 else 'are'} {only}; a classifier needs normal and abnormal "
            f"recordings. Add {missing.pop()} recordings{WITHOUT_FAULTS if only == NORMAL else ''}."
        )


def require_fault_names(dataset: Dataset) -> None:
    """Check that fault names can be class names.

    Raises:
        InvalidParameter: a fault is called ``normal`` or ``abnormal``, or its name is too long.
    """
    for entry in dataset.entries:
        fault = entry.annotation.fault
        if fault is not None and (fault in (NORMAL, ABNORMAL) or len(fault) > MAX_NAME):
            raise InvalidParameter(
                f"{entry.path} has the fault {fault[:MAX_NAME]!r}; a name of at most {MAX_NAME} characters other than "
                f"{NORMAL} and {ABNORMAL} was expected."
            )


def choose_classes(
    dataset: Dataset, split: Split, features: StoredFeatures | None, options: TrainingOptions
) -> TrainingClasses:
    """Choose the classes, and group the abnormal training recordings without their augmented copies.

    Args:
        dataset: the recordings.
        split: their sides.
        features: features of all recordings; None for a detector alone, which has no fault classes.
        options: options of the training.

    Raises:
        InvalidParameter: named faults are requested, but an abnormal recording has no fault name.
        TooFewRecordings: fewer abnormal recordings than requested groups.
    """
    if features is None:
        return TrainingClasses(DETECTOR_LABELS, "binary", {}, None, None, (), ())
    source = _source(dataset, options.labels)
    groups = _groups(split, features, options, needed=source == "groups")
    if source == "groups" and groups is not None:
        names, class_by_path = groups.names, _classes_of_groups(split, features, groups)
    elif source == "manifest":
        names = tuple(sorted({str(entry.annotation.fault) for entry in split.train if entry.annotation.fault}))
        class_by_path = {
            entry.path: 1 + names.index(str(entry.annotation.fault))
            for _, entry in split.sides()
            if entry.annotation.fault in names
        }
    else:
        names = (ABNORMAL,)
        class_by_path = {entry.path: 1 for _, entry in split.sides() if entry.label == ABNORMAL}
    class_by_path |= {entry.path: 0 for _, entry in split.sides() if entry.label == NORMAL}
    normal = ClassLabel(NORMAL, MESSAGES[NORMAL], anomalous=False)
    labels = ClassLabels((normal, *(ClassLabel(name, _message(name), anomalous=True) for name in names)))
    grouped = _abnormal(split.train)
    unlearned = tuple(entry for _, entry in split.sides() if entry.path not in class_by_path)
    agreement = _agreement(groups, grouped, options)
    return TrainingClasses(labels, source, class_by_path, groups, agreement, grouped, unlearned)


def _source(dataset: Dataset, requested: LabelsFrom) -> Literal["manifest", "groups", "binary"]:
    unnamed = [entry.path for entry in dataset.entries if entry.label == ABNORMAL and not entry.annotation.fault]
    if requested == "manifest" and unnamed:
        raise InvalidParameter(
            f"{len(unnamed)} abnormal recordings have no fault name ({unnamed[0]}, ...). Name the faults in the column "
            "fault of the manifest, or choose the labels groups or binary."
        )
    if requested == "auto":
        return "binary" if unnamed else "manifest"
    return requested


def _abnormal(entries: Sequence[Entry]) -> tuple[Entry, ...]:
    return tuple(entry for entry in entries if entry.label == ABNORMAL)


def _groups(split: Split, features: StoredFeatures, options: TrainingOptions, *, needed: bool) -> FaultGroups | None:
    """Group the abnormal training recordings, if groups are needed or there are enough recordings to show."""
    abnormal = _abnormal(split.train)
    enough = options.groups if options.groups != "auto" else FEWEST_FAULT_GROUPS
    if not needed and len(abnormal) < RECORDINGS_PER_GROUP * enough:
        return None
    return group_faults(
        _vectors(abnormal, split, features),
        k=options.groups,
        sessions=[entry.session for entry in abnormal],
        seed=options.seed,
    )


def _classes_of_groups(split: Split, features: StoredFeatures, groups: FaultGroups) -> dict[str, int]:
    """Return the class of every abnormal recording; on the other sides, the nearest centroid decides."""
    abnormal = [entry for _, entry in split.sides() if entry.label == ABNORMAL]
    assigned = groups.assign(_vectors(abnormal, split, features))
    return {entry.path: 1 + int(group) for entry, group in zip(abnormal, assigned, strict=True)}


def _vectors(entries: Sequence[Entry], split: Split, features: StoredFeatures) -> NDArray[np.float64]:
    """Return a vector for each recording, relative to the normal training recordings of its machine."""
    normal = [entry for entry in split.train if entry.label == NORMAL]
    vectors, normal_vectors = (
        np.stack([recording_vector(features.clips(entry), features.spec) for entry in some])
        for some in (entries, normal)
    )
    return subtract_normal_mean(
        vectors, [_machine_at_snr(e) for e in entries], normal_vectors, [_machine_at_snr(e) for e in normal]
    )


def _machine_at_snr(entry: Entry) -> tuple[str | None, str | None, float | None]:
    return entry.annotation.machine, entry.annotation.machine_id, entry.annotation.snr_db


def _agreement(groups: FaultGroups | None, grouped: Sequence[Entry], options: TrainingOptions) -> Agreement | None:
    """Compare the groups with the true faults, if every recording has a fault name."""
    if groups is None or not all(entry.annotation.fault for entry in grouped):
        return None
    return measure_agreement(groups.assignments, [str(entry.annotation.fault) for entry in grouped], seed=options.seed)


def _message(name: str) -> str:
    """Return the message of a class; the original project's faults keep its messages."""
    if name in MESSAGES:
        return MESSAGES[name]
    return "Anomaly" if name == ABNORMAL else f"Fault: {name.replace('_', ' ')}"
