"""Recordings of one kind of machine at one SNR -> folds: healthy ones to learn from, others to be tried on."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ml.dataset.entries import Entry
from ml.dataset.listing import machine_name
from ml.novelty.fitting import FOLDS, enough

# A machine of one session is cut in two, and each half tried by what has learned from the other.
HALVES = 2


@dataclass(frozen=True, slots=True)
class Fold:
    """Recordings that share none.

    Attributes:
        learned: healthy ones to learn from, in time order.
        tried: the healthy ones held out, and every abnormal one of the same machines.
    """

    learned: tuple[Entry, ...]
    tried: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Bench:
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


def name_of(entry: Entry) -> str:
    """The machine that a detector knows a recording by: ``fan/id_00``."""
    return machine_name(entry.machine, entry.machine_id)


def benches(entries: Iterable[Entry]) -> tuple[Bench, ...]:
    """Recordings by kind of machine and SNR: what one detector would be fitted to.

    The SNR versions of a machine are other sounds of the same recordings, so that one must not help another.
    """
    found: defaultdict[tuple[str, float], list[Entry]] = defaultdict(list)
    for entry in entries:
        found[entry.machine or "", -float("inf") if entry.snr_db is None else entry.snr_db].append(entry)
    return tuple(_bench(found[key]) for key in sorted(found))


def _bench(entries: Sequence[Entry]) -> Bench:
    first = entries[0]
    return Bench(first.machine, first.snr_db, tuple(_folds(entries)), tuple(entries))


def _folds(entries: Sequence[Entry]) -> Iterator[Fold]:
    healthy = [entry for entry in entries if entry.label == "normal"]
    held_out = _held_out(healthy)
    for number in range(1 + max(held_out.values(), default=-1)):
        out = {path for path, fold in held_out.items() if fold == number}
        machines = {name_of(entry) for entry in healthy if entry.path in out}
        learned = tuple(entry for entry in healthy if entry.path not in out)
        if enough([name_of(entry) for entry in learned]):
            faulty = (entry for entry in entries if entry.label == "abnormal" and name_of(entry) in machines)
            yield Fold(learned, (*(entry for entry in healthy if entry.path in out), *faulty))


def _held_out(healthy: Sequence[Entry]) -> dict[str, int]:
    """The fold that each recording is held out in, by its path: whole sessions of a machine that has several.

    Otherwise contiguous halves in time. A machine's only recording is always learned from.
    """
    fold: dict[str, int] = {}
    for machine in dict.fromkeys(map(name_of, healthy)):
        mine = [entry for entry in healthy if name_of(entry) == machine]
        sessions = list(dict.fromkeys(entry.group for entry in mine))
        if len(sessions) > 1:
            of = {session: place * min(FOLDS, len(sessions)) // len(sessions) for place, session in enumerate(sessions)}
            fold |= {entry.path: of[entry.group] for entry in mine}
        elif len(mine) > 1:
            fold |= {entry.path: place * HALVES // len(mine) for place, entry in enumerate(mine)}
    return fold
