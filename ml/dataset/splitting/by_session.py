"""Splits by session: whole components of sessions, stratified by label, machine and fault.

Iterative stratification after Sechidis, Tsoumakas and Vlahavas (2011), with components instead of examples. The rarest
kind of recording is assigned first. Each component goes to the side that lacks most of that kind.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ml.dataset.annotations import Side
from ml.dataset.entries import Entry
from ml.dataset.splitting.sides import Shares

Stratum = tuple[str, ...]
Components = Mapping[str, Sequence[Entry]]
# From the finest kind to the coarsest; the last one assigns all remaining components.
STRATUM_KEYS: tuple[Callable[[Entry], Stratum], ...] = (
    lambda entry: (entry.label, str(entry.annotation.machine), str(entry.annotation.fault)),
    lambda entry: (entry.label, str(entry.annotation.fault)),
    lambda entry: (entry.label,),
)
# Number of attempts, and the relative deviation from the shares at which an attempt is accepted at once. The first such
# attempt is used, not the best one, so that another seed gives another split.
ATTEMPTS = 50
ACCEPTED_DISTANCE = 0.5


def assign_sides(components: Components, shares: Shares, rng: np.random.Generator) -> dict[str, Side]:
    """Assign a side to each component.

    Args:
        components: recordings by component name.
        shares: share of each side, adding up to 1. If a kind has fewer components than there are sides, only the first
            sides of ``shares`` get one.
        rng: source of randomness.

    Returns:
        The sides by component name: the first attempt near the shares, or else the nearest attempt.
    """
    attempts = []
    for _ in range(ATTEMPTS):
        assigned = _assign_once(components, shares, rng)
        distance = _distance(assigned, components, shares)
        if distance <= ACCEPTED_DISTANCE:
            return assigned
        attempts.append((distance, assigned))
    return min(attempts, key=lambda pair: pair[0])[1]


def _assign_once(components: Components, shares: Shares, rng: np.random.Generator) -> dict[str, Side]:
    assigned: dict[str, Side] = {}
    for level in STRATUM_KEYS:
        counts = _count_by_stratum(components, level)
        for stratum in sorted(counts, key=lambda stratum: (len(counts[stratum]), stratum)):
            if len(counts[stratum]) > 1 or level is STRATUM_KEYS[-1]:
                _assign_stratum(counts[stratum], shares, assigned, rng)
    return assigned


def _count_by_stratum(components: Components, level: Callable[[Entry], Stratum]) -> dict[Stratum, dict[str, int]]:
    """Return the number of recordings of each stratum in each component, by name."""
    counts: defaultdict[Stratum, dict[str, int]] = defaultdict(dict)
    for name in sorted(components):
        for entry in components[name]:
            within = counts[level(entry)]
            within[name] = within.get(name, 0) + 1
    return dict(counts)


def _assign_stratum(
    counts: Mapping[str, int], shares: Shares, assigned: dict[str, Side], rng: np.random.Generator
) -> None:
    """Assign the remaining components of one stratum: one to each side if there are enough, then by need."""
    sides = list(shares)[: len(counts)]
    total = sum(counts.values())
    lacks = {side: shares[side] * total for side in shares}
    empty = set(sides)
    for name in (name for name in counts if name in assigned):
        lacks[assigned[name]] -= counts[name]
        empty.discard(assigned[name])
    waiting = [name for name in counts if name not in assigned]
    for behind, place in enumerate(rng.permutation(len(waiting))):
        name = waiting[place]
        must = [side for side in sides if side in empty] if len(waiting) - behind <= len(empty) else sides
        side = max(must, key=lambda side: lacks[side])
        assigned[name] = side
        lacks[side] -= counts[name]
        empty.discard(side)


def _distance(assigned: Mapping[str, Side], components: Components, shares: Shares) -> float:
    """Return the relative deviation of the sides from their shares; an avoidable missing label adds 10."""
    total = sum(map(len, components.values()))
    sizes = {side: sum(len(components[name]) for name in assigned if assigned[name] == side) for side in shares}
    test_off = abs(sizes["test"] / total / shares["test"] - 1) if "test" in shares else 0.0
    too_much = max(0.0, sizes["validation"] / total / shares["validation"] - 1)
    return max(test_off, too_much) + 10 * _count_missing_labels(assigned, components, shares)


def _count_missing_labels(assigned: Mapping[str, Side], components: Components, shares: Shares) -> int:
    held: defaultdict[str, set[Side]] = defaultdict(set)
    of_label: defaultdict[str, int] = defaultdict(int)
    for name, entries in components.items():
        for label in {entry.label for entry in entries}:
            held[label].add(assigned[name])
            of_label[label] += 1
    return sum(min(count, len(shares)) - len(held[label]) for label, count in of_label.items())
