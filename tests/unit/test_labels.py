"""Names and messages of the classes."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.errors import InvalidClassLabels
from ml.models.labels import MAX_MESSAGE, MAX_NAME, ORIGINAL_LABELS, ClassLabel, ClassLabels

OK, BROKEN = ClassLabel("ok", "Fine", anomalous=False), ClassLabel("broken", "Not fine", anomalous=True)

names = st.text(min_size=1, max_size=MAX_NAME)
messages = st.text(min_size=1, max_size=MAX_MESSAGE)
labels = st.lists(st.builds(ClassLabel, names, messages, st.booleans()), min_size=2, unique_by=lambda c: c.name).filter(
    lambda classes: 0 < sum(c.anomalous for c in classes) < len(classes)
)


def test_the_original_answers_are_its_messages_in_order() -> None:
    """The original service's clients know these four sentences, in the order of the probabilities."""
    assert [label.message for label in ORIGINAL_LABELS.classes] == [
        "Component OK",
        "Component is imbalanced",
        "Component is clogged",
        "Voltage change",
    ]
    assert ORIGINAL_LABELS.normal_indices == (0,)
    assert ORIGINAL_LABELS.fault_indices == (1, 2, 3)


@given(labels)
def test_labels_survive_being_serialised(classes: list[ClassLabel]) -> None:
    """What is written is what is read."""
    found = ClassLabels(tuple(classes))
    assert ClassLabels.from_list(found.to_list()) == found


@given(labels)
def test_every_class_is_healthy_or_a_fault(classes: list[ClassLabel]) -> None:
    """Both together are all outputs, each once."""
    found = ClassLabels(tuple(classes))
    assert sorted(found.normal_indices + found.fault_indices) == list(range(len(classes)))
    assert all(classes[i].anomalous for i in found.fault_indices)


@pytest.mark.parametrize(
    ("classes", "found"),
    [
        ((OK, ClassLabel("ok", "Again", anomalous=True)), "twice"),
        ((OK,), "at least one"),
        ((BROKEN,), "at least one"),
        ((), "at least one"),
        ((OK, ClassLabel("", "Nameless", anomalous=True)), "1 to 64"),
        ((OK, ClassLabel("n" * 65, "Too long", anomalous=True)), "1 to 64"),
        ((OK, ClassLabel("mute", "", anomalous=True)), "1 to 200"),
        ((OK, ClassLabel("loud", "m" * 201, anomalous=True)), "1 to 200"),
    ],
    ids=["twice", "no-fault", "no-healthy", "none", "no-name", "long-name", "no-message", "long-message"],
)
def test_unusable_labels_are_refused(classes: tuple[ClassLabel, ...], found: str) -> None:
    """Names are distinct and of bounded length, and there are healthy and faulty classes."""
    with pytest.raises(InvalidClassLabels, match=found):
        ClassLabels(classes)


@pytest.mark.parametrize(
    "values",
    [
        None,
        5,
        "labels",
        {"name": "ok"},
        [1, 2],
        [{"name": "ok", "message": "Fine"}],
        [{"name": "ok"}],
        [{"name": "ok", "message": "Fine", "anomalous": False, "colour": "green"}],
        [{"name": 5, "message": "Fine", "anomalous": False}, {"name": "b", "message": "B", "anomalous": True}],
    ],
    ids=["null", "number", "text", "mapping", "numbers", "lacks-a-field", "lacks-two", "unknown-field", "wrong-type"],
)
def test_what_is_no_list_of_labels_is_refused(values: Any) -> None:
    """Values from a file or a client become labels or InvalidLabels."""
    with pytest.raises(InvalidClassLabels):
        ClassLabels.from_list(values)


def test_renaming_keeps_what_is_an_anomaly() -> None:
    """Names and messages change; order and anomalies do not, nor the labels renamed."""
    before = ClassLabels((OK, BROKEN))
    after = before.rename([("gut", "In Ordnung"), ("unwucht", "Unwucht")])
    assert after.to_list() == [
        {"name": "gut", "message": "In Ordnung", "anomalous": False},
        {"name": "unwucht", "message": "Unwucht", "anomalous": True},
    ]
    assert before == ClassLabels((OK, BROKEN))


@pytest.mark.parametrize("count", [0, 1, 3])
def test_renaming_needs_a_name_for_each_class(count: int) -> None:
    """The refusal says how many were given and how many there are."""
    with pytest.raises(InvalidClassLabels, match=rf"{count} were given.*2 classes"):
        ClassLabels((OK, BROKEN)).rename([(f"name {i}", "message") for i in range(count)])


def test_renaming_is_held_to_the_same_rules() -> None:
    """A name twice is as wrong in a renaming as anywhere."""
    with pytest.raises(InvalidClassLabels, match="twice"):
        ClassLabels((OK, BROKEN)).rename([("same", "A"), ("same", "B")])


@pytest.mark.parametrize(
    "wrong",
    [{"name": 1}, {"message": ["x"]}, {"anomalous": "no"}, {"anomalous": 1}, {"message": None}],
    ids=str,
)
def test_a_label_is_text_and_true_or_false(wrong: dict[str, Any]) -> None:
    """Labels of other types would be served as answers that no client can read."""
    values = ClassLabels((OK, BROKEN)).to_list()
    values[1] |= wrong
    with pytest.raises(InvalidClassLabels, match="not a name, a message, and true or false"):
        ClassLabels.from_list(values)


def test_messages_find_their_classes_by_name() -> None:
    """The names that the classes have, in another order: each message goes where its name is."""
    after = ClassLabels((OK, BROKEN)).rename([("broken", "Kaputt"), ("ok", "Gut")])
    assert after.to_list() == [
        {"name": "ok", "message": "Gut", "anomalous": False},
        {"name": "broken", "message": "Kaputt", "anomalous": True},
    ]


def test_a_name_cannot_move_to_another_class() -> None:
    """A kept name among new ones, at another's place, would swap a fault and health: refused."""
    with pytest.raises(InvalidClassLabels, match="'ok' stands where 'broken' does"):
        ClassLabels((OK, BROKEN)).rename([("new", "Neu"), ("ok", "Gut")])
