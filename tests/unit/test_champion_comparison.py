"""Recordings on which a candidate and a champion are compared: neither has learned from them."""

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from ml.dataset.entries import Dataset, Entry
from ml.dataset.indexing.build import index
from ml.dataset.splitting.sides import Split
from ml.evaluation.evaluating import evaluate
from ml.evaluation.judged import JudgedRecording
from ml.evaluation.paired import compare_paired
from ml.models.judging import judge
from ml.models.registry import Registry
from ml.models.thresholds import ThresholdRequest
from ml.training import records
from ml.training.champion_comparison import ChampionComparison, compare_with_champion
from ml.training.compared_verdicts import ComparedVerdicts
from ml.training.options import GAIN_DB, TrainingOptions
from ml.training.training_result import TrainingResult
from ml.training.verdicts import read_verdicts, write_verdicts
from tests import sounds
from tests.unit import bundles, detectors, judgements
from tests.unit.judgements import CLASSES, verdict

SESSIONS, PER_SESSION = 6, 2
# Of both classes; a quarter of them is still enough for a comparison.
RECORDINGS = 2 * SESSIONS * PER_SESSION


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Six sessions of two recordings of each class, on three machines."""
    folder = tmp_path_factory.mktemp("fans")
    rows = []
    for label, blade_hz in (("normal", 120.0), ("abnormal", 90.0)):
        for number in range(SESSIONS * PER_SESSION):
            path, session = f"{label}-{number:02d}.wav", number // PER_SESSION
            samples = sounds.fan(0.5, seed=number + int(blade_hz), blade_hz=blade_hz)
            (folder / path).write_bytes(sounds.recording(samples))
            rows.append((path, label, f"{label} {session}", "fan", f"id_0{session // 2}"))
    with (folder / "manifest.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "label", "group", "machine", "machine_id"), *rows])
    return index(folder, processes=1)


@dataclass
class Match:
    """A candidate with a whole dataset as its held-out side, and a champion whose training a test writes."""

    home: Path
    dataset: Dataset
    version: str
    method: str = "group"

    @property
    def champion(self) -> str:
        return Registry(self.home).resolve("champion")

    @property
    def candidate(self) -> TrainingResult:
        """A candidate that orders all but one of its held-out recordings correctly."""
        gained = tuple(verdict(e, 0.9 if e.label == "abnormal" else 0.1) for e in self.dataset.entries)
        gained = (replace(gained[0], score=0.95), *gained[1:])
        folder = self.home / "training" / self.version
        folder.mkdir(parents=True, exist_ok=True)
        split = Split(self.method, 0, (), (), self.dataset.entries, ())
        figures = evaluate(gained, threshold=0.5, classes=CLASSES)
        return TrainingResult(self.version, figures, folder, split, gained, gained)

    def record_champion_training(
        self, train: Sequence[Entry], test: Sequence[Entry] = (), *, refitted: bool = True
    ) -> Path:
        """Record a training of the champion in this home."""
        folder = self.home / "training" / self.champion
        folder.mkdir(parents=True)
        sides = Split("group", 0, tuple(train), (), tuple(test), ())
        records.write_split(folder, sides, learned=test if refitted else ())
        return folder

    def compare(self) -> ChampionComparison:
        """Compare the candidate with the champion."""
        options = TrainingOptions(source=self.dataset.root, name="fan")
        return compare_with_champion(self.candidate, options, self.dataset, self.home, processes=1)

    @property
    def stored(self) -> dict[str, object]:
        """The stored comparison."""
        found: dict[str, object] = json.loads((self.home / "training" / self.version / "comparison.json").read_bytes())
        return found


@pytest.fixture
def match(home: Path, dataset: Dataset) -> Match:
    """A candidate and the imported champion, whose training is not recorded."""
    return Match(home, dataset, bundles.further(Registry(home)))


def of_session(dataset: Dataset, *sessions: int) -> list[Entry]:
    """The recordings of both classes in these sessions."""
    return [entry for entry in dataset.entries if int(entry.session[-1]) in sessions]


def test_without_a_champion_nothing_is_compared(match: Match) -> None:
    """The comparison has this basis, and is stored."""
    candidate = match.candidate
    (match.home / "models" / "aliases.json").unlink()
    found = compare_with_champion(candidate, TrainingOptions(source=Path(), name="fan"), match.dataset, match.home)
    assert (found.basis, found.champion, found.paired) == ("no champion", None, None)
    assert match.stored == found.to_dict()


def test_the_champion_is_not_compared_with_itself(match: Match) -> None:
    """The stored comparison that made it champion stays."""
    match.compare()
    before = match.stored
    options = TrainingOptions(source=Path(), name="fan")
    candidate = replace(match.candidate, version=match.champion)
    assert compare_with_champion(candidate, options, match.dataset, match.home).basis == "itself"
    assert match.stored == before


def test_a_champion_without_a_recorded_training_judges_all_recordings(match: Match) -> None:
    """It gets the candidate's gains; the message warns that it may have learned from some; the comparison is stored
    as JSON."""
    found = match.compare()
    predictor = Registry(match.home).load_predictor("champion")
    theirs = judge(predictor, match.dataset, match.dataset.entries, gain_db=GAIN_DB, seed=0, processes=1)
    assert (found.basis, found.candidate, found.champion) == ("judged by both", match.version, match.champion)
    assert found.paired == compare_paired(match.candidate.judged_with_gain, theirs)
    assert "may have learned from some of these recordings: its training is not recorded here" in found.message
    assert match.stored == json.loads(json.dumps(found.to_dict(), allow_nan=False))


def test_recordings_that_the_champion_learned_from_do_not_count(match: Match) -> None:
    """Other recordings of a session that it has learned from do not count either."""
    match.record_champion_training([of_session(match.dataset, 0)[0], *of_session(match.dataset, 1)])
    found = match.compare()
    assert found.basis == "judged by both"
    assert found.paired is not None
    assert (found.paired.n, found.paired.groups) == (RECORDINGS - 3 * PER_SESSION, 2 * SESSIONS - 3)
    assert "has not learned from these sessions" in found.message


@pytest.mark.parametrize(("method", "left"), [("blocks", RECORDINGS - 1), ("machine", RECORDINGS * 2 // 3)])
def test_the_candidates_split_decides_which_recordings_belong_together(match: Match, method: str, left: int) -> None:
    """With blocks, only the learned recording is left out; with machines, all recordings of its machine."""
    match.method = method
    match.record_champion_training(match.dataset.entries[:1])
    found = match.compare()
    assert found.paired is not None
    assert found.paired.n == left


def test_a_champion_without_a_final_fit_is_compared_on_its_test_side(match: Match) -> None:
    """Without a final fit, it was only measured on its test side."""
    match.record_champion_training(
        of_session(match.dataset, 0, 1), of_session(match.dataset, 2, 3, 4, 5), refitted=False
    )
    found = match.compare()
    assert found.paired is not None
    assert (found.basis, found.paired.n) == ("judged by both", RECORDINGS * 2 // 3)


def write_past_verdicts(folder: Path, entries: Sequence[Entry]) -> list[JudgedRecording]:
    """Stored verdicts of a champion's measured network; its served network gives others."""
    stored = [verdict(entry, 0.5 + 0.001 * number) for number, entry in enumerate(entries)]
    write_verdicts(folder, [replace(each, score=0.0) for each in stored], stored)
    return stored


