"""Sides of a split, and the recordings that must stay on one side."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ml.dataset.annotations import Side
from ml.dataset.entries import Entry
from ml.dataset.indexing.listing import natural_key

SIDES: tuple[Side, ...] = ("train", "validation", "test")
Shares = dict[Side, float]
SequenceKey = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Split:
    """Recordings for training, validation and test.

    Attributes:
        method: ``group``, ``blocks`` or ``machine``.
        seed: seed of all random choices.
        train, validation, test: the sides, each in natural order.
        left_out: recordings on no side, each with the reason, such as gap recordings and copies.
    """

    method: str
    seed: int
    train: tuple[Entry, ...]
    validation: tuple[Entry, ...]
    test: tuple[Entry, ...]
    left_out: tuple[tuple[Entry, str], ...]

    def entries(self) -> list[Entry]:
        """Return all recordings that are on a side."""
        return [entry for _, entry in self.sides()]

    def sides(self) -> Iterator[tuple[Side, Entry]]:
        """Yield each recording that is on a side, with the side."""
        for side, entries in zip(SIDES, (self.train, self.validation, self.test), strict=True):
            for entry in entries:
                yield side, entry


def recording_sequences(entries: Iterable[Entry]) -> list[list[Entry]]:
    """Return the sequences of recordings of one session and kind, each in recording order.

    Neighbours in a sequence were recorded one after the other. The sequences are ordered by their first recordings.
    """
    found: defaultdict[SequenceKey, list[Entry]] = defaultdict(list)
    for entry in sorted(entries, key=lambda entry: natural_key(entry.path)):
        kind = (
            entry.session,
            entry.annotation.machine,
            entry.annotation.machine_id,
            entry.label,
            entry.annotation.fault,
            entry.annotation.snr_db,
        )
        found[tuple(map(str, kind))].append(entry)
    return list(found.values())


def session_components(entries: Iterable[Entry]) -> dict[str, str]:
    """Return the component of each session: the first (by name) of the sessions that must stay together.

    MIMII's versions of a machine at several SNRs contain the same machine sound under other file names. So sessions of
    one machine id stay together if they have different SNRs. Sessions with the same SNRs are independent.
    """
    snrs: defaultdict[tuple[str | None, str], defaultdict[str, set[float | None]]] = defaultdict(
        lambda: defaultdict(set)
    )
    parent_of: dict[str, str] = {}
    for entry in entries:
        parent_of[entry.session] = entry.session
        if entry.annotation.machine_id is not None:
            snrs[entry.annotation.machine, entry.annotation.machine_id][entry.session].add(entry.annotation.snr_db)
    for sessions in snrs.values():
        if len({frozenset(values) for values in sessions.values()}) > 1:
            first, *others = sessions
            for other in others:
                _unite(parent_of, first, other)
    return {session: _find_root(parent_of, session) for session in parent_of}


def _unite(parent_of: dict[str, str], one: str, other: str) -> None:
    low, high = sorted((_find_root(parent_of, one), _find_root(parent_of, other)))
    parent_of[high] = low


def _find_root(parent_of: dict[str, str], session: str) -> str:
    while parent_of[session] != session:
        session = parent_of[session]
    return session


def snrs_by_machine(
    entries: Iterable[Entry], component_of: dict[str, str]
) -> dict[tuple[str, str, str], set[float | None]]:
    """Return the SNRs of each machine within each component."""
    found: defaultdict[tuple[str, str, str], set[float | None]] = defaultdict(set)
    for entry in entries:
        found[machine_key(entry, component_of)].add(entry.annotation.snr_db)
    return dict(found)


def machine_key(entry: Entry, component_of: dict[str, str]) -> tuple[str, str, str]:
    """Return component, machine and id; the same key at several SNRs means the same machine sound."""
    return component_of[entry.session], entry.annotation.machine or "", entry.annotation.machine_id or ""
