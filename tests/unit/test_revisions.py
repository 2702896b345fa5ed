"""Thresholds: they move without a training, every revision is kept, and readers get a complete one."""

import json
import zipfile
from pathlib import Path

import pytest

from ml.detectors.alarm_limit import FalseAlarmLimit
from ml.detectors.alarm_rule import KOfNRule
from ml.detectors.thresholds import SENSITIVITIES, calibrated_threshold, threshold_at
from ml.errors import BundleDamaged, InvalidParameter, ModelNotCalibrated, ModelNotFound
from ml.models import bundle
from ml.models.bundle import DecisionThreshold
from ml.models.registry import Registry
from ml.models.thresholds import ThresholdRequest
from tests import sounds
from tests.unit import bundles, detectors
from tests.unit.processes import at_once

NAMES = [("gut", "Alles gut"), ("unwucht", "Unwucht"), ("verstopft", "Verstopft"), ("spannung", "Spannung")]

ABOVE = "above it were {} of 199 healthy recordings that had not been learned from"


@pytest.fixture
def registry(home: Path) -> Registry:
    """A registry whose champion is a classifier."""
    return Registry(home)


@pytest.fixture(scope="session")
def detector_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose champion is a detector. For reading."""
    home = tmp_path_factory.mktemp("detector") / "home"
    registry = Registry(home)
    registry.promote(detectors.add(registry))
    return home


@pytest.fixture
def detector_registry(detector_home: Path, tmp_path: Path) -> Registry:
    """A copy of the registry with the detector, to be changed."""
    registry = Registry(tmp_path / "detecting")
    Registry(detector_home).export("champion", tmp_path / "detector.zip")
    registry.promote(registry.add_archive(tmp_path / "detector.zip"))
    return registry


# Requests


def test_the_first_revision_is_that_of_the_bundle(detector_registry: Registry) -> None:
    """Before any change there is one revision and no file."""
    (first,) = detector_registry.threshold_revisions("champion")
    found = detector_registry.read("champion")
    assert (first.revision, first.created, first.sensitivity) == (1, found.created, None)
    assert first.decision == found.content.decision
    assert not (detector_registry.folder / "thresholds").exists()


@pytest.mark.parametrize("name", SENSITIVITIES)
def test_a_sensitivity_is_the_threshold_at_its_rate(detector_registry: Registry, name) -> None:
    """The revision has its name, and a rate that the normal recordings support."""
    moved = detector_registry.set_threshold("champion", ThresholdRequest(sensitivity=name))
    scores = detectors.calibration().named
    assert (moved.revision, moved.sensitivity) == (2, name)
    assert moved.decision.threshold == threshold_at(scores, SENSITIVITIES[name])
    assert moved.decision.false_alarm_rate == pytest.approx(max(SENSITIVITIES[name], 1 / 200))


def test_a_rate_gives_its_threshold(detector_registry: Registry) -> None:
    """One in ten of the normal recordings, with their number in the basis."""
    moved = detector_registry.set_threshold("champion", ThresholdRequest(false_alarm_rate=0.1))
    assert moved.decision.threshold == threshold_at(detectors.calibration().named, 0.1)
    assert moved.decision.false_alarm_rate == pytest.approx(0.1)
    assert "10 % false alarms; above it were 19 of 199 healthy recordings" in moved.decision.basis
    assert moved.sensitivity is None


def test_a_given_threshold_has_the_measured_rate(detector_registry: Registry) -> None:
    """The rate of a threshold set by hand is measured with the normal recordings."""
    moved = detector_registry.set_threshold("champion", ThresholdRequest(threshold=0.45))
    assert (moved.decision.threshold, moved.decision.false_alarm_rate) == (0.45, pytest.approx(0.5))
    assert moved.decision.basis.startswith("set by hand")


def test_a_limit_of_false_alarms_gives_its_threshold_and_is_kept(detector_registry: Registry) -> None:
    """With the alarm rule that it was for; the same limit again changes nothing, another way to ask does."""
    limit = FalseAlarmLimit("1/month", "10min", KOfNRule(2, 4, 0))
    moved = detector_registry.set_threshold("champion", ThresholdRequest(limit=limit))
    assert moved.limit == limit
    assert moved.decision.basis.startswith("without a false alarm among too few recordings for 1/month")
    assert moved.decision.threshold < detectors.calibration().named.max()
    assert detector_registry.threshold_revisions("champion")[-1] == moved
    assert detector_registry.set_threshold("champion", ThresholdRequest(limit=limit)) == moved
    by_hand = detector_registry.set_threshold("champion", ThresholdRequest(threshold=moved.decision.threshold))
    assert (by_hand.revision, by_hand.limit) == (3, None)


def test_a_classifiers_threshold_is_set_by_rate_too(registry: Registry) -> None:
    """A classifier with scores of normal recordings accepts a rate and a sensitivity, and measures a score."""
    version, scores = bundles.calibrated(registry), bundles.normal_scores()
    by_rate = registry.set_threshold(version, ThresholdRequest(false_alarm_rate=0.1)).decision
    above = sum(score > by_rate.threshold for score in scores.scores)
    assert by_rate.threshold == calibrated_threshold(scores.calibration, 0.1)
    assert by_rate.basis == f"for 10 % false alarms in a new session; {ABOVE.format(above)}"
    assert by_rate.false_alarm_rate == pytest.approx((1 + above) / 200)
    high = registry.set_threshold(version, ThresholdRequest(sensitivity="high"))
    assert (high.sensitivity, high.decision.threshold) == ("high", calibrated_threshold(scores.calibration, 0.05))
    assert registry.set_threshold(version, ThresholdRequest(threshold=0.451)).decision.false_alarm_rate == 0.5
    predictor = registry.load_predictor(version)
    assert predictor.predict(predictor.decode(sounds.recording(sounds.fan(1)))).rate_holds_for == "new_session"


def test_scores_of_a_classifier_are_in_its_archive(registry: Registry, tmp_path: Path) -> None:
    """On another computer its threshold can be set by rate, too."""
    registry.export(bundles.calibrated(registry), tmp_path / "model.zip")
    other = Registry(tmp_path / "other")
    moved = other.set_threshold(other.add_archive(tmp_path / "model.zip"), ThresholdRequest(false_alarm_rate=0.1))
    assert moved.decision.threshold == calibrated_threshold(bundles.normal_scores().calibration, 0.1)


def test_a_classifier_without_scores_is_set_as_a_score_only(registry: Registry) -> None:
    """Its rate was not measured: a rate, a sensitivity or a limit is refused by name, and nothing changes."""
    limit = FalseAlarmLimit("1/month", "10min")
    for wanted in (
        ThresholdRequest(false_alarm_rate=0.01),
        ThresholdRequest(sensitivity="high"),
        ThresholdRequest(limit=limit),
    ):
        with pytest.raises(ModelNotCalibrated, match="give a threshold, a score from 0 to 1"):
            registry.set_threshold("champion", wanted)
    assert len(registry.threshold_revisions("champion")) == 1
    moved = registry.set_threshold("champion", ThresholdRequest(threshold=0.7))
    assert (moved.revision, moved.decision.threshold, moved.decision.false_alarm_rate) == (2, 0.7, None)


@pytest.mark.parametrize("wanted", [{"threshold": 1.1}, {"threshold": -1e-9}, {"threshold": float("nan")}])
def test_a_threshold_outside_0_to_1_is_refused(registry: Registry, wanted) -> None:
    """Nothing changes."""
    with pytest.raises(InvalidParameter, match="from 0 to 1"):
        registry.set_threshold("champion", ThresholdRequest(**wanted))
    assert len(registry.threshold_revisions("champion")) == 1


@pytest.mark.parametrize(
    "given", [{}, {"threshold": 0.5, "reset": True}, {"threshold": 0.0, "false_alarm_rate": 0.1, "sensitivity": "low"}]
)
def test_a_request_has_exactly_one_value(given) -> None:
    """No value and two values are refused with their number."""
    with pytest.raises(InvalidParameter, match=rf"^{len(given)} of .* exactly one was expected"):
        ThresholdRequest(**given)


# History


def test_every_revision_is_kept_and_the_bundle_does_not_change(detector_registry: Registry) -> None:
    """The last revision is current; a reset to the first is a revision of its own."""
    files = {path: path.read_bytes() for path in detector_registry.path("champion").iterdir()}
    detector_registry.set_threshold("champion", ThresholdRequest(sensitivity="high"))
    detector_registry.set_threshold("champion", ThresholdRequest(threshold=0.6))
    back = detector_registry.set_threshold("champion", ThresholdRequest(reset=True))
    found = detector_registry.threshold_revisions("champion")
    assert [each.revision for each in found] == [1, 2, 3, 4]
    assert [each.sensitivity for each in found] == [None, "high", None, None]
    assert found[-1] == back
    assert back.decision == found[0].decision == detectors.DECISION
    assert [each.created for each in found[1:]] == sorted(each.created for each in found[1:])
    assert {path: path.read_bytes() for path in detector_registry.path("champion").iterdir()} == files


def test_the_present_threshold_adds_no_revision(registry: Registry) -> None:
    """The same threshold again, or a reset before any change, adds nothing."""
    assert registry.set_threshold("champion", ThresholdRequest(reset=True)).revision == 1
    registry.set_threshold("champion", ThresholdRequest(threshold=0.7))
    assert registry.set_threshold("champion", ThresholdRequest(threshold=0.7)).revision == 2
    assert len(registry.threshold_revisions("champion")) == 2


def test_a_threshold_belongs_to_a_version_and_not_to_an_alias(registry: Registry) -> None:
    """A new champion has its own threshold, and so has the old one."""
    first, second = registry.resolve("champion"), bundles.further(registry)
    registry.set_threshold("champion", ThresholdRequest(threshold=0.7))
    registry.promote(second)
    assert [each.decision.threshold for each in registry.threshold_revisions("champion")] == [0.25]
    assert registry.threshold_revisions(first)[-1].decision.threshold == 0.7


def test_the_next_load_uses_the_new_threshold(registry: Registry) -> None:
    """Threshold and revision are in the verdict, and decide it."""
    wav = sounds.recording(sounds.fan(1))
    for revision, (threshold, anomaly) in enumerate([(0.0, True), (1.0, False), (0.0, True)], start=2):
        registry.set_threshold("champion", ThresholdRequest(threshold=threshold))
        predictor = registry.load_predictor("champion")
        verdict = predictor.predict(predictor.decode(wav))
        assert (verdict.threshold, verdict.threshold_revision) == (threshold, revision)
        assert verdict.worst.is_anomalous is anomaly


def test_a_threshold_does_not_affect_the_golden_clip(detector_registry: Registry) -> None:
    """A detector with a threshold of 0 or 1 can be loaded."""
    for threshold in (0.0, 1.0):
        detector_registry.set_threshold("champion", ThresholdRequest(threshold=threshold))
        assert detector_registry.load_predictor("champion").model.decision.threshold == threshold


def test_the_champion_stamp_changes_with_the_threshold(registry: Registry) -> None:
    """It does not change with a reset to the same threshold, or with another version's threshold."""
    other = bundles.further(registry)
    before = registry.reference_stamp("champion")
    registry.set_threshold("champion", ThresholdRequest(reset=True))
    registry.set_threshold(other, ThresholdRequest(threshold=0.9))
    assert registry.reference_stamp("champion") == before
    registry.set_threshold("champion", ThresholdRequest(threshold=0.7))
    assert registry.reference_stamp("champion") != before


