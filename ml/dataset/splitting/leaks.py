"""Whether a split leaks: what is on two sides that must be on one, by name."""

from collections import defaultdict
from itertools import pairwise

from ml.dataset.entries import Entry
from ml.dataset.splitting.sides import Side, Split, machine_key, recording_sequences, session_components
from ml.errors import LeakingSplit


def check_leakage(split: Split) -> None:
    """Refuse a split whose test or validation recordings are known from the training.

    Raises:
        LeakingSplit: a recording, the same sound, a group (by group or machine; only the training and the validation
            side may share one, as blocks with a guard), two recordings made one after the other, or one machine's
            recordings at another SNR are on two sides. The sentence names it.
    """
    sides = {entry.path: side for side, entry in split.sides()}
    _check_once(split)
    _check_versions(split)
    if split.method != "blocks":
        _check_groups(split)
    _check_neighbours(split, sides)


def _check_once(split: Split) -> None:
    """No path twice, no sound on two sides."""
    paths: dict[str, Side] = {}
    sounds: dict[str, tuple[Side, str]] = {}
    for side, entry in split.sides():
        if entry.path in paths:
            raise LeakingSplit(f"{entry.path} is on the {paths[entry.path]} side and again on the {side} side.")
        other_side, other = sounds.setdefault(entry.audio_hash, (side, entry.path))
        if other_side != side:
            raise LeakingSplit(
                f"{other} on the {other_side} side and {entry.path} on the {side} side hold the same samples."
            )
        paths[entry.path] = side


def _check_neighbours(split: Split, sides: dict[str, Side]) -> None:
    everything = [entry for _, entry in split.sides()] + [entry for entry, _ in split.left_out]
    for unit in recording_sequences(everything):
        for one, other in pairwise(unit):
            first, second = sides.get(one.path), sides.get(other.path)
            if first and second and first != second:
                raise LeakingSplit(
                    f"{one.path} on the {first} side and {other.path} on the {second} side are neighbours in session "
                    f"{one.session}; a guard clip between them was expected."
                )


def _check_versions(split: Split) -> None:
    together = session_components(entry for _, entry in split.sides())
    first: dict[tuple[str, str, str], dict[float | None, tuple[Side, Entry]]] = defaultdict(dict)
    for side, entry in split.sides():
        at_snr = first[machine_key(entry, together)]
        for other_snr, (other_side, other) in at_snr.items():
            if other_snr != entry.annotation.snr_db and other_side != side:
                raise LeakingSplit(
                    f"{entry.annotation.machine or ''} {entry.annotation.machine_id or entry.session}".strip()
                    + f" is on the {other_side} side at {_decibels(other)} and on the {side} side at "
                    f"{_decibels(entry)}: the versions at several SNRs hold the same machine recordings."
                )
        at_snr.setdefault(entry.annotation.snr_db, (side, entry))


def _decibels(entry: Entry) -> str:
    return "an unknown SNR" if entry.annotation.snr_db is None else f"{entry.annotation.snr_db:g} dB"


def _check_groups(split: Split) -> None:
    together = session_components(entry for _, entry in split.sides())
    tested = {together[entry.session]: entry.session for entry in split.test}
    for side, entry in split.sides():
        if side != "test" and together[entry.session] in tested:
            raise LeakingSplit(
                f"Group {entry.session} is on the {side} side ({entry.path}) and, itself or as group "
                f"{tested[together[entry.session]]}, on the test side."
            )
