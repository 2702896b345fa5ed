"""Copies: recordings with the same samples must not be used for both training and test."""

from collections import defaultdict
from collections.abc import Iterable

from ml.dataset.entries import Entry


def drop_duplicates(entries: Iterable[Entry]) -> tuple[list[Entry], list[tuple[Entry, str]]]:
    """Keep the first of each set of copies, and none if their labels or faults contradict each other.

    Returns:
        The recordings to keep, and the recordings left out with the reasons.
    """
    same: defaultdict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        same[entry.audio_hash].append(entry)
    kept, left_out = [], []
    for first, *copies in same.values():
        other = next((copy for copy in copies if labels_contradict(first, copy)), None)
        if other is None:
            kept.append(first)
            left_out += [(copy, f"The same samples as {first.path}.") for copy in copies]
        else:
            reason = (
                f"The same samples are labelled {_condition(first)} in {first.path} and {_condition(other)} in "
                f"{other.path}."
            )
            left_out += [(copy, reason) for copy in (first, *copies)]
    return kept, left_out


def labels_contradict(one: Entry, other: Entry) -> bool:
    """Return whether two recordings have different labels or faults; a missing fault contradicts none."""
    if one.label != other.label:
        return True
    return None not in (one.annotation.fault, other.annotation.fault) and one.annotation.fault != other.annotation.fault


def _condition(entry: Entry) -> str:
    return entry.annotation.fault or entry.label
