"""What the network is to tell apart, and which class each recording is of."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ml.dataset import Dataset, Entry, Split
from ml.errors import InvalidParameter, OneClassOnly
from ml.faults import Agreement, FaultGroups, agreement, group_faults, recording_vector
from ml.feature_store import Features
from ml.labels import MAX_NAME, ORIGINAL_LABELS, ClassLabel, Labels
from ml.training.options import LabelsFrom, Options

NORMAL, ABNORMAL = "normal", "abnormal"
MESSAGES = {label.name: label.message for label in ORIGINAL_LABELS.classes}
# A group to look at in the report wants this many recordings, even where the classes are others.
RECORDINGS_PER_GROUP = 4


@dataclass(frozen=True, slots=True)
class Classes:
    """The classes of a training.

    Attributes:
        labels: their names and messages, the healthy one first.
        source: where they come from.
        of: the class of each recording, by its path.
        groups: what was found in the abnormal training recordings, for the report and, where asked for, the classes.
        agreement: of the groups with the true faults, where those are known.
        grouped: the recordings that the groups were found in, in their order.
    """

    labels: Labels
    source: LabelsFrom
    of: dict[str, int]
    groups: FaultGroups | None
    agreement: Agreement | None
    grouped: tuple[Entry, ...]


def require_both(dataset: Dataset) -> None:
    """Refuse what no classifier can be made of.

    Raises:
        OneClassOnly: healthy recordings only, or abnormal ones only.
    """
    present = {entry.label for entry in dataset.entries}
    if len(present) == 1:
        (only,), missing = present, {NORMAL, ABNORMAL} - present
        raise OneClassOnly(
            f"All {len(dataset.entries)} recordings in {dataset.name} are {only}; a classifier learns from {only} and "
            f"{missing.pop()} ones. Add a folder or rows of the other."
        )


def classes_for(dataset: Dataset, split: Split, features: Features, options: Options) -> Classes:
    """Decide on the classes, and find groups in the abnormal recordings of the training side, never augmented.

    Raises:
        InvalidParameter: named faults are asked for, and not every abnormal recording has one.
        TooFewRecordings: fewer abnormal recordings than groups asked for.
    """
    entries = (*split.train, *split.validation, *split.test)
    source = _source(dataset, options.labels)
    abnormal = tuple(entry for entry in split.train if entry.label == ABNORMAL)
    groups = _groups(abnormal, features, options, needed=source == "groups")
    agreed = None
    if groups is not None and all(entry.fault for entry in abnormal):
        agreed = agreement(groups.assignments, [str(entry.fault) for entry in abnormal], seed=options.seed)
    if source == "groups" and groups is not None:
        names = groups.names
        others = [entry for entry in entries if entry.label == ABNORMAL]
        assigned = groups.assign(np.stack([recording_vector(features.windows(entry)) for entry in others]))
        of_fault = {entry.path: 1 + int(group) for entry, group in zip(others, assigned, strict=True)}
    else:
        names = tuple(sorted({str(e.fault) for e in split.train if e.fault})) if source == "manifest" else (ABNORMAL,)
        of_fault = {
            entry.path: 1 + (names.index(entry.fault) if source == "manifest" and entry.fault in names else 0)
            for entry in entries
            if entry.label == ABNORMAL and (source != "manifest" or entry.fault in names)
        }
    healthy = ClassLabel(NORMAL, MESSAGES[NORMAL], anomalous=False)
    labels = Labels((healthy, *(ClassLabel(name[:MAX_NAME], _message(name), anomalous=True) for name in names)))
    of = {entry.path: 0 for entry in entries if entry.label == NORMAL} | of_fault
    return Classes(labels, source, of, groups, agreed, abnormal)


def _source(dataset: Dataset, asked: LabelsFrom) -> Literal["manifest", "groups", "binary"]:
    unnamed = [entry.path for entry in dataset.entries if entry.label == ABNORMAL and not entry.fault]
    if asked == "manifest" and unnamed:
        raise InvalidParameter(
            f"{len(unnamed)} abnormal recordings name no fault ({unnamed[0]}, ...): name them in the manifest's column "
            "fault, or choose the labels groups or binary."
        )
    if asked == "auto":
        return "binary" if unnamed else "manifest"
    return asked


def _groups(
    abnormal: Sequence[Entry], features: Features, options: Options, *, needed: bool
) -> FaultGroups | None:
    enough = options.groups if options.groups != "auto" else 2
    if not needed and len(abnormal) < RECORDINGS_PER_GROUP * enough:
        return None
    vectors = np.stack([recording_vector(features.windows(entry)) for entry in abnormal])
    return group_faults(vectors, k=options.groups, seed=options.seed)


def _message(name: str) -> str:
    """What a person is told: the original's words for the original's faults."""
    if name in MESSAGES:
        return MESSAGES[name]
    return "Anomaly" if name == ABNORMAL else f"Fault: {name.replace('_', ' ')}"
