"""Recalibration: a threshold from further normal recordings, without a training."""

import csv
import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from ml.dataset.entries import Contradiction, Dataset
from ml.dataset.indexing.build import index
from ml.detectors.calibration import Calibration
from ml.detectors.detector import Detector
from ml.detectors.engines.registry import engine_by_name
from ml.detectors.fitting import fit_detector
from ml.detectors.reference import NormalRecording
from ml.detectors.spectra import compute_spectra
from ml.detectors.thresholds import operating_point_at_rate, p_value
from ml.errors import BundleDamaged, InvalidParameter, LabelsContradictNames, ModelNotCalibrated, TooFewRecordings
from ml.features.extractor import FeatureExtractor
from ml.models.bundle import DecisionThreshold
from ml.models.recalibration import Recalibration
from ml.models.registry import Registry
from ml.models.thresholds import ThresholdRequest, sensitivities
from ml.training import recalibration as recalibrating
from ml.training.recalibration import recalibrate
from ml.training.records import COLUMNS, write_table
from tests import sounds
from tests.unit import detectors
from tests.unit.detectors import SPEC

RATE = 0.1
CARD = {"source": {"options": {"false_alarm_rate": RATE}}}
DAYS = ("d1", "d2", "d3", "d4", "d5")
PER_DAY = 12


def sound(day: str, number: int, machine: str = "id_00") -> bytes:
    """A recording of two seconds. Each day the fan has a slightly different speed."""
    seed = 100 * int(day[1:]) + number + (10_000 if machine == "id_02" else 0)
    blade_hz = 120 + int(day[1:]) + (40 if machine == "id_02" else 0)
    return sounds.recording(sounds.fan(2.0, seed=seed, blade_hz=blade_hz))


def write(folder: Path, days: Iterable[str], machine: str = "id_00", count: int = PER_DAY) -> None:
    """Write recordings of a machine, and list them in the manifest of the folder."""
    manifest = folder / "manifest.csv"
    folder.mkdir(parents=True, exist_ok=True)
    rows = [] if manifest.exists() else [["path", "label", "machine", "machine_id", "group"]]
    for day in days:
        for number in range(count):
            name = f"{machine}-{day}-{number:02}.wav"
            (folder / name).write_bytes(sound(day, number, machine))
            rows.append([name, "normal", "fan", machine, day])
    with manifest.open("a", newline="") as file:
        csv.writer(file).writerows(rows)


def fitted(dataset: Dataset, days: Iterable[str], machines: Iterable[str] = ("id_00",)) -> Detector:
    """A detector of the recordings of some days."""
    extractor, known = FeatureExtractor(SPEC), [f"fan/{machine}" for machine in machines]
    normal = []
    for entry in dataset.entries:
        if entry.session in set(days) and entry.machine_name in known:
            recording = decoded(dataset, entry.path)
            clips = tuple(compute_spectra(extractor, recording[a:b]) for a, b in SPEC.clip_spans(len(recording)))
            normal.append(NormalRecording(clips, entry.machine_name, entry.session, entry.path, entry.info.level_dbfs))
    return fit_detector(SPEC, [engine_by_name("spectrum-gaussian")], normal)


def decoded(dataset: Dataset, path: str) -> np.ndarray:
    """Samples of a recording at the rate of the spec."""
    from ml.audio.decode import decode

    return decode((dataset.root / path).read_bytes(), channel="mean").samples


def add(home: Path, detector: Detector) -> str:
    """Add a model with this detector and the threshold of a training at the rate; returns its version."""
    point = operating_point_at_rate(detector.calibration, RATE)
    decision = DecisionThreshold(point.threshold, point.expected_rate.value, point.basis)
    return detectors.add(Registry(home), decision=decision, fitted=detector, card=CARD)


class Hall(NamedTuple):
    """Recordings of one fan on five days, and a detector that has learned from some of them."""

    dataset: Dataset
    two_days: Detector
    one_day: Detector


