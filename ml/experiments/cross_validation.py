"""Cross-validation folds of detectors, for each machine kind at each SNR."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ml.dataset.entries import ABNORMAL, NORMAL, Entry
from ml.detectors.fitting import has_enough_recordings
from ml.detectors.folds import FOLDS, FoldNumbers, session_folds, time_folds

# A machine with one session is divided in two. Each half is tested by a detector that learned from the other.
HALVES = 2


@dataclass(frozen=True, slots=True)
class Fold:
    """Training and test recordings without overlap.

    Attributes:
        train: normal recordings to learn from, in the order of the dataset.
        test: held-out normal recordings, and every abnormal recording of the same machines.
    """

    train: tuple[Entry, ...]
    test: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Subset:
    """All recordings of one machine kind at one SNR.

    Attributes:
        machine, snr_db: machine kind, and SNR in dB; None if unknown.
        folds: the folds; empty if there are too few recordings.
        entries: all recordings.
    """

    machine: str | None
    snr_db: float | None
    folds: tuple[Fold, ...]
    entries: tuple[Entry, ...]

    @property
    def name(self) -> str:
        """Name in tables: ``fan at 0 dB``."""
        snr = "" if self.snr_db is None else f" at {self.snr_db:g} dB"
        return f"{self.machine or 'recordings'}{snr}"


def split_subsets(entries: Iterable[Entry]) -> tuple[Subset, ...]:
    """Divide recordings by machine kind and SNR. One detector is fitted to each subset.

    SNR versions of a machine contain the same recordings, so a detector must not learn from two of them.
    """
    by_key: defaultdict[tuple[str, float], list[Entry]] = defaultdict(list)
    for entry in entries:
        by_key[
            entry.annotation.machine or "",
            -float("inf") if entry.annotation.snr_db is None else entry.annotation.snr_db,
        ].append(entry)
    return tuple(_subset(by_key[key]) for key in sorted(by_key))


def _subset(entries: Sequence[Entry]) -> Subset:
    first = entries[0]
    return Subset(first.annotation.machine, first.annotation.snr_db, tuple(_folds(entries)), tuple(entries))


def _folds(entries: Sequence[Entry]) -> Iterator[Fold]:
    normal = [entry for entry in entries if entry.label == NORMAL]
    folds = _fold_numbers(normal)
    for number in range(1 + folds.max(initial=-1)):
        held_out = [entry for entry, fold in zip(normal, folds, strict=True) if fold == number]
        train = tuple(entry for entry, fold in zip(normal, folds, strict=True) if fold != number)
        if has_enough_recordings([entry.machine_name for entry in train]):
            machines = {entry.machine_name for entry in held_out}
            abnormal = (entry for entry in entries if entry.label == ABNORMAL and entry.machine_name in machines)
            yield Fold(train, (*held_out, *abnormal))


def _fold_numbers(normal: Sequence[Entry]) -> FoldNumbers:
    """Return fold numbers: whole sessions of a machine with several sessions, else halves in time."""
    machines = [entry.machine_name for entry in normal]
    sessions = session_folds(machines, [entry.session for entry in normal], FOLDS)
    return np.where(sessions < 0, time_folds(machines, HALVES), sessions)
