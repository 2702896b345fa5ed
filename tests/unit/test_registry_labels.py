"""Names of classes: each change is a revision, earlier revisions stay, and the bundle does not change."""

import pytest

from ml.errors import InvalidClassLabels, ModelError
from ml.models.registry import Registry
from tests import sounds
from tests.unit.registries import NAMES


def test_renaming_adds_a_revision_and_keeps_the_old(registry: Registry, first: str) -> None:
    """The last names are current, every earlier revision can be read, and the bundle does not change."""
    files = {path: path.read_bytes() for path in registry.path(first).iterdir()}
    assert registry.rename_classes("champion", NAMES).revision == 2
    swapped = [("ok", "Fine"), *NAMES[1:]]
    assert registry.rename_classes(first, swapped).revision == 3
    found = registry.label_revisions(first)
    assert [(r.revision, r.labels.classes[0].message) for r in found] == [
        (1, "Component OK"),
        (2, "Alles gut"),
        (3, "Fine"),
    ]
    assert [label.anomalous for label in found[-1].labels.classes] == [False, True, True, True]
    assert {path: path.read_bytes() for path in registry.path(first).iterdir()} == files


def test_a_renamed_model_answers_with_its_new_names(registry: Registry) -> None:
    """Verdicts of the next load have the new names and the number of the revision."""
    registry.rename_classes("champion", NAMES)
    predictor = registry.load_predictor("champion")
    verdict = predictor.predict(predictor.decode(sounds.recording(sounds.fan(1))))
    assert [label.message for label in verdict.classes] == [message for _, message in NAMES]
    assert verdict.worst.label.message in {message for _, message in NAMES}
    assert verdict.labels_revision == 2


def test_renaming_to_the_present_names_adds_nothing(registry: Registry) -> None:
    """The same names make no new revision."""
    registry.rename_classes("champion", NAMES)
    assert registry.rename_classes("champion", NAMES).revision == 2
    assert len(registry.label_revisions("champion")) == 2


@pytest.mark.parametrize("names", [NAMES[:3], [*NAMES, ("fifth", "Fifth")], [], [("same", "Same")] * 4])
def test_names_that_do_not_fit_are_refused(registry: Registry, names: list[tuple[str, str]]) -> None:
    """Each class needs one distinct name; otherwise nothing changes."""
    with pytest.raises(InvalidClassLabels):
        registry.rename_classes("champion", names)
    assert len(registry.label_revisions("champion")) == 1


def test_labels_belong_to_a_version_and_not_to_an_alias(registry: Registry, first: str, second: str) -> None:
    """A new champion keeps its own names, and so does the old one."""
    registry.rename_classes("champion", NAMES)
    registry.promote(second)
    assert registry.label_revisions("champion")[-1].revision == 1
    assert registry.label_revisions(first)[-1].revision == 2


@pytest.mark.parametrize(
    "content", ["", "{", "5", '[{"revision": 2}]', '[{"revision": 2, "created": "", "labels": 5}]']
)
def test_damaged_labels_are_refused(registry: Registry, first: str, content: str) -> None:
    """A damaged revision file is a ModelError."""
    registry.rename_classes(first, NAMES)
    (registry.folder / "labels" / f"{first}.json").write_text(content)
    with pytest.raises(ModelError):
        registry.label_revisions(first)