@pytest.fixture(scope="module")
def hall(tmp_path_factory: pytest.TempPathFactory) -> Hall:
    """For reading."""
    folder = tmp_path_factory.mktemp("hall") / "hall-4"
    write(folder, DAYS)
    dataset = index(folder, processes=1)
    return Hall(dataset, fitted(dataset, ("d1", "d2")), fitted(dataset, ("d1",)))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An empty home."""
    return tmp_path / "home"


def only(dataset: Dataset, *days: str) -> Dataset:
    """The recordings of some days."""
    return replace(dataset, entries=tuple(entry for entry in dataset.entries if entry.session in days))


def in_force(home: Path, version: str) -> Calibration:
    """The calibration that the current threshold comes from."""
    detector = Registry(home).read_calibrated(version).content.detector
    assert detector is not None
    return detector.calibration


def test_new_sessions_count_together_with_those_of_the_training(home: Path, hall: Hall) -> None:
    """If the rates of the bundle hold for new sessions. The rate stays, and every later request uses all scores."""
    version = add(home, hall.two_days)
    revision = recalibrate(home, version, only(hall.dataset, "d3", "d4", "d5"), processes=1)
    calibration = in_force(home, version)
    assert (len(calibration.named), calibration.n_sessions) == (5 * PER_DAY, 5)
    assert calibration.rate_holds_for == "new_session"
    assert revision.requested_rate == RATE
    assert revision.decision.threshold == operating_point_at_rate(calibration, RATE).threshold
    assert revision.decision.basis.startswith("recalibrated with hall-4, for 10 % false alarms in a new session; above")
    later = Registry(home).set_threshold(version, ThresholdRequest(sensitivity="high"))
    content = Registry(home).read_calibrated(version).content
    assert later.decision.threshold == sensitivities(content)["high"].threshold
    assert (later.calibration_revision, later.recalibration) == (2, None)
    assert sensitivities(content)["high"].n == 5 * PER_DAY


def test_a_model_of_one_session_has_new_scores_only(home: Path, hall: Hall) -> None:
    """Its own scores are too low for a new session. With two new sessions, the rate holds for new ones."""
    version = add(home, hall.one_day)
    revision = recalibrate(home, version, only(hall.dataset, "d2", "d3"), processes=1)
    found, calibration = revision.recalibration, in_force(home, version)
    assert found is not None
    assert not found.with_training
    assert (len(calibration.named), calibration.n_sessions) == (2 * PER_DAY, 2)
    assert calibration.rate_holds_for == "new_session"


def test_one_new_session_is_no_evidence_of_others(home: Path, hall: Hall) -> None:
    """All scores count together, and the rate is for further recordings of these sessions."""
    version = add(home, hall.one_day)
    recalibrate(home, version, only(hall.dataset, "d2"), processes=1)
    calibration = in_force(home, version)
    assert (calibration.n_sessions, calibration.rate_holds_for) == (2, "same_session")


def test_the_scores_are_those_of_the_service(home: Path, hall: Hall) -> None:
    """And p-value, rate and what it holds for come from the calibration in force."""
    version = add(home, hall.one_day)
    before = Registry(home).load_predictor(version)
    revision = recalibrate(home, version, only(hall.dataset, "d4", "d5"), processes=1)
    after = Registry(home).load_predictor(version)
    recording = after.decode((hall.dataset.root / "id_00-d4-03.wav").read_bytes())
    verdict, earlier = after.predict(recording, "id_00"), before.predict(recording, "id_00")
    assert verdict.worst.score == earlier.worst.score
    assert revision.recalibration is not None
    assert verdict.worst.score in revision.recalibration.named
    assert (verdict.threshold, verdict.threshold_revision) == (revision.decision.threshold, 2)
    assert (earlier.rate_holds_for, verdict.rate_holds_for) == ("same_session", "new_session")
    assert verdict.false_alarm_rate == revision.decision.false_alarm_rate
    assert verdict.p_value == p_value(in_force(home, version).named, verdict.worst.score)
    assert verdict.p_value != earlier.p_value


def test_recordings_that_the_model_has_learned_from_do_not_count(home: Path, hall: Hall) -> None:
    """By the records of the training: also none of their sessions."""
    version = add(home, hall.two_days)
    folder = home / "training" / version
    folder.mkdir(parents=True)
    learned = [entry for entry in hall.dataset.entries if entry.session in ("d1", "d2")]
    # One recording of d2 is new to the model, but its session is not.
    rows = [(entry.audio_hash, "train", entry.path) for entry in learned if entry.path != "id_00-d2-05.wav"]
    write_table(folder / "split.csv", COLUMNS, rows)
    found = recalibrate(home, version, hall.dataset, processes=1).recalibration
    assert found is not None
    assert (len(found.named), found.n_sessions) == (3 * PER_DAY, 3)
    assert found.left_out == {recalibrating.LEARNED: 2 * PER_DAY - 1, recalibrating.LEARNED_SESSION: 1}


def test_an_imported_model_knows_its_recordings_by_their_sound(home: Path, hall: Hall, tmp_path: Path) -> None:
    """It has no records here, but a summary of its recordings. A new recording of such a session does not count."""
    version = add(home, hall.two_days)
    write(tmp_path / "new", ("d2", "d3", "d4"))
    (tmp_path / "new" / "id_00-d2-05.wav").write_bytes(sound("d2", 50))
    found = recalibrate(home, version, index(tmp_path / "new", processes=1), processes=1).recalibration
    assert found is not None
    assert len(found.named) == 2 * PER_DAY
    assert found.left_out == {recalibrating.LEARNED: PER_DAY - 1, recalibrating.LEARNED_SESSION: 1}


def test_only_learned_recordings_are_too_few(home: Path, hall: Hall) -> None:
    """The message counts them, and nothing changes."""
    version = add(home, hall.two_days)
    with pytest.raises(TooFewRecordings, match=r"has 0 .* at least 10 .* Left out: 24 that the model has learned from"):
        recalibrate(home, version, only(hall.dataset, "d1", "d2"), processes=1)
    assert len(Registry(home).threshold_revisions(version)) == 1


def test_contradicted_labels_are_confirmed_before_they_set_a_threshold(home: Path, hall: Hall) -> None:
    """A fault among the normal recordings raises the threshold, and is then never detected."""
    version = add(home, hall.two_days)
    new = only(hall.dataset, "d3", "d4", "d5")
    reason = "Its label is normal, and its name has the word 'anomaly'."
    doubted = replace(new, contradictions=(Contradiction(new.entries[0].path, "normal", reason),))
    with pytest.raises(LabelsContradictNames, match=r"the word 'anomaly'.*confirm_labels"):
        recalibrate(home, version, doubted, processes=1)
    assert len(Registry(home).threshold_revisions(version)) == 1
    assert recalibrate(home, version, doubted, confirm_labels=True, processes=1).revision == 2


def test_new_recordings_of_a_learned_session_need_a_session_of_their_own(
    home: Path, hall: Hall, tmp_path: Path
) -> None:
    """A dataset without sessions has one for all recordings; the message names the remedy."""
    write(tmp_path / "grown", ("d1", "d3"))
    manifest = tmp_path / "grown" / "manifest.csv"
    manifest.write_text(manifest.read_text().replace(",d1", ",all").replace(",d3", ",all"))
    version = add(home, hall.two_days)
    expected = r"12 of a session that the model has learned from.* name the session of each day in the field group"
    with pytest.raises(TooFewRecordings, match=expected):
        recalibrate(home, version, index(tmp_path / "grown", processes=1), processes=1)


def test_machines_unknown_to_the_model_are_left_out(home: Path, hall: Hall, tmp_path: Path) -> None:
    """A detector of two machines: another one does not count, nor does a file that cannot be judged."""
    write(tmp_path / "more", ("d1", "d2"), "id_02", count=6)
    write(tmp_path / "more", ("d1", "d2"), count=6)
    detector = fitted(index(tmp_path / "more", processes=1), ("d1", "d2"), ("id_00", "id_02"))
    version = add(home, detector)
    write(tmp_path / "new", ("d3", "d4"))
    write(tmp_path / "new", ("d5",), "id_04", count=2)
    (tmp_path / "new" / "id_00-d3-00.wav").write_bytes(sounds.recording(sounds.noise(32_000, level=1e-4)))
    found = recalibrate(home, version, index(tmp_path / "new", processes=1), processes=1).recalibration
    assert found is not None
    assert found.left_out == {recalibrating.UNKNOWN_MACHINE: 2, recalibrating.NOT_JUDGED: 1}
    assert all(unnamed <= named for named, unnamed in zip(found.named, found.unnamed, strict=True))


def test_a_file_that_cannot_be_read_has_a_reason_of_its_own(home: Path, hall: Hall, tmp_path: Path) -> None:
    """A fault of the disk is no fault of the recording; the row has the error."""
    version = add(home, hall.one_day)
    predictor, registry = Registry(home).load_predictor(version), Registry(home)
    plan = recalibrating.plan_rows(home, registry.read(version), only(hall.dataset, "d3"))
    missing = recalibrating.measure_row(predictor, plan[0], tmp_path / "missing.wav")
    folder = recalibrating.measure_row(predictor, plan[1], tmp_path)
    (tmp_path / "damaged.wav").write_bytes(b"RIFF")
    damaged = recalibrating.measure_row(predictor, plan[2], tmp_path / "damaged.wav")
    assert {each.left_out for each in (missing, folder, damaged)} == {recalibrating.UNREAD}
    assert missing.error == "file_missing: There is no such file or folder."
    assert folder.error == "file_unreadable: It is not a regular file."
    assert (damaged.error or "").startswith("audio_malformed: ")
    rows = [recalibrating.RecalibrationRow.from_dict(each.to_dict()) for each in (missing, folder, damaged)]
    with pytest.raises(TooFewRecordings, match="Left out: 3 that cannot be read"):
        recalibrating.recalibration_from(registry.read(version), "hall-4", "", rows)


def test_a_machine_without_new_recordings_keeps_its_scores(home: Path, tmp_path: Path) -> None:
    """A detector of two machines with one session each: with one machine alone, the scores in the bundle count too."""
    for machine in ("id_00", "id_02"):
        write(tmp_path / "old", ("d1",), machine)
    version = add(home, fitted(index(tmp_path / "old", processes=1), ("d1",), ("id_00", "id_02")))
    write(tmp_path / "new", ("d3", "d4"))
    found = recalibrate(home, version, index(tmp_path / "new", processes=1), processes=1).recalibration
    assert found is not None
    assert found.with_training
    assert in_force(home, version).rate_holds_for == "same_session"


def test_odd_recordings_do_not_raise_the_threshold(home: Path, hall: Hall, tmp_path: Path) -> None:
    """A door slams in one of them: it is listed by name, and does not count."""
    write(tmp_path / "new", ("d3", "d4"))
    door = sounds.fan(2.0, seed=1, blade_hz=123) + sounds.noise(32_000, seed=2, level=0.3)
    (tmp_path / "new" / "id_00-d3-07.wav").write_bytes(sounds.recording(np.clip(door, -0.9, 0.9)))
    version = add(home, hall.one_day)
    revision = recalibrate(home, version, index(tmp_path / "new", processes=1), processes=1)
    found = revision.recalibration
    assert found is not None
    (odd,) = found.odd_recordings
    assert (odd.name, odd.session, sum(found.odd)) == ("id_00-d3-07.wav", "d3", 1)
    assert odd.times > 3
    assert revision.decision.threshold < max(found.named)
    detector = Registry(home).read_calibrated(version).content.detector
    assert detector is not None
    assert detector.odd_recordings == found.odd_recordings


def test_a_rate_can_be_given_and_a_threshold_set_by_hand_stays(home: Path, hall: Hall) -> None:
    """A person who set the threshold itself keeps it; its expected rate is measured again."""
    version, new = add(home, hall.two_days), only(hall.dataset, "d3", "d4")
    registry = Registry(home)
    assert recalibrate(home, version, new, ThresholdRequest(sensitivity="high"), processes=1).sensitivity == "high"
    assert recalibrate(home, version, new, processes=1).revision == 2, "nothing changed"
    registry.set_threshold(version, ThresholdRequest(false_alarm_rate=0.2))
    assert recalibrate(home, version, only(hall.dataset, "d4", "d5"), processes=1).requested_rate == 0.2
    registry.set_threshold(version, ThresholdRequest(threshold=0.7))
    by_hand = recalibrate(home, version, new, processes=1)
    assert by_hand.decision.threshold == 0.7
    assert "set by hand" in by_hand.decision.basis
    assert by_hand.requested_rate is None


def test_a_reset_returns_to_the_calibration_of_the_training(home: Path, hall: Hall) -> None:
    """Threshold, scores and everything that comes from them."""
    version = add(home, hall.two_days)
    registry = Registry(home)
    recalibrate(home, version, only(hall.dataset, "d3", "d4"), processes=1)
    registry.set_threshold(version, ThresholdRequest(reset=True))
    assert registry.read_calibrated(version).content.decision == registry.threshold_revisions(version)[-1].decision
    assert np.array_equal(in_force(home, version).named, hall.two_days.calibration.named)
    again = recalibrate(home, version, only(hall.dataset, "d3", "d4"), processes=1)
    assert (again.revision, again.calibration_revision, again.requested_rate) == (4, 4, RATE)


def test_a_rate_that_was_not_recorded_must_be_given(home: Path, hall: Hall) -> None:
    """An earlier service stored the threshold of a rate, but not the rate."""
    version = add(home, hall.two_days)
    registry = Registry(home)
    registry.set_threshold(version, ThresholdRequest(false_alarm_rate=0.2))
    file = registry.folder / "thresholds" / f"{version}.json"
    (entry,) = json.loads(file.read_text())
    del entry["requested_rate"]
    file.write_text(json.dumps([entry]))
    new = only(hall.dataset, "d3", "d4")
    with pytest.raises(InvalidParameter, match="rate of revision 2 is not recorded: give a rate"):
        recalibrate(home, version, new, processes=1)
    assert recalibrate(home, version, new, ThresholdRequest(false_alarm_rate=0.2), processes=1).revision == 3


def test_an_archive_keeps_the_scores(home: Path, hall: Hall, tmp_path: Path) -> None:
    """An exported model answers elsewhere as it does here."""
    version = add(home, hall.two_days)
    recalibrate(home, version, only(hall.dataset, "d3", "d4"), processes=1)
    Registry(home).export(version, tmp_path / "model.zip")
    other = Registry(tmp_path / "other")
    assert other.add_archive(tmp_path / "model.zip") == version
    assert other.threshold_revisions(version) == Registry(home).threshold_revisions(version)
    assert np.array_equal(in_force(tmp_path / "other", version).named, in_force(home, version).named)


@pytest.mark.parametrize(
    ("name", "value"),
    [("named", [0.5]), ("named", [1.5] * 24), ("odd", [True] * 24), ("rate_holds_for", "ever")],
)
def test_damaged_scores_are_refused(home: Path, hall: Hall, name: str, value: object) -> None:
    """Of another length or range, all of them odd, or with an unknown claim."""
    version = add(home, hall.two_days)
    recalibrate(home, version, only(hall.dataset, "d3", "d4"), processes=1)
    file = Registry(home).folder / "thresholds" / f"{version}.json"
    (entry,) = json.loads(file.read_text())
    entry["recalibration"][name] = value
    file.write_text(json.dumps([entry]))
    with pytest.raises(BundleDamaged, match="thresholds/"):
        Registry(home).load_predictor(version)


def test_a_revision_without_its_scores_is_refused(home: Path, hall: Hall) -> None:
    """The scores of a later revision are those of an earlier one."""
    version = add(home, hall.two_days)
    recalibrate(home, version, only(hall.dataset, "d3", "d4"), processes=1)
    file = Registry(home).folder / "thresholds" / f"{version}.json"
    (entry,) = json.loads(file.read_text())
    del entry["recalibration"]
    file.write_text(json.dumps([entry]))
    with pytest.raises(BundleDamaged, match="revision 2 has no scores"):
        Registry(home).threshold_revisions(version)


@pytest.mark.parametrize(("score", "warned"), [(0.5, False), (0.74, False), (0.8, True)])
def test_recordings_that_are_far_from_normal_are_a_warning(score: float, warned: bool) -> None:
    """Half of them are more than three times as far as is typical: another machine, or a moved microphone."""
    scores = (0.1, score, 0.99)
    found = Recalibration(
        dataset="other",
        dataset_fingerprint="",
        named=scores,
        unnamed=scores,
        session=(0, 1, 2),
        odd=(False, False, False),
        rate_holds_for="new_session",
        with_training=True,
        odd_recordings=(),
        left_out={},
    )
    warning = found.warning()
    assert (warning is not None and "4.0 times as far" in warning) == warned


def test_a_classifier_cannot_be_recalibrated(original_home: Path, hall: Hall) -> None:
    """It has no scores of normal recordings."""
    with pytest.raises(ModelNotCalibrated, match="is a classifier alone"):
        recalibrate(original_home, "champion", hall.dataset, processes=1)
