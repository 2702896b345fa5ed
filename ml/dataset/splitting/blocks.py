"""Splits within a session: contiguous blocks in recording order, with gap recordings between them."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from ml.dataset.annotations import Side
from ml.dataset.entries import Entry
from ml.dataset.splitting.sides import Shares

CutEntry = tuple[Entry, Side | None]
# In the order in which blocks are dropped if there are too few recordings for all.
HELD_OUT: tuple[Side, ...] = ("validation", "test")
# A held-out block needs one recording and one gap recording; one more recording is left for training.
FOR_ONE_SIDE, FOR_BOTH_SIDES = 3, 5


def cut_blocks(
    sequence: Sequence[Entry], shares: Mapping[Side, float], gap: int, rng: np.random.Generator
) -> Iterator[CutEntry]:
    """Cut recordings of one session and kind into train | gap | validation | gap | test, or reversed.

    Args:
        sequence: recordings in recording order.
        shares: shares of the validation and the test side, 0 to 1; a missing side gets no recordings.
        gap: recordings to leave out between two sides; fewer, but at least one, if gaps would take half of all.
        rng: decides which end is tested.

    Yields:
        Each recording with its side; None for a gap recording.
    """
    pieces = block_sizes(len(sequence), shares, gap)
    order = sequence[::-1] if rng.integers(2) else sequence
    position = 0
    for side, count in pieces:
        for entry in order[position : position + count]:
            yield entry, side
        position += count


def block_sizes(count: int, shares: Mapping[Side, float], gap: int) -> list[tuple[Side | None, int]]:
    """Return the lengths of the blocks and of the gaps between them; they add up to ``count``.

    With fewer than 5 recordings there is one held-out block: the test block if ``shares`` has it. With fewer than 3
    there is none.
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
    """Cut each sequence; return the sides by path, and the reasons for recordings left out."""
    sides: dict[str, Side] = {}
    gaps: dict[str, str] = {}
    for sequence, own_shares in zip(sequences, _shares_of_each(sequences, shares, rng), strict=True):
        for entry, side in cut_blocks(sequence, own_shares, gap, rng):
            if side is None:
                gaps[entry.path] = "Gap recording: it was recorded between two sides."
            else:
                sides[entry.path] = side
    return sides, gaps


def _shares_of_each(sequences: Sequence[Sequence[Entry]], shares: Shares, rng: np.random.Generator) -> list[Shares]:
    """Return the shares of each sequence.

    If every sequence of a kind is too small for both held-out sides, some validate and the others test.
    """
    shares_of_each = [shares] * len(sequences)
    if not all(shares.get(side) for side in HELD_OUT):
        return shares_of_each
    kinds: defaultdict[tuple[str, str | None], list[int]] = defaultdict(list)
    for number, sequence in enumerate(sequences):
        kinds[sequence[0].label, sequence[0].annotation.fault].append(number)
    for numbers in kinds.values():
        small = [number for number in numbers if FOR_ONE_SIDE <= len(sequences[number]) < FOR_BOTH_SIDES]
        if len(small) > 1 and all(len(sequences[number]) < FOR_BOTH_SIDES for number in numbers):
            validate = round(len(small) * shares["validation"] / (shares["validation"] + shares["test"]))
            for place in rng.permutation(len(small))[: min(max(1, validate), len(small) - 1)]:
                shares_of_each[small[place]] = {"validation": shares["validation"]}
    return shares_of_each
