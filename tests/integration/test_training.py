"""From recordings to a version: whole, the same each time, gone on with after a kill, or refused in a sentence."""

import csv
import json
import shutil
import subprocess
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.main import app
from ml.classifier.recipe import Recipe
from ml.dataset.indexing.build import index
from ml.dataset.simulate.simulator import simulate
from ml.errors import Cancelled, StorageFull
from ml.models.registry import Registry
from ml.system.progress import Progress
from ml.training.options import TrainingOptions
from ml.training.pipeline import train
from ml.training.training_result import TrainingResult
from tests import sounds
from tests.integration.trainings import TINY, Training, kept, killed_at, signalml, start, unfinished, versions

NAME, EPOCHS = "tiny", 2
RECORDS = {"evaluation.json", "report.html", "split.csv", "training.json", "verdicts.csv"}


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 simulated recordings of one fan, whose faults a manifest names."""
    return simulate(tmp_path_factory.mktemp("simulated") / "tiny", plan=TINY, processes=1)


@pytest.fixture(scope="session")
def pair(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Training, Training]:
    """The same training in two homes, by two processes at once; measured only, not fitted again."""
    homes = [tmp_path_factory.mktemp("home") for _ in range(2)]
    options = ("--name", NAME, "--epochs", EPOCHS, "--no-refit", "--processes", 1)
    first, second = (
        start(home, "train", tiny, *options, *more) for home, more in zip(homes, (["--promote"], []), strict=True)
    )
    return _ended(homes[0], first), _ended(homes[1], second)


def _ended(home: Path, training: subprocess.Popen[str]) -> Training:
    out, err = training.communicate(timeout=200)
    assert training.returncode == 0, err
    done = subprocess.CompletedProcess(training.args, training.returncode, out, err)
    return Training(home, out.splitlines()[-1], done)


@pytest.fixture(scope="session")
def first(pair: tuple[Training, Training]) -> Training:
    """One of the two; it was promoted. For reading."""
    return pair[0]


@pytest.fixture(scope="session")
def grouped(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TrainingResult]:
    """A home with a model of groups, fitted once more to all recordings. For reading, but for its labels."""
    home = tmp_path_factory.mktemp("grouped")
    return home, train(TrainingOptions(source=tiny, name="groups", labels="groups", epochs=1), home, processes=1)


def test_train_ends_with_a_version_and_its_records(first: Training) -> None:
    """The version is the last line and in the registry; split, figures and report are kept, and nothing else is."""
    assert versions(first.home) == [first.version]
    assert kept(first.home) == [first.version]
    assert {path.name for path in first.records.iterdir()} == RECORDS
    assert unfinished(first.home) == []
    assert "Traceback" not in first.done.stderr
    assert first.version in signalml(first.home, "models", "list").stdout


def test_promote_makes_it_champion(pair: tuple[Training, Training]) -> None:
    """With the option; without it nothing answers uploads, and the command to change that is printed."""
    promoted, candidate = pair
    assert Registry(promoted.home).resolve("champion") == promoted.version
    assert "champion" not in Registry(candidate.home).aliases()
    assert "It answers no uploads: no model is the champion." in candidate.done.stdout
    assert f"signalml models promote {candidate.version}" in candidate.done.stdout


def test_same_seed_same_bundle(pair: tuple[Training, Training]) -> None:
    """Two processes in two fresh homes make the same version, and the same network to the byte."""
    first, second = pair
    assert first.version == second.version
    assert first.network == second.network
    assert (first.records / "split.csv").read_bytes() == (second.records / "split.csv").read_bytes()


def test_a_killed_training_goes_on_where_it_was(tiny: Path, first: Training, tmp_path: Path) -> None:
    """Killed in the features and in the fit it leaves no version; the third start ends as one that was never killed."""
    options = TrainingOptions(source=tiny, name=NAME, epochs=EPOCHS, refit=False)
    killed_at("features 8", options, tmp_path)
    assert (versions(tmp_path), kept(tmp_path)) == ([], [])
    said = killed_at("epochs 1", options, tmp_path)
    read_again = [line for line in said if line.startswith("features ")]
    assert 0 < len(read_again) <= TINY.files - 7
    assert (versions(tmp_path), kept(tmp_path)) == ([], [])
    (work,) = unfinished(tmp_path)
    assert (work / "fit.npz").is_file()
    seen: list[Progress] = []
    trained = train(options, tmp_path, processes=1, report=seen.append)
    assert [each.done for each in seen if each.step == "epochs"] == [2]
    assert trained.version == first.version
    assert (tmp_path / "models" / first.version / "network.tflite").read_bytes() == first.network
    assert (versions(tmp_path), kept(tmp_path), unfinished(tmp_path)) == ([first.version], [first.version], [])


@pytest.mark.parametrize("step", ["recordings", "features", "epochs", "judging"])
def test_cancelled_leaves_no_version(tiny: Path, tmp_path: Path, step: str) -> None:
    """Whatever it was at, it stops at its next report."""
    seen: list[Progress] = []
    with pytest.raises(Cancelled, match="as was asked"):
        train(
            TrainingOptions(source=tiny, name=NAME, epochs=1),
            tmp_path,
            processes=1,
            report=seen.append,
            cancelled=lambda: bool(seen) and seen[-1].step == step,
        )
    assert [each.step for each in seen].count(step) == 1
    assert (versions(tmp_path), kept(tmp_path)) == ([], [])


Bad = namedtuple("Bad", "source options says")


def _bad(folder: Path, tiny: Path) -> Iterator[Bad]:
    """What cannot be trained on, and the words of the refusal that name it."""
    empty = folder / "empty"
    empty.mkdir()
    yield Bad(empty, (), (str(empty),))
    yield Bad(folder / "missing", (), (str(folder / "missing"), "does not exist"))
    only = folder / "only"
    _tones(only / "normal", 6)
    yield Bad(only, (), ("All 6 recordings", "normal", "abnormal"))
    single = folder / "single"
    _tones(single / "normal", 1)
    yield Bad(single, (), ("The only recording in single is normal", "--detector", '"learn": "detector"'))
    yield Bad(tiny, ("--name", "../x"), ("'../x'",))
    unnamed = folder / "unnamed"
    _tones(unnamed / "normal", 12)
    _tones(unnamed / "abnormal", 12, blade_hz=90)
    yield Bad(unnamed, ("--labels", "manifest"), ("12 abnormal recordings name no fault", "abnormal/"))
    yield Bad(tiny, ("--groups", "1"), ("1 groups", "2 to 9"))
    yield Bad(tiny, ("--groups", "three"), ("'three'", "2 to 9"))


def _tones(folder: Path, count: int, blade_hz: float = 120.0) -> None:
    folder.mkdir(parents=True)
    for each in range(count):
        sound = sounds.fan(1.0, seed=100 * int(blade_hz) + each, blade_hz=blade_hz)
        (folder / f"{each:08d}.wav").write_bytes(sounds.recording(sound))


def test_what_cannot_be_trained_on_is_refused_in_a_sentence(tiny: Path, tmp_path: Path) -> None:
    """Exit status 1, one sentence that names what was found, and neither a version nor records."""
    sources = tmp_path / "sources"
    sources.mkdir()
    for number, bad in enumerate(_bad(sources, tiny)):
        home = tmp_path / f"home-{number}"
        home.mkdir()
        done = signalml(home, "train", bad.source, "--name", "bad", "--processes", 1, *bad.options)
        complaints = [line for line in done.stderr.splitlines() if not _progress(line)]
        assert (done.returncode, done.stdout, len(complaints)) == (1, "", 1), (bad, done)
        assert complaints[0].startswith("error: ")
        assert all(words in complaints[0] for words in bad.says), (bad, complaints)
        assert (versions(home), kept(home)) == ([], [])


def _progress(line: str) -> bool:
    return line.startswith(("recordings: ", "features: "))


@pytest.fixture
def messy(tiny: Path, tmp_path: Path) -> Path:
    """A manifest of recordings, some at another rate and of two channels, one broken, two not there."""
    folder = tmp_path / "messy"
    folder.mkdir()
    rows = []
    for label, blade_hz in (("normal", 120.0), ("abnormal", 90.0)):
        for each in range(16):
            rate_hz, channels = (8_000, 2) if each % 4 == 0 else (16_000, 1)
            sound = sounds.fan(2.0, rate_hz, seed=each + int(blade_hz), blade_hz=blade_hz).repeat(channels, axis=1)
            name = f"{label}-{each:02d}.wav"
            (folder / name).write_bytes(sounds.recording(sound, rate_hz=rate_hz))
            rows.append((name, label, f"{label} {each // 2}"))
    (folder / "broken.wav").write_bytes(b"RIFF")
    rows += [("broken.wav", "normal", "z"), ("gone.wav", "abnormal", "y"), ("gone too.wav", "normal", "x")]
    with (folder / "manifest.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "label", "group"), *rows])
    return folder


def test_what_is_missing_or_broken_is_left_out(messy: Path, tmp_path: Path) -> None:
    """The rest is trained on, whatever its rates and channels; the split names no file that was not heard."""
    home = tmp_path / "home"
    trained = train(
        TrainingOptions(source=messy, name="messy", labels="binary", epochs=1, refit=False), home, processes=1
    )
    with (trained.records / "split.csv").open(newline="") as lines:
        paths = {row["path"] for row in csv.DictReader(lines)}
    assert len(paths) == 32
    assert not paths & {"broken.wav", "gone.wav", "gone too.wav"}
    classes = Registry(home).load_predictor(trained.version).model.labels.classes
    assert [(each.name, each.anomalous) for each in classes] == [("normal", False), ("abnormal", True)]


def test_a_full_disk_is_said_before_the_features(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what is needed and what is free; there is no version."""
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9, 0))
    with pytest.raises(StorageFull, match="are free on its disk"):
        train(TrainingOptions(source=tiny, name=NAME, epochs=1), tmp_path, processes=1)
    assert (versions(tmp_path), kept(tmp_path)) == ([], [])