GOOD = {"revision": 2, "created": "", "threshold": 0.5, "false_alarm_rate": None, "basis": "", "sensitivity": None}


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "5",
        '[{"revision": 2}]',
        json.dumps([GOOD | {"threshold": 2}]),
        json.dumps([GOOD | {"threshold": "high"}]),
        json.dumps([GOOD | {"sensitivity": "higher"}]),
        json.dumps([GOOD | {"limit": {"false_alarms": "1/moon", "every": "10min", "rule": {}}}]),
        json.dumps([GOOD | {"limit": {"false_alarms": "1/month", "every": "10min", "rule": {"k": 3}}}]),
    ],
)
def test_a_damaged_history_is_refused_by_name(registry: Registry, content: str) -> None:
    """The message names the file; the threshold is never taken for unchanged."""
    version = registry.resolve("champion")
    registry.set_threshold(version, ThresholdRequest(threshold=0.7))
    (registry.folder / "thresholds" / f"{version}.json").write_text(content)
    with pytest.raises(BundleDamaged, match=f"thresholds/{version}.json"):
        registry.load_predictor("champion")


def test_a_damaged_history_is_not_exported(registry: Registry, tmp_path: Path) -> None:
    """The message has the version, and no archive is left."""
    version = registry.resolve("champion")
    registry.set_threshold(version, ThresholdRequest(threshold=0.7))
    (registry.folder / "thresholds" / f"{version}.json").write_text("{")
    with pytest.raises(BundleDamaged, match=version):
        registry.export("champion", tmp_path / "model.zip")
    assert not (tmp_path / "model.zip").exists()


