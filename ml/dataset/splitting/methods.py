"""Split a dataset into training, validation and test sides without leaks."""

import math
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import get_args

import numpy as np

from ml.dataset.annotations import Side
from ml.dataset.entries import Dataset, Entry, machine_name
from ml.dataset.indexing.listing import natural_key
from ml.dataset.splitting.blocks import cut_all_blocks
from ml.dataset.splitting.by_session import assign_sides
from ml.dataset.splitting.duplicates import drop_duplicates
from ml.dataset.splitting.leaks import check_leakage
from ml.dataset.splitting.method_names import SplitMethod
from ml.dataset.splitting.sides import (
    SIDES,
    Shares,
    Split,
    recording_sequences,
    session_components,
    snrs_by_machine,
)
from ml.errors import InvalidParameter, LeakingSplit, SplitImpossible, TooFewRecordings

TRAIN_AT_LEAST = 0.1
# With fewer sessions of a class, none can be held out.
SESSIONS_TO_SPLIT = 2
# Machines at several SNRs cannot be cut into blocks, so each side needs another machine.
MACHINES_TO_SPLIT = 3


@dataclass(frozen=True, slots=True)
class _SplitRequest:
    """Recordings to split, and how to split them."""

    entries: Sequence[Entry]
    component_of: dict[str, str]
    shares: Shares
    gap: int
    rng: np.random.Generator


Machine = tuple[str | None, str | None]
Assignment = tuple[dict[str, Side], dict[str, str]]
"""Sides by path, and reasons for the recordings on no side."""


def split(
    dataset: Dataset,
    *,
    method: SplitMethod = "auto",
    test_share: float = 0.2,
    validation_share: float = 0.15,
    gap: int = 1,
    seed: int = 0,
    held_out: str | None = None,
) -> Split:
    """Split a dataset into training, validation and test sides without leaks.

    Args:
        dataset: dataset to split. Copies of a recording are left out.
        method: ``group``: whole sessions are on the test side, and on the validation side if a class has three or more;
            otherwise blocks of the training sessions are on the validation side. ``blocks``: every session is cut into
            contiguous blocks. ``machine``: one machine id is the test side. ``given``: the sides that the dataset
            states; without a validation side, blocks of the training side are cut for it. ``auto``: as given if every
            recording has a side, each class is trained on and tested, and nothing leaks; else by group if sessions are
            known and each class has two or more, else by blocks.
        test_share: share of the test side, above 0. Whole sessions meet it approximately.
        validation_share: share of the validation side, above 0. At least a tenth is left for training.
        gap: recordings left out between two blocks of one session, at least 1.
        seed: the same dataset and seed give the same split.
        held_out: machine id, or ``machine/id``, of the test side (only for ``machine``); drawn if None.

    Raises:
        InvalidParameter: a share, gap, seed or method is out of range.
        SplitImpossible: the sessions or the machine ids do not allow the method.
        TooFewRecordings: a side would be empty, or a class would be missing from training or test.
    """
    _check_parameters(method, test_share, validation_share, gap, seed, held_out)
    entries, left_out = drop_duplicates(sorted(dataset.entries, key=lambda entry: natural_key(entry.path)))
    shares: Shares = {"train": 1 - test_share - validation_share, "test": test_share, "validation": validation_share}
    request = _SplitRequest(entries, session_components(entries), shares, gap, _generator(seed))
    if method == "auto" and _has_given_split(entries):
        with suppress(TooFewRecordings, LeakingSplit):
            return _split_by("given", request, left_out, seed)
        request = replace(request, rng=_generator(seed))
    chosen = _choose_method(request, dataset.explicit_sessions) if method == "auto" else method
    return _split_by(chosen, request, left_out, seed, held_out)


def _split_by(
    method: SplitMethod,
    request: _SplitRequest,
    copies: Sequence[tuple[Entry, str]],
    seed: int,
    held_out: str | None = None,
) -> Split:
    """Return the checked split of one method; ``copies`` are left out already."""
    entries = request.entries
    sides, reasons = _split_by_machine(request, held_out) if method == "machine" else METHODS[method](request)
    by_path = {entry.path: entry for entry in entries}
    left_out = [*copies, *((by_path[path], reason) for path, reason in reasons.items())]
    train, validation, test = (tuple(e for e in entries if sides.get(e.path) == side) for side in SIDES)
    left_out.sort(key=lambda pair: natural_key(pair[0].path))
    result = Split(method, seed, train, validation, test, tuple(left_out))
    _check_complete(result, entries)
    check_leakage(result)
    return result