@pytest.mark.parametrize("size_kb", [1_000, 2_400])
def test_a_disk_that_fills_up_is_said(tiny: Path, tmp_path: Path, size_kb: int) -> None:
    """A real one, too small for the features, or for what comes after them: one sentence, and no version."""
    home = tmp_path / "small"
    home.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size_kb}k", "tmpfs", str(home)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no tmpfs can be mounted here: that takes root and CAP_SYS_ADMIN")
    try:
        done = signalml(home, "train", tiny, "--name", NAME, "--epochs", 1, "--processes", 1)
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        sentence = done.stderr.splitlines()[-1]
        assert sentence.startswith("error: ")
        assert "free on its disk" in sentence or "disk filled up" in sentence
        assert (versions(home), kept(home)) == ([], [])
    finally:
        subprocess.run(["umount", str(home)], check=True)


def test_groups_are_classes_that_can_be_named(grouped: tuple[Path, TrainingResult]) -> None:
    """A healthy class and three groups, which ``models label`` gives names that a person knows."""
    home, trained = grouped
    names = [each.name for each in Registry(home).load_predictor(trained.version).model.labels.classes]
    assert names == ["normal", "group 1", "group 2", "group 3"]
    said = ["normal=Component OK", "imbalance=Out of balance", "clogging=Clogged", "voltage_change=Wrong voltage"]
    done = signalml(home, "models", "label", trained.version, *said)
    assert done.returncode == 0, done.stderr
    named = Registry(home).load_predictor(trained.version).model.labels.classes
    assert [f"{each.name}={each.message}" for each in named] == said
    assert [each.anomalous for each in named] == [False, True, True, True]