def test_the_history_is_plain_json(registry: Registry) -> None:
    """The file can be read with an editor."""
    registry.set_threshold("champion", ThresholdRequest(threshold=0.7))
    (file,) = (registry.folder / "thresholds").iterdir()
    (entry,) = json.loads(file.read_text())
    assert set(entry) == {
        *("revision", "created", "threshold", "false_alarm_rate", "basis", "sensitivity", "requested_rate")
    }
    assert (entry["revision"], entry["threshold"]) == (2, 0.7)


# Archives


@pytest.mark.parametrize("renamed", [False, True])
def test_an_exported_model_has_its_threshold_history(registry: Registry, tmp_path: Path, renamed: bool) -> None:
    """The archive has all revisions of the threshold, beside those of the labels."""
    if renamed:
        registry.rename_classes("champion", NAMES)
    registry.set_threshold("champion", ThresholdRequest(threshold=0.7))
    registry.set_threshold("champion", ThresholdRequest(threshold=0.8))
    registry.export("champion", tmp_path / "model.zip")
    other = Registry(tmp_path / "other")
    version = other.add_archive(tmp_path / "model.zip")
    assert other.threshold_revisions(version) == registry.threshold_revisions(version)
    assert other.label_revisions(version) == registry.label_revisions(version)
    assert other.load_predictor(version).model.decision.threshold == 0.8


