"""Evaluation of a model's verdicts: figures, slices, intervals, notes and controls."""

import json
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from ml.dataset.indexing.build import index
from ml.errors import AudioError, DatasetEmpty, InvalidParameter
from ml.evaluation.evaluating import evaluate
from ml.evaluation.intervals import wilson
from ml.evaluation.results import Estimate, Evaluation
from ml.models.judging import default_truth, judge, random_gain_db
from ml.models.labels import ORIGINAL_LABELS, ClassLabel, ClassLabels
from ml.models.registry import Registry
from ml.training.recorded_split import RecordedSplit
from tests import sounds
from tests.unit import detectors
from tests.unit.datasets import changed
from tests.unit.judgements import CLASSES, drawn, entry, judgements, verdict

UNDEFINED = Estimate(None, None, None)


def evaluate_judged(judged, **options):
    """Evaluate at the threshold 0.5 unless ``options`` has another."""
    return evaluate(judged, **{"threshold": 0.5, "classes": CLASSES} | options)


def with_sessions(judged, size):
    """The same recordings, with ``size`` neighbours in each session."""
    return [replace(j, entry=changed(j.entry, group=f"{j.entry.label} {i // size}")) for i, j in enumerate(judged)]


def has_note(evaluation, *words):
    """Whether one note has all these words."""
    return any(all(word in note for word in words) for note in evaluation.notes)


# The figures


def test_rates_are_of_scores_above_the_threshold():
    """A score at the threshold is no alarm, as in the predictor."""
    pooled = evaluate_judged(judgements([0.1, 0.2, 0.5, 0.6], [0.5, 0.9])).pooled
    assert (pooled.false_alarm_rate.value, pooled.detection_rate.value) == (0.25, 0.5)
    assert (pooled.n, pooled.normal, pooled.abnormal, pooled.groups) == (6, 4, 2, 6)


def test_the_confusion_matrix_has_truth_by_row():
    """Rows are true classes, columns are predicted classes, both in the order of the classes."""
    faults = [entry(i, "abnormal", fault=fault) for i, fault in enumerate(["imbalance", "clogging", "clogging"])]
    judged = [verdict(entry(9), 0.1), *(verdict(each, 0.9) for each in faults)]
    found = evaluate_judged(judged)
    assert found.confusion == ((1, 0, 0), (0, 1, 0), (0, 2, 0))
    assert found.accuracy.value == 0.5


def test_an_unknown_fault_counts_in_detection_alone():
    """It has no row in the confusion matrix, and a note has the number of such recordings."""
    judged = judgements([0.1, 0.2], [0.9], fault="imbalance") + judgements([], [0.8, 0.2], fault="voltage_change")
    found = evaluate_judged(judged)
    assert found.pooled.detection_rate.value == pytest.approx(2 / 3)
    assert np.sum(found.confusion) == 3
    assert has_note(found, "2 recordings", "not in accuracy")


def test_an_unusable_recording_raises_no_alarm():
    """Its score does not count, and a note has the number of such recordings."""
    unjudged = replace(verdict(entry(7, "abnormal"), 0.9), anomaly=False, truth=None, unusable=True)
    found = evaluate_judged([*judgements([0.1, 0.2], [0.9]), unjudged])
    assert found.pooled.detection_rate.value == 0.5
    assert np.sum(found.confusion) == 3
    assert has_note(found, "0 of the normal", "1 of the abnormal")
    assert not has_note(found, "not in accuracy")


def test_accuracy_of_one_known_class_is_undefined():
    """With one class, accuracy is no evidence about the model."""
    found = evaluate_judged(judgements([0.1, 0.2], [0.9], fault=None))
    assert found.accuracy == found.balanced_accuracy == found.macro_f1 == UNDEFINED
    assert has_note(found, "Fewer than two classes")


def test_figures_that_compare_two_classes_are_undefined_for_one():
    """They are None, never NaN; the rate of the present class stays."""
    found = evaluate_judged(judgements([0.1, 0.6, 0.3], []))
    assert found.pooled.auc == found.pooled.pauc == found.pooled.detection_rate == UNDEFINED
    assert found.pooled.false_alarm_rate.value == pytest.approx(1 / 3)
    assert found.roc == ()
    assert has_note(found, "All recordings are normal")
    json.dumps(found.to_dict(), allow_nan=False)


def test_an_evaluation_of_no_recordings_is_refused():
    """The error is DatasetEmpty."""
    with pytest.raises(DatasetEmpty):
        evaluate_judged([])


