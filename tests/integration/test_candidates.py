"""Real candidates beside real champions: the better one answers, the worse one is kept out, and it is said why."""

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
    """One fan's sessions as if they were of two, in two manifests: in ``swapped.csv`` the first one's labels are."""
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
    """Learned from one machine, measured on the other."""
    return TrainingOptions(
        source=source, name=source.stem, split="machine", held_out=held_out, epochs=EPOCHS, refit=refit, seed=seed
    )


def commanded(home: Path, source: Path) -> Training:
    """The same, as a user asks for it, and to be promoted if it is better."""
    choices = ("--name", source.stem, "--split", "machine", "--held-out", OTHER, "--epochs", EPOCHS, "--no-refit")
    return Training.of(home, signalml(home, "train", source, *choices, "--processes", 1, "--if-better"))


Homed = tuple[Path, TrainingResult]


def champion_of(home: Path, chosen: TrainingOptions) -> Homed:
    """A home with this champion."""
    with pytest.MonkeyPatch.context() as patch:
        without_report(patch)
        trained = train(chosen, home, processes=1)
    Registry(home).promote(trained.version)
    return home, trained


@pytest.fixture(scope="module")
def good(fans: Path, tmp_path_factory: pytest.TempPathFactory) -> Homed:
    """A champion that hears well, and has learned from all there is."""
    return champion_of(tmp_path_factory.mktemp("good"), options(fans / "right.csv"))


@pytest.fixture(scope="module")
def bad(fans: Path, tmp_path_factory: pytest.TempPathFactory) -> Homed:
    """A champion that was taught the opposite, and never heard the other machine."""
    return champion_of(tmp_path_factory.mktemp("bad"), options(fans / "swapped.csv", refit=False))


@pytest.fixture(scope="module")
def first(fans: Path, tmp_path_factory: pytest.TempPathFactory) -> Training:
    """The first candidate of a home: taught what is right, and never heard the other machine."""
    return commanded(tmp_path_factory.mktemp("first"), fans / "right.csv")


@pytest.fixture
def copied(tmp_path: Path) -> Callable[..., Path]:
    """Makes homes to change: a copy of one with its champion, and with a candidate that was trained in another."""

    def copy(homed: Homed, *, trained_in: Path | None = None) -> Path:
        home = Path(shutil.copytree(homed[0], tmp_path / "home"))
        if trained_in is not None:
            for folder in ("models", "training"):
                shutil.copytree(trained_in / folder, home / folder, dirs_exist_ok=True, ignore=ALIASES)
        return home

    return copy


def kept(home: Path, version: str) -> dict[str, object]:
    """The comparison that is on record."""
    found: dict[str, object] = json.loads((home / "training" / version / "comparison.json").read_bytes())
    return found


def test_the_first_candidate_is_promoted(fans: Path, first: Training) -> None:
    """There is nothing to beat, which is printed; asked again, it is champion already, and nothing is fitted."""
    home, version, done = first
    assert "Promoted: No model is champion: there is nothing to beat." in done.stdout
    assert "signalml models promote" not in done.stdout
    assert f"a machine not learned from: fan/{OTHER}." in done.stdout
    assert Registry(home).resolve("champion") == version
    assert kept(home, version)["basis"] == "no champion"
    again = commanded(home, fans / "right.csv").done
    assert f"Promoted: {version} is the champion already." in again.stdout
    assert "epochs" not in again.stderr
    assert kept(home, version)["basis"] == "no champion"


def test_a_better_candidate_is_promoted(fans: Path, first: Training, bad: Homed, copied: Callable[..., Path]) -> None:
    """Both judged the machine that neither has learned from; the champion before is one step back."""
    home = copied(bad, trained_in=first.home)
    found = commanded(home, fans / "right.csv")
    assert found.version == first.version
    assert Registry(home).aliases() == {"champion": found.version, "previous": bad[1].version}
    record = kept(home, found.version)
    assert (record["basis"], record["paired"]["n"]) == ("judged by both", SIDE)  # type: ignore[index]  # JSON
    assert f"on the same {SIDE} recordings of 12 groups" in found.done.stdout
    assert ": better." in found.done.stdout


def test_a_worse_candidate_is_kept_out(fans: Path, good: Homed, bad: Homed, copied: Callable[..., Path]) -> None:
    """The champion knows all recordings by now; what it was measured on before that is what counts."""
    home = copied(good, trained_in=bad[0])
    found = commanded(home, fans / "swapped.csv")
    assert found.version == bad[1].version
    assert Registry(home).aliases() == {"champion": good[1].version}
    assert kept(home, found.version)["basis"] == "held out of both"
    assert "Not promoted: AUC " in found.done.stdout
    assert ": worse." in found.done.stdout
    assert f"signalml models promote {found.version}" in found.done.stdout


def compared(trained: TrainingResult, chosen: TrainingOptions, home: Path) -> ChampionComparison:
    """A candidate of this process beside the champion."""
    return compare_with_champion(trained, chosen, index(chosen.source, processes=1), home, processes=1)


def test_figures_of_then_are_those_of_the_networks_that_were_measured(
    fans: Path, good: Homed, copied: Callable[..., Path]
) -> None:
    """Neither those of the champion that has learned from the recordings, nor of the candidate that has."""
    home = copied(good)
    chosen = options(fans / "right.csv", seed=1)
    trained = train(chosen, home, processes=1)
    found = compared(trained, chosen, home)
    assert found.paired is not None
    assert found.paired.candidate_auc.value == trained.evaluation.auc_gain_randomised.value
    assert found.paired.champion_auc.value == good[1].evaluation.auc_gain_randomised.value


def test_a_champion_that_has_seen_everything_stays(fans: Path, good: Homed, copied: Callable[..., Path]) -> None:
    """It was fitted to all, and measured on the other machine: nothing is left that says who is better."""
    home = copied(good)
    chosen = options(fans / "right.csv", held_out=ONE, refit=False)
    trained = train(chosen, home, processes=1)
    found = compared(trained, chosen, home)
    assert found.basis == "none"
    assert "0 normal and 0 abnormal are of machines that it has not learned from" in found.message
    decided = promote(trained.version, found, "if-better", home)
    assert (decided.promoted, decided.reason) == (False, found.message)
    assert Registry(home).aliases() == {"champion": good[1].version}


def test_a_champion_that_came_meanwhile_stays(
    fans: Path, first: Training, bad: Homed, copied: Callable[..., Path]
) -> None:
    """The candidate beat the one before; nobody knows whether it beats this one."""
    home = copied(bad, trained_in=first.home)
    chosen = options(fans / "right.csv", refit=False)
    trained = train(chosen, home, processes=1)
    found = compared(trained, chosen, home)
    meanwhile = bundles.further(Registry(home))
    Registry(home).promote(meanwhile)
    decided = promote(trained.version, found, "if-better", home)
    assert not decided.promoted
    assert f"{meanwhile} is champion by now" in decided.reason
    assert Registry(home).resolve("champion") == meanwhile


def test_promoting_twice_over_is_refused(tmp_path: Path) -> None:
    """Before anything is read."""
    done = signalml(tmp_path, "train", tmp_path, "--name", "fan", "--promote", "--if-better")
    assert_one_sentence(done, "--promote and --if-better were given; one of them was expected.")