def test_what_it_was_measured_on_it_never_learned_from(tiny: Path, first: Training) -> None:
    """No sound of the test side is on another, and no session is on two."""
    sides = first.sides()
    assert set(sides) >= {"train", "validation", "test"}
    learned = sides["train"] | sides["validation"]
    assert sides["test"]
    assert not sides["test"] & learned
    of = {entry.audio_hash: entry.session for entry in index(tiny).entries}
    assert not {of[each] for each in sides["test"]} & {of[each] for each in learned}
    assert {of[each] for each in sides["train"]}.isdisjoint({of[each] for each in sides["validation"]})


def test_evaluate_judges_exactly_the_test_side(tiny: Path, first: Training) -> None:
    """Of a model that was not fitted again; the figures are those of its training."""
    done = signalml(first.home, "evaluate", first.version, tiny, "--format", "json", "--processes", 1)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["slices"][0]["n"] == len(first.sides()["test"])
    then = json.loads((first.records / "evaluation.json").read_bytes())
    assert found["slices"] == then["slices"]
    assert found["confusion"] == then["confusion"]


def test_after_a_refit_the_kept_figures_are_shown(tiny: Path, grouped: tuple[Path, TrainingResult]) -> None:
    """Since the served network knows every recording; it is said, and the split says which it was measured on."""
    home, trained = grouped
    sides = Training(home, trained.version, subprocess.CompletedProcess([], 0, "", "")).sides()
    assert "test, then fitted" in sides
    assert "test" not in sides
    done = signalml(home, "evaluate", trained.version, tiny, "--format", "json", "--processes", 1)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert "These figures were measured then" in found["notes"][-len(trained.evaluation.notes) - 1]
    assert found["slices"] == json.loads(json.dumps(trained.evaluation.to_dict()))["slices"]
    shown = CliRunner().invoke(app, ["evaluate", trained.version, str(tiny)], env={"SIGNALML_HOME": str(home)})
    heading = f"none is left to judge; the figures kept from its training, of {trained.evaluation.pooled.n} recordings "
    assert heading in shown.stdout.splitlines()[0]


def test_the_original_protocol_stands_beside_the_honest_one(
    first: Training, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both are fitted and printed, with the share of near-copies that each has learned from (here, for two epochs)."""
    for label, blade_hz in (("normal", 120.0), ("abnormal", 90.0)):
        _tones(tmp_path / label, 16, blade_hz)
    monkeypatch.setenv("SIGNALML_HOME", str(first.home))
    monkeypatch.setattr(Recipe, "spectrum", lambda seed=0, full=Recipe.spectrum: full(seed).shortened(2))
    options = ["--gain-db", "0", "--protocol", "original", "--processes", "1"]
    done = CliRunner().invoke(app, ["evaluate", first.version, str(tmp_path), *options, "--format", "json"])
    assert done.exit_code == 0, done.output
    outcomes = {each["protocol"]: each for each in json.loads(done.stdout)["protocols"]}
    assert set(outcomes) == {"original", "honest"}
    assert outcomes["original"]["near_copies"] > 0.9
    assert outcomes["honest"]["near_copies"] == 0
