"""Comparison of trained candidates with trained champions: a better one is promoted, and the reason is printed."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from ml.dataset.indexing.build import index
from ml.models.registry import Registry
from ml.training.champion_comparison import ChampionComparison, compare_with_champion
from ml.training.options import TrainingOptions
from ml.training.pipeline import train
from ml.training.promotion import promote
from ml.training.training_result import TrainingResult
from tests.commands import assert_one_sentence, signalml
from tests.integration.trainings import TINY, Training, without_report
from tests.unit import bundles

EPOCHS = 4
ONE, OTHER = "id_00", "id_02"
SIDE = TINY.files // 2
ALIASES = shutil.ignore_patterns("aliases.json")
pytestmark = pytest.mark.usefixtures("short_reports")


@pytest.fixture(scope="module")
def fans(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sessions of one fan, listed as two machines in two manifests; ``swapped.csv`` swaps the labels of the first."""
    folder = Path(shutil.copytree(tiny, tmp_path_factory.mktemp("simulated") / "fans"))
    with (folder / "manifest.csv").open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    other = {"normal": "abnormal", "abnormal": "normal"}
    for name in ("right", "swapped"):
        with (folder / f"{name}.csv").open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow(("path", "label", "group", "machine", "machine_id"))
            for row in rows:
                machine_id = (ONE, OTHER)[int(row["group"][-2:]) % 2]
                label = other[row["label"]] if (name, machine_id) == ("swapped", ONE) else row["label"]
                table.writerow((row["path"], label, row["group"], "fan", machine_id))
    return folder


def options(source: Path, *, held_out: str = OTHER, refit: bool = True, seed: int = 0) -> TrainingOptions:
    """Return options that train on one machine and test on the other."""
    return TrainingOptions(
        source=source,
        name=source.stem,
        split="machine",
        held_out=held_out,
        epochs=EPOCHS,
        refit=refit,
        seed=seed,
        confirm_labels=True,
    )


def train_by_command(home: Path, source: Path) -> Training:
    """Run the same training with ``signalml train --if-better``."""
    choices = (
        "--name",
        source.stem,
        "--split",
        "machine",
        "--held-out",
        OTHER,
        "--epochs",
        EPOCHS,
        "--no-refit",
        "--confirm-labels",
    )
    return Training.of(home, signalml(home, "train", source, *choices, "--processes", 1, "--if-better"))


Homed = tuple[Path, TrainingResult]


def champion_of(home: Path, chosen: TrainingOptions) -> Homed:
    """Train a champion in a home."""
    with pytest.MonkeyPatch.context() as patch:
        without_report(patch)
        trained = train(chosen, home, processes=1)
    Registry(home).promote(trained.version)
    return home, trained


@pytest.fixture(scope="module")
def good(fans: Path, tmp_path_factory: pytest.TempPathFactory) -> Homed:
    """A champion with correct labels, with a final fit to all recordings."""
    return champion_of(tmp_path_factory.mktemp("good"), options(fans / "right.csv"))


@pytest.fixture(scope="module")
def bad(fans: Path, tmp_path_factory: pytest.TempPathFactory) -> Homed:
    """A champion that was trained with swapped labels, and not on the other machine."""
    return champion_of(tmp_path_factory.mktemp("bad"), options(fans / "swapped.csv", refit=False))


@pytest.fixture(scope="module")
def first(fans: Path, tmp_path_factory: pytest.TempPathFactory) -> Training:
    """The first candidate of a home, with correct labels, not trained on the other machine."""
    return train_by_command(tmp_path_factory.mktemp("first"), fans / "right.csv")


@pytest.fixture
def copied(tmp_path: Path) -> Callable[..., Path]:
    """A function that copies a home with its champion, and adds a candidate that was trained in another home."""

    def copy(homed: Homed, *, trained_in: Path | None = None) -> Path:
        home = Path(shutil.copytree(homed[0], tmp_path / "home"))
        if trained_in is not None:
            for folder in ("models", "training"):
                shutil.copytree(trained_in / folder, home / folder, dirs_exist_ok=True, ignore=ALIASES)
        return home

    return copy


def read_comparison(home: Path, version: str) -> dict[str, object]:
    """Read the recorded comparison."""
    found: dict[str, object] = json.loads((home / "training" / version / "comparison.json").read_bytes())
    return found


def test_the_first_candidate_is_promoted(fans: Path, first: Training) -> None:
    """Without a champion it is promoted, and this reason is printed; the same command again fits nothing."""
    home, version, done = first
    assert "Promoted: There is no champion to compare with." in done.stdout
    assert "signalml models promote" not in done.stdout
    assert f"The figures are for a machine that the model has not learned: fan/{OTHER}." in done.stdout
    assert Registry(home).resolve("champion") == version
    assert read_comparison(home, version)["basis"] == "no champion"
    again = train_by_command(home, fans / "right.csv").done
    assert f"Promoted: {version} is already the champion." in again.stdout
    assert "epochs" not in again.stderr
    assert read_comparison(home, version)["basis"] == "no champion"


