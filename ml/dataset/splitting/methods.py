"""A dataset -> what is learned from, chosen by and judged on, without a recording known from elsewhere."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np

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
    Side,
    Split,
    recording_sequences,
    session_components,
    snrs_by_machine,
)
from ml.errors import InvalidParameter, SplitImpossible, TooFewRecordings

TRAIN_AT_LEAST = 0.1
# Below two sessions of a class there is none to hold out.
SESSIONS_TO_SPLIT = 2
# Machines at several SNRs cannot be cut into blocks, so that each side needs one of its own.
MACHINES_TO_SPLIT = 3


@dataclass(frozen=True, slots=True)
class _SplitRequest:
    """What is to be divided, and how."""

    entries: Sequence[Entry]
    component_of: dict[str, str]
    shares: Shares
    gap: int
    rng: np.random.Generator


Machine = tuple[str | None, str | None]
Divided = tuple[dict[str, Side], dict[str, str]]
"""The sides by path, and the reasons of what is on none."""


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
    """Divide a dataset into three sides that share no recording, session or machine recording.

    Args:
        dataset: what to divide. Further copies of a sound are left out.
        method: ``group``: whole groups are on the test side, and on the validation side where a class has three or
            more; otherwise the validation side is cut from the training groups as blocks. ``blocks``: every session is
            cut into contiguous blocks. ``machine``: one machine id is the test side. ``auto``: by group where sessions
            are known and each class has two or more, else by blocks.
        test_share: of the recordings, above 0. Whole groups meet it about.
        validation_share: likewise; the training side keeps a tenth at least.
        gap: clips left out between two blocks of one session, at least 1.
        seed: same dataset and seed, same split.
        held_out: the machine id, or ``machine/id``, for the test side (``machine`` only); drawn if left out.

    Raises:
        InvalidParameter: a share, guard, seed or method out of range.
        SplitImpossible: the groups or the machine ids do not allow that method.
        TooFewRecordings: a side would be empty, or a class would be missing from training or test.
    """
    _check_parameters(method, test_share, validation_share, gap, seed, held_out)
    entries, left_out = drop_duplicates(sorted(dataset.entries, key=lambda entry: natural_key(entry.path)))
    task = _SplitRequest(
        entries,
        session_components(entries),
        {"train": 1 - test_share - validation_share, "test": test_share, "validation": validation_share},
        gap,
        np.random.Generator(np.random.PCG64(seed)),
    )
    chosen = _choose_method(task, dataset.explicit_sessions) if method == "auto" else method
    sides, reasons = _split_by_machine(task, held_out) if chosen == "machine" else METHODS[chosen](task)
    by_path = {entry.path: entry for entry in entries}
    left_out += [(by_path[path], reason) for path, reason in reasons.items()]
    train, validation, test = (tuple(e for e in entries if sides.get(e.path) == side) for side in SIDES)
    left_out.sort(key=lambda pair: natural_key(pair[0].path))
    result = Split(chosen, seed, train, validation, test, tuple(left_out))
    _check_complete(result, entries)
    check_leakage(result)
    return result


def _check_parameters(
    method: str, test_share: float, validation_share: float, guard: int, seed: int, held_out: str | None
) -> None:
    if method not in get_args(SplitMethod):
        raise InvalidParameter(f"The method is {method!r}; one of {', '.join(get_args(SplitMethod))} was expected.")
    for name, share in (("test_share", test_share), ("validation_share", validation_share)):
        if not (math.isfinite(share) and share > 0):
            raise InvalidParameter(f"{name} is {share:g}; a share above 0 was expected.")
    if test_share + validation_share > 1 - TRAIN_AT_LEAST:
        raise InvalidParameter(
            f"test_share and validation_share are {test_share + validation_share:g} together; at most "
            f"{1 - TRAIN_AT_LEAST:g} was expected, so that something is left to learn from."
        )
    if guard < 1:
        raise InvalidParameter(f"guard is {guard}; at least 1 clip was expected between two sides.")
    if seed < 0:
        raise InvalidParameter(f"The seed is {seed}; 0 or more was expected.")
    if held_out is not None and method != "machine":
        raise InvalidParameter(f"A machine is held out ({held_out!r}) by the method machine; {method!r} was asked for.")


def _choose_method(task: _SplitRequest, explicit_groups: bool) -> SplitMethod:
    fewest = _fewest_components(task)
    if _at_several_snrs(task):
        if fewest < MACHINES_TO_SPLIT:
            raise SplitImpossible(
                f"{_subject(task)} at several SNRs, whose versions hold the same machine recordings and stay "
                f"together, and there are {fewest} to divide where {MACHINES_TO_SPLIT} are needed: choose one SNR "
                "(--snr), or hold out a machine (method machine)."
            )
        return "group"
    known = explicit_groups or not _groups_are_machines(task)
    return "group" if known and fewest >= SESSIONS_TO_SPLIT else "blocks"


def _fewest_components(task: _SplitRequest) -> int:
    """Components of the label that has the fewest."""
    of_label: defaultdict[str, set[str]] = defaultdict(set)
    for entry in task.entries:
        of_label[entry.label].add(task.component_of[entry.session])
    return min(map(len, of_label.values()), default=0)


def _at_several_snrs(task: _SplitRequest) -> set[str]:
    """Components with one machine at several SNRs: blocks of them would leak."""
    found = snrs_by_machine(task.entries, task.component_of)
    return {component for (component, *_), snrs in found.items() if len(snrs) > 1}


def _subject(task: _SplitRequest) -> str:
    entry = next(entry for entry in task.entries if task.component_of[entry.session] in _at_several_snrs(task))
    return f"{entry.machine_name or entry.session} is there"


def _groups_are_machines(task: _SplitRequest) -> bool:
    """Whether the groups say no more than which machine was recorded."""
    machines = {(entry.annotation.machine, entry.annotation.machine_id) for entry in task.entries}
    return all(machine_id for _, machine_id in machines) and len(machines) == len(set(task.component_of.values()))


def _split_by_blocks(task: _SplitRequest) -> Divided:
    if _at_several_snrs(task):
        raise SplitImpossible(
            f"{_subject(task)} at several SNRs, whose versions hold the same machine recordings under other names, "
            "so that blocks of them would leak: choose one SNR (--snr), or split by group or machine."
        )
    return cut_all_blocks(recording_sequences(task.entries), task.shares, task.gap, task.rng)


def _split_by_session(task: _SplitRequest) -> Divided:
    if _fewest_components(task) < SESSIONS_TO_SPLIT:
        raise SplitImpossible(
            "A split by group needs two or more groups of each class, and one class has a single one: "
            "name the sessions in a manifest's column group, or split by blocks."
        )
    return _divide_components(task, task.entries, task.shares)


def _divide_components(task: _SplitRequest, entries: Sequence[Entry], shares: Shares) -> Divided:
    """Deal out whole components; a kind of recording without validation gets it as blocks of its training sessions."""
    within: defaultdict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        within[task.component_of[entry.session]].append(entry)
    dealt = assign_sides(within, shares, task.rng)
    sides = {entry.path: dealt[task.component_of[entry.session]] for entry in entries}
    validated = {_kind(entry) for entry in entries if sides[entry.path] == "validation"}
    lacking = [e for e in entries if sides[e.path] == "train" and _kind(e) not in validated]
    cut_sides, guards = _cut_validation(task, lacking, shares)
    kept = {path: side for path, side in (sides | cut_sides).items() if path not in guards}
    return kept, guards


def _kind(entry: Entry) -> tuple[str, str | None]:
    return entry.label, entry.annotation.fault


def _cut_validation(task: _SplitRequest, entries: Sequence[Entry], shares: Shares) -> Divided:
    """Training recordings, and of each session a block to validate on; machines at several SNRs stay whole."""
    several = _at_several_snrs(task)
    can = [entry for entry in entries if task.component_of[entry.session] not in several]
    of_the_rest = shares["validation"] / (shares["validation"] + shares["train"])
    cut, guards = cut_all_blocks(recording_sequences(can), {"validation": of_the_rest}, task.gap, task.rng)
    whole: dict[str, Side] = {entry.path: "train" for entry in entries if entry.path not in guards}
    return whole | cut, guards


def _split_by_machine(task: _SplitRequest, held_out: str | None) -> Divided:
    """One machine is tested; the others are validated on by group where sessions are known, else by blocks."""
    chosen = _choose_held_out(task, held_out)
    test = [entry for entry in task.entries if (entry.annotation.machine, entry.annotation.machine_id) in chosen]
    rest = [entry for entry in task.entries if (entry.annotation.machine, entry.annotation.machine_id) not in chosen]
    tested = {task.component_of[entry.session] for entry in test}
    if both := sorted({entry.session for entry in rest if task.component_of[entry.session] in tested}):
        raise SplitImpossible(f"Group {both[0]} holds recordings of the held-out machine and of others.")
    shares: Shares = {"train": task.shares["train"], "validation": task.shares["validation"]}
    total = sum(shares.values())
    shares = {side: share / total for side, share in shares.items()}
    remaining = _SplitRequest(rest, session_components(rest), shares, task.gap, task.rng)
    by_group = _fewest_components(remaining) >= SESSIONS_TO_SPLIT and (
        bool(_at_several_snrs(remaining)) or not _groups_are_machines(remaining)
    )
    sides, guards = (
        _divide_components(remaining, rest, shares) if by_group else _cut_validation(remaining, rest, shares)
    )
    return sides | dict.fromkeys((entry.path for entry in test), "test"), guards


def _choose_held_out(task: _SplitRequest, name: str | None) -> set[Machine]:
    machines: set[Machine] = {
        (e.annotation.machine, e.annotation.machine_id) for e in task.entries if e.annotation.machine_id
    }
    names = sorted(machine_name(*machine) for machine in machines)
    if len(machines) < SESSIONS_TO_SPLIT:
        raise SplitImpossible(f"To hold out a machine, two machine ids are needed; there are {len(machines)}.")
    if name is None:
        name = names[int(task.rng.integers(len(names)))]
    chosen = {machine for machine in machines if name in (machine[1], machine_name(*machine))}
    if not chosen:
        raise SplitImpossible(f"There is no machine {name!r} to hold out; there are {', '.join(names)}.")
    return chosen


METHODS = {"group": _split_by_session, "blocks": _split_by_blocks}


def _check_complete(result: Split, entries: Sequence[Entry]) -> None:
    counts = f"{len(result.train)} to train, {len(result.validation)} to validate, {len(result.test)} to test"
    for side, there in zip(SIDES, (result.train, result.validation, result.test), strict=True):
        if not there:
            raise TooFewRecordings(
                f"Of {len(entries)} different recordings, a split by {result.method} makes {counts}; "
                f"each side needs some, and the {side} side has none: add recordings, or split in another way."
            )
        missing = {entry.label for entry in entries} - {entry.label for entry in there}
        if missing and side != "validation":
            raise TooFewRecordings(
                f"Of {len(entries)} different recordings, a split by {result.method} leaves no {missing.pop()} one "
                f"for the {side} side: add recordings of it, or split in another way."
            )