def test_the_gain_run_must_be_of_the_same_recordings():
    """Verdicts with gain in another order are refused."""
    judged = judgements(*drawn(5))
    with pytest.raises(InvalidParameter, match="same order"):
        evaluate_judged(judged, judged_with_gain=judged[::-1])


def test_an_evaluation_survives_json():
    """An evaluation is read back equal, also with other values beside it."""
    judged = judgements(*drawn(40))
    found = evaluate_judged(judged, judged_with_gain=judged)
    read = json.loads(json.dumps(found.to_dict() | {"version": "fan-0123456789"}, allow_nan=False))
    assert Evaluation.from_dict(read) == found


def test_the_roc_runs_from_corner_to_corner():
    """Rates rise from 0 to 1, thresholds fall, and each point has the rates of its threshold."""
    judged = judgements(*drawn(60))
    roc = evaluate_judged(judged).roc
    assert (roc[0][:2], roc[-1]) == ((0, 0), (1, 1, -1))
    for (x, y, threshold), (next_x, next_y, lower) in pairwise(roc):
        assert (next_x >= x, next_y >= y, lower < threshold) == (True, True, True)
    for x, y, threshold in roc:
        for label, rate in (("normal", x), ("abnormal", y)):
            assert np.mean([j.score > threshold for j in judged if j.entry.label == label]) == pytest.approx(rate)


def test_the_corners_of_the_roc_have_its_whole_area():
    """Points on a straight line are left out without a change of the area."""
    found = evaluate_judged(judgements(*drawn(200)))
    x, y, _ = np.array(found.roc).T
    assert len(x) < 300
    assert np.trapezoid(y, x) == pytest.approx(found.pooled.auc.value)


# Slices


def test_slices_are_by_machine_id_and_snr():
    """The pooled slice is first, then each kind of slice with several members."""
    judged = [
        verdict(entry(i, label, machine=machine, machine_id=id_, snr_db=snr, fault="imbalance"), 0.2)
        for machine, id_ in (("fan", "id_00"), ("fan", "id_02"), ("pump", "id_00"))
        for snr in (-6.0, 6.0)
        for i, label in enumerate(("normal", "abnormal"))
    ]
    slices = evaluate_judged(judged).slices
    assert [each.name for each in slices[:8]] == [
        "pooled",
        "fan",
        "pump",
        "fan id_00",
        "fan id_02",
        "pump id_00",
        "-6 dB",
        "6 dB",
    ]
    assert [(each.kind, each.n) for each in slices[8:]] == [("id x snr", 2)] * 6
    assert slices[8].name == "fan id_00 at -6 dB"
    assert (slices[8].machine, slices[8].machine_id, slices[8].snr_db) == ("fan", "id_00", -6.0)


def test_one_of_a_kind_is_no_slice():
    """One machine, one id and one SNR have only the pooled slice."""
    judged = judgements(*drawn(5), machine="fan", machine_id="id_00", snr_db=0.0)
    assert [each.kind for each in evaluate_judged(judged).slices] == ["pooled"]


def test_the_harmonic_mean_is_over_the_machine_ids():
    """One perfect id and one at chance give 2/3, which is not the pooled AUC."""
    good = judgements([0.1, 0.2], [0.8, 0.9], machine="fan", machine_id="id_00")
    chance = judgements([0.3, 0.5], [0.3, 0.5], machine="fan", machine_id="id_02")
    found = evaluate_judged(good + chance)
    assert found.harmonic_mean_auc.value == pytest.approx(2 / 3)


def test_an_id_with_one_class_is_left_out_of_the_harmonic_mean():
    """A note names the id."""
    good = judgements([0.1, 0.2], [0.8, 0.9], machine="fan", machine_id="id_00")
    found = evaluate_judged(good + judgements([0.3], [], machine="fan", machine_id="id_02"))
    assert found.harmonic_mean_auc.value == 1
    assert has_note(found, "one class only", "fan id_02")


# Intervals


def test_the_same_seed_gives_the_same_intervals():
    """Another seed gives other intervals."""
    judged = judgements(*drawn(30))
    assert evaluate_judged(judged, seed=1) == evaluate_judged(judged, seed=1)
    assert evaluate_judged(judged, seed=1).pooled.auc != evaluate_judged(judged, seed=2).pooled.auc