def test_a_better_candidate_is_promoted(fans: Path, first: Training, bad: Homed, copied: Callable[..., Path]) -> None:
    """Both judge the machine that neither was trained on; the earlier champion is then ``previous``."""
    home = copied(bad, trained_in=first.home)
    found = train_by_command(home, fans / "right.csv")
    assert found.version == first.version
    assert Registry(home).aliases() == {"champion": found.version, "previous": bad[1].version}
    record = read_comparison(home, found.version)
    assert (record["basis"], record["paired"]["n"]) == ("judged by both", SIDE)  # type: ignore[index]  # JSON
    assert f"the same {SIDE} recordings of 12 sessions" in found.done.stdout
    assert ": better." in found.done.stdout


def test_a_worse_candidate_is_not_promoted(fans: Path, good: Homed, bad: Homed, copied: Callable[..., Path]) -> None:
    """The champion has learned all recordings in its final fit: its verdicts from before are compared."""
    home = copied(good, trained_in=bad[0])
    found = train_by_command(home, fans / "swapped.csv")
    assert found.version == bad[1].version
    assert Registry(home).aliases() == {"champion": good[1].version}
    assert read_comparison(home, found.version)["basis"] == "held out of both"
    assert "Not promoted: " in found.done.stdout
    assert ": worse." in found.done.stdout
    assert f"signalml models promote {found.version}" in found.done.stdout


def compare(trained: TrainingResult, chosen: TrainingOptions, home: Path) -> ChampionComparison:
    """Compare a candidate of this process with the champion."""
    return compare_with_champion(trained, chosen, index(chosen.source, processes=1), home, processes=1)


def test_stored_figures_are_those_of_the_measured_networks(
    fans: Path, good: Homed, copied: Callable[..., Path]
) -> None:
    """Neither network of a final fit is compared, because both have learned the recordings."""
    home = copied(good)
    chosen = options(fans / "right.csv", seed=1)
    trained = train(chosen, home, processes=1)
    found = compare(trained, chosen, home)
    assert found.paired is not None
    assert found.candidate_verdicts is not None
    assert not found.candidate_verdicts.served_fit
    served = Registry(home).read(trained.version).content.decision.threshold
    assert (found.candidate_verdicts.threshold, served != trained.evaluation.threshold) == (served, True)
    assert found.paired.candidate_auc.value == trained.evaluation.auc_gain_randomised.value
    assert found.paired.champion_auc.value == good[1].evaluation.auc_gain_randomised.value


def test_without_unseen_recordings_the_champion_stays(fans: Path, good: Homed, copied: Callable[..., Path]) -> None:
    """The champion was fitted to all recordings and tested on the other machine: no fair comparison is possible."""
    home = copied(good)
    chosen = options(fans / "right.csv", held_out=ONE, refit=False)
    trained = train(chosen, home, processes=1)
    found = compare(trained, chosen, home)
    assert found.basis == "none"
    unseen = f"0 normal and 0 abnormal are new to {good[1].version}"
    assert f"{unseen}, and 0 normal and 0 abnormal were held out of both trainings." in found.message
    decided = promote(trained.version, found, "if-better", home)
    assert (decided.promoted, decided.reason) == (False, found.message)
    assert Registry(home).aliases() == {"champion": good[1].version}


def test_a_champion_promoted_after_the_comparison_stays(
    fans: Path, first: Training, bad: Homed, copied: Callable[..., Path]
) -> None:
    """The candidate is better than the earlier champion, and was not compared with this one."""
    home = copied(bad, trained_in=first.home)
    chosen = options(fans / "right.csv", refit=False)
    trained = train(chosen, home, processes=1)
    found = compare(trained, chosen, home)
    meanwhile = bundles.further(Registry(home))
    Registry(home).promote(meanwhile)
    decided = promote(trained.version, found, "if-better", home)
    assert not decided.promoted
    assert (
        f"{meanwhile} is champion now; {bad[1].version} was expected: {trained.version} was not promoted."
        in decided.reason
    )
    assert Registry(home).resolve("champion") == meanwhile


def test_promote_and_if_better_together_are_refused(tmp_path: Path) -> None:
    """The refusal comes before any recording is read."""
    done = signalml(tmp_path, "train", tmp_path, "--name", "fan", "--promote", "--if-better")
    assert_one_sentence(done, "--promote and --if-better were given; one of them was expected.")
