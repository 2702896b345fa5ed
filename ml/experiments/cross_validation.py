"""Recordings of one kind of machine at one SNR -> folds: healthy ones to learn from, others to be tried on."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ml.dataset.entries import ABNORMAL, NORMAL, Entry
from ml.detectors.fitting import has_enough_recordings
from ml.detectors.folds import FoldNumbers, session_folds, time_folds

# A machine of one session is cut in two, and each half tried by what has learned from the other.
HALVES = 2


@dataclass(frozen=True, slots=True)
class Fold:
    """Recordings that share none.

    Attributes:
        train: healthy ones to learn from, in time order.
        test: the healthy ones held out, and every abnormal one of the same machines.
    """

    train: tuple[Entry, ...]
    test: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Subset:
    """All recordings that are compared with each other: of one kind of machine, at one SNR.

    Attributes:
        machine, snr_db: which; None where the recordings do not say so.
        folds: how they are held out in turn; none where there are too few.
        entries: all of them.
    """

    machine: str | None
    snr_db: float | None
    folds: tuple[Fold, ...]
    entries: tuple[Entry, ...]

    @property
    def name(self) -> str:
        """As a reader is shown it: ``fan at 0 dB``."""
        snr = "" if self.snr_db is None else f" at {self.snr_db:g} dB"
        return f"{self.machine or 'recordings'}{snr}"


def split_subsets(entries: Iterable[Entry]) -> tuple[Subset, ...]:
    """Recordings by kind of machine and SNR: what one detector would be fitted to.

    The SNR versions of a machine are other sounds of the same recordings, so that one must not help another.
    """
    found: defaultdict[tuple[str, float], list[Entry]] = defaultdict(list)
    for entry in entries:
        found[
            entry.annotation.machine or "",
            -float("inf") if entry.annotation.snr_db is None else entry.annotation.snr_db,
        ].append(entry)
    return tuple(_subset(found[key]) for key in sorted(found))


def _subset(entries: Sequence[Entry]) -> Subset:
    first = entries[0]
    return Subset(first.annotation.machine, first.annotation.snr_db, tuple(_folds(entries)), tuple(entries))


def _folds(entries: Sequence[Entry]) -> Iterator[Fold]:
    healthy = [entry for entry in entries if entry.label == NORMAL]
    folds = _fold_numbers(healthy)
    for number in range(1 + folds.max(initial=-1)):
        out = [entry for entry, fold in zip(healthy, folds, strict=True) if fold == number]
        learned = tuple(entry for entry, fold in zip(healthy, folds, strict=True) if fold != number)
        if has_enough_recordings([entry.machine_name for entry in learned]):
            machines = {entry.machine_name for entry in out}
            faulty = (entry for entry in entries if entry.label == ABNORMAL and entry.machine_name in machines)
            yield Fold(learned, (*out, *faulty))


def _fold_numbers(healthy: Sequence[Entry]) -> FoldNumbers:
    """Whole sessions of a machine that has several, else halves in time."""
    machines = [entry.machine_name for entry in healthy]
    sessions = session_folds(machines, [entry.session for entry in healthy])
    return np.where(sessions < 0, time_folds(machines, HALVES), sessions)
