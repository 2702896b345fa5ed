"""Splits within a session: contiguous blocks of recording order, with guard clips left out between them."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from ml.dataset.entries import Entry
from ml.dataset.splitting.sides import Shares, Side

Cut = tuple[Entry, Side | None]
# From the block that is given up first where there are too few recordings for all of them.
HELD_OUT: tuple[Side, ...] = ("validation", "test")
# A held-out block needs a clip and a guard beside it, and a clip is left to learn from.
FOR_ONE_SIDE, FOR_BOTH_SIDES = 3, 5


def cut_blocks(
    unit: Sequence[Entry], shares: Mapping[Side, float], gap: int, rng: np.random.Generator
) -> Iterator[Cut]:
    """Cut one session's recordings of one kind into train | guard | validation | guard | test, or that backwards.

    Args:
        unit: the recordings in recording order.
        shares: of the validation and the test side, 0 to 1; a side that is not in it gets nothing.
        gap: clips to leave out between two sides; fewer, but one at least, where they would be half of the unit.
        rng: says which end is tested.

    Yields:
        Each recording with its side; None for a guard clip.
    """
    pieces = block_sizes(len(unit), shares, gap)
    order = unit[::-1] if rng.integers(2) else unit
    position = 0
    for side, count in pieces:
        for entry in order[position : position + count]:
            yield entry, side
        position += count


def block_sizes(count: int, shares: Mapping[Side, float], gap: int) -> list[tuple[Side | None, int]]:
    """Lengths of the blocks and of the guards between them; they add up to ``count``.

    With fewer than 5 recordings there is a single held-out block, the test block if that is asked for; with fewer than
    3 there is none.
    """
    held_out = [side for side in HELD_OUT if shares.get(side)]
    if count < FOR_BOTH_SIDES:
        held_out = held_out[-1:]
    if count < FOR_ONE_SIDE or not held_out:
        return [("train", count)]
    between = min(gap, max(1, (count - 1 - len(held_out)) // (2 * len(held_out))))
    used = left = count - between * len(held_out)
    pieces: list[tuple[Side | None, int]] = []
    for waiting, side in zip(range(len(held_out), 0, -1), held_out, strict=True):
        size = min(max(1, round(used * shares[side])), left - waiting)
        left -= size
        pieces += [(None, between), (side, size)]
    return [("train", left), *pieces]


def cut_all_blocks(
    sequences: Sequence[Sequence[Entry]], shares: Shares, gap: int, rng: np.random.Generator
) -> tuple[dict[str, Side], dict[str, str]]:
    """Cut each unit; the sides by path, and the reasons of what is left out."""
    sides: dict[str, Side] = {}
    guards: dict[str, str] = {}
    for unit, of_unit in zip(sequences, _shares_of_each(sequences, shares, rng), strict=True):
        for entry, side in cut_blocks(unit, of_unit, gap, rng):
            if side is None:
                guards[entry.path] = "A guard clip: it was recorded between two sides."
            else:
                sides[entry.path] = side
    return sides, guards


def _shares_of_each(units: Sequence[Sequence[Entry]], shares: Shares, rng: np.random.Generator) -> list[Shares]:
    """The shares for all, but where every unit of a kind is too small for both held-out sides some give to each."""
    of_each = [shares] * len(units)
    if not all(shares.get(side) for side in HELD_OUT):
        return of_each
    kinds: defaultdict[tuple[str, str | None], list[int]] = defaultdict(list)
    for number, unit in enumerate(units):
        kinds[unit[0].label, unit[0].annotation.fault].append(number)
    for numbers in kinds.values():
        small = [number for number in numbers if FOR_ONE_SIDE <= len(units[number]) < FOR_BOTH_SIDES]
        if len(small) > 1 and all(len(units[number]) < FOR_BOTH_SIDES for number in numbers):
            validate = round(len(small) * shares["validation"] / (shares["validation"] + shares["test"]))
            for place in rng.permutation(len(small))[: min(max(1, validate), len(small) - 1)]:
                of_each[small[place]] = {"validation": shares["validation"]}
    return of_each