def test_copies_within_a_session_do_not_narrow_the_interval():
    """Ten copies of each recording in its session have the same interval; in sessions of their own, a narrower one."""
    judged = judgements(*drawn(20))
    copied = [each for each in judged for _ in range(10)]
    alone = [replace(each, entry=changed(each.entry, group=str(i))) for i, each in enumerate(copied)]
    single, by_group, by_copy = (evaluate_judged(each).pooled.auc for each in (judged, copied, alone))
    assert by_group.value == pytest.approx(single.value)
    assert by_group.high - by_group.low == pytest.approx(single.high - single.low, rel=0.1)
    assert by_copy.high - by_copy.low < 0.5 * (single.high - single.low)


def test_intervals_contain_the_true_value_about_as_often_as_stated():
    """Of 40 samples from one known AUC, at least 34 intervals contain it; 38 are expected."""
    true_auc = 0.8556  # P(N(0.3, 0.2) > N(0, 0.2)) = Phi(0.3 / (0.2 * sqrt(2)))
    containing = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        judged = judgements(rng.normal(0.0, 0.2, 40).tolist(), rng.normal(0.3, 0.2, 40).tolist())
        interval = evaluate_judged(judged).pooled.auc
        containing += interval.low <= true_auc <= interval.high
    assert containing >= 34


def test_too_few_sessions_are_noted():
    """Two sessions cannot be drawn from; recordings are drawn, and the note names the slice."""
    judged = with_sessions(judgements(*drawn(20)), 10)
    assert has_note(evaluate_judged(judged), "too narrow", "pooled")
    assert not has_note(evaluate_judged(with_sessions(judgements(*drawn(60)), 2)), "too narrow")


def test_perfect_figures_are_not_certain():
    """An AUC of 1 from five sessions of faults has an interval down to 0.57: Wilson's for five of five."""
    judged = with_sessions(judgements([0.1] * 40, [0.9] * 20), 4)
    found = evaluate_judged(judged)
    assert found.pooled.auc == Estimate(1, pytest.approx(0.5655175), 1)
    assert found.pooled.detection_rate == found.pooled.auc
    assert found.pooled.false_alarm_rate == Estimate(0, 0, pytest.approx(0.2775328))
    assert has_note(found, "Wilson")


@pytest.mark.parametrize(("share", "trials", "low", "high"), [(0.5, 10, 0.2366, 0.7634), (0, 10, 0, 0.2775)])
def test_wilsons_interval_is_the_textbooks(share, trials, low, high):
    """The interval has the textbook's values to four places."""
    assert wilson(share, trials) == pytest.approx((low, high), abs=1e-4)


def test_five_thousand_recordings_take_seconds():
    """Two thousand draws of 5000 recordings in four slices take less than 10 s of CPU time."""
    judged = judgements(*drawn(2500), machine="fan")
    judged = [replace(j, entry=changed(j.entry, machine_id=f"id_{i % 3}")) for i, j in enumerate(judged)]
    begin = time.process_time()
    evaluate_judged(judged)
    assert time.process_time() - begin < 10


# Controls


def test_the_auc_of_level_alone_is_noted_where_it_separates():
    """Softer faults have an AUC below 0.5, which separates as well as one above; slices are named."""
    judged = [
        replace(j, entry=changed(j.entry, machine_id=id_, level_dbfs=-30.0 + sign * (j.entry.label == "abnormal")))
        for id_, sign in (("id_00", 3), ("id_02", -3))
        for j in judgements(*drawn(20))
    ]
    found = evaluate_judged(judged)
    by_id = {each.name: each.auc_level_only.value for each in found.slices}
    assert by_id == {"pooled": 0.5, "id_00": 1, "id_02": 0}
    assert has_note(found, "id_00 1.000", "id_02 0.000")


# Judging


@pytest.fixture
def dataset(tmp_path: Path):
    for label in ("normal", "abnormal"):
        (tmp_path / "fans" / label).mkdir(parents=True)
        for number in range(3):
            sound = sounds.fan(2.0, seed=number, blade_hz=120 if label == "normal" else 90)
            (tmp_path / "fans" / label / f"{number:04d}.wav").write_bytes(sounds.recording(sound))
    return index(tmp_path / "fans")


@pytest.fixture
def predictor(original_home: Path):
    return Registry(original_home).load_predictor("champion")


def test_judging_gives_the_predictors_verdicts(predictor, dataset):
    """Verdicts are equal to the bit with any number of processes."""
    judged = judge(predictor, dataset, dataset.entries, processes=1)
    assert judge(predictor, dataset, dataset.entries, processes=2) == judged
    for each in judged:
        worst = predictor.predict(predictor.decode(dataset.file(each.entry).read_bytes())).worst
        assert (each.anomaly, each.predicted) == (worst.is_anomalous, worst.label.name)
        assert each.score == pytest.approx(worst.score, abs=1e-5)


