"""A home of an earlier release is read without changes, and gives the same answers.

``tests/data/before`` was made by commit a190df9: a collection, a model of classifier and detector with renamed classes
and a moved threshold, a detector alone, their trainings, a machine's record, and the exported archive.
``expected.json`` has that commit's answers. The FLAC recordings are simulated. Later commits change nothing of it.
"""

import importlib.metadata
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ml.dataset.catalog import list_items, load_dataset
from ml.dataset.collection.store import Collection
from ml.dataset.entries import Dataset, Entry
from ml.features import feature_specs
from ml.features.kinds import FeatureKind
from ml.features.spec import FeatureSpec
from ml.machines.ledger import Ledger
from ml.models.registry import Registry
from ml.models.scoring import find_items, score_items
from ml.training import pipeline, training_result
from ml.training.options import TrainingOptions
from ml.training.pipeline import train
from ml.training.split_stage import split_recordings
from ml.training.training_result import cache_key

BEFORE = Path(__file__).parents[1] / "data" / "before"
DATASET = "hall"
# LiteRT sums in another order on another processor.
TOLERANCE = 1e-6
NEWER_COLUMNS = {"reference"}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A copy of the home, which may be written to."""
    return Path(shutil.copytree(BEFORE / "home", tmp_path / "home"))


@pytest.fixture(scope="module")
def expected() -> dict[str, Any]:
    """The answers of the earlier commit."""
    answers: dict[str, Any] = json.loads((BEFORE / "expected.json").read_text())
    return answers


@pytest.fixture
def dataset(home: Path, expected: Mapping[str, Any]) -> Dataset:
    """The collection, loaded as for a training."""
    return load_dataset(home, DATASET, expected["collection_version"])


def earlier_spec(entries: Sequence[Entry], kind: FeatureKind, **channels: int | None) -> FeatureSpec:
    """Return the spec that the earlier commit chose: it kept the offset, and faulty channels."""
    return replace(feature_specs.spec_for(entries, kind, **channels), offset="kept", channel="mean")


@pytest.fixture
def with_earlier_spec(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let trainings use the earlier spec."""
    monkeypatch.setattr(pipeline, "spec_for", earlier_spec)


def options(home: Path, name: str, learn: str, **choices: Any) -> TrainingOptions:
    """Return the options that the model was trained with; its engines were the default of that commit."""
    source, engines = home / "datasets" / DATASET, ["spectrum-gaussian", "distance"]
    return TrainingOptions(source=source, name=name, learn=learn, engines=engines, **choices)


def key_of(dataset: Dataset, chosen: TrainingOptions) -> dict[str, Any]:
    """Return the cache key of a training, in the form of its file."""
    spec = earlier_spec(split_recordings(dataset, chosen).train, chosen.training_kind)
    key: dict[str, Any] = json.loads(json.dumps(cache_key(dataset, spec, chosen)))
    return key


def rows(home: Path, model: str) -> list[dict[str, Any]]:
    """Return the scored rows of all recordings, with file names without folders."""
    predictor = Registry(home).load_predictor(model)
    items = find_items([home / "datasets" / DATASET / "recordings"])
    scored = [row.to_dict() for row in score_items(predictor, items, processes=1)]
    return [row | {"name": Path(row["name"]).name} for row in scored]


def assert_same(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    """Assert that texts are equal, and numbers within the tolerance; columns that are newer are empty."""
    assert len(found) == len(expected) > 0
    for mine, theirs in zip(found, expected, strict=True):
        assert mine.keys() - theirs.keys() <= NEWER_COLUMNS
        assert not any(mine[column] for column in NEWER_COLUMNS)
        assert theirs.keys() <= mine.keys()
        for column in theirs:
            if isinstance(theirs[column], float | dict):
                assert mine[column] == pytest.approx(theirs[column], abs=TOLERANCE), column
            else:
                assert mine[column] == theirs[column], column


@pytest.mark.parametrize(("model", "answers"), [("champion", "rows"), ("detector", "detector_rows")])
def test_its_models_give_the_same_answers(home: Path, expected: Mapping[str, Any], model: str, answers: str) -> None:
    """Scores, labels, thresholds and messages are the same, with renamed classes and a moved threshold."""
    assert_same(rows(home, expected[model]), expected[answers])


def test_its_archive_gives_the_same_answers_after_an_import(
    tmp_path: Path, expected: Mapping[str, Any], home: Path
) -> None:
    """The import includes the revisions of labels and threshold."""
    fresh = tmp_path / "fresh"
    version = Registry(fresh).add_archive(BEFORE / "hall.zip")
    assert version == expected["champion"]
    shutil.copytree(home / "datasets", fresh / "datasets")
    assert_same(rows(fresh, version), expected["rows"])


def test_its_collection_is_the_same_dataset(dataset: Dataset, expected: Mapping[str, Any], home: Path) -> None:
    """Fingerprint and version are the same, and every file is readable."""
    assert dataset.fingerprint == expected["fingerprint"]
    assert Collection(home, DATASET).version == expected["collection_version"]
    items = list_items(home, DATASET, expected["collection_version"])
    assert [item.error for item in items] == [None] * len(expected["rows"])


def test_its_trainings_have_the_same_cache_keys(dataset: Dataset, expected: Mapping[str, Any], home: Path) -> None:
    """The parts for recordings, features and options are equal; library versions may differ."""
    key = key_of(dataset, options(home, DATASET, "both", epochs=8))
    assert key | {"libraries": expected["key"]["libraries"]} == expected["key"]


@pytest.mark.usefixtures("with_earlier_spec")
def test_it_trains_the_same_network_again(dataset: Dataset, expected: Mapping[str, Any], home: Path) -> None:
    """With the spec of that commit, network and labels are identical. Detectors hold out sessions now."""
    before = Registry(home).read(expected["champion"]).content
    shutil.rmtree(home / "training")
    version = train(options(home, DATASET, "both", epochs=8), home, dataset=dataset, processes=1).version
    again = Registry(home).read(version).content
    assert (again.litert, again.labels, again.spec) == (before.litert, before.labels, before.spec)


@pytest.mark.usefixtures("with_earlier_spec")
def test_its_trainings_are_not_done_again(
    dataset: Dataset, expected: Mapping[str, Any], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the version that made them: the stored verdicts and figures are the result. A later version trains again."""
    chosen = options(home, DATASET, "both", epochs=8)
    assert key_of(dataset, chosen)["libraries"]["signalml"] != expected["key"]["libraries"]["signalml"]
    monkeypatch.setattr(
        training_result, "version", lambda name: "0.1.0" if name == "signalml" else importlib.metadata.version(name)
    )
    if key_of(dataset, chosen) != expected["key"]:
        pytest.skip("other versions of the libraries: the training has to be done again")
    steps: list[str] = []
    found = train(chosen, home, dataset=dataset, processes=1, report=lambda progress: steps.append(progress.note))
    assert (found.version, found.evaluation.pooled.auc.value) == (expected["champion"], expected["auc"])
    assert any("trained before" in step for step in steps)


def test_its_records_of_machines_are_read(home: Path, expected: Mapping[str, Any]) -> None:
    """The verdicts are the same, in the same order."""
    with Ledger(home) as ledger:
        latest = ledger.health("fan/id_00", len(expected["observations"])).latest
    found = [(o.machine_id, o.at, o.version, o.score, o.threshold, o.verdict, o.label) for o in latest]
    keys = ("machine_id", "at", "version", "score", "threshold", "verdict", "label")
    assert found == [tuple(each[key] for key in keys) for each in expected["observations"]]