def test_recordings_held_out_of_both_are_compared_by_stored_verdicts(match: Match) -> None:
    """The served network has learned from them; the stored verdicts with gain are from the measured network, which
    had not."""
    held_out = of_session(match.dataset, 2, 3)
    stored = write_past_verdicts(
        match.record_champion_training(of_session(match.dataset, 0, 1, 4, 5), held_out), held_out
    )
    found = match.compare()
    assert found.basis == "held out of both"
    mine = [each for each in match.candidate.judged_with_gain if each.entry in held_out]
    assert found.paired == compare_paired(mine, stored)
    assert f"The verdicts of {match.champion} are those of its fit without these recordings" in found.message


def test_verdicts_are_those_at_the_served_thresholds(match: Match) -> None:
    """A threshold that was moved after the training applies to the stored verdicts too; unusable stays unusable."""
    held_out = of_session(match.dataset, 2, 3)
    folder = match.record_champion_training(of_session(match.dataset, 0, 1, 4, 5), held_out)
    stored = [verdict(entry, 0.4 if entry.label == "abnormal" else 0.1) for entry in held_out]
    stored[0] = replace(stored[0], unusable=True)
    write_verdicts(folder, stored, stored)
    before = match.compare()
    Registry(match.home).set_threshold("champion", ThresholdRequest(threshold=0.3))
    after = match.compare()
    assert before.paired is not None
    assert after.paired is not None
    assert (before.paired.champion_detection_rate.value, after.paired.champion_detection_rate.value) == (0, 0.75)
    assert (after.paired.champion_false_alarm_rate.value, after.paired.champion_unusable) == (0, 1)
    assert after.champion_verdicts is not None
    assert (after.champion_verdicts.threshold, after.champion_verdicts.served_threshold) == (0.3, 0.3)
    assert "at the threshold 0.3; the fit that is served has the threshold 0.3." in after.message


