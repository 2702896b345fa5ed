"""Training options, and the classes that a classifier needs."""

from pathlib import Path

import pytest

from ml.classifier.recipe import Recipe
from ml.errors import InvalidName, InvalidParameter, OneClassOnly
from ml.features.augmentation import Augmentation
from ml.training.classes import require_both_labels
from ml.training.options import TrainingOptions
from tests.unit.datasets import dataset, entry


def options(**choices):
    return TrainingOptions(**{"source": Path("/somewhere/fans"), "name": "fan"} | choices)


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"training_kind": "best"}, "training_kind is 'best'; 'spectrum' or 'original'"),
        ({"labels": "guessed"}, "labels is 'guessed'; 'auto', 'manifest', 'groups' or 'binary'"),
        ({"split": "random"}, "split is 'random'; "),
        ({"groups": 1}, "groups is 1; 2 or more or 'auto'"),
        ({"groups": 10}, "groups is 10; 9 or less or 'auto'"),
        ({"false_alarm_rate": 0.0}, "false_alarm_rate is 0.0; more than 0"),
        ({"false_alarm_rate": 1.0}, "false_alarm_rate is 1.0; less than 1"),
        ({"false_alarm_rate": float("nan")}, "false_alarm_rate is nan"),
        ({"epochs": 0}, "epochs is 0; 1 or more"),
        ({"epochs": 1001}, "epochs is 1001; 1000 or less"),
        ({"seed": -1}, "seed is -1; 0 or more"),
        (
            {"engines": ["distance", "distance"], "learn": "detector"},
            "engines are distance, distance; each engine was expected once",
        ),
        ({"engines": ["ears"], "learn": "detector"}, "There is no engine 'ears'"),
        ({"engines": ["level"], "learn": "detector"}, "no longer part of signalml"),
        (
            {"engines": ["distance"]},
            "engines are given, but learn is 'classifier'; engines need learn 'detector' or 'both'",
        ),
    ],
)
def test_invalid_options_are_refused(choice, message):
    """The message has the expected values, before anything is read."""
    with pytest.raises(InvalidParameter, match=message):
        options(**choice)


@pytest.mark.parametrize("name", ["", "Fan", "-fan", "a/b", "..", "fan ", "f" * 49, "fän"])
def test_an_invalid_model_name_is_refused(name):
    """The version's folder begins with the name."""
    with pytest.raises(InvalidName, match="is not a model name"):
        options(name=name)


def test_options_become_a_recipe_and_an_augmentation():
    """Seed and epochs are passed on; without copies there is no augmentation."""
    assert options(seed=3).recipe == Recipe.spectrum(3)
    assert options(training_kind="original", epochs=2).recipe == Recipe.original().with_epochs(2)
    assert options().augmentation is None
    assert options(copies=2, seed=3).augmentation == Augmentation.everything(2, 3)


def test_the_stored_options_have_the_name_of_the_source_only():
    """The path of the source is not stored."""
    assert options().to_dict()["source"] == "fans"


def test_recordings_of_one_class_are_refused():
    """The message has the present class, the number of recordings, and the missing class."""
    for label, other in (("normal", "abnormal"), ("abnormal", "normal")):
        message = (
            f"All 2 recordings in fans are {label}; a classifier needs normal and abnormal .* Add {other} recordings"
        )
        with pytest.raises(OneClassOnly, match=message):
            require_both_labels(dataset(entry(f"{i}.wav", label) for i in range(2)))
    require_both_labels(dataset([entry("0.wav"), entry("1.wav", "abnormal")]))
