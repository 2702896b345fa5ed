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


def test_the_original_labels_have_its_messages_in_order() -> None:
    """Clients of the original service know these four messages, in the order of the probabilities."""
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
    """Labels are equal after reading."""
    found = ClassLabels(tuple(classes))
    assert ClassLabels.from_list(found.to_list()) == found


@given(labels)
def test_every_class_is_normal_or_a_fault(classes: list[ClassLabel]) -> None:
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
def test_invalid_labels_are_refused(classes: tuple[ClassLabel, ...], found: str) -> None:
    """Names are distinct and of limited length, and at least one class is normal and one a fault."""
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
def test_values_that_are_no_list_of_labels_are_refused(values: Any) -> None:
    """Values from a file or a client become labels or raise InvalidClassLabels."""
    with pytest.raises(InvalidClassLabels):
        ClassLabels.from_list(values)


def test_renaming_keeps_which_classes_are_faults() -> None:
    """Names and messages change; order and faults stay, and the old labels are unchanged."""
    before = ClassLabels((OK, BROKEN))
    after = before.rename([("gut", "In Ordnung"), ("unwucht", "Unwucht")])
    assert after.to_list() == [
        {"name": "gut", "message": "In Ordnung", "anomalous": False},
        {"name": "unwucht", "message": "Unwucht", "anomalous": True},
    ]
    assert before == ClassLabels((OK, BROKEN))


@pytest.mark.parametrize("count", [0, 1, 3])
def test_renaming_needs_a_name_for_each_class(count: int) -> None:
    """The message has both numbers."""
    with pytest.raises(InvalidClassLabels, match=rf"{count} were given.*2 classes"):
        ClassLabels((OK, BROKEN)).rename([(f"name {i}", "message") for i in range(count)])


def test_renaming_follows_the_same_rules() -> None:
    """A name that is given twice is refused."""
    with pytest.raises(InvalidClassLabels, match="twice"):
        ClassLabels((OK, BROKEN)).rename([("same", "A"), ("same", "B")])


@pytest.mark.parametrize(
    "wrong",
    [{"name": 1}, {"message": ["x"]}, {"anomalous": "no"}, {"anomalous": 1}, {"message": None}],
    ids=str,
)
def test_a_label_is_text_and_true_or_false(wrong: dict[str, Any]) -> None:
    """Labels of other types are refused, because clients could not read them."""
    values = ClassLabels((OK, BROKEN)).to_list()
    values[1] |= wrong
    with pytest.raises(InvalidClassLabels, match="must have a name, a message, and true or false"):
        ClassLabels.from_list(values)


def test_messages_are_matched_by_name() -> None:
    """Present names in another order: each message goes to the class of its name."""
    after = ClassLabels((OK, BROKEN)).rename([("broken", "Kaputt"), ("ok", "Gut")])
    assert after.to_list() == [
        {"name": "ok", "message": "Gut", "anomalous": False},
        {"name": "broken", "message": "Kaputt", "anomalous": True},
    ]


def test_a_name_cannot_move_to_another_class() -> None:
    """A present name in the place of another class, among new names, is refused: it would swap fault and normal."""
    with pytest.raises(InvalidClassLabels, match="'ok' is in the place of 'broken'"):
        ClassLabels((OK, BROKEN)).rename([("new", "Neu"), ("ok", "Gut")])
