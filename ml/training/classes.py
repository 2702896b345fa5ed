"""What the network is to tell apart, and which class each recording is of."""

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
    ', or train a detector, which learns from healthy ones alone: --detector, over HTTP "learn": "detector"'
)
# A group to look at in the report wants this many recordings, even where the classes are others.
RECORDINGS_PER_GROUP = 4


@dataclass(frozen=True, slots=True)
class TrainingClasses:
    """The classes of a training.

    Attributes:
        labels: their names and messages, the healthy one first.
        source: where they come from.
        class_by_path: the class of each recording, by its path.
        groups: what was found in the abnormal training recordings, for the report and, where asked for, the classes.
        agreement: of the groups with the true faults, where those are known.
        grouped: the recordings that the groups were found in, in their order.
        unlearned: recordings of faults that the training side has none of: they are in no class.
    """

    labels: ClassLabels
    source: LabelsFrom
    class_by_path: dict[str, int]
    groups: FaultGroups | None
    agreement: Agreement | None
    grouped: tuple[Entry, ...]
    unlearned: tuple[Entry, ...]


def unlearned_notes(unlearned: Sequence[Entry]) -> Iterator[str]:
    """A sentence on the faults of recordings that are in no class; none where there are none."""
    sessions: defaultdict[str, set[str]] = defaultdict(set)
    for entry in unlearned:
        sessions[str(entry.annotation.fault)].add(entry.session)
    if sessions:
        named = ", ".join(f"{fault} ({len(groups)})" for fault, groups in sorted(sessions.items()))
        yield (
            f"Not learned, since all recordings of them are held out: {named}; in parentheses, their recording "
            "sessions. Record another session of each."
        )


def require_both_labels(dataset: Dataset) -> None:
    """Refuse what no classifier can be made of.

    Raises:
        OneClassOnly: healthy recordings only, or abnormal ones only.
    """
    present = {entry.label for entry in dataset.entries}
    if len(present) == 1:
        (only,), missing = present, {NORMAL, ABNORMAL} - present
        count = len(dataset.entries)
        which = "The only recording" if count == 1 else f"All {count} recordings"
        raise OneClassOnly(
            f"{which} in {dataset.name} {'is' if count == 1 else 'are'} {only}; a classifier learns from {only} and "
            f"{missing.pop()} ones. Add a folder or rows of the other{WITHOUT_FAULTS if only == NORMAL else ''}."
        )


def require_fault_names(dataset: Dataset) -> None:
    """Refuse names of faults that cannot be names of classes.

    Raises:
        InvalidParameter: a fault called as the healthy class or as all faults are, or by a name that is too long.
    """
    for entry in dataset.entries:
        if entry.annotation.fault is not None and (
            entry.annotation.fault in (NORMAL, ABNORMAL) or len(entry.annotation.fault) > MAX_NAME
        ):
            raise InvalidParameter(
                f"{entry.path} has the fault {entry.annotation.fault[:MAX_NAME]!r}; a name of at most {MAX_NAME} characters other "
                f"than {NORMAL} and {ABNORMAL} was expected."
            )


def choose_classes(
    dataset: Dataset, split: Split, features: StoredFeatures | None, options: TrainingOptions
) -> TrainingClasses:
    """Decide on the classes, and find groups in the abnormal recordings of the training side, never augmented.

    Args:
        dataset: the recordings.
        split: their sides.
        features: of all of them; None for a detector alone, which knows no classes of faults.
        options: of the training.

    Raises:
        InvalidParameter: named faults are asked for, and not every abnormal recording has one.
        TooFewRecordings: fewer abnormal recordings than groups asked for.
    """
    if features is None:
        return TrainingClasses(DETECTOR_LABELS, "binary", {}, None, None, (), ())
    source = _source(dataset, options.labels)
    groups = _groups(split, features, options, needed=source == "groups")
    if source == "groups" and groups is not None:
        names, of = groups.names, _of_groups(split, features, groups)
    elif source == "manifest":
        names = tuple(sorted({str(entry.annotation.fault) for entry in split.train if entry.annotation.fault}))
        of = {
            entry.path: 1 + names.index(str(entry.annotation.fault))
            for _, entry in split.sides()
            if entry.annotation.fault in names
        }
    else:
        names, of = (ABNORMAL,), {entry.path: 1 for _, entry in split.sides() if entry.label == ABNORMAL}
    of |= {entry.path: 0 for _, entry in split.sides() if entry.label == NORMAL}
    healthy = ClassLabel(NORMAL, MESSAGES[NORMAL], anomalous=False)
    labels = ClassLabels((healthy, *(ClassLabel(name, _message(name), anomalous=True) for name in names)))
    grouped = _abnormal(split.train)
    unlearned = tuple(entry for _, entry in split.sides() if entry.path not in of)
    return TrainingClasses(labels, source, of, groups, _agreement(groups, grouped, options), grouped, unlearned)


def _source(dataset: Dataset, asked: LabelsFrom) -> Literal["manifest", "groups", "binary"]:
    unnamed = [entry.path for entry in dataset.entries if entry.label == ABNORMAL and not entry.annotation.fault]
    if asked == "manifest" and unnamed:
        raise InvalidParameter(
            f"{len(unnamed)} abnormal recordings name no fault ({unnamed[0]}, ...): name them in the manifest's column "
            "fault, or choose the labels groups or binary."
        )
    if asked == "auto":
        return "binary" if unnamed else "manifest"
    return asked


def _abnormal(entries: Sequence[Entry]) -> tuple[Entry, ...]:
    return tuple(entry for entry in entries if entry.label == ABNORMAL)


def _groups(split: Split, features: StoredFeatures, options: TrainingOptions, *, needed: bool) -> FaultGroups | None:
    """Groups of the abnormal training recordings, if the classes are made of them or there are enough to look at."""
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


def _of_groups(split: Split, features: StoredFeatures, groups: FaultGroups) -> dict[str, int]:
    """The group of every abnormal recording; those of the other sides by the nearest centroid."""
    abnormal = [entry for _, entry in split.sides() if entry.label == ABNORMAL]
    assigned = groups.assign(_vectors(abnormal, split, features))
    return {entry.path: 1 + int(group) for entry, group in zip(abnormal, assigned, strict=True)}


def _vectors(entries: Sequence[Entry], split: Split, features: StoredFeatures) -> NDArray[np.float64]:
    """What is grouped: each recording relative to the same machine's healthy ones of the training side."""
    healthy = [entry for entry in split.train if entry.label == NORMAL]
    of, of_healthy = (
        np.stack([recording_vector(features.clips(entry), features.spec) for entry in some])
        for some in (entries, healthy)
    )
    return subtract_normal_mean(of, [_machine(e) for e in entries], of_healthy, [_machine(e) for e in healthy])


def _machine(entry: Entry) -> tuple[str | None, str | None, float | None]:
    return entry.annotation.machine, entry.annotation.machine_id, entry.annotation.snr_db


def _agreement(groups: FaultGroups | None, grouped: Sequence[Entry], options: TrainingOptions) -> Agreement | None:
    """How the groups agree with the faults, where every recording names one."""
    if groups is None or not all(entry.annotation.fault for entry in grouped):
        return None
    return measure_agreement(groups.assignments, [str(entry.annotation.fault) for entry in grouped], seed=options.seed)


def _message(name: str) -> str:
    """What a person is told: the original's words for the original's faults."""
    if name in MESSAGES:
        return MESSAGES[name]
    return "Anomaly" if name == ABNORMAL else f"Fault: {name.replace('_', ' ')}"