def _generator(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


def _check_parameters(
    method: str, test_share: float, validation_share: float, gap: int, seed: int, held_out: str | None
) -> None:
    if method not in get_args(SplitMethod):
        raise InvalidParameter(f"The method is {method!r}; one of {', '.join(get_args(SplitMethod))} was expected.")
    for name, share in (("test_share", test_share), ("validation_share", validation_share)):
        if not (math.isfinite(share) and share > 0):
            raise InvalidParameter(f"{name} is {share:g}; a share above 0 was expected.")
    if test_share + validation_share > 1 - TRAIN_AT_LEAST:
        raise InvalidParameter(
            f"test_share and validation_share are {test_share + validation_share:g} together; at most "
            f"{1 - TRAIN_AT_LEAST:g} was expected, so that recordings are left for training."
        )
    if gap < 1:
        raise InvalidParameter(f"gap is {gap}; at least 1 recording was expected between two sides.")
    if seed < 0:
        raise InvalidParameter(f"The seed is {seed}; 0 or more was expected.")
    if held_out is not None and method != "machine":
        raise InvalidParameter(f"Holding out {held_out!r} needs the method machine; the method is {method!r}.")


def _choose_method(request: _SplitRequest, explicit_sessions: bool) -> SplitMethod:
    fewest = _fewest_components(request)
    if _at_several_snrs(request):
        if fewest < MACHINES_TO_SPLIT:
            raise SplitImpossible(
                f"{_machine_at_several_snrs(request)} has recordings at several SNRs, which contain the same machine "
                f"sound and stay on one side, so a split needs {MACHINES_TO_SPLIT} machines or sessions of each class; "
                f"there are {fewest}: choose one SNR (--snr), or hold out a machine (method machine)."
            )
        return "group"
    known = explicit_sessions or not _sessions_are_machines(request)
    return "group" if known and fewest >= SESSIONS_TO_SPLIT else "blocks"


def _has_given_split(entries: Sequence[Entry]) -> bool:
    """Return whether every recording has a side, and the training and the test side have every label."""
    labels = {entry.label for entry in entries}
    return all(entry.annotation.split for entry in entries) and all(
        labels == {entry.label for entry in entries if entry.annotation.split == side} for side in ("train", "test")
    )


def _fewest_components(request: _SplitRequest) -> int:
    """Return the number of components of the label that has the fewest."""
    of_label: defaultdict[str, set[str]] = defaultdict(set)
    for entry in request.entries:
        of_label[entry.label].add(request.component_of[entry.session])
    return min(map(len, of_label.values()), default=0)


def _at_several_snrs(request: _SplitRequest) -> set[str]:
    """Return the components that contain one machine at several SNRs; blocks of them would leak."""
    found = snrs_by_machine(request.entries, request.component_of)
    return {component for (component, *_), snrs in found.items() if len(snrs) > 1}


def _machine_at_several_snrs(request: _SplitRequest) -> str:
    entry = next(entry for entry in request.entries if request.component_of[entry.session] in _at_several_snrs(request))
    return entry.machine_name or entry.session


def _sessions_are_machines(request: _SplitRequest) -> bool:
    """Return whether the sessions only repeat which machine was recorded."""
    machines = {(entry.annotation.machine, entry.annotation.machine_id) for entry in request.entries}
    return all(machine_id for _, machine_id in machines) and len(machines) == len(set(request.component_of.values()))


def _split_by_blocks(request: _SplitRequest) -> Assignment:
    if _at_several_snrs(request):
        raise SplitImpossible(
            f"{_machine_at_several_snrs(request)} has recordings at several SNRs, which contain the same machine sound "
            "under other names, so blocks would leak: choose one SNR (--snr), or split by group or machine."
        )
    return cut_all_blocks(recording_sequences(request.entries), request.shares, request.gap, request.rng)


def _split_as_given(request: _SplitRequest) -> Assignment:
    if missing := [entry.path for entry in request.entries if entry.annotation.split is None]:
        raise SplitImpossible(
            f"{len(missing)} recordings have no given side ({missing[0]}, ...): put them into folders called train and "
            "test, name their sides in the manifest's column split, or use another method."
        )
    sides = {entry.path: entry.annotation.split for entry in request.entries if entry.annotation.split}
    if "validation" in sides.values():
        return sides, {}
    training = [entry for entry in request.entries if sides[entry.path] == "train"]
    cut_sides, gaps = _cut_validation(request, training, request.shares)
    return {path: side for path, side in (sides | cut_sides).items() if path not in gaps}, gaps


def _split_by_session(request: _SplitRequest) -> Assignment:
    if _fewest_components(request) < SESSIONS_TO_SPLIT:
        raise SplitImpossible(
            "A split by group needs two or more sessions of each class, but one class has only one: "
            "name the sessions in the manifest's column group, or split by blocks."
        )
    return _divide_components(request, request.entries, request.shares)


def _divide_components(request: _SplitRequest, entries: Sequence[Entry], shares: Shares) -> Assignment:
    """Assign whole components; a kind without validation gets validation blocks of its training sessions."""
    components: defaultdict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        components[request.component_of[entry.session]].append(entry)
    side_of_component = assign_sides(components, shares, request.rng)
    sides = {entry.path: side_of_component[request.component_of[entry.session]] for entry in entries}
    validated = {_kind(entry) for entry in entries if sides[entry.path] == "validation"}
    lacking = [e for e in entries if sides[e.path] == "train" and _kind(e) not in validated]
    cut_sides, gaps = _cut_validation(request, lacking, shares)
    kept = {path: side for path, side in (sides | cut_sides).items() if path not in gaps}
    return kept, gaps


def _kind(entry: Entry) -> tuple[str, str | None]:
    return entry.label, entry.annotation.fault


def _cut_validation(request: _SplitRequest, entries: Sequence[Entry], shares: Shares) -> Assignment:
    """Cut a validation block from each training session; machines at several SNRs stay whole."""
    at_several_snrs = _at_several_snrs(request)
    divisible = [entry for entry in entries if request.component_of[entry.session] not in at_several_snrs]
    share = shares["validation"] / (shares["validation"] + shares["train"])
    cut, gaps = cut_all_blocks(recording_sequences(divisible), {"validation": share}, request.gap, request.rng)
    whole: dict[str, Side] = {entry.path: "train" for entry in entries if entry.path not in gaps}
    return whole | cut, gaps


def _split_by_machine(request: _SplitRequest, held_out: str | None) -> Assignment:
    """Test on one machine; validate on sessions of the others if sessions are known, else on blocks."""
    chosen = _choose_held_out(request, held_out)
    test = [entry for entry in request.entries if (entry.annotation.machine, entry.annotation.machine_id) in chosen]
    rest = [entry for entry in request.entries if (entry.annotation.machine, entry.annotation.machine_id) not in chosen]
    tested = {request.component_of[entry.session] for entry in test}
    if both := sorted({entry.session for entry in rest if request.component_of[entry.session] in tested}):
        raise SplitImpossible(f"Session {both[0]} contains recordings of the held-out machine and of other machines.")
    shares: Shares = {"train": request.shares["train"], "validation": request.shares["validation"]}
    total = sum(shares.values())
    shares = {side: share / total for side, share in shares.items()}
    remaining = _SplitRequest(rest, session_components(rest), shares, request.gap, request.rng)
    by_session = _fewest_components(remaining) >= SESSIONS_TO_SPLIT and (
        bool(_at_several_snrs(remaining)) or not _sessions_are_machines(remaining)
    )
    sides, gaps = (
        _divide_components(remaining, rest, shares) if by_session else _cut_validation(remaining, rest, shares)
    )
    return sides | dict.fromkeys((entry.path for entry in test), "test"), gaps


def _choose_held_out(request: _SplitRequest, name: str | None) -> set[Machine]:
    machines: set[Machine] = {
        (e.annotation.machine, e.annotation.machine_id) for e in request.entries if e.annotation.machine_id
    }
    names = sorted(machine_name(*machine) for machine in machines)
    if len(machines) < SESSIONS_TO_SPLIT:
        raise SplitImpossible(f"To hold out a machine, two machine ids are needed; there are {len(machines)}.")
    if name is None:
        name = names[int(request.rng.integers(len(names)))]
    chosen = {machine for machine in machines if name in (machine[1], machine_name(*machine))}
    if not chosen:
        raise SplitImpossible(f"There is no machine {name!r} to hold out; there are {', '.join(names)}.")
    return chosen


METHODS = {"group": _split_by_session, "blocks": _split_by_blocks, "given": _split_as_given}


def _check_complete(result: Split, entries: Sequence[Entry]) -> None:
    counts = f"{len(result.train)} for training, {len(result.validation)} for validation, {len(result.test)} for test"
    task = f"A split by {result.method} of {len(entries)} different recordings"
    for side, on_side in zip(SIDES, (result.train, result.validation, result.test), strict=True):
        if not on_side:
            raise TooFewRecordings(
                f"{task} gives {counts}; the {side} side has none: add recordings, or use another method."
            )
        missing = {entry.label for entry in entries} - {entry.label for entry in on_side}
        if missing and side != "validation":
            raise TooFewRecordings(
                f"{task} leaves no {missing.pop()} recording for the {side} side: add recordings of that class, or use "
                "another method."
            )