def test_judging_marks_unusable_recordings(dataset, tmp_path):
    """As in the service, a clipped recording is unusable at any score."""
    file = tmp_path / "fans" / "abnormal" / "0000.wav"
    loud = np.clip(30 * sounds.fan(3.0, seed=50, blade_hz=90), -1, 1)
    file.write_bytes(sounds.recording(loud, "float32"))
    registry = Registry(tmp_path / "home")
    judged = judge(registry.load_predictor(detectors.add(registry)), dataset, dataset.entries, processes=1)
    (clipped,) = (each for each in judged if each.entry.path == "abnormal/0000.wav")
    assert (clipped.unusable, clipped.anomaly, clipped.truth) == (True, False, None)
    assert not any(each.unusable for each in judged if each.entry.label == "normal")


def test_a_random_gain_depends_on_the_recording_and_the_seed(predictor, dataset):
    """It does not depend on the order, and it changes the scores of a network that uses levels."""
    entries = dataset.entries
    judged = judge(predictor, dataset, entries, gain_db=12, seed=1)
    assert judge(predictor, dataset, entries[::-1], gain_db=12, seed=1) == judged[::-1]
    assert judge(predictor, dataset, entries, gain_db=12, seed=2) != judged
    assert judge(predictor, dataset, entries) != judged


def test_gains_are_spread_over_the_whole_range():
    """Each recording has its own gain, evenly distributed between the limits."""
    gains = [random_gain_db(entry(number), 6.0, 0) for number in range(400)]
    assert len(set(gains)) == 400
    assert np.quantile(gains, [0, 0.25, 0.5, 0.75, 1]) == pytest.approx([-6, -3, 0, 3, 6], abs=0.9)


def test_an_unreadable_recording_is_named(predictor, dataset):
    """The error keeps its class, and its message has the path."""
    dataset.file(dataset.entries[1]).write_bytes(b"no sound")
    with pytest.raises(AudioError, match=r"abnormal/0001\.wav: "):
        judge(predictor, dataset, dataset.entries)


def with_classes(predictor, *classes):
    """The predictor with these classes."""
    labels = ClassLabels(tuple(ClassLabel(name, name, anomalous) for name, anomalous in classes))
    bundle = predictor.model.bundle
    written = replace(bundle, content=replace(bundle.content, labels=labels))
    predictor.model = replace(predictor.model, labels=labels, bundle=written)
    return predictor


def test_truth_is_the_fault_by_its_name(predictor):
    """A fault without a name, or without a class of the model, has no true class."""
    truth = default_truth(predictor)
    assert truth(entry(1)) == "normal"
    assert truth(entry(1, "abnormal", fault="clogging")) == "clogging"
    assert truth(entry(1, "abnormal", fault="bearing")) is truth(entry(1, "abnormal")) is None


def test_truth_of_two_classes_is_the_label(predictor):
    """In a model with one class of faults, every fault has that class."""
    truth = default_truth(with_classes(predictor, ("normal", False), ("abnormal", True)))
    assert (truth(entry(1)), truth(entry(1, "abnormal", fault="clogging"))) == ("normal", "abnormal")


def test_truth_follows_a_renamed_class(predictor):
    """A renamed class still means the fault that it was trained on."""
    names = [(label.name, label.message) for label in ORIGINAL_LABELS.classes]
    labels = predictor.model.labels.rename([*names[:2], ("blocked", "Fan 3 is blocked"), names[3]])
    predictor.model = replace(predictor.model, labels=labels)
    truth = default_truth(predictor)
    assert truth(entry(1, "abnormal", fault="clogging")) == "blocked"
    assert truth(entry(1, "abnormal", fault="blocked")) == "blocked"


# Recorded splits


def test_a_recorded_split_has_the_side_of_each_recording(tmp_path):
    """Recordings are found by audio hash; a model that was not trained here has no recorded split."""
    assert RecordedSplit.read(tmp_path, "fan-0123456789") is None
    folder = tmp_path / "training" / "fan-0123456789"
    folder.mkdir(parents=True)
    (folder / "split.csv").write_text(
        f"audio_hash,side,path\n{1:032x},train,normal/1.wav\n{2:032x},test,normal/2.wav\n"
    )
    fitted = RecordedSplit.read(tmp_path, "fan-0123456789")
    assert [fitted.side(entry(number)) for number in (1, 2, 3)] == ["train", "test", None]