def test_a_champion_that_learned_from_nearly_everything_is_not_compared(match: Match) -> None:
    """The message has the numbers of recordings that are left, and the necessary number."""
    held_out = of_session(match.dataset, 2)
    write_past_verdicts(match.record_champion_training(of_session(match.dataset, 0, 1, 3, 4), held_out), held_out)
    found = match.compare()
    assert (found.basis, found.paired) == ("none", None)
    assert f"2 normal and 2 abnormal are new to {match.champion}" in found.message
    assert "2 normal and 2 abnormal were held out of both trainings" in found.message
    assert "at least 4 recordings of each class are necessary" in found.message
    assert found.message.endswith("Add recordings of new sessions, or promote the version yourself.")
    assert match.stored == found.to_dict()


def test_a_recording_that_the_champion_cannot_read_prevents_the_comparison(match: Match, tmp_path: Path) -> None:
    """The message names it."""
    refused = match.dataset.entries[3].path
    for entry in match.dataset.entries:
        source = match.dataset.file(entry).read_bytes()
        (tmp_path / entry.path).write_bytes(b"no sound" if entry.path == refused else source)
    found = replace_root(match, tmp_path).compare()
    assert (found.basis, found.paired) == ("none", None)
    assert refused in found.message


def replace_root(match: Match, root: Path) -> Match:
    """The same candidate and champion, with the recordings in another folder."""
    return replace(match, dataset=replace(match.dataset, root=root))


def test_a_damaged_champion_prevents_the_comparison(match: Match) -> None:
    """The message names the damaged file."""
    network = match.home / "models" / match.champion / "network.tflite"
    network.write_bytes(network.read_bytes()[:-1])
    found = match.compare()
    assert (found.basis, found.paired) == ("none", None)
    assert "network.tflite" in found.message


def test_verdicts_are_read_back_unchanged(match: Match) -> None:
    """Equal to the bit, with and without gain; a training without stored verdicts has none."""
    judged = [
        replace(j, score=1 / (i + 3), truth=None, unusable=i % 3 == 0)
        for i, j in enumerate(match.candidate.judged_with_gain)
    ]
    gained = [replace(j, probabilities=(0.1, 1 / 3, 1e-9), anomaly=not j.anomaly) for j in judged]
    folder = match.home / "training" / match.version
    write_verdicts(folder, judged[:8], gained[:8])
    entries = match.dataset.entries
    assert list(read_verdicts(match.home, match.version, entries, "none")) == judged[:8]
    assert list(read_verdicts(match.home, match.version, entries[::-1], "random")) == gained[7::-1]
    assert read_verdicts(match.home, "fan-9876543210", entries, "none") == ()


@pytest.mark.parametrize(("alone", "detected"), [(True, 3), (False, 0)], ids=["classifier", "detector"])
def test_a_classifier_alone_is_compared_at_the_served_threshold(registry: Registry, alone: bool, detected: int) -> None:
    """Its measured fit has another threshold, by another rule; that of a detector comes from the same rule."""
    version = registry.resolve("champion") if alone else detectors.add(registry)
    judged = [verdict(judgements.entry(number, "abnormal"), 0.55, threshold=0.6) for number in range(3)]
    found = ComparedVerdicts.of_measured_fit(registry, version, judged, 0.6, served_fit=False)
    assert sum(each.anomaly for each in found.judged) == detected
    assert (found.origin.threshold, found.origin.served_threshold) == (0.5 if alone else 0.6, 0.5)
