"""Training from recordings to a version: complete, reproducible, continued after a kill, measured on unseen sounds."""

import json
from pathlib import Path

import pytest

from ml.classifier.recipe import Recipe
from ml.dataset.indexing.build import index
from ml.models.registry import Registry
from ml.models.thresholds import ThresholdRequest, resolve_threshold
from ml.system.progress import Progress
from ml.training.options import TrainingOptions
from ml.training.pipeline import train
from ml.training.records import read_expectations
from ml.training.training_result import TrainingResult
from tests.commands import as_process, signalml, succeeds
from tests.integration.trainings import (
    RECORDS,
    TINY,
    Training,
    kill_at,
    network_of,
    record_folders,
    sides_of,
    tones,
    versions,
    without_report,
    work_folders,
)

NAME, EPOCHS = "tiny", 2


@pytest.fixture(scope="session")
def pair(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Training, Training]:
    """The same training in two homes, in its own process and in this one, without a final fit."""
    homes = [tmp_path_factory.mktemp("home") for _ in range(2)]
    options = ("--name", NAME, "--epochs", EPOCHS, "--no-refit", "--processes", 1)
    promoted = as_process(homes[0], "train", tiny, *options, "--promote")
    return Training.of(homes[0], promoted), Training.of(homes[1], signalml(homes[1], "train", tiny, *options))


@pytest.fixture(scope="session")
def first(pair: tuple[Training, Training]) -> Training:
    """The first of the two, which is promoted. For reading."""
    return pair[0]


@pytest.fixture(scope="session")
def grouped(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TrainingResult]:
    """A home with a model of fault groups, with a final fit. Tests may change only its labels."""
    home = tmp_path_factory.mktemp("grouped")
    with pytest.MonkeyPatch.context() as patch:
        without_report(patch)
        return home, train(TrainingOptions(source=tiny, name="groups", labels="groups", epochs=1), home, processes=1)


def test_the_served_network_is_cross_validated(grouped: tuple[Path, TrainingResult], tiny: Path) -> None:
    """Each recording has a score by a network without its session; the records have what the result has."""
    home, trained = grouped
    found, dataset = trained.expectations, index(tiny)
    assert found is not None
    assert read_expectations(home, trained.version) == found
    assert sum(len(each.scores) for each in found.sessions) == len(dataset.entries)
    abnormal = [entry for entry in dataset.entries if entry.label == "abnormal"]
    assert found.learned_faults is not None
    assert found.learned_faults[1] == len(abnormal)
    decision = Registry(home).read(trained.version).content.decision
    assert found.threshold == decision.threshold
    assert "in a new session" in decision.basis


def test_train_prints_a_version_and_writes_its_records(first: Training) -> None:
    """The last line is the version in the registry; split, figures and report are its records, and nothing else."""
    assert versions(first.home) == [first.version]
    assert record_folders(first.home) == [first.version]
    assert {path.name for path in first.records.iterdir()} == RECORDS
    assert work_folders(first.home) == []
    assert first.version in succeeds(first.home, "models", "list")


def test_a_classifiers_threshold_can_be_set_by_rate(first: Training) -> None:
    """The bundle has the scores of the normal recordings of validation and test side, each with its session."""
    content, sides = Registry(first.home).read(first.version).content, sides_of(first.records, "path")
    normal = [path for side in ("validation", "test") for path in sides[side] if "abnormal" not in path]
    assert content.normal_scores is not None
    assert len(content.normal_scores.scores) == len(normal)
    assert content.normal_scores.rate_holds_for == "new_session"
    point = resolve_threshold(content, ThresholdRequest(sensitivity="high"))
    assert point.threshold == max(content.normal_scores.scores)
    assert f"of too few for 5 % false alarms in a new session; above it were 0 of {len(normal)}" in point.basis


def test_promote_makes_the_version_champion(pair: tuple[Training, Training]) -> None:
    """--promote makes a champion; without it no model answers uploads, and the command to promote it is printed."""
    promoted, candidate = pair
    assert Registry(promoted.home).resolve("champion") == promoted.version
    assert "champion" not in Registry(candidate.home).aliases()
    assert "The model answers no uploads: no model is the champion." in candidate.done.stdout
    assert f"signalml models promote {candidate.version}" in candidate.done.stdout


def test_the_same_seed_gives_the_same_bundle(pair: tuple[Training, Training]) -> None:
    """Two trainings in two empty homes give the same version, and byte-identical network, split and verdicts."""
    first, second = pair
    assert first.version == second.version
    assert first.network == second.network
    for name in ("split.csv", "verdicts.csv"):
        assert (first.records / name).read_bytes() == (second.records / name).read_bytes()