def test_labels_without_a_threshold_are_packed_in_the_old_format(registry: Registry, tmp_path: Path) -> None:
    """They are a list of revisions, which earlier services can read."""
    registry.rename_classes("champion", NAMES)
    registry.export("champion", tmp_path / "model.zip")
    with zipfile.ZipFile(tmp_path / "model.zip") as archive:
        (revision,) = json.loads(archive.read("renamed.json"))
    assert revision["labels"][0]["name"] == "gut"
    other = Registry(tmp_path / "other")
    assert other.label_revisions(other.add_archive(tmp_path / "model.zip")) == registry.label_revisions("champion")


def test_an_import_changes_no_threshold_of_this_home(registry: Registry, tmp_path: Path) -> None:
    """A present history stays, and a missing one is not taken from the archive: the version is here already."""
    registry.set_threshold("champion", ThresholdRequest(threshold=0.7))
    registry.rename_classes("champion", NAMES)
    registry.export("champion", tmp_path / "model.zip")
    other = Registry(tmp_path / "other")
    version = other.add_archive(tmp_path / "model.zip")
    other.set_threshold(version, ThresholdRequest(threshold=0.9))
    (other.folder / "labels" / f"{version}.json").unlink()
    other.add_archive(tmp_path / "model.zip")
    assert [each.decision.threshold for each in other.threshold_revisions(version)] == [0.5, 0.7, 0.9]
    assert len(other.label_revisions(version)) == 1


@pytest.mark.parametrize(
    "content", ["", "5", '{"labels": 5}', '{"thresholds": [{}]}', '{"../x": []}', json.dumps([GOOD])]
)
def test_an_archive_with_a_damaged_history_leaves_nothing(registry: Registry, tmp_path: Path, content: str) -> None:
    """It is refused before the version is added, with the name of the file in the archive."""
    registry.export("champion", tmp_path / "model.zip")
    with zipfile.ZipFile(tmp_path / "model.zip", "a") as archive:
        archive.writestr("renamed.json", content)
    other = Registry(tmp_path / "other")
    with pytest.raises(BundleDamaged, match=r"renamed\.json"):
        other.add_archive(tmp_path / "model.zip")
    assert other.versions() == []
    assert {path.name for path in other.folder.iterdir()} <= {".lock"}


# By name


def test_a_models_name_means_its_newest_version(registry: Registry) -> None:
    """The model's name can be used in the place of a version."""
    version = registry.resolve("champion")
    first, second = bundles.further(registry, 0.25), bundles.further(registry, 0.75)
    assert registry.resolve("further") == second != first
    assert registry.resolve("original") == version
    assert registry.set_threshold("further", ThresholdRequest(threshold=0.1)).decision == DecisionThreshold(
        0.1, None, "set by hand; its false-alarm rate was never measured"
    )
    assert [len(registry.threshold_revisions(each)) for each in (first, second)] == [1, 2]


def test_aliases_and_versions_have_priority_over_names(registry: Registry) -> None:
    """A model named champion, or named as a version, does not hide either."""
    version = registry.resolve("champion")
    content, keras_file = registry.read(version).content, registry.path(version) / bundle.KERAS
    for name in ("champion", version):
        assert bundles.add(registry, content, keras_file, name).startswith(f"{name}-")
        assert registry.resolve(name) == version


@pytest.mark.parametrize("reference", ["furth", "further-", "labels", "thresholds", "FURTHER", "original-0000000000"])
def test_a_part_of_a_name_is_not_found(registry: Registry, reference: str) -> None:
    """Names of other folders are not found either."""
    bundles.further(registry)
    registry.rename_classes("champion", NAMES)
    registry.set_threshold("champion", ThresholdRequest(threshold=0.1))
    with pytest.raises(ModelNotFound, match=reference):
        registry.resolve(reference)


# Several processes


def move_in_turn(home: Path, who: int, times: int) -> None:
    """Set the champion's threshold several times."""
    for i in range(times):
        Registry(home).set_threshold("champion", ThresholdRequest(threshold=(who * times + i + 1) / 100))


def test_moves_at_once_lose_none(home: Path) -> None:
    """Three processes set it ten times each: every revision is kept, with its own number."""
    at_once(move_in_turn, [(home, who, 10) for who in range(3)])
    found = Registry(home).threshold_revisions("champion")
    assert [revision.revision for revision in found] == list(range(1, 32))
    assert {revision.decision.threshold for revision in found[1:]} == {(i + 1) / 100 for i in range(30)}
