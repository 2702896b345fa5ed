"""The cache key of a training: it has everything that decides the result, and nothing else."""

from collections.abc import Callable
from pathlib import Path

import pytest

from ml.dataset.entries import Dataset
from ml.features.feature_specs import spec_for
from ml.features.spec import FeatureSpec
from ml.training import training_result
from ml.training.options import TrainingOptions
from ml.training.training_result import cache_key
from tests.unit import datasets
from tests.unit.datasets import dataset, session

ENTRIES = [*session("a", 3), *session("b", 3, "abnormal", fault="imbalance", machine_id="id_00", machine="fan")]
FANS, OPTIONS, SPEC = dataset(ENTRIES), TrainingOptions(source=Path("fans"), name="fan"), spec_for(ENTRIES, "spectrum")


def changed(**facts: object) -> Dataset:
    """The same recordings with changed facts of the last one."""
    return dataset([*ENTRIES[:-1], datasets.changed(ENTRIES[-1], **facts)])


@pytest.mark.parametrize(
    "fans", [changed(fault="clogging"), changed(machine_id="id_02"), changed(audio_hash="0"), dataset(ENTRIES[:-1])]
)
def test_other_recordings_make_another_training(fans: Dataset) -> None:
    """Another fault, machine or content of a recording, or a missing recording, changes the key."""
    assert cache_key(fans, SPEC, OPTIONS) != cache_key(FANS, SPEC, OPTIONS)


def test_other_choices_make_another_training() -> None:
    """Every option and the feature spec change the key; the path of the source does not."""
    same = cache_key(FANS, SPEC, OPTIONS)
    assert cache_key(FANS, SPEC, OPTIONS.with_changes(seed=1)) != same
    assert cache_key(FANS, SPEC, OPTIONS.with_changes(refit=False)) != same
    assert cache_key(FANS, FeatureSpec.original(), OPTIONS) != same
    assert cache_key(dataset(ENTRIES), SPEC, OPTIONS.with_changes(source=Path("elsewhere/fans"))) == same


def test_another_version_of_this_project_makes_another_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another version may compute another network, so earlier trainings are neither continued nor found."""
    same = cache_key(FANS, SPEC, OPTIONS)
    installed: Callable[[str], str] = training_result.version
    monkeypatch.setattr(training_result, "version", lambda name: "99" if name == "signalml" else installed(name))
    assert cache_key(FANS, SPEC, OPTIONS) != same