@pytest.mark.usefixtures("short_reports")
def test_a_killed_training_continues_from_its_files(tiny: Path, first: Training, tmp_path: Path) -> None:
    """Killed in the features and in the fit, it leaves no version; the third start gives the uninterrupted result."""
    options = TrainingOptions(source=tiny, name=NAME, epochs=EPOCHS, refit=False)
    kill_at("features 8", options, tmp_path)
    assert (versions(tmp_path), record_folders(tmp_path)) == ([], [])
    printed = kill_at("epochs 1", options, tmp_path)
    extracted_again = [line for line in printed if line.startswith("features ")]
    assert 0 < len(extracted_again) <= TINY.files - 7
    assert (versions(tmp_path), record_folders(tmp_path)) == ([], [])
    (work,) = work_folders(tmp_path)
    assert (work / "fit.npz").is_file()
    seen: list[Progress] = []
    trained = train(options, tmp_path, processes=1, report=seen.append)
    assert [each.done for each in seen if each.step == "epochs"] == [2]
    assert trained.version == first.version
    assert network_of(tmp_path, first.version) == first.network
    assert (versions(tmp_path), record_folders(tmp_path), work_folders(tmp_path)) == (
        [first.version],
        [first.version],
        [],
    )


def test_fault_groups_are_classes_that_can_be_renamed(grouped: tuple[Path, TrainingResult]) -> None:
    """A normal class and three fault groups, which ``models label`` renames."""
    home, trained = grouped
    names = [each.name for each in Registry(home).load_predictor(trained.version).model.labels.classes]
    assert names == ["normal", "group 1", "group 2", "group 3"]
    new_names = ["normal=Component OK", "imbalance=Out of balance", "clogging=Clogged", "voltage_change=Wrong voltage"]
    succeeds(home, "models", "label", trained.version, *new_names)
    named = Registry(home).load_predictor(trained.version).model.labels.classes
    assert [f"{each.name}={each.message}" for each in named] == new_names
    assert [each.anomalous for each in named] == [False, True, True, True]


def test_test_recordings_and_their_sessions_are_on_no_other_side(tiny: Path, first: Training) -> None:
    """No recording of the test side is on another side, and no session is on two sides."""
    sides = {side: set(hashes) for side, hashes in sides_of(first.records, "audio_hash").items()}
    assert set(sides) >= {"train", "validation", "test"}
    learned = sides["train"] | sides["validation"]
    assert sides["test"]
    assert not sides["test"] & learned
    of = {entry.audio_hash: entry.session for entry in index(tiny).entries}
    assert not {of[each] for each in sides["test"]} & {of[each] for each in learned}
    assert {of[each] for each in sides["train"]}.isdisjoint({of[each] for each in sides["validation"]})


def test_evaluate_judges_the_test_side(tiny: Path, first: Training) -> None:
    """Without a final fit, the figures equal those of the training."""
    found = json.loads(succeeds(first.home, "evaluate", first.version, tiny, "--format", "json", "--processes", 1))
    assert found["slices"][0]["n"] == len(sides_of(first.records, "path")["test"])
    then = json.loads((first.records / "evaluation.json").read_bytes())
    assert found["slices"] == then["slices"]
    assert found["confusion"] == then["confusion"]


def test_after_a_final_fit_evaluate_shows_the_stored_figures(tiny: Path, grouped: tuple[Path, TrainingResult]) -> None:
    """The final network has learned every recording; a note states this, and the split names the test recordings."""
    home, trained = grouped
    sides = sides_of(trained.records, "path")
    assert "test, then fitted" in sides
    assert "test" not in sides
    found = json.loads(succeeds(home, "evaluate", trained.version, tiny, "--format", "json", "--processes", 1))
    note = found["notes"][-len(trained.evaluation.notes) - 1]
    assert "they were measured on its test side, before the final fit to all recordings." in note
    assert found["slices"] == json.loads(json.dumps(trained.evaluation.to_dict()))["slices"]
    shown = succeeds(home, "evaluate", trained.version, tiny)
    figures = f"figures of its training, from {trained.evaluation.pooled.n} recordings that were held out"
    assert shown.splitlines()[0].endswith(f": no recording is left to judge; {figures}")


def test_evaluate_compares_the_original_protocol_with_the_honest_one(
    first: Training, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both are fitted (here, for two epochs) and printed, with the share of near-copies in their training side."""
    for label, blade_hz in (("normal", 120.0), ("abnormal", 90.0)):
        tones(tmp_path / label, 16, blade_hz)
    monkeypatch.setattr(Recipe, "spectrum", lambda seed=0, full=Recipe.spectrum: full(seed).with_epochs(2))
    options = ["--gain-db", "0", "--protocol", "original", "--processes", "1", "--format", "json"]
    shown = json.loads(succeeds(first.home, "evaluate", first.version, tmp_path, *options))
    outcomes = {each["protocol"]: each for each in shown["protocols"]}
    assert set(outcomes) == {"original", "honest"}
    assert outcomes["original"]["near_copies"] > 0.9
    assert outcomes["honest"]["near_copies"] == 0
