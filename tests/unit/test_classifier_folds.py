"""Cross-validation of a classifier: which recordings are held out together."""

from collections import defaultdict
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ml.dataset.entries import Entry
from ml.detectors.thresholds import operating_point_at_rate
from ml.training.classifier_folds import (
    CrossValidation,
    cross_validate,
    fold_calibration,
    halves,
    session_folds,
)
from ml.training.context import TrainingContext
from ml.training.served_result import held_out_alarms
from tests.unit.judgements import entry

NUMBER = {"normal": 0, "abnormal": 1}


def recordings(sessions: dict[str, tuple[str, int]]) -> list[Entry]:
    """So many recordings of each session, with its label."""
    found = []
    for session, (label, count) in sessions.items():
        for _ in range(count):
            found.append(entry(len(found), label, group=session))  # type: ignore[arg-type]  # a label
    return found


def classes_of(entries: list[Entry]) -> dict[str, int]:
    """The class of each recording."""
    return {each.path: NUMBER[each.label] for each in entries}


def context(entries: list[Entry], **options: object) -> TrainingContext:
    """As much of a training as a threshold needs."""
    given = SimpleNamespace(**{"false_alarm_rate": 0.01, "refit": True} | options)
    return cast("TrainingContext", SimpleNamespace(final_side=tuple(entries), options=given))


def test_the_sessions_of_each_class_go_round_the_folds() -> None:
    """A session is in one fold, and each fold has sessions of every class, as far as they last."""
    entries = recordings({"n1": ("normal", 2), "n2": ("normal", 1), "n3": ("normal", 1)})
    entries += recordings({"a1": ("abnormal", 2), "a2": ("abnormal", 1)})
    assert session_folds(entries, classes_of(entries)) == [0, 0, 1, 2, 0, 0, 1]


def of(sessions: str, label: str) -> list[Entry]:
    """One recording of each session."""
    return recordings(dict.fromkeys(sessions.split(), (label, 1)))


@pytest.mark.parametrize(
    ("normal", "abnormal", "expected"),
    [
        pytest.param("s1 s2", "s1 t1", [0, 1, 0, 1], id="a session of its own"),
        pytest.param("s1 s2 s3 s4 s5", "s1 s5", [0, 2, 3, 0, 1, 0, 1], id="sessions that would meet in a fold"),
        pytest.param("s1 s2 s3", "a", [0, 1, 2, -1], id="a fault of one session"),
        pytest.param("s1 s2 s3", "s2", [1, -1, 2, -1], id="a fault of a day with normal recordings"),
        pytest.param("s1", "t1", [-1, -1], id="one session of each class"),
    ],
)
def test_a_class_is_never_held_out_as_a_whole(normal: str, abnormal: str, expected: list[int]) -> None:
    """Its sessions are in two folds or, if it has only one, in none with all of their recordings."""
    entries = [*of(normal, "normal"), *of(abnormal, "abnormal")]
    by_path = {f"{number}": NUMBER[each.label] for number, each in enumerate(entries)}
    entries = [replace(each, path=f"{number}") for number, each in enumerate(entries)]
    assert session_folds(entries, by_path) == expected


@pytest.mark.parametrize("machines", [1, 2, 3, 4, 5, 8])
def test_a_fold_is_never_a_whole_machine(machines: int) -> None:
    """Of four sessions of each machine, recorded in turn, each fold has one, for each class."""
    kinds = [(label, f"id_{number:02d}") for label in NUMBER for number in range(machines)]
    entries = [
        entry(100 * day + number, label, group=f"{label} {machine} {day}", machine="fan", machine_id=machine)  # type: ignore[arg-type]  # a label
        for day in range(4)
        for number, (label, machine) in enumerate(kinds)
    ]
    found = defaultdict(list)
    for each, fold in zip(entries, session_folds(entries, classes_of(entries)), strict=True):
        found[each.label, each.machine_name].append(fold)
    assert len(found) == 2 * machines
    assert all(sorted(folds) == [0, 1, 2, 3] for folds in found.values())


def test_there_are_at_most_four_folds() -> None:
    """More sessions share them."""
    entries = recordings({f"n{number}": ("normal", 1) for number in range(6)})
    assert session_folds(entries, classes_of(entries)) == [0, 1, 2, 3, 0, 1]


def test_a_session_of_both_labels_is_in_one_fold() -> None:
    """Its abnormal recordings are held out with its normal ones."""
    entries = recordings({"n1": ("normal", 1), "both": ("normal", 1), "a": ("abnormal", 1)})
    entries.append(entry(9, "abnormal", group="both"))
    folds = session_folds(entries, classes_of(entries))
    assert folds[1] == folds[3]


def test_halves_are_neighbours_in_time_of_each_session() -> None:
    """The first and the second half of the recordings."""
    entries = recordings({"n1": ("normal", 4), "a1": ("abnormal", 3)})
    assert halves(entries) == [0, 0, 1, 1, 0, 1, 1]


def test_the_threshold_holds_for_a_session_that_is_not_known() -> None:
    """It is the highest bound of the sessions, also below even odds."""
    entries = recordings({f"n{number}": ("normal", 20) for number in range(4)})
    scores = {each.path: 0.01 * (number // 20 + 1) for number, each in enumerate(entries)}
    calibration = fold_calibration(context(entries), CrossValidation(scores, {}, 4))
    assert calibration is not None
    found = operating_point_at_rate(calibration, 0.01)
    assert found.threshold == pytest.approx(0.04)
    assert "in a new session" in found.basis
    assert held_out_alarms(calibration, found.threshold, 0.01).nonzero()[0].tolist() == list(range(60, 80))


def test_few_sessions_give_no_threshold() -> None:
    """Three support no rate; the threshold of the measured network stays."""
    entries = recordings({f"n{number}": ("normal", 20) for number in range(3)})
    scores = {each.path: 0.1 for each in entries}
    assert fold_calibration(context(entries), CrossValidation(scores, {}, 3)) is None


def test_without_a_final_fit_the_test_side_tests_the_served_network() -> None:
    """There is no cross-validation."""
    nothing = cast("Any", None)
    assert cross_validate(context([], refit=False, recipe=nothing), nothing, nothing, nothing) is None
