"""Splits between sessions: whole components of groups, stratified by label, machine and fault.

Iterative stratification after Sechidis, Tsoumakas and Vlahavas (2011), with whole components in the place of examples:
the rarest kind of recording is dealt out first, each component to the side that lacks most of that kind.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ml.dataset.entries import Entry
from ml.dataset.splitting.sides import Shares, Side

Stratum = tuple[str, ...]
Components = Mapping[str, Sequence[Entry]]
# From the finest kind to the coarsest; the last one deals out whatever the others left.
STRATUM_KEYS: tuple[Callable[[Entry], Stratum], ...] = (
    lambda entry: (entry.label, str(entry.annotation.machine), str(entry.annotation.fault)),
    lambda entry: (entry.label, str(entry.annotation.fault)),
    lambda entry: (entry.label,),
)
# How many deals are looked at, and how far from its share (of that share) a side may be to be taken at once: the
# first that is near enough, so that another seed is another split, not the one best split again.
DEALS = 50
NEAR = 0.5


def assign_sides(components: Components, shares: Shares, rng: np.random.Generator) -> dict[str, Side]:
    """Give each component a side.

    Args:
        components: recordings by the name of their component.
        shares: of each side, adding up to 1, in the order in which sides are served where there are too few components
            of a kind: of a single one, the first side gets it.
        rng: draws the deals.

    Returns:
        The first deal that is near the shares, else the nearest.
    """
    deals = []
    for _ in range(DEALS):
        dealt = _assign_once(components, shares, rng)
        distance = _distance(dealt, components, shares)
        if distance <= NEAR:
            return dealt
        deals.append((distance, dealt))
    return min(deals, key=lambda pair: pair[0])[1]


def _assign_once(components: Components, shares: Shares, rng: np.random.Generator) -> dict[str, Side]:
    dealt: dict[str, Side] = {}
    for level in STRATUM_KEYS:
        counts = _counts(components, level)
        for stratum in sorted(counts, key=lambda stratum: (len(counts[stratum]), stratum)):
            if len(counts[stratum]) > 1 or level is STRATUM_KEYS[-1]:
                _assign_stratum(counts[stratum], shares, dealt, rng)
    return dealt


def _counts(components: Components, level: Callable[[Entry], Stratum]) -> dict[Stratum, dict[str, int]]:
    """How many recordings of each stratum each component holds, by name."""
    counts: defaultdict[Stratum, dict[str, int]] = defaultdict(dict)
    for name in sorted(components):
        for entry in components[name]:
            within = counts[level(entry)]
            within[name] = within.get(name, 0) + 1
    return dict(counts)


def _assign_stratum(
    counts: Mapping[str, int], shares: Shares, dealt: dict[str, Side], rng: np.random.Generator
) -> None:
    """Deal out one stratum's components that have no side yet: one to each side if there are enough, then by need."""
    sides = list(shares)[: len(counts)]
    total = sum(counts.values())
    lacks = {side: shares[side] * total for side in shares}
    empty = set(sides)
    for name in (name for name in counts if name in dealt):
        lacks[dealt[name]] -= counts[name]
        empty.discard(dealt[name])
    waiting = [name for name in counts if name not in dealt]
    for behind, place in enumerate(rng.permutation(len(waiting))):
        name = waiting[place]
        must = [side for side in sides if side in empty] if len(waiting) - behind <= len(empty) else sides
        side = max(must, key=lambda side: lacks[side])
        dealt[name] = side
        lacks[side] -= counts[name]
        empty.discard(side)


def _distance(dealt: Mapping[str, Side], components: Components, shares: Shares) -> float:
    """How far the sides are from their shares, in shares; a side that lacks a label that it could have is far off."""
    total = sum(map(len, components.values()))
    have = {side: sum(len(components[name]) for name in dealt if dealt[name] == side) for side in shares}
    test_off = abs(have["test"] / total / shares["test"] - 1) if "test" in shares else 0.0
    too_much = max(0.0, have["validation"] / total / shares["validation"] - 1)
    return max(test_off, too_much) + 10 * _missing(dealt, components, shares)


def _missing(dealt: Mapping[str, Side], components: Components, shares: Shares) -> int:
    held: defaultdict[str, set[Side]] = defaultdict(set)
    of_label: defaultdict[str, int] = defaultdict(int)
    for name, entries in components.items():
        for label in {entry.label for entry in entries}:
            held[label].add(dealt[name])
            of_label[label] += 1
    return sum(min(count, len(shares)) - len(held[label]) for label, count in of_label.items())
