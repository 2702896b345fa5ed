"""The sides of a split, and what must not be parted between them."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from ml.dataset.entries import Entry
from ml.dataset.indexing.listing import natural_key

Side = Literal["train", "validation", "test"]
SIDES: tuple[Side, ...] = ("train", "validation", "test")
Shares = dict[Side, float]
SequenceKey = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Split:
    """Recordings to learn from, to choose by, and to be judged on.

    Attributes:
        method: ``group``, ``blocks`` or ``machine``.
        seed: of whatever was left to chance.
        train, validation, test: the sides, each in natural order.
        left_out: recordings on no side, each with the reason: guard clips, and further copies of the same sound.
    """

    method: str
    seed: int
    train: tuple[Entry, ...]
    validation: tuple[Entry, ...]
    test: tuple[Entry, ...]
    left_out: tuple[tuple[Entry, str], ...]

    def entries(self) -> list[Entry]:
        """Each recording that is on a side."""
        return [entry for _, entry in self.sides()]

    def sides(self) -> Iterator[tuple[Side, Entry]]:
        """Each recording that is on a side, with the side."""
        for side, entries in zip(SIDES, (self.train, self.validation, self.test), strict=True):
            for entry in entries:
                yield side, entry


def recording_sequences(entries: Iterable[Entry]) -> list[list[Entry]]:
    """Recordings of one kind from one session, each list in recording order; the lists in order of their first.

    Two that stand side by side in a list were recorded one after the other.
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
    """Which groups must stay together: each group, and the first (by name) of those that it is kept with.

    MIMII's versions of a machine at several SNRs hold the same machine recordings under other file names. So groups of
    one machine id are kept together where they differ in the SNRs that they hold. Groups with the same SNRs are taken
    for sessions of their own.
    """
    snrs: defaultdict[tuple[str | None, str], defaultdict[str, set[float | None]]] = defaultdict(
        lambda: defaultdict(set)
    )
    together: dict[str, str] = {}
    for entry in entries:
        together[entry.session] = entry.session
        if entry.annotation.machine_id is not None:
            snrs[entry.annotation.machine, entry.annotation.machine_id][entry.session].add(entry.annotation.snr_db)
    for groups in snrs.values():
        if len({frozenset(values) for values in groups.values()}) > 1:
            first, *others = groups
            for other in others:
                _unite(together, first, other)
    return {group: _find_root(together, group) for group in together}


def _unite(together: dict[str, str], one: str, other: str) -> None:
    low, high = sorted((_find_root(together, one), _find_root(together, other)))
    together[high] = low


def _find_root(together: dict[str, str], group: str) -> str:
    while together[group] != group:
        group = together[group]
    return group


def snrs_by_machine(
    entries: Iterable[Entry], component_of: dict[str, str]
) -> dict[tuple[str, str, str], set[float | None]]:
    """The SNRs of each machine within each component."""
    found: defaultdict[tuple[str, str, str], set[float | None]] = defaultdict(set)
    for entry in entries:
        found[machine_key(entry, component_of)].add(entry.annotation.snr_db)
    return dict(found)


def machine_key(entry: Entry, component_of: dict[str, str]) -> tuple[str, str, str]:
    """A machine within a component: what sounds the same in it at every SNR."""
    return component_of[entry.session], entry.annotation.machine or "", entry.annotation.machine_id or ""
