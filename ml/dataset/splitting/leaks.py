"""Leak check of a split: related recordings must not be on two sides."""

from collections import defaultdict
from dataclasses import replace
from itertools import pairwise

from ml.dataset.annotations import Side
from ml.dataset.entries import Entry
from ml.dataset.splitting.sides import Split, machine_key, recording_sequences, session_components
from ml.errors import LeakingSplit


def check_leakage(split: Split) -> None:
    """Refuse a split whose test or validation recordings are known from training.

    Raises:
        LeakingSplit: one of these is on two sides: a recording, the same samples, two neighbouring recordings, one
            machine's recordings at different SNRs or, unless the method is ``blocks``, a session of the test side. The
            training and validation sides may share a session, as blocks with a gap. The message names the recordings
            or the session. The test side of a given split can share sessions: others test on it, too.
    """
    sides = {entry.path: side for side, entry in split.sides()}
    _check_copies(split)
    _check_versions(split)
    if split.method == "given":
        return _check_neighbours(replace(split, test=()), sides)
    if split.method != "blocks":
        _check_sessions(split)
    return _check_neighbours(split, sides)


def _check_copies(split: Split) -> None:
    """Refuse a path that occurs twice, or the same samples on two sides."""
    paths: dict[str, Side] = {}
    sounds: dict[str, tuple[Side, str]] = {}
    for side, entry in split.sides():
        if entry.path in paths:
            raise LeakingSplit(f"{entry.path} is on the {paths[entry.path]} side and again on the {side} side.")
        other_side, other = sounds.setdefault(entry.audio_hash, (side, entry.path))
        if other_side != side:
            raise LeakingSplit(
                f"{other} on the {other_side} side and {entry.path} on the {side} side have the same samples."
            )
        paths[entry.path] = side


def _check_neighbours(split: Split, sides: dict[str, Side]) -> None:
    entries = [entry for _, entry in split.sides()] + [entry for entry, _ in split.left_out]
    for sequence in recording_sequences(entries):
        for one, other in pairwise(sequence):
            first, second = sides.get(one.path), sides.get(other.path)
            if first and second and first != second:
                raise LeakingSplit(
                    f"{one.path} on the {first} side and {other.path} on the {second} side are neighbours in session "
                    f"{one.session}; a gap recording between them was expected."
                )


def _check_versions(split: Split) -> None:
    component_of = session_components(entry for _, entry in split.sides())
    first: dict[tuple[str, str, str], dict[float | None, tuple[Side, Entry]]] = defaultdict(dict)
    for side, entry in split.sides():
        at_snr = first[machine_key(entry, component_of)]
        for other_snr, (other_side, other) in at_snr.items():
            if other_snr != entry.annotation.snr_db and other_side != side:
                raise LeakingSplit(
                    f"{entry.annotation.machine or ''} {entry.annotation.machine_id or entry.session}".strip()
                    + f" is on the {other_side} side at {_decibels(other)} and on the {side} side at "
                    f"{_decibels(entry)}: the versions at several SNRs contain the same machine sound."
                )
        at_snr.setdefault(entry.annotation.snr_db, (side, entry))


def _decibels(entry: Entry) -> str:
    return "an unknown SNR" if entry.annotation.snr_db is None else f"{entry.annotation.snr_db:g} dB"


def _check_sessions(split: Split) -> None:
    component_of = session_components(entry for _, entry in split.sides())
    tested = {component_of[entry.session]: entry.session for entry in split.test}
    for side, entry in split.sides():
        if side != "test" and component_of[entry.session] in tested:
            raise LeakingSplit(
                f"Sessions must stay on one side: {entry.session} is on the {side} side ({entry.path}), "
                f"{tested[component_of[entry.session]]} is on the test side."
            )
